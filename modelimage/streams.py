"""Blobs as streams: hashed while they are sent, counted, and stopped when the run is stopped."""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

from modelimage.errors import DigestMismatchError, ImageError
from modelimage.patience import Patience, TransientError


@dataclass(frozen=True)
class Blob:
    """Content on its way to a store: `size` bytes that `chunks` yields afresh at each call.

    `digest` is given where it is known beforehand; the store then need not hash, only check where nobody else does.
    `title` names the blob in errors.
    """

    title: str
    size: int
    chunks: Callable[[], Iterator[bytes]]
    digest: str | None = None

    @classmethod
    def of(cls, title: str, content: bytes) -> "Blob":
        """Make a blob of bytes at hand."""
        return cls(title, len(content), lambda: iter((content,)), digest_of(content))


@dataclass(frozen=True)
class Written:
    """What a store has after a write: the blob's digest, and whether its bytes had to be moved.

    `listed` is the blob's chunk list (`chunks`), of an image's own layers.
    """

    digest: str
    uploaded: bool
    listed: bytes = b""


def digest_of(content: bytes) -> str:
    """The digest of bytes at hand."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class HashedPass:
    """One pass over a blob that hashes each chunk in a second thread while the caller sends it.

    hashlib and sockets both let go of the interpreter's lock, so hashing and sending overlap; each byte is hashed
    once. `digest` holds after the pass.

    Raises:
        ImageError: from the iteration, when the content is shorter or longer than its blob's size.
    """

    def __init__(self, blob: Blob) -> None:
        self._blob = blob
        self._hash = hashlib.sha256()
        self._seen = 0

    @property
    def digest(self) -> str:
        """The digest of what has passed so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def __iter__(self) -> Iterator[bytes]:
        with ThreadPoolExecutor(1, thread_name_prefix="hash") as hasher:
            for chunk in self._blob.chunks():
                hashing: Future[None] = hasher.submit(self._hash.update, chunk)
                self._seen += len(chunk)
                yield chunk
                hashing.result()
        if self._seen != self._blob.size:
            raise ImageError(
                f"{self._blob.title}: {self._seen} bytes came where {self._blob.size} were announced: run again"
            )


_PROGRESS_BYTES = 1 << 20
"""What must have arrived of an answer that breaks off for patience to begin anew: 100 GB may break more than once."""


def resumed(patience: Patience, size: int, doing: str, read_from: Callable[[int], Iterator[bytes]]) -> Iterator[bytes]:
    """Yield `size` bytes that `read_from(start)` fetches, taken up where they broke off while patience lasts.

    Patience is for what does not get on: it begins anew with each part that has arrived.
    """
    done, whole = 0, False
    while not whole:
        begun = done
        for attempt in patience.retrying():
            with attempt:
                try:
                    for chunk in read_from(done):
                        done += len(chunk)
                        yield chunk
                    _check_whole(done, size, doing)
                    whole = True
                except TransientError as error:
                    if done - begun < _PROGRESS_BYTES:
                        raise
                    patience.tell(f"{error}: going on from there")


def _check_whole(done: int, size: int, doing: str) -> None:
    if done < size:
        raise TransientError(f"{doing}: the answer ended after {done} of {size} bytes")


def no_more_than(size: int, chunks: Iterable[bytes], doing: str) -> Iterator[bytes]:
    """The chunks, which have `size` bytes at most.

    Raises:
        DigestMismatchError: from the iteration, when there are more.
    """
    for chunk in chunks:
        size -= len(chunk)
        if size < 0:
            raise DigestMismatchError(f"{doing}: the answer is longer than was announced: do not use it")
        yield chunk


class BodyPart(io.BytesIO):
    """A file in memory that takes `limit` bytes, for libraries that write an answer's body into one.

    Raises:
        ImageError: from writing, where more comes.
    """

    def __init__(self, limit: int, doing: str) -> None:
        super().__init__()
        self._left, self._doing = limit, doing

    def write(self, data: Any, /) -> int:
        """Take the next bytes."""
        self._left -= len(data)
        if self._left < 0:
            raise ImageError(f"{self._doing}: more came than was asked for: is it Google Cloud Storage that answers?")
        return super().write(data)


class _Running(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def copy(self) -> "_Running": ...

    def digest(self) -> bytes: ...


@dataclass(frozen=True)
class Expected:
    """A `source.Checksum`: a running hash, whether a digest `fits` what was listed, and the error where it does not."""

    running: _Running
    fits: Callable[[bytes], bool]
    otherwise: str

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""
        self.running.update(data)

    def copy(self) -> "Expected":
        """The same at this point."""
        return replace(self, running=self.running.copy())

    def verify(self) -> None:
        """Raise ImageError where the digest is another one."""
        if not self.fits(self.running.digest()):
            raise ImageError(self.otherwise)


def without_start(chunks: Iterable[bytes], skip: int) -> Iterator[bytes]:
    """Drop the first `skip` bytes: what a server sends again that knows no ranges."""
    for chunk in chunks:
        kept = chunk[skip:]
        skip -= len(chunk) - len(kept)
        if kept:
            yield kept


def at_most(count: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The first `count` bytes: of what a server sends beyond those that it was asked for, one chunk is read.

    The end of an answer is read as well, so that its connection serves the next request.
    """
    for chunk in chunks:
        if count <= 0:
            return
        yield chunk[:count]
        count -= len(chunk)
