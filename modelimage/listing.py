"""Listing an image's files from a store: the headers of its layers, in a few kilobytes each.

An uncompressed layer is asked for in ranges, from one header to the next, so that weights are passed over unread. A
compressed one, or one of a store that knows no ranges, is read as a stream up to a bound. Where a bound is reached the
list says that it is not complete: it never answers for what it has not seen.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from modelimage.archives import ArchiveError, Header, Kind, Stream, UnreadableError, headers
from modelimage.documents import Descriptor
from modelimage.inflating import Inflated
from modelimage.rootfs import Content, Contents, LayerFiles
from modelimage.stores import BlobReader
from modelimage.weights import is_weights
from modelimage.writing import run_all

CONFIG_NAME = "config.json"
ADAPTER_CONFIG_NAME = "adapter_config.json"
_HEAD_BYTES = 64
"""How much of a weights file is looked at: the magic bytes of every format are at its beginning."""
_CONFIG_LIMIT_BYTES = 1 << 20
_AT_ONCE = 4
_WINDOW_BYTES = 16 << 10
_LONGEST_WINDOW_BYTES = 4 << 20
_PADDING_BYTES = 511  # an archive may end without the padding of its last file


@dataclass
class Bounds:
    """What one listing may cost.

    Attributes:
        seconds: time in all.
        stream_bytes: how much of a layer is read that must be read from its beginning, as it is stored.
        plain_bytes: how much that may inflate to.
        entries: entries of all layers.
        name_bytes: their names.
        head_bytes: what is kept of their content.
    """

    seconds: float = 60.0
    stream_bytes: int = 256 << 20
    plain_bytes: int = 1 << 30
    entries: int = 100_000
    name_bytes: int = 16 << 20
    head_bytes: int = 64 << 20
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def started(self) -> "Bounds":
        """A copy to count down, whose `seconds` are the time at which it ends."""
        return replace(self, seconds=time.monotonic() + self.seconds, _lock=threading.Lock())

    def spend(self, header: Header) -> None:
        """Count an entry.

        Raises:
            UnreadableError: it is one too many, or too late.
        """
        with self._lock:
            self.entries -= 1
            self.name_bytes -= len(header.path) + len(header.target)
        if self.entries < 0 or self.name_bytes < 0:
            raise UnreadableError("the image has more files than are listed")
        self.check_time()

    def head(self, wanted: int) -> int:
        """How much of an entry's content may be kept."""
        with self._lock:
            given = min(wanted, self.head_bytes)
            self.head_bytes -= given
        return given

    def check_time(self) -> None:
        """See that there is time left.

        Raises:
            UnreadableError: there is none.
        """
        if time.monotonic() > self.seconds:
            raise UnreadableError("reading it takes too long")


def list_files(
    store: BlobReader,
    layers: Sequence[Descriptor],
    *,
    bounds: Bounds | None = None,
    head: Callable[[Header], int] | None = None,
    stop: threading.Event | None = None,
) -> Contents:
    """List what the layers hold together; of each entry the first `head` bytes are kept (default: what tells formats).

    Raises:
        ImageError: the store cannot be read.
    """
    left = (bounds or Bounds()).started()
    tasks = [(0, partial(read_layer, store, *numbered, left, head or head_bytes)) for numbered in enumerate(layers)]
    contents = Contents()
    for layer, found in zip(layers, run_all(tasks, _AT_ONCE, stop or threading.Event()), strict=True):
        contents.add(found.entries)
        if found.damaged:
            contents.damaged.append(f"layer {layer.digest}: {found.damaged}")
        elif found.unread:
            contents.unread.append(f"layer {layer.digest[:19]}: {found.unread}")
    return contents


def read_layer(
    store: BlobReader, number: int, layer: Descriptor, left: Bounds, head: Callable[[Header], int]
) -> LayerFiles:
    """List what one layer holds, the image's `number`-th, within bounds that were started.

    Raises:
        ImageError: the store cannot be read.
    """
    entries: list[tuple[Header, Content]] = []
    try:
        left.check_time()
        stream = open_stream(store, layer, left)
        for header in headers(stream):
            left.spend(header)
            start = stream.position
            entries.append((header, Content(number, start, header.size, stream.read(left.head(head(header))))))
    except UnreadableError as error:
        return LayerFiles(tuple(entries), unread=str(error))
    except ArchiveError as error:
        return LayerFiles(tuple(entries), damaged=str(error))
    return LayerFiles(tuple(entries))


