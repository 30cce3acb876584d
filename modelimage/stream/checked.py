"""Chunks of layers as they should be: fetched once, compared with what they hash to, and only then used."""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager

from modelimage.stream.counters import Count
from modelimage.stream.faults import mismatch
from modelimage.stream.ledger import Ledger
from modelimage.stream.pool import ChunkPool, ChunkSlot
from modelimage.stream.upstream import Run, Upstream

_LAYER_BITS = 40  # of a key: more chunks than any layer has


class CheckedChunks:
    """The chunks of one image, for one process."""

    def __init__(self, upstream: Upstream, ledger: Ledger, pool: ChunkPool) -> None:
        self._upstream, self._ledger, self._pool = upstream, ledger, pool
        self.chunk_bytes = ledger.chunk_bytes

    @contextmanager
    def stretch(self, layer: int, start: int, end: int) -> Iterator[Run]:
        """What chunks are fetched by that are read one after the other, from the byte `start` of a layer to `end`.

        They are asked for at once, but for the last where it goes on behind `end`: by the time that it is wanted the
        neighbour whose range begins in it has mostly fetched it.
        """
        first, last = start // self.chunk_bytes, (end - 1) // self.chunk_bytes
        whole = last * self.chunk_bytes + self._ledger.length(layer, last)
        stop = whole if end == whole or first == last else last * self.chunk_bytes
        with closing(Run(self._upstream, layer, stop)) as run:
            yield run

    @contextmanager
    def chunk(self, run: Run, layer: int, number: int) -> Iterator[ChunkSlot]:
        """A chunk in memory, to be passed on.

        Raises:
            CorruptFault: it is not what it should be, nor was it when it was fetched once more.
            ImageError: it cannot be fetched.
        """
        with self._pool.slot(_key(layer, number), self._ledger.length(layer, number)) as slot:
            if slot.is_ready:
                self._upstream.counters.add(Count.REUSED_CHUNKS)
            else:
                self._fetch(run, layer, number, slot.view)
                slot.loaded()
            yield slot

    def _fetch(self, run: Run, layer: int, number: int, view: memoryview) -> None:
        """Fetch a chunk and compare it; what is another one is fetched once more, by a request of its own."""
        for is_last in (False, True):
            run.fill(view, number * self._ledger.chunk_bytes)
            if self._ledger.agrees(layer, number, hashlib.sha256(view).digest()):
                return
            self._upstream.counters.add(Count.MISMATCHES)
            run.close()
            if is_last:
                where = f"{self._upstream.reference}: layer {self._upstream.layers[layer].digest}"
                raise mismatch(where, number, listed=layer in self._ledger.listed)


def _key(layer: int, number: int) -> int:
    return layer << _LAYER_BITS | number
