"""Packing: a source's files become layers, each tarred, hashed and stored in one pass, several at a time."""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from modelimage.cache import LayerCache
from modelimage.convert import converted
from modelimage.documents import LAYER_TYPE, Descriptor, ImageConfig, as_oci
from modelimage.errors import CancelledError, DigestMismatchError, ImageError, collecting
from modelimage.images import SCRATCH, Image, Session, load_image, parse_base, parse_destination
from modelimage.layers import Layer, notes_on, plan_layers
from modelimage.origins import open_source
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter
from modelimage.reshard import ShardSize
from modelimage.source import Selection, Source, Whole
from modelimage.stores import Reader, Store
from modelimage.streams import Blob, HashedPass, Written
from modelimage.traits import traits_of
from modelimage.writing import DEFAULT_JOBS, Chain, Documents, Draft, Part, write
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
    pickle: bool = False,
    convert: bool = False,
    adapter: bool = False,
    shard_gb: ShardSize = "auto",
    cache: Path | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
    stop: threading.Event | None = None,
) -> Image:
    """Pack the weights of `source` as one image at `destination` and return it.

    `source` is a folder, `hf://org/name@<commit>` or `gs://bucket/prefix`; `destination` is `oci:FOLDER` or
    `HOST/REPO` with or without a tag; `base` is `scratch` or an image by digest. `jobs` layers are under way
    at once, each with a few MB of memory. `allow`, `ignore`, `pickle`, `convert` and `adapter` are Selection's.
    `shard_gb` says which weight files are cut, and how small (`reshard.resharded`). `cache` is the folder that
    remembers digests (default: below the XDG cache folder); setting `stop` ends the run early.

    In a registry the image also gets the tag `digest-sha256-<hex>`; manifest and tags are written when all else is
    there.

    Raises:
        InputError: the arguments or the source cannot make an image; all problems at once.
        ImageError: reading or storing failed for good; nothing that was left behind looks like an image.
    """
    selection = Selection(tuple(allow), tuple(ignore), pickle=pickle, convert=convert, adapter=adapter)
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
    return pack_source(session, listed, place, parsed_base, jobs=jobs, shard_gb=shard_gb)


def pack_source(
    session: Session,
    listed: Source,
    place: Reference,
    parsed_base: tuple[Reference, str] | None,
    *,
    jobs: int,
    shard_gb: ShardSize,
) -> Image:
    """Pack a source that is listed and accepted, upon a base by digest or none."""
    for note in listed.notes:
        session.reporter.note(f"note: {note}")
    with ExitStack() as stack:
        listed = stack.enter_context(converted(listed, session.cache.folder, session.reporter, session.stop))
        below = _Base()
        if parsed_base is not None:
            reference, digest = parsed_base
            below = _open_base(stack.enter_context(session.reading(reference, place)), reference, digest)
        layers = plan_layers(listed.files, base_layers=len(below.layers), shard_gb=shard_gb)
        for note in notes_on(layers, base_layers=len(below.layers)):
            session.reporter.note(f"note: {note}")
        store = stack.enter_context(session.writing(place))
        if below.repository:
            for layer in below.layers:
                session.cache.seen_in(below.repository, layer.digest)
        written = write(session, store, place, _draft(session, listed, below, layers), jobs)
        # Of the layers: a GGUF that is cut has other names than its source's.
        return replace(written, traits=traits_of(file for layer in layers for file in layer.files))


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


def _draft(session: Session, source: Source, base: _Base, layers: Sequence[Layer]) -> Draft:
    cache = session.cache

    def passed(_: bytes) -> None:
        if session.stop.is_set():
            raise CancelledError("stopped while a file's checksum was made")

    def finish(written: list[Written]) -> Documents:
        own = [
            (Descriptor(mediaType=LAYER_TYPE, digest=done.digest, size=layer.size), layer.title)
            for done, layer in zip(written[len(base.layers) :], layers, strict=True)
        ]
        return Documents.composed(base.config, base.layers, own, {**base.annotations, **source.annotations})

    chains: dict[Whole, Chain] = {}
    own: list[Part] = []
    for layer in layers:
        whole = layer.part_of
        chained = whole is not None and whole.file.checksum is not None
        if whole is not None and chained and whole not in chains:
            whole.checking = not cache.is_checked(whole.file.identity)
            whole.passed = passed
            chains[whole] = Chain(partial(_finish, cache, whole))
        put = partial(_put_part if chained else _put, cache, layer)
        blob = Blob(layer.title, layer.size, layer.chunks, cache.digest_of(layer))
        own.append(Part(blob, put, chains[whole] if whole is not None and chained else None))
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


def _put_part(cache: LayerCache, layer: Layer, store: Store, blob: Blob) -> Written:
    """Store a part of a file whose checksum covers the whole: it is remembered before the whole could be checked.

    What an earlier run remembered and did not live to check is read again, so that it is in the check of this run, but
    not sent again.
    """
    whole = layer.part_of
    if whole is None:
        return _put(cache, layer, store, blob)
    if blob.digest:
        with suppress(DigestMismatchError):
            if not whole.checking:
                return store.write_blob(blob)
            if store.has_blob(blob.digest, blob.size) and _digest_now(blob) == blob.digest:
                return Written(blob.digest, uploaded=False)
        cache.forget(layer)
    whole.checking = True
    cache.unchecked(whole.file.identity)
    return _put(cache, layer, store, replace(blob, digest=None))


def _digest_now(blob: Blob) -> str:
    again = HashedPass(blob)
    deque(again, maxlen=0)
    return again.digest


def _finish(cache: LayerCache, whole: Whole) -> None:
    if whole.checking:
        whole.verify()
        cache.checked(whole.file.identity)
