"""The model in an image, or in a model's artifact, as something to pack: `oci://HOST/REPO@sha256:…`, or in a layout.

Registries hold models as images and, by ModelPack, KitOps and ORAS, as artifacts; all of them are read here, by digest,
and packed without the place that they once came from.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from modelimage import image_address
from modelimage.archives import Header, Kind
from modelimage.artifacts import artifact_kind, check_image, has_files, single_file, unveiled
from modelimage.cache import source_key
from modelimage.contents import is_adapter
from modelimage.documents import MANIFEST_TYPES, Descriptor, Manifest, read_manifest
from modelimage.errors import ImageError
from modelimage.fetching import fetched
from modelimage.fit import find_model, model_folders
from modelimage.image_source import CheckedImage
from modelimage.images import Session, load_image
from modelimage.listing import head_bytes, list_files
from modelimage.patience import Patience
from modelimage.progress import Reporter
from modelimage.rootfs import Content, Contents
from modelimage.rules import RESERVED_NAMES, accepted
from modelimage.source import Selection, Source, SourceFile
from modelimage.stores import Reader
from modelimage.writing import DEFAULT_JOBS
from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.foreign import shown
from oci_model_serving.reference import Reference, RegistryReference

ORIGIN_ANNOTATION = "oci-model-serving.repacked-from"
"""Annotation with the digest of the image that a repacked one was made of."""
_KEPT_ANNOTATIONS = tuple(
    f"org.opencontainers.image.{name}" for name in ("source", "revision", "licenses", "title", "vendor", "version")
)


def parse(uri: str) -> Reference:
    """The image that an address names by its digest. For one without, its store is asked what to write.

    Raises:
        InputError: it is malformed or has no digest.
    """
    reference = image_address.read(uri)
    if reference.digest:
        return reference
    digest = ""
    tag = reference.tag if isinstance(reference, RegistryReference) else None
    if tag or not isinstance(reference, RegistryReference):
        with (
            suppress(OmsError),
            Session.start().reading(reference, aside=True) as reader,
        ):  # looking it up is a courtesy
            digest = reader.manifest(tag).digest
    raise InputError(f"{uri!r}: {image_address.mistake(uri, digest)}")


@contextmanager
def opened(
    session: Session,
    origin: Reference,
    place: Reference | None,
    selection: Selection,
    *,
    from_folder: str | None = None,
    any_kind: bool = False,
    jobs: int = DEFAULT_JOBS,
) -> Iterator[Source]:
    """Read an image or an artifact once whole, by its digest, and list the model in it; to be packed while it is open.

    `place` is where the model goes: credentials of the environment are for its host. `from_folder` is the model's
    folder (default: /models, else the root, else the only folder that holds a model); of `any_kind` it may be an
    adapter as well, without a word of the selection.

    Raises:
        InputError: it holds no model that could be packed; all problems at once.
        ImageError: it cannot be read, or is not what its digest says.
    """
    with session.reading(origin, place) as reader:
        found = _find(reader, origin)
        image = CheckedImage.read(reader, found.manifest.layers, session, jobs)
        try:
            listed = _listed(image.contents, image.source_file, found, from_folder, selection, any_kind=any_kind)
            yield replace(listed, is_read=True)
        finally:
            image.close()


@contextmanager
def foretold(session: Session, origin: Reference, selection: Selection) -> Iterator[Source]:
    """List the model for a plan: by the manifest and the headers of layers, without reading it.

    Raises:
        InputError: it holds no model that could be packed.
        ImageError: its files cannot be listed without reading all of it.
    """
    with session.reading(origin, aside=True) as reader:
        found = _find(reader, origin)
        layers, contents = _contents(reader, found.manifest.layers, session)
        if not contents.complete:
            raise ImageError(f"{origin}: {'; '.join([*contents.damaged, *contents.unread][:1])}")

        def described(path: str, content: Content) -> SourceFile:
            layer = layers[content.layer]

            def read_range(start: int, end: int) -> Iterator[bytes]:
                if end <= len(content.head):
                    yield content.head[start:end]
                elif layer.media_type.endswith("gzip"):
                    raise ImageError(f"{path}: is in a compressed layer, of which a plan reads nothing")
                else:
                    yield from reader.read_blob(layer.digest, layer.size, content.offset + start, content.offset + end)

            return SourceFile(path, content.size, f"{layer.digest}:{content.offset}", read_range, published=True)

        yield _listed(contents, described, found, None, selection)


def local_folder(uri: str, selection: Selection, patience: Patience, reporter: Reporter, cache: Path) -> Path:
    """Fetch the model's files into a folder below `cache`, each where it is not there yet, and return that folder."""
    session = Session.start(reporter, patience.policy, cache, patience.stop)
    with opened(session, parse(uri), None, selection) as source:
        return fetched(source.files, cache / "sources" / source_key(uri), reporter)


@dataclass(frozen=True)
class _Found:
    name: str
    digest: str
    manifest: Manifest


def _find(reader: Reader, origin: Reference) -> _Found:
    name = origin.digest or (origin.tag if isinstance(origin, RegistryReference) else None)
    stored = reader.manifest(name)
    place = str(origin.at(stored.digest))
    if stored.media_type in MANIFEST_TYPES:
        manifest = read_manifest(stored.content, place)
        kind = artifact_kind(manifest)
        if kind and kind.is_model and has_files(manifest.layers):
            layers = unveiled(manifest.layers)
            return _Found(place, stored.digest, manifest.model_copy(update={"layers": layers}))
        check_image(manifest, place)
    return _Found(place, stored.digest, load_image(reader, stored.digest, place).manifest)


def _contents(reader: Reader, layers: Sequence[Descriptor], session: Session) -> tuple[list[Descriptor], Contents]:
    """What the layers hold, by the headers of archives, and the layers in the order by which that names them."""
    single = [layer for layer in layers if single_file(layer)]
    ordered = [layer for layer in layers if layer not in single]
    contents = list_files(reader, ordered, stop=session.stop)
    for layer in single:
        header = Header(single_file(layer), Kind.FILE, layer.size, 0o644)
        head = b"".join(reader.read_blob(layer.digest, layer.size, 0, count)) if (count := head_bytes(header)) else b""
        contents.add([(header, Content(len(ordered), 0, layer.size, head))])
        ordered.append(layer)
    return ordered, contents


def _listed(
    contents: Contents,
    as_file: Callable[[str, Content], SourceFile],
    origin: _Found,
    from_folder: str | None,
    selection: Selection,
    *,
    any_kind: bool = False,
) -> Source:
    folder = _folder(contents, origin.name, from_folder)
    # At the root, what belongs to an operating system is no part of the model.
    found = dict(contents.followed(folder, without=() if folder else RESERVED_NAMES))
    files = tuple(as_file(path, content) for path, content in sorted(found.items()) if selection.takes(path))
    kept = {name: text for name, text in (origin.manifest.annotations or {}).items() if name in _KEPT_ANNOTATIONS}
    source = Source(origin.name, files, {**kept, ORIGIN_ANNOTATION: origin.digest})
    adapter = is_adapter(found) if any_kind else selection.adapter
    return accepted(source, found, replace(selection, adapter=adapter))


def _folder(contents: Contents, name: str, given: str | None) -> str:
    remedy = f"--from, of `oms image repack {name} DEST`"
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
        raise InputError(f"{name} holds several models ({', '.join(folders[:5])}{more}): choose one with {remedy}")
    raise InputError(
        f"{name} has no folder that holds a model (config.json beside weights, or a GGUF file): if there is one all "
        f"the same, say where with {remedy} (`--from /` for the root)"
    )
