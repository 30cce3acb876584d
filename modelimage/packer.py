"""Packing: a source's files become layers, each tarred, hashed and stored in one pass, several at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from modelimage.documents import (
    LAYER_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    ImageConfig,
    as_oci,
    write_config,
    write_manifest,
)
from modelimage.errors import BadInputError, CancelledError, DigestMismatchError, ImageError
from modelimage.images import SCRATCH, Image, LayerRecord, Session, load_image, parse_base
from modelimage.layers import Layer, plan_layers
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter, readable
from modelimage.references import LayoutReference, Reference, RegistryReference, digest_tag, parse
from modelimage.sources import Selection, Source, open_source
from modelimage.stores import Reader, Store, StoredManifest
from modelimage.streams import Blob, Written, digest_of

DEFAULT_JOBS = 4
_INTERRUPT_SECONDS = 5.0  # a layer under way ends at its next chunk; one that hangs is not waited for


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
    """Pack the weights of ``source`` as one image at ``destination`` and return it.

    ``source`` is a folder, ``hf://org/name@<commit>`` or ``gs://bucket/prefix``; ``destination`` is ``oci:FOLDER`` or
    ``HOST/REPO`` with or without a tag; ``base`` is ``scratch`` or an image by digest. ``jobs`` layers are under way
    at once, each with a few MB of memory. ``allow`` and ``ignore`` are shell patterns. ``cache`` is the folder that
    remembers digests (default: below the XDG cache folder); setting ``stop`` ends the run early.

    In a registry the image also gets the tag ``sha256-<hex>``; manifest and tags are written when all else is there.

    Raises:
        BadInputError: the arguments or the source cannot make an image; all problems at once.
        ImageError: reading or storing failed for good; nothing that was left behind looks like an image.
    """
    selection = Selection(tuple(allow), tuple(ignore))
    session = Session.start(reporter, policy, cache, stop)
    problems = [] if jobs >= 1 else [f"--jobs is {jobs}: give 1 or more"]
    place: Reference | None = None
    parsed_base: tuple[Reference, str] | None = None
    listed: Source | None = None
    with _collecting(problems):
        place = parse_destination(destination)
    with _collecting(problems):
        parsed_base = parse_base(base)
    with _collecting(problems):
        listed = open_source(source, selection, session.patience)
    if problems or place is None or listed is None:
        raise BadInputError(*problems)
    for note in listed.notes:
        session.reporter.note(f"note: {note}")
    with ExitStack() as stack:
        base_image = _Base()
        if parsed_base is not None:
            base_reference, base_digest = parsed_base
            own = isinstance(base_reference, RegistryReference) and _same_host(base_reference, place)
            reader = stack.enter_context(session.reading(base_reference, own=own))
            base_image = _open_base(reader, base_reference, base_digest)
        layers = plan_layers(listed.files, base_layers=len(base_image.layers))
        store = stack.enter_context(session.writing(place))
        packing = _Packing(session, source=listed, base=base_image, layers=layers, place=place, store=store)
        return packing.run(jobs)


@contextmanager
def _collecting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except BadInputError as error:
        problems.extend(error.problems)


def parse_destination(text: str) -> Reference:
    """Read where an image is to go: ``oci:FOLDER``, ``HOST/REPO:TAG`` or ``HOST/REPO``.

    Raises:
        BadInputError: it is neither, or names a digest, which only packing can tell.
    """
    place = parse(text)
    if place.digest is not None:
        raise BadInputError(f"{text!r}: a destination has no digest yet: write oci:FOLDER, HOST/REPO:TAG or HOST/REPO")
    return place


def _same_host(one: RegistryReference, other: Reference) -> bool:
    return isinstance(other, RegistryReference) and one.host == other.host


def _nothing_to_read(layer: Descriptor) -> Iterator[bytes]:
    raise ImageError(f"{layer.digest}: scratch has no layers")


@dataclass(frozen=True)
class _Base:
    """What the new layers lie upon; the defaults are ``scratch``."""

    layers: tuple[Descriptor, ...] = ()
    config: ImageConfig | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[Descriptor], Iterator[bytes]] = _nothing_to_read
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
    return _Base(
        tuple(as_oci(layer) for layer in image.manifest.layers),
        image.config,
        annotations,
        lambda layer: reader.read_blob(layer.digest, layer.size),
        repository,
    )


class _Packing:
    """One run: stores the layers, then the configuration, then the manifest and its tags."""

    def __init__(
        self, session: Session, *, source: Source, base: _Base, layers: list[Layer], place: Reference, store: Store
    ) -> None:
        self._session, self._source, self._base = session, source, base
        self._layers, self._place, self._store = layers, place, store
        self._repository = place.name if isinstance(place, RegistryReference) else None

    def run(self, jobs: int) -> Image:
        session, cache = self._session, self._session.cache
        known = [cache.digest_of(layer) for layer in self._layers]
        expected: list[tuple[str | None, int]] = [(layer.digest, layer.size) for layer in self._base.layers]
        expected += [(digest, layer.size) for digest, layer in zip(known, self._layers, strict=True)]
        self._store.prepare(expected)
        if self._base.repository:
            for descriptor in self._base.layers:
                cache.seen_in(self._base.repository, descriptor.digest)
        tasks: list[tuple[int, Callable[[], Written]]] = [
            (layer.size, partial(self._store_base_layer, layer)) for layer in self._base.layers
        ]
        tasks += [
            (layer.size, partial(self._store_layer, layer, digest))
            for layer, digest in zip(self._layers, known, strict=True)
        ]
        written = run_all(tasks, jobs, session.stop)
        return self._finish(written)

    def _store_base_layer(self, layer: Descriptor) -> Written:
        read = self._base.read
        title = f"base layer {layer.digest[7:19]}"
        blob = Blob(title, layer.size, lambda: self._watched(title, layer.size, read(layer)), layer.digest)
        return self._told(title, layer.size, self._store.write_blob(blob))

    def _store_layer(self, layer: Layer, known: str | None) -> Written:
        def chunks() -> Iterator[bytes]:
            return self._watched(layer.title, layer.size, layer.chunks())

        written = None
        if known:
            try:
                written = self._store.write_blob(Blob(layer.title, layer.size, chunks, known))
            except DigestMismatchError:
                self._session.cache.forget(layer)
        if written is None:
            since = time.time()
            written = self._store.write_blob(Blob(layer.title, layer.size, chunks))
            self._session.cache.remember(layer, written.digest, since)
        return self._told(layer.title, layer.size, written)

    def _watched(self, title: str, size: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
        return watched(self._session, title, size, chunks)

    def _told(self, title: str, size: int, written: Written) -> Written:
        if self._repository:
            self._session.cache.seen_in(self._repository, written.digest)
        how = "stored" if written.uploaded else "already there"
        self._session.reporter.finished(title, f"{how}, {readable(size)}, {written.digest}")
        return written

    def _finish(self, written: list[Written]) -> Image:
        descriptors = list(self._base.layers)
        descriptors += [
            Descriptor(mediaType=LAYER_TYPE, digest=done.digest, size=layer.size)
            for done, layer in zip(written[len(self._base.layers) :], self._layers, strict=True)
        ]
        own = descriptors[len(self._base.layers) :]
        config = write_config(
            self._base.config, [(d.digest, layer.title) for d, layer in zip(own, self._layers, strict=True)]
        )
        config_blob = Blob.of("the image's configuration", config)
        self._store.write_blob(config_blob)
        annotations = {**self._base.annotations, **self._source.annotations}
        content = write_manifest(config, digest_of(config), descriptors, annotations)
        manifest = StoredManifest(digest_of(content), MANIFEST_TYPE, content)
        self._source.verify()
        if self._session.stop.is_set():
            raise CancelledError("stopped before the image got its name")
        self._store.write_manifest(manifest, destination_tags(self._place, manifest.digest))
        return Image(
            manifest.digest,
            str(self._place.at(manifest.digest)),
            sum(descriptor.size for descriptor in descriptors),
            tuple(LayerRecord(d.digest, d.size, w.uploaded) for d, w in zip(descriptors, written, strict=True)),
        )


def destination_tags(place: Reference, digest: str) -> tuple[str, ...]:
    """Return the tags that an image gets at ``place``: the one that spells its digest, then the one asked for."""
    if isinstance(place, LayoutReference):
        return ()
    return (digest_tag(digest), *([place.tag] if place.tag else []))


def watched(session: Session, title: str, size: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass chunks on, report them, and end the pass when the run is stopped.

    Raises:
        CancelledError: the run was stopped.
    """
    session.reporter.started(title, size)
    for chunk in chunks:
        if session.stop.is_set():
            raise CancelledError(f"{title}: stopped")
        yield chunk
        session.reporter.advanced(title, len(chunk))


