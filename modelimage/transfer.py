"""What is done with images that exist: look at one, give it the tag that spells its digest, copy it by digest."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelimage.documents import INDEX_TYPES, Descriptor, read_index, read_manifest
from modelimage.errors import ImageError
from modelimage.images import Image, LayerRecord, Session, child_manifest, load_image, parse_destination
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter, readable
from modelimage.registry import Registry
from modelimage.stores import Reader, StoredManifest
from modelimage.streams import Blob, Written
from modelimage.writing import DEFAULT_JOBS, Documents, Draft, Part, write
from oci_model_serving.errors import InputError
from oci_model_serving.reference import LayoutReference, RegistryReference, digest_tag, parse, parse_pinned


@dataclass(frozen=True)
class Inspection(Image):
    """An image that exists, with what its documents say.

    `digest_tag` tells whether the tag `sha256-<hex>` points to it, which serving by tag needs; a layout has none.
    """

    annotations: dict[str, str] = field(default_factory=dict)
    platform: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    digest_tag: bool = False


def inspect(
    reference: str,
    *,
    require_digest_tag: bool = False,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
) -> Inspection:
    """Read an image's documents, by digest or by a tag, from a registry or a layout.

    Raises:
        InputError: the reference is none.
        NotFoundError: there is no such image.
        ImageError: it cannot be read, or `require_digest_tag` and the tag does not point to it.
    """
    parsed = parse(reference)
    if isinstance(parsed, RegistryReference) and not (parsed.digest or parsed.tag):
        raise InputError(f"{reference!r} names no image: add @sha256:<64 hex digits> or a tag")
    with Session.start(reporter, policy).reading(parsed) as store:
        name = parsed.digest or (parsed.tag if isinstance(parsed, RegistryReference) else None)
        image = load_image(store, name, str(parsed))
        tagged = isinstance(store, Registry) and store.digest_of_tag(digest_tag(image.digest)) == image.digest
        if isinstance(parsed, LayoutReference):
            _check_blobs(store, image.manifest.layers)
    place = parsed.at(image.digest)
    if require_digest_tag and not tagged:
        raise ImageError(
            f"{place}: the tag {digest_tag(image.digest)} does not point to it: "
            + (
                "a layout has no tags; push the image to a registry"
                if isinstance(parsed, LayoutReference)
                else f"`oms image tag {place}` writes it"
            )
        )
    return Inspection(
        image.digest,
        str(place),
        image.manifest.size_bytes,
        tuple(LayerRecord(layer.digest, layer.size, uploaded=False) for layer in image.manifest.layers),
        annotations=image.manifest.annotations or {},
        platform=f"{image.config.os}/{image.config.architecture}",
        config=image.config.config,
        digest_tag=tagged,
    )


def _check_blobs(store: Reader, layers: list[Descriptor]) -> None:
    for layer in layers:
        # Opening a layout's blob compares its size; reading one chunk is enough for that.
        next(store.read_blob(layer.digest, layer.size), None)


def tag(reference: str, *, reporter: Reporter | None = None, policy: RetryPolicy | None = None) -> Inspection:
    """Give an image in a registry the tag `sha256-<hex>`; nothing is written where it has it already.

    Raises:
        InputError: the reference is none of a registry, or has no digest.
        ImageError: the image is absent, or the registry refuses the tag.
    """
    parsed, digest = parse_pinned(reference)
    if isinstance(parsed, LayoutReference):
        raise InputError(f"{reference!r}: a layout has no tags: give HOST/REPO@sha256:…")
    with Session.start(reporter, policy).registry(parsed) as registry:
        registry.write_tag(registry.manifest(digest), digest_tag(digest))
    return inspect(reference, require_digest_tag=True, reporter=reporter, policy=policy)


def copy(
    reference: str,
    destination: str,
    *,
    jobs: int = DEFAULT_JOBS,
    cache: Path | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
) -> Image:
    """Copy an image by its digest, which stays the same; on one host its layers are mounted and not sent.

    `reference` carries a digest; `destination` is `HOST/REPO[:TAG]` or `oci:FOLDER`. Images of several
    platforms are copied whole.

    Raises:
        InputError: an argument is malformed.
        ImageError: the image cannot be read, or not be written.
    """
    if jobs < 1:
        raise InputError(f"--jobs is {jobs}: give 1 or more")
    source, digest = parse_pinned(reference)
    place = parse_destination(destination)
    session = Session.start(reporter, policy, cache)
    with session.reading(source, place) as reader:
        image = load_image(reader, digest, str(source))
        if isinstance(source, RegistryReference):
            for layer in [image.manifest.config, *image.manifest.layers]:
                session.cache.seen_in(source.name, layer.digest)
        with session.writing(place) as store:
            draft = _draft(reader, reader.manifest(digest), image.manifest.layers)
            return write(session, store, place, draft, jobs)


def _draft(reader: Reader, top: StoredManifest, layers: list[Descriptor]) -> Draft:
    """All that `top` names, as it is; `layers` are those of our platform's image."""

    def finish(_: list[Written]) -> Documents:
        return Documents(top, layers)

    if top.media_type in INDEX_TYPES:
        entries = read_index(top.content, top.digest).manifests
        return Draft(finish, children=[_draft(reader, child_manifest(reader, entry), layers) for entry in entries])
    manifest = read_manifest(top.content, top.digest)
    blobs = {blob.digest: blob for blob in [manifest.config, *manifest.layers]}.values()
    return Draft(finish, [Part.existing("blob", reader, blob) for blob in blobs], told=_copied)


def _copied(blob: Blob, written: Written) -> str:
    return f"{'copied' if written.uploaded else 'already there or mounted'}, {readable(blob.size)}"
