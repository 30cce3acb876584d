"""Packing: a source's files become layers, each tarred, hashed and stored in one pass, several at a time."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from modelimage.cache import LayerCache
from modelimage.documents import LAYER_TYPE, Descriptor, ImageConfig, as_oci
from modelimage.errors import DigestMismatchError, ImageError, collecting
from modelimage.images import SCRATCH, Image, Session, load_image, parse_base, parse_destination
from modelimage.layers import Layer, plan_layers
from modelimage.origins import open_source
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter
from modelimage.source import Selection, Source
from modelimage.stores import Reader, Store
from modelimage.streams import Blob, Written
from modelimage.writing import DEFAULT_JOBS, Documents, Draft, Part, write
from oci_model_serving.errors import InputError
from oci_model_serving.reference import Reference, RegistryReference


def pack(
    source: str,
    destination: str,
    *,
    base: str = SCRATCH,
    jobs: int = DEFAULT_JOBS,
    allow: Sequence[str] = (),
    ignore: Sequence[str] = (),
    cache: Path | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
    stop: threading.Event | None = None,
) -> Image:
    """Pack the weights of `source` as one image at `destination` and return it.

    `source` is a folder, `hf://org/name@<commit>` or `gs://bucket/prefix`; `destination` is `oci:FOLDER` or
    `HOST/REPO` with or without a tag; `base` is `scratch` or an image by digest. `jobs` layers are under way
    at once, each with a few MB of memory. `allow` and `ignore` are shell patterns. `cache` is the folder that
    remembers digests (default: below the XDG cache folder); setting `stop` ends the run early.

    In a registry the image also gets the tag `sha256-<hex>`; manifest and tags are written when all else is there.

    Raises:
        InputError: the arguments or the source cannot make an image; all problems at once.
        ImageError: reading or storing failed for good; nothing that was left behind looks like an image.
    """
    selection = Selection(tuple(allow), tuple(ignore))
    session = Session.start(reporter, policy, cache, stop)
    problems = [] if jobs >= 1 else [f"--jobs is {jobs}: give 1 or more"]
    place: Reference | None = None
    parsed_base: tuple[Reference, str] | None = None
    listed: Source | None = None
    with collecting(problems):
        place = parse_destination(destination)
    with collecting(problems):
        parsed_base = parse_base(base)
    with collecting(problems):
        listed = open_source(source, selection, session.patience)
    if problems or place is None or listed is None:
        raise InputError(*problems)
    for note in listed.notes:
        session.reporter.note(f"note: {note}")
    with ExitStack() as stack:
        below = _Base()
        if parsed_base is not None:
            reference, digest = parsed_base
            below = _open_base(stack.enter_context(session.reading(reference, place)), reference, digest)
        layers = plan_layers(listed.files, base_layers=len(below.layers))
        store = stack.enter_context(session.writing(place))
        if below.repository:
            for layer in below.layers:
                session.cache.seen_in(below.repository, layer.digest)
        return write(session, store, place, _draft(session.cache, listed, below, layers), jobs)


@dataclass(frozen=True)
class _Base:
    """What the new layers lie upon; the defaults are `scratch`."""

    layers: tuple[Descriptor, ...] = ()
    parts: tuple[Part, ...] = ()
    config: ImageConfig | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    repository: str | None = None


def _open_base(reader: Reader, reference: Reference, digest: str) -> _Base:
    image = load_image(reader, digest, f"--base {reference}")
    if len(image.config.diff_ids) != len(image.manifest.layers):
        raise ImageError(f"--base {reference}: its configuration does not fit its layers: give another image")
    annotations = {"org.opencontainers.image.base.digest": image.digest}
    repository = None
    if isinstance(reference, RegistryReference):
        annotations["org.opencontainers.image.base.name"] = reference.name
        repository = reference.name
    # A layout's path differs from machine to machine and would change the digest: only its digest is noted.
    layers = tuple(as_oci(layer) for layer in image.manifest.layers)
    parts = tuple(Part.existing("base layer", reader, layer) for layer in layers)
    return _Base(layers, parts, image.config, annotations, repository)


def _draft(cache: LayerCache, source: Source, base: _Base, layers: Sequence[Layer]) -> Draft:
    def finish(written: list[Written]) -> Documents:
        own = [
            (Descriptor(mediaType=LAYER_TYPE, digest=done.digest, size=layer.size), layer.title)
            for done, layer in zip(written[len(base.layers) :], layers, strict=True)
        ]
        return Documents.composed(base.config, base.layers, own, {**base.annotations, **source.annotations})

    own = [
        Part(Blob(layer.title, layer.size, layer.chunks, cache.digest_of(layer)), partial(_put, cache, layer))
        for layer in layers
    ]
    return Draft(finish, [*base.parts, *own], verify=source.verify)


def _put(cache: LayerCache, layer: Layer, store: Store, blob: Blob) -> Written:
    """Store a layer by its remembered digest where that holds; else hash it on its way and remember what it has."""
    if blob.digest:
        try:
            return store.write_blob(blob)
        except DigestMismatchError:
            cache.forget(layer)
    since = time.time()
    written = store.write_blob(replace(blob, digest=None))
    cache.remember(layer, written.digest, since)
    return written
