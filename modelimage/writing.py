"""Writing an image to a store: its blobs, its configuration, its manifest and its tags, in this order."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from modelimage.documents import MANIFEST_TYPE, Descriptor, ImageConfig, write_config, write_manifest
from modelimage.errors import CancelledError, DigestMismatchError, ImageError
from modelimage.images import Image, LayerRecord, Session
from modelimage.machines import PLATFORM
from modelimage.progress import readable
from modelimage.stores import Reader, Store, StoredManifest
from modelimage.streams import Blob, Written, digest_of
from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.reference import Reference, RegistryReference, digest_tag, packed_tag

_T = TypeVar("_T")

DEFAULT_JOBS = min(max(8, os.cpu_count() or 1), 16)
"""Layers under way at once. A distant registry, and the hub, limit each stream: 1 GiB in 8 layers at 100 MB/s a stream
took 11.9, 6.5, 3.7 and 2.6 s with 1, 2, 4 and 8, on two cores; without that limit, 2.2 s with 4 and with 8, and 8 MB
more of memory (bench/image). Peers take 3 to 6, huggingface_hub 8. More than eight need more cores to hash for; sixteen
hash more than a network of 100 Gbit/s carries."""
_INTERRUPT_SECONDS = 5.0  # a layer under way ends at its next chunk; one that hangs is not waited for


@dataclass(frozen=True)
class Beside:
    """An artifact over the same blobs: what it is called beside its image, its configuration and its manifest."""

    name: str
    config: Blob
    manifest: StoredManifest


@dataclass(frozen=True)
class Documents:
    """What makes blobs an image: its manifest, and the blobs that it names and that are none of the draft's parts.

    `layers` are what a node downloads of it; `beside` gets its name before the image does.
    """

    manifest: StoredManifest
    layers: Sequence[Descriptor]
    blobs: Sequence[Blob] = ()
    beside: Beside | None = None

    @classmethod
    def composed(
        cls,
        base: ImageConfig | None,
        below: Sequence[Descriptor],
        own: Sequence[tuple[Descriptor, str]],
        annotations: Mapping[str, str],
        platform: str = PLATFORM,
    ) -> "Documents":
        """The documents of a new image for a platform: `own` layers, with what each holds, upon those of a base."""
        layers = [*below, *(layer for layer, _ in own)]
        config = write_config(base, [(layer.digest, holds) for layer, holds in own], platform)
        content = write_manifest(config, layers, annotations)
        manifest = StoredManifest(digest_of(content), MANIFEST_TYPE, content)
        return cls(manifest, layers, (Blob.of("the image's configuration", config),))


@dataclass(frozen=True, eq=False)
class Chain:
    """Parts that are stored one after the other, since their content is one stream; `finish` is called after them."""

    finish: Callable[[], None]


@dataclass(frozen=True)
class Part:
    """A blob of an image; `put` stores it, where there is more to that than `Store.write_blob`.

    `key` names what a blob is made of whose digest is not known beforehand.
    """

    blob: Blob
    put: Callable[[Store, Blob], Written] = lambda store, blob: store.write_blob(blob)
    chain: Chain | None = None
    key: str = ""

    @classmethod
    def existing(cls, kind: str, reader: Reader, blob: Descriptor) -> "Part":
        """A blob that is in another store."""
        title = f"{kind} {blob.digest[7:19]}"
        return cls(Blob(title, blob.size, partial(reader.read_blob, blob.digest, blob.size), blob.digest), _put_afresh)


def _put_afresh(store: Store, blob: Blob) -> Written:
    """Store a blob whose digest is sure: a transfer that damaged it is repeated once."""
    try:
        return store.write_blob(blob)
    except DigestMismatchError:
        return store.write_blob(blob)


def _stored(blob: Blob, written: Written) -> str:
    return f"{'stored' if written.uploaded else 'already there'}, {readable(blob.size)}, {written.digest}"


@dataclass(frozen=True)
class Draft:
    """An image that is to be written.

    Attributes:
        finish: makes the documents of what the parts have become.
        parts: blobs, stored several at a time.
        children: the images that an index names.
        verify: raises ImageError when the parts are no longer worth their name; asked last.
        told: what to report of a part that is stored.
    """

    finish: Callable[[list[Written]], Documents]
    parts: Sequence[Part] = ()
    children: Sequence["Draft"] = ()
    verify: Callable[[], None] = lambda: None
    told: Callable[[Blob, Written], str] = _stored


def tags_by_digest(place: Reference, digest: str, ending: str = "") -> tuple[str, ...]:
    """The tag that spells a digest, which cleanup policies keep, and the one that was asked for."""
    if not isinstance(place, RegistryReference):
        return ()
    return (digest_tag(digest), *([f"{place.tag}{ending}"] if place.tag else []))


def tags_of_packed(place: Reference, digest: str) -> tuple[str, ...]:
    """Those of `tags_by_digest`, and the one that says that the image was packed there and not copied there."""
    by_digest, own = tags_by_digest(place, digest)[:1], tags_by_digest(place, digest)[1:]
    return (*by_digest, packed_tag(digest), *own)


def write(
    session: Session,
    store: Store,
    place: Reference,
    draft: Draft,
    jobs: int = DEFAULT_JOBS,
    *,
    tags_of: Callable[[Reference, str], tuple[str, ...]] = tags_by_digest,
) -> Image:
    """Write an image, `jobs` blobs at a time; in a registry it gets the tag of its digest and the one asked for.

    What is no image of its own has other tags: `tags_of` gives them for its place and digest.

    Raises:
        CancelledError: the run was stopped.
        ImageError: storing failed for good; nothing that was left behind looks like an image.
    """
    documents, moved = _content(session, store, place, draft, jobs)
    digest = documents.manifest.digest
    if beside := documents.beside:
        store.write_blob(beside.config)
        # Whatever can fail fails before the image has a name.
        store.write_child(documents.manifest)
        tags = tags_by_digest(place, beside.manifest.digest, f"-{beside.name}")
        store.write_beside(beside.manifest, beside.name, tags)
    store.write_manifest(documents.manifest, tags_of(place, digest))
    layers = [LayerRecord(layer.digest, layer.size, layer.digest in moved) for layer in documents.layers]
    image = Image(digest, str(place.at(digest)), sum(layer.size_bytes for layer in layers), tuple(layers))
    return replace(image, modelpack=str(place.at(beside.manifest.digest))) if beside else image


def write_packed(session: Session, store: Store, place: Reference, draft: Draft, jobs: int) -> Image:
    """Write an image whose layers this program has made itself, as `write` does, and mark it as such."""
    return write(session, store, place, draft, jobs, tags_of=tags_of_packed)


def _content(session: Session, store: Store, place: Reference, draft: Draft, jobs: int) -> tuple[Documents, set[str]]:
    """Write all but the manifest, and return it with the digests of the blobs that were moved."""
    moved: set[str] = set()
    for child in draft.children:
        documents, more = _content(session, store, place, child, jobs)
        store.write_child(documents.manifest)
        moved |= more
    written: list[Written] = []
    if draft.parts:
        store.prepare([(part.blob.digest, part.blob.size) for part in draft.parts])
        tasks = [
            (sum(part.blob.size for _, part in run), partial(_put_all, session, store, place, draft, run))
            for run in runs(draft.parts)
        ]
        done = dict(pair for pairs in run_all(tasks, jobs, session.stop) for pair in pairs)
        written = [done[number] for number in range(len(draft.parts))]
    documents = draft.finish(written)
    of_layers = {layer.digest for layer in documents.layers}
    for blob in documents.blobs:
        last = store.write_blob(blob)
        if last.digest in of_layers:
            _seen(session, place, last)
            moved |= {last.digest} if last.uploaded else set()
    draft.verify()
    if session.stop.is_set():
        raise CancelledError("stopped before the image got its name")
    return documents, moved | {done.digest for done in written if done.uploaded}


_Run = list[tuple[int, Part]]


def runs(parts: Sequence[Part]) -> list[_Run]:
    """The parts, numbered, with those of one chain together."""
    found: dict[Chain | int, _Run] = {}
    for number, part in enumerate(parts):
        found.setdefault(number if part.chain is None else part.chain, []).append((number, part))
    return list(found.values())


def _put_all(session: Session, store: Store, place: Reference, draft: Draft, run: _Run) -> list[tuple[int, Written]]:
    done = [(number, put_part(session, store, place, part, draft.told)) for number, part in run]
    if run[0][1].chain:
        run[0][1].chain.finish()
    return done


def watched(session: Session, blob: Blob) -> Blob:
    """The same blob, of which each reading is reported and ends when the run is stopped."""

    def chunks() -> Iterator[bytes]:
        session.reporter.started(blob.title, blob.size)
        for chunk in blob.chunks():
            if session.stop.is_set():
                raise CancelledError(f"{blob.title}: stopped")
            yield chunk
            session.reporter.advanced(blob.title, len(chunk))

    return replace(blob, chunks=chunks)


def put_part(
    session: Session, store: Store, place: Reference, part: Part, told: Callable[[Blob, Written], str]
) -> Written:
    """Store one part, and report its way and what became of it."""
    blob = part.blob
    written = part.put(store, watched(session, blob))
    _seen(session, place, written)
    session.reporter.finished(blob.title, told(blob, written))
    return written


def _seen(session: Session, place: Reference, written: Written) -> None:
    if isinstance(place, RegistryReference):
        session.cache.seen_in(place.name, written.digest)


def run_all(tasks: Sequence[tuple[int, Callable[[], _T]]], jobs: int, stop: threading.Event) -> list[_T]:
    """Run tasks (size in bytes, what to do), `jobs` at a time, the largest first; results come in the given order.

    The first failure stops the others; a KeyboardInterrupt stops all, and after a few seconds is passed on even while
    a task hangs in a read. The interpreter would wait for that task at its exit: a caller leaves by `os._exit`.

    Raises:
        ImageError: what failed, all of it.
    """

    def run(task: Callable[[], _T]) -> _T:
        try:
            return task()
        except BaseException:
            stop.set()  # at once: the next task of this thread must not begin
            raise

    order = sorted(range(len(tasks)), key=lambda number: -tasks[number][0])
    futures: dict[int, Future[_T]] = {}
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
    if bad := [error for error in real if not isinstance(error, OmsError)]:
        raise bad[0]
    if len(real) > 1:
        kind = InputError if all(isinstance(error, InputError) for error in real) else ImageError
        raise kind("\n".join(dict.fromkeys(str(error) for error in real)))
    if errors:
        raise (real or errors)[0]
    return [futures[number].result() for number in range(len(tasks))]
