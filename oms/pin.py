"""`oms pin`: the images of a stack's servers and steps by digest, as their registries have them today."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oci_model_serving.errors import InputError, OmsError
from oms.convention import failed, interruptible, json_option, print_json, tell

if TYPE_CHECKING:
    import yaml

_PLACES = (
    re.compile(r"platforms\.(?:kserve|kubeai)\.server\.(?:image|cpuImage)"),
    re.compile(r"models\.(?:.+)\.server\.image"),
    re.compile(r"clusterBuild\.image|cloudBuild\.stepImage"),
)
_NOTE = re.compile(r"pinned: (\S+)")
"""The tag that a digest was taken from, in the comment at the end of its line: the settings take digests alone."""


@dataclass(frozen=True)
class Pinned:
    """An image that a file names, or leaves to its default: the tag it follows, and the digest which that has today."""

    file: str
    key: str
    tag: str
    now: str
    wanted: str
    written: bool = True
    """Whether the file has the key; what it leaves to a default is told and not written."""

    @property
    def stale(self) -> bool:
        """Whether the file does not have that digest."""
        return self.now != self.wanted


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 where an image is not by its tag's digest.")
@json_option
def pin(*, files: tuple[Path, ...], check: bool, as_json: bool) -> None:
    """Write the images of servers and build steps by digest, and refresh those that were.

    FILES are stacks' files [default: all of the project]. The tag stays behind in a comment, `# pinned: HOST/REPO:TAG`,
    which says what to refresh from. A default that a stack uses and its file does not name is told, with the line to
    write.
    """
    from components.settings.stack_file import find_project

    if not files:
        project = find_project(Path.cwd())
        files = tuple(project.stack_file(stack) for stack in project.stacks())
    documents = [_Document(file) for file in files]
    with interruptible("no file was changed"):
        digests = _resolved(sorted({tag for document in documents for tag in document.tags}))
    found = [pinned for document in documents for pinned in document.pinned(digests)]
    if not check:
        for document in documents:
            document.write(digests)
    left = [one for one in found if one.stale and (check or not one.written)]
    if as_json:
        print_json({"ok": not left, "images": [{**vars(one), "stale": one.stale} for one in found]})
    else:
        _say(found, check=check)
    if left and check:
        raise failed()


def _say(found: list[Pinned], *, check: bool) -> None:
    for one in found:
        if not one.stale:
            print(f"{one.file}: {one.key} is {one.tag} as it is today")
        elif not one.written:
            print(f"{one.file}: {one.key} is left to its default {one.now}: write {one.wanted}  # pinned: {one.tag}")
        else:
            print(f"{one.file}: {one.key} {'is' if check else 'was'} {one.now}, {one.tag} is {one.wanted}")
    if not found:
        tell("no image of a server or step is named by a tag, or says which tag it was pinned from")


@dataclass
class _Document:
    """A stack's file, of which the text is kept to the letter but for images and their notes."""

    file: Path
    text: str = ""
    images: list[tuple[str, "yaml.ScalarNode", str]] = field(default_factory=list)
    """Key, node, and the tag to follow."""
    defaults: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        import yaml

        from components.settings.plain_yaml import read_yaml

        read = read_yaml(self.file)  # says what is wrong with it
        self.text = self.file.read_text(encoding="utf-8")
        lines = self.text.splitlines()
        seen: set[str] = set()
        for key, node in _scalars(yaml.compose(self.text, Loader=yaml.SafeLoader)):
            if node.style in {"|", ">"} or not any(place.fullmatch(key) for place in _PLACES):
                continue
            seen.add(key)
            notes = {_repository(tag): tag for tag in _NOTE.findall(lines[node.end_mark.line])}
            tag = notes.get(_repository(node.value)) if "@" in node.value else _whole(node.value)
            if tag:
                self.images.append((key, node, tag))
        config = read.get("config") if isinstance(read, dict) else None
        self.defaults = [(key, image) for key, image in _defaults(config or {}).items() if key not in seen]

    @property
    def tags(self) -> set[str]:
        """What must be asked for."""
        return {tag for _, _, tag in self.images} | {image for _, image in self.defaults if "@" not in image}

    def pinned(self, digests: Mapping[str, str]) -> Iterator[Pinned]:
        """Each image, as it is and as it should be."""
        for key, node, tag in self.images:
            yield Pinned(str(self.file), key, tag, node.value, _by_digest(tag, digests))
        for key, image in self.defaults:
            if "@" not in image:
                yield Pinned(str(self.file), key, image, image, _by_digest(image, digests), written=False)

    def write(self, digests: Mapping[str, str]) -> None:
        """Put the digests in; the file is left alone where it has them."""
        text = self.text
        for _, node, tag in sorted(self.images, key=lambda image: -image[1].start_mark.index):
            start, end = node.start_mark.index, node.end_mark.index
            quote = text[start] if text[start] in "\"'" else ""
            line_end = text.find("\n", end)
            rest = text[end:] if line_end < 0 else text[end:line_end]
            after = "" if line_end < 0 else text[line_end:]
            if tag not in _NOTE.findall(rest):
                rest = f"{rest.rstrip()}  # pinned: {tag}"
            text = f"{text[:start]}{quote}{_by_digest(tag, digests)}{quote}{rest}{after}"
        if text != self.text:
            self.file.write_text(text, encoding="utf-8")


