"""What is done with images that exist: look at one, give it the tag that spells its digest, copy it by digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from modelimage.documents import INDEX_TYPES, Descriptor, read_index, read_manifest
from modelimage.errors import BadInputError, ImageError
from modelimage.images import Image, LayerRecord, Session, child_manifest, load_image
from modelimage.packer import DEFAULT_JOBS, destination_tags, parse_destination, run_all, watched
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter, readable
from modelimage.references import LayoutReference, RegistryReference, digest_tag, parse, parse_pinned
from modelimage.registry import Registry
from modelimage.stores import Reader, Store, StoredManifest
from modelimage.streams import Blob, Written


@dataclass(frozen=True)
class Inspection(Image):
    """An image that exists, with what its documents say.

    ``digest_tag`` tells whether the tag ``sha256-<hex>`` points to it, which serving by tag needs; a layout has none.
    """

    annotations: dict[str, str] = field(default_factory=dict)
    platform: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    digest_tag: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        return {
            **super().as_json(),
            "annotations": self.annotations,
            "platform": self.platform,
            "config": self.config,
            "digest_tag": self.digest_tag,
        }


def inspect(
    reference: str,
    *,
    require_digest_tag: bool = False,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
) -> Inspection:
    """Read an image's documents, by digest or by a tag, from a registry or a layout.

    Raises:
        BadInputError: the reference is none.
        NotFoundError: there is no such image.
        ImageError: it cannot be read, or ``require_digest_tag`` and the tag does not point to it.
    """
    parsed = parse(reference)
    if isinstance(parsed, RegistryReference) and not (parsed.digest or parsed.tag):
        raise BadInputError(f"{reference!r} names no image: add @sha256:<64 hex digits> or a tag")
    with Session.start(reporter, policy).reading(parsed, own=True) as store:
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
                else f"`python -m modelimage tag {place}` writes it"
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
    """Give an image in a registry the tag ``sha256-<hex>``; nothing is written where it has it already.

    Raises:
        BadInputError: the reference is none of a registry, or has no digest.
        ImageError: the image is absent, or the registry refuses the tag.
    """
    parsed, digest = parse_pinned(reference)
    if isinstance(parsed, LayoutReference):
        raise BadInputError(f"{reference!r}: a layout has no tags: give HOST/REPO@sha256:…")
    with Session.start(reporter, policy).registry(parsed, own=True) as registry:
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

    ``reference`` carries a digest; ``destination`` is ``HOST/REPO[:TAG]`` or ``oci:FOLDER``. Images of several
    platforms are copied whole.

    Raises:
        BadInputError: an argument is malformed.
        ImageError: the image cannot be read, or not be written.
    """
    if jobs < 1:
        raise BadInputError(f"--jobs is {jobs}: give 1 or more")
    source, digest = parse_pinned(reference)
    place = parse_destination(destination)
    session = Session.start(reporter, policy, cache)
    own = isinstance(source, RegistryReference) and isinstance(place, RegistryReference) and source.host == place.host
    with session.reading(source, own=own) as reader:
        image = load_image(reader, digest, str(source))
        if isinstance(source, RegistryReference):
            for layer in [image.manifest.config, *image.manifest.layers]:
                session.cache.seen_in(source.name, layer.digest)
        with session.writing(place) as store:
            top = reader.manifest(digest)
            written = _copy_tree(session, reader, store, top, jobs)
            store.write_manifest(top, destination_tags(place, top.digest))
    return Image(
        image.digest,
        str(place.at(image.digest)),
        image.manifest.size_bytes,
        tuple(
            LayerRecord(layer.digest, layer.size, written.get(layer.digest, False)) for layer in image.manifest.layers
        ),
    )


def _copy_tree(session: Session, reader: Reader, store: Store, top: StoredManifest, jobs: int) -> dict[str, bool]:
    """Copy all that ``top`` names, and return which blobs were moved."""
    if top.media_type in INDEX_TYPES:
        moved: dict[str, bool] = {}
        for entry in read_index(top.content, top.digest).manifests:
            child = child_manifest(reader, entry)
            moved |= _copy_tree(session, reader, store, child, jobs)
            store.write_child(child)
        return moved
    manifest = read_manifest(top.content, top.digest)
    blobs = list({blob.digest: blob for blob in [manifest.config, *manifest.layers]}.values())
    store.prepare([(blob.digest, blob.size) for blob in blobs])

    def copied(blob: Descriptor) -> Written:
        title = f"blob {blob.digest[7:19]}"

        def chunks() -> Iterator[bytes]:
            return watched(session, title, blob.size, reader.read_blob(blob.digest, blob.size))

        written = store.write_blob(Blob(title, blob.size, chunks, blob.digest))
        how = "copied" if written.uploaded else "already there or mounted"
        session.reporter.finished(title, f"{how}, {readable(blob.size)}")
        return written

    tasks: list[tuple[int, Callable[[], Written]]] = [(blob.size, partial(copied, blob)) for blob in blobs]
    return {written.digest: written.uploaded for written in run_all(tasks, jobs, session.stop)}
