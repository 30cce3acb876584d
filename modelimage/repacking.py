"""Repacking: an image whose layout a delivery does not take becomes one that all take, of the same bytes."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelimage.artifacts import artifact_kind, check_image, has_files
from modelimage.contents import is_adapter
from modelimage.documents import MANIFEST_TYPES, Manifest, read_manifest
from modelimage.errors import collecting
from modelimage.fit import find_model, model_folders, shown
from modelimage.image_source import CheckedImage
from modelimage.images import SCRATCH, Image, Session, load_image, parse_base, parse_destination
from modelimage.packer import pack_source
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter
from modelimage.rootfs import Content, Contents
from modelimage.rules import RESERVED_NAMES, accepted
from modelimage.source import Selection, Source
from modelimage.stores import Reader
from modelimage.writing import DEFAULT_JOBS
from oci_model_serving.errors import InputError
from oci_model_serving.reference import Reference, RegistryReference, parse

ORIGIN_ANNOTATION = "oci-model-serving.repacked-from"
"""Annotation with the digest of the image that a repacked one was made of."""
_KEPT_ANNOTATIONS = tuple(
    f"org.opencontainers.image.{name}" for name in ("source", "revision", "licenses", "title", "vendor", "version")
)


def repack(
    reference: str,
    destination: str,
    *,
    from_folder: str | None = None,
    base: str = SCRATCH,
    jobs: int = DEFAULT_JOBS,
    allow: Sequence[str] = (),
    ignore: Sequence[str] = (),
    pickle: bool = False,
    cache: Path | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
    stop: threading.Event | None = None,
) -> Image:
    """Pack the model that an image or a model's artifact holds, in the layout that all deliveries take.

    `reference` is read once, by its digest; `from_folder` is the model's folder in it (default: /models, else the root,
    else the only folder that holds a model). The rest is as for `pack`. Each layer is read whole and compared with its
    digest, and what is large once more while it is packed: nothing of it is put on this machine's disk.

    Raises:
        InputError: the arguments or the image's files cannot make an image; all problems at once.
        ImageError: reading or storing failed for good; nothing that was left behind looks like an image.
    """
    session = Session.start(reporter, policy, cache, stop)
    problems = [] if jobs >= 1 else [f"--jobs is {jobs}: give 1 or more"]
    origin: Reference | None = None
    place: Reference | None = None
    parsed_base: tuple[Reference, str] | None = None
    with collecting(problems):
        origin = parse(reference)
    if isinstance(origin, RegistryReference) and not (origin.digest or origin.tag):
        problems.append(f"{reference!r} names no image: add @sha256:<64 hex digits> or a tag")
    with collecting(problems):
        place = parse_destination(destination)
    with collecting(problems):
        parsed_base = parse_base(base)
    if problems or origin is None or place is None:
        raise InputError(*problems)
    selection = Selection(tuple(allow), tuple(ignore), pickle=pickle)
    with session.reading(origin, place) as reader:
        found = _open(reader, origin)
        image = CheckedImage.read(reader, found.manifest.layers, session, jobs)
        try:
            listed = _listed(image, found, from_folder, selection)
            return pack_source(session, listed, place, parsed_base, jobs=jobs, shard_gb="keep")
        finally:
            image.close()


@dataclass(frozen=True)
class _Origin:
    name: str
    digest: str
    manifest: Manifest


def _open(reader: Reader, origin: Reference) -> _Origin:
    name = origin.digest or (origin.tag if isinstance(origin, RegistryReference) else None)
    stored = reader.manifest(name)
    place = str(origin.at(stored.digest))
    if stored.media_type in MANIFEST_TYPES:
        manifest = read_manifest(stored.content, place)
        kind = artifact_kind(manifest)
        if kind and kind.is_model and has_files(manifest.layers):
            return _Origin(place, stored.digest, manifest)
        check_image(manifest, place)
    return _Origin(place, stored.digest, load_image(reader, stored.digest, place).manifest)


def _listed(image: CheckedImage, origin: _Origin, from_folder: str | None, selection: Selection) -> Source:
    folder = _folder(image.contents, origin.name, from_folder)
    found = dict(_files(image.contents, folder))
    files = tuple(image.source_file(path, content) for path, content in sorted(found.items()) if selection.takes(path))
    kept = {name: text for name, text in (origin.manifest.annotations or {}).items() if name in _KEPT_ANNOTATIONS}
    source = Source(origin.name, files, {**kept, ORIGIN_ANNOTATION: origin.digest})
    return accepted(source, found, replace(selection, adapter=is_adapter(found)))


def _folder(contents: Contents, name: str, given: str | None) -> str:
    if given is not None:
        folder = given.strip("/")
        node = contents.find(folder, leaving=True, absolute=True)
        if node is None or node.children is None:
            raise InputError(f"--from {given}: {name} has no such folder: `oms image inspect {name}` lists its files")
        return folder
    model = find_model(contents)
    if model is not None:
        return model.folder
    folders = [f"/{shown(folder)}" for folder in model_folders(contents)]
    if folders:
        more = f" and {len(folders) - 5} more" if len(folders) > 5 else ""
        raise InputError(f"{name} holds several models ({', '.join(folders[:5])}{more}): choose one with --from")
    raise InputError(
        f"{name} has no folder that holds a model (config.json beside weights, or a GGUF file): if there is one all "
        "the same, say where with --from (`--from /` for the root)"
    )


def _files(contents: Contents, folder: str) -> Iterator[tuple[str, Content]]:
    """The files below a folder with their paths from there; a link is the file that it leads to.

    At the root, what belongs to an operating system is no part of the model.
    """
    todo = [""]
    while todo:
        prefix = todo.pop()
        for name, node in contents.names(f"{folder}/{prefix}").items():
            path = f"{prefix}{name}"
            if not (folder or prefix) and name in RESERVED_NAMES:
                continue
            if node.children is not None:
                todo.append(f"{path}/")
                continue
            there = contents.find(path, within=folder, leaving=True, absolute=True)
            if there is not None and there.content is not None:
                yield path, there.content
