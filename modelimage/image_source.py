"""The files of an image, or of a model's artifact, as something to pack.

Every layer is read once whole and compared with its digest before anything is made of it; meanwhile each file's
SHA-256 is taken. What is small is kept in a temporary file; what is large is read again when it is packed, from its
place in the layer, and compared with the SHA-256 of the first reading. So a store that answers differently the second
time cannot get its bytes into an image.
"""

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import IO

from modelimage.archives import ArchiveError, Header, Kind, UnreadableError, headers
from modelimage.artifacts import is_archive, single_file
from modelimage.documents import Descriptor
from modelimage.errors import CancelledError, DigestMismatchError, ImageError
from modelimage.images import Session
from modelimage.inflating import Checkpoint, Inflated
from modelimage.layers import LARGE_FILE_BYTES
from modelimage.listing import Bounds, Passing, head_bytes, is_gzip
from modelimage.rootfs import Content, Contents, LayerFiles
from modelimage.source import CHUNK_BYTES, SourceFile
from modelimage.stores import Reader
from modelimage.streams import Expected, at_most
from modelimage.weights import is_weights
from modelimage.writing import run_all

_BOUNDS = Bounds(
    seconds=float("inf"), stream_bytes=1 << 50, plain_bytes=1 << 40, entries=2_000_000, name_bytes=256 << 20
)
"""All is read here, so only what no model has is refused."""
_KEPT_BYTES = 16 << 30
_SYSTEM = frozenset({"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr", "var"})
"""Folders of an operating system: their files are not kept; where a model lies there they are read again."""


@dataclass(frozen=True)
class _Place:
    """Where a file's bytes are to be had again: in `kept` at an offset, or in its layer from a checkpoint on."""

    sha256: str
    kept: int | None
    checkpoint: Checkpoint | None


@dataclass
class CheckedImage:
    """An image's layers, read and compared with their digests; `contents` is what they hold together."""

    reader: Reader
    layers: Sequence[Descriptor]
    session: Session
    contents: Contents = field(default_factory=Contents)
    _places: dict[tuple[int, int], _Place] = field(default_factory=dict)
    _kept: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    _kept_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def read(cls, reader: Reader, layers: Sequence[Descriptor], session: Session, jobs: int) -> "CheckedImage":
        """Read all layers, `jobs` at a time.

        Raises:
            DigestMismatchError: a layer is not what its digest says.
            ImageError: a layer cannot be read.
        """
        image = cls(reader, layers, session)
        left = _BOUNDS.started()
        tasks = [(layer.size, partial(image._layer, number, left)) for number, layer in enumerate(layers)]
        for found in run_all(tasks, jobs, session.stop):
            image.contents.add(found.entries)
        return image

    def close(self) -> None:
        """Forget the kept files."""
        self._kept.close()

    def source_file(self, path: str, content: Content) -> SourceFile:
        """A file to be packed as `path`."""
        place = self._places[content.layer, content.offset]
        layer = self.layers[content.layer].digest
        changed = (
            f"{path}: the second reading of layer {layer} gave other bytes than the first, which had its digest: do "
            "not use this registry, or look for what changes data on the way"
        )
        return SourceFile(
            path,
            content.size,
            f"sha256:{place.sha256}",
            partial(self._range, content, place),
            checksum=lambda: Expected(hashlib.sha256(), bytes.fromhex(place.sha256).__eq__, changed),
        )

    def _layer(self, number: int, left: Bounds) -> LayerFiles:
        layer = self.layers[number]
        title = f"layer {layer.digest[7:19]}"
        self.session.reporter.started(title, layer.size)
        reading = _Pass(self, number, title)
        try:
            entries = tuple(reading.entries(left))
        except ArchiveError as error:
            # A damaged transfer also looks like this; its digest tells it apart.
            reading.check()
            raise ImageError(f"{title}: {error}: no container runtime could unpack it: push the image again") from error
        except UnreadableError as error:
            raise ImageError(
                f"{title}: {error}: unpack the image with another tool, and pack the folder with `oms image pack`"
            ) from error
        reading.check()
        self.session.reporter.finished(title, "read and as its digest says")
        return LayerFiles(entries)

    def keep(self, chunks: Iterator[bytes], size: int) -> int:
        """Keep a small file's content; gives where."""
        content = b"".join(chunks)
        with self._lock:
            at, self._kept_bytes = self._kept_bytes, self._kept_bytes + size
            if self._kept_bytes > _KEPT_BYTES:
                raise ImageError(f"the small files alone have more than {_KEPT_BYTES >> 30} GiB: is this a model?")
            try:
                os.pwrite(self._kept.fileno(), content, at)
            except OSError as error:
                raise ImageError(f"{tempfile.gettempdir()}: {error.strerror}: make room, or set TMPDIR") from error
        return at

    def place(self, number: int, offset: int, place: _Place) -> None:
        """Remember where a file is to be had again."""
        self._places[number, offset] = place

    def _range(self, content: Content, place: _Place, start: int, end: int) -> Iterator[bytes]:
        if place.kept is not None:
            file = self._kept.fileno()
            while start < end and (data := os.pread(file, min(CHUNK_BYTES, end - start), place.kept + start)):
                start += len(data)
                yield data
            return
        layer = self.layers[content.layer]
        start, end = content.offset + start, content.offset + end
        if place.checkpoint is None:
            yield from self.reader.read_blob(layer.digest, layer.size, start, end)
            return
        stored = self.reader.read_blob(layer.digest, layer.size, place.checkpoint.compressed, layer.size)
        try:
            stream = Passing(iter(Inflated(stored, place.checkpoint)), _BOUNDS.plain_bytes, _BOUNDS)
            stream.skip(start - place.checkpoint.plain)
            while start < end and (data := stream.read(min(CHUNK_BYTES, end - start))):
                start += len(data)
                yield data
        except ArchiveError as error:
            raise ImageError(f"layer {layer.digest}: its second reading: {error}") from error


