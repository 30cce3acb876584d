"""Gzip read forwards, a bounded piece at a time, and taken up again in its middle."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from modelimage.archives import ArchiveError
from modelimage.source import CHUNK_BYTES

_GZIP = zlib.MAX_WBITS | 16


@dataclass(frozen=True)
class Checkpoint:
    """A place in a gzip stream to go on from: how far the compressed and the plain bytes are, and zlib's state."""

    compressed: int
    plain: int
    state: Any


class Inflated:
    """The plain bytes of a gzip stream of one or several members, in pieces of at most `CHUNK_BYTES`.

    However much a few bytes inflate to, no more than one piece is in memory.

    Raises:
        ArchiveError: from the iteration, where the stream is damaged or cut short.
    """

    def __init__(self, chunks: Iterator[bytes], start: Checkpoint | None = None) -> None:
        """Read from `chunks`, which begin where `start` is, or at the stream's beginning."""
        self._chunks = chunks
        self._state: Any = start.state.copy() if start else zlib.decompressobj(_GZIP)
        self._taken = start.compressed if start else 0
        self._plain = start.plain if start else 0
        self._left = b""
        self._begun = start is not None

    def checkpoint(self) -> Checkpoint:
        """Where the iteration is now, between two pieces."""
        return Checkpoint(self._taken - len(self._left), self._plain, self._state.copy())

    def __iter__(self) -> Iterator[bytes]:
        while self._fill():
            if self._state.eof:
                self._state = zlib.decompressobj(_GZIP)
            yield from self._inflate()
        while not self._state.eof and (piece := self._piece(b"")):
            yield piece  # zlib may hold back what did not fit into the last piece
        if self._begun and not self._state.eof:
            raise ArchiveError("its gzip stream is cut short")

    def _fill(self) -> bool:
        """See that there are compressed bytes at hand; False at the end."""
        while True:
            if self._state.eof and not self._left.strip(b"\0"):
                self._left = b""  # padding after the last member, as tapes have it
            if self._left:
                return True
            self._left = next(self._chunks, b"")
            self._taken += len(self._left)
            if not self._left:
                return False

    def _inflate(self) -> Iterator[bytes]:
        while self._left and not self._state.eof:
            if piece := self._piece(self._left):
                yield piece

    def _piece(self, compressed: bytes) -> bytes:
        try:
            piece: bytes = self._state.decompress(compressed, CHUNK_BYTES)
        except zlib.error as error:
            raise ArchiveError(f"its gzip stream is damaged ({error})") from error
        self._left = self._state.unused_data if self._state.eof else self._state.unconsumed_tail
        self._begun = True
        self._plain += len(piece)
        return piece
