"""`oms image prune`: remove the images that no stack uses."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oci_model_serving.errors import InputError, OmsError
from oms.convention import interruptible, json_option, print_json, tell

if TYPE_CHECKING:
    from modelimage.pruning import Pruned

_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")


@click.command()
@click.argument("repositories", nargs=-1, required=True, metavar="REPOSITORY...")
@click.option("--stack", "stacks", multiple=True, metavar="NAME", help="A stack that uses images; several times.")
@click.option(
    "--outputs",
    "files",
    help="Outputs of a stack that is not read from here (`pulumi stack output --json`); several times.",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option(
    "--keep-days",
    help="Keep what was pushed within so many days, and what has no known age; 0: remove whatever its age.",
    default=7,
    show_default=True,
    metavar="N",
    type=click.IntRange(0, 36_500),
)
@click.option("--yes", is_flag=True, help="Remove them; without it they are listed.")
@json_option
def prune(
    *,
    repositories: tuple[str, ...],
    stacks: tuple[str, ...],
    files: tuple[Path, ...],
    keep_days: int,
    yes: bool,
    as_json: bool,
) -> None:
    """List the images that no stack uses, or remove them, with what is attached to them.

    Used is what the deployed outputs of the stacks name, and each digest in a stack's file of this project. Name every
    stack that uses the repositories: what another one serves is taken for unused.

    REPOSITORY: HOST/PATH, without tag or digest
    """
    from modelimage.pruning import AGE_UNKNOWN, find
    from modelimage.registry import Registry

    places = [_place(text) for text in dict.fromkeys(repositories)]
    used = _used(stacks, files)
    removed: set[tuple[str, str]] = set()
    with interruptible("what was removed is gone; run the same command again to go on"):
        images: list[Pruned] = []
        for place in places:
            with Registry(place) as registry:
                images += find(registry, used, keep_days=keep_days)
        unknown = sum(image.why == AGE_UNKNOWN for image in images)
        try:
            if yes and unknown:
                raise OmsError(
                    f"of {unknown} unused images nobody knows the age (only Google's registries tell it), and one may "
                    "have been pushed just now: nothing was removed; add --keep-days 0 to remove whatever its age"
                )
            if yes:
                _remove(images, removed)
        finally:
            _say(images, removed, as_json=as_json)
    going = sum(not image.why for image in images)
    if not yes and (going or unknown):
        tell(f"{going} can be removed: add --yes" + (f"; {unknown} with --keep-days 0 too" if unknown else ""))


def _place(text: str) -> Any:
    from oci_model_serving.reference import parse_registry

    place = parse_registry(text)
    if place.tag or place.digest:
        raise InputError(f"{text!r} names one image: write the repository, {place.name}")
    return place


def _used(stacks: tuple[str, ...], files: tuple[Path, ...]) -> set[str]:
    """The digests that are in use.

    Raises:
        InputError: no stack is named, or one of them, or a stack's file, cannot be read.
    """
    from components.settings.stack_file import find_project
    from oms.outputs import read_outputs

    if not stacks and not files:
        raise InputError("no stack is named: give --stack NAME or --outputs FILE for each that uses these images")
    project = find_project(Path.cwd())
    read = [read_outputs(stack, deployed=True) for stack in stacks]
    read += [read_outputs("", file, deployed=True) for file in files]
    models = [model for outputs in read for model in outputs.models.values()]
    used = {model.digest for model in models} | {one.digest for model in models for one in model.adapters.values()}
    used |= {model.compile_cache.digest for model in models if model.compile_cache}
    for stack in project.stacks():
        file = project.stack_file(stack)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: cannot be read ({error}), and may name an image that is used") from None
        used |= {f"sha256:{digits}" for digits in _DIGEST.findall(text)}
    own = {stack.rpartition("/")[2] for stack in stacks}
    if not files and (others := [stack for stack in project.stacks() if stack not in own]):
        tell(f"note: not asked what these stacks have deployed: {', '.join(others)} (--stack NAME asks one)")
    return used


def _remove(images: "list[Pruned]", removed: set[tuple[str, str]]) -> None:
    from modelimage.pruning import remove
    from modelimage.registry import Registry
    from oci_model_serving.reference import parse_registry

    for image in images:
        if not image.why:
            with Registry(parse_registry(image.repository)) as registry:
                remove(registry, image)
            removed.add((image.repository, image.digest))


def _say(images: "list[Pruned]", removed: set[tuple[str, str]], *, as_json: bool) -> None:
    from modelimage.progress import readable

    told = [{**vars(image), "removed": (image.repository, image.digest) in removed} for image in images]
    if as_json:
        print_json({"images": told})
        return
    for image, entry in zip(images, told, strict=True):
        state = "removed" if entry["removed"] else image.why or "unused"
        more = f", {len(image.with_it)} attached" if image.with_it else ""
        print(f"{state:<12} {image.repository}@{image.digest}  {readable(image.size_bytes)}{more}")
    if not images:
        print("no images of ours are there")