class _Pass:
    """The one reading of a whole layer."""

    def __init__(self, image: CheckedImage, number: int, title: str) -> None:
        self._image, self._number, self._title = image, number, title
        self._layer = image.layers[number]
        self._hash = hashlib.sha256()
        self._stored = self._reading()
        self._checkpoint: Checkpoint | None = None

    def _reading(self) -> Iterator[bytes]:
        session = self._image.session
        # A byte more than belongs is read, and so found out by the digest.
        for chunk in at_most(self._layer.size + 1, self._image.reader.read_blob(self._layer.digest, self._layer.size)):
            if session.stop.is_set():
                raise CancelledError(f"{self._title}: stopped")
            self._hash.update(chunk)
            session.reporter.advanced(self._title, len(chunk))
            yield chunk

    def check(self) -> None:
        """Read what is left and compare the whole with the digest."""
        for _ in self._stored:
            pass
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self._layer.digest:
            raise DigestMismatchError(f"{self._title}: its digest is {found} and not {self._layer.digest}: try again")

    def entries(self, left: Bounds) -> Iterator[tuple[Header, Content]]:
        """All that the layer holds, in its order."""
        kind = self._layer.media_type
        if not kind.endswith(("tar", "gzip", "tgz")) and is_archive(kind):
            raise UnreadableError(f"its type {kind[-60:]!r} is not read here")
        if path := single_file(self._layer):
            stream = Passing(self._stored, left.plain_bytes, left)
            yield self._file(Header(path, Kind.FILE, self._layer.size, 0o644), stream)
            return
        plain = self._inflated() if is_gzip(kind) else self._stored
        stream = Passing(plain, left.plain_bytes, left)
        for header in headers(stream):
            left.spend(header)
            if header.kind is Kind.FILE:
                yield self._file(header, stream)
            else:
                yield header, Content(self._number, stream.position, 0)
        for _ in plain:
            pass  # what follows the end marker is of no archive, and of the digest all the same

    def _inflated(self) -> Iterator[bytes]:
        inflated = Inflated(self._stored)
        pieces = iter(inflated)
        while True:
            self._checkpoint = inflated.checkpoint()
            piece = next(pieces, b"")
            if not piece:
                return
            yield piece

    def _file(self, header: Header, stream: Passing) -> tuple[Header, Content]:
        offset, checkpoint = stream.position, self._checkpoint
        found, seen = hashlib.sha256(), 0
        small = header.size < LARGE_FILE_BYTES and not is_weights(header.path)
        keeps = small and PurePosixPath(header.path.lstrip("/")).parts[:1] not in [(name,) for name in _SYSTEM]
        head = b""
        kept: list[bytes] = []
        while seen < header.size:
            data = stream.read(min(CHUNK_BYTES, header.size - seen))
            if not data:
                raise ArchiveError("it is cut short")
            found.update(data)
            head = data[: head_bytes(header)] if not seen else head
            if keeps:
                kept.append(data)
            seen += len(data)
        at = self._image.keep(iter(kept), seen) if keeps else None
        self._image.place(self._number, offset, _Place(found.hexdigest(), at, checkpoint))
        return header, Content(self._number, offset, header.size, head)