def head_bytes(header: Header) -> int:
    """How much of an entry's beginning tells what it is."""
    if header.kind is not Kind.FILE:
        return 0
    name = header.path.rsplit("/", 1)[-1]
    if name in {CONFIG_NAME, ADAPTER_CONFIG_NAME} and header.size <= _CONFIG_LIMIT_BYTES:
        return header.size
    return min(header.size, _HEAD_BYTES) if is_weights(header.path) else 0


def is_gzip(media_type: str) -> bool:
    """Whether a layer is a compressed archive that is read here, by its type."""
    return media_type.endswith(("gzip", "tgz"))


def open_stream(store: BlobReader, layer: Descriptor, left: Bounds) -> Stream:
    """A layer's plain bytes, to be read forwards.

    Raises:
        UnreadableError: it is compressed in a way that is not read here.
    """
    if layer.media_type.endswith("tar"):
        first = store.read_range(layer.digest, layer.size, 0, min(_WINDOW_BYTES, layer.size))
        if first is not None:
            return _Ranges(store, layer, first, left)
        return Passing(store.read_blob(layer.digest, layer.size), left.stream_bytes, left)
    if is_gzip(layer.media_type):
        stored = _bounded(store.read_blob(layer.digest, layer.size), left)
        return Passing(iter(Inflated(stored)), left.plain_bytes, left)
    raise UnreadableError(f"its type {layer.media_type[-60:]!r} is not read here")


def _bounded(chunks: Iterator[bytes], left: Bounds) -> Iterator[bytes]:
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        if seen > left.stream_bytes:
            raise UnreadableError(f"it is compressed, and its first {left.stream_bytes >> 20} MiB are all that is read")
        left.check_time()
        yield chunk


class _Ranges:
    """A blob read in ranges: what is skipped is not asked for."""

    def __init__(self, store: BlobReader, layer: Descriptor, first: bytes, left: Bounds) -> None:
        self.position = 0
        self._store, self._layer, self._left = store, layer, left
        self._start, self._held = 0, first
        self._window = _WINDOW_BYTES

    def read(self, count: int) -> bytes:
        """As `Stream.read`."""
        count = min(count, self._layer.size - self.position)
        end = self.position + count
        if not (self._start <= self.position and end <= self._start + len(self._held)):
            self._fetch(end)
        data = self._held[self.position - self._start : end - self._start]
        self.position += len(data)
        return data

    def _fetch(self, end: int) -> None:
        self._left.check_time()
        # Small files one after the other are worth a longer look each time; a large one is jumped over.
        near = self.position - (self._start + len(self._held)) < self._window
        self._window = min(self._window * 2, _LONGEST_WINDOW_BYTES) if near else _WINDOW_BYTES
        end = min(max(end, self.position + self._window), self._layer.size)
        fetched = self._store.read_range(self._layer.digest, self._layer.size, self.position, end)
        if fetched is None:
            raise UnreadableError("the registry gave a range once and refuses another")
        self._start, self._held = self.position, fetched

    def skip(self, count: int) -> None:
        """As `Stream.skip`."""
        if self.position + count > self._layer.size + _PADDING_BYTES:
            raise ArchiveError("it is cut short")
        self.position = min(self.position + count, self._layer.size)


class Passing:
    """A stream of which what is skipped passes by, up to a bound."""

    def __init__(self, chunks: Iterator[bytes], limit: int, left: Bounds) -> None:
        self.position = 0
        self._chunks, self._limit, self._left = chunks, limit, left
        self._held = memoryview(b"")

    def read(self, count: int) -> bytes:
        """As `Stream.read`."""
        taken = bytearray()
        while len(taken) < count and self._more():
            piece = self._held[: count - len(taken)]
            taken += piece
            self._held = self._held[len(piece) :]
        self.position += len(taken)
        return bytes(taken)

    def skip(self, count: int) -> None:
        """As `Stream.skip`."""
        while count > 0 and self._more():
            passed = min(count, len(self._held))
            self._held = self._held[passed:]
            self.position += passed
            count -= passed
        if count > _PADDING_BYTES:
            raise ArchiveError("it is cut short")

    def _more(self) -> bool:
        if not self._held:
            if self.position > self._limit:
                raise UnreadableError(f"its first {self._limit >> 20} MiB are all that is read")
            self._left.check_time()
            self._held = memoryview(next(self._chunks, b""))
        return bool(self._held)