def _scalars(node: Any, path: str = "") -> Iterator[tuple[str, "yaml.ScalarNode"]]:
    """The texts of a file's `config` by their keys, without the project's name before them."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        yield path.removeprefix("config.").partition(":")[2] or path.removeprefix("config."), node
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield from _scalars(value, f"{path}.{key.value}" if path else key.value)


def _defaults(config: Mapping[str, Any]) -> dict[str, str]:
    """The images that a stack's models are served by where its file says nothing, by their keys."""
    from components.settings.server import VLLM_CPU_IMAGE, VLLM_IMAGE

    models = next((value for key, value in config.items() if key.rpartition(":")[2] == "models"), None)
    used: dict[str, str] = {}
    for model in models.values() if isinstance(models, dict) else ():
        if not isinstance(model, dict) or model.get("server"):
            continue
        platform = "kubeai" if model.get("delivery") == "kubeai" else "kserve"
        name, image = ("image", VLLM_IMAGE) if model.get("nodePool") else ("cpuImage", VLLM_CPU_IMAGE)
        used[f"platforms.{platform}.server.{name}"] = image
    return used


def _whole(image: str) -> str:
    """The image with the host that Docker leaves out, as registries are asked."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return image if "." in first or ":" in first or first == "localhost" else f"docker.io/{image}"


def _repository(image: str) -> str:
    from oci_model_serving.reference import split

    return split(_whole(image))[0]


def _by_digest(tag: str, digests: Mapping[str, str]) -> str:
    return f"{_repository(tag)}@{digests[tag]}"


def _resolved(tags: list[str]) -> dict[str, str]:
    """The digest of each tag today: of an image for several platforms that of the list of them.

    Raises:
        OmsError: some name no tag, or cannot be asked for; all are told.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    for tag in tags:
        told = digest_of(tag)
        if isinstance(told, OmsError):
            problems.append(f"{tag}: {told}")
        else:
            found[tag] = told
    if problems:
        raise OmsError("\n".join(problems))
    return found


def digest_of(tag: str) -> str | OmsError:
    """The digest that a tag has today, or why it cannot be told."""
    from modelimage.patience import Patience, RetryPolicy
    from modelimage.registry import Registry
    from oci_model_serving.reference import parse_registry

    try:
        place = parse_registry(tag)
        if place.tag is None:
            return InputError("it has no tag: write HOST/REPO:TAG")
        with Registry(place, patience=Patience(RetryPolicy(attempts=2))) as registry:
            return registry.manifest(None).digest
    except OmsError as error:
        return error