def run_all(tasks: list[tuple[int, Callable[[], Written]]], jobs: int, stop: threading.Event) -> list[Written]:
    """Run tasks (size in bytes, what to do), ``jobs`` at a time, the largest first; results come in the given order.

    The first failure stops the others; a KeyboardInterrupt stops all, and after a few seconds is passed on even while
    a task hangs in a read. The interpreter would wait for that task at its exit: a caller leaves by ``os._exit``.

    Raises:
        ImageError: what failed, all of it.
    """

    def run(task: Callable[[], Written]) -> Written:
        try:
            return task()
        except BaseException:
            stop.set()  # at once: the next task of this thread must not begin
            raise

    order = sorted(range(len(tasks)), key=lambda number: -tasks[number][0])
    futures: dict[int, Future[Written]] = {}
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="layer")
    try:
        for number in order:
            futures[number] = pool.submit(run, tasks[number][1])
        wait(futures.values(), return_when=FIRST_EXCEPTION)
        pool.shutdown(wait=True, cancel_futures=stop.is_set())
    except BaseException:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in futures.values() if not future.cancelled()], timeout=_INTERRUPT_SECONDS)
        raise
    errors = [error for future in futures.values() if not future.cancelled() and (error := future.exception())]
    real = [error for error in errors if not isinstance(error, CancelledError)]
    if bad := [error for error in real if not isinstance(error, ImageError)]:
        raise bad[0]
    if len(real) > 1:
        kind = BadInputError if all(isinstance(error, BadInputError) for error in real) else ImageError
        raise kind("\n".join(dict.fromkeys(str(error) for error in real)))
    if errors:
        raise (real or errors)[0]
    return [futures[number].result() for number in range(len(tasks))]
