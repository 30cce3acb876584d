"""What the chunks of an image's layers hash to, known to all processes of the sidecar.

Of a layer with a list each chunk is compared before it is passed on. Of one without, what was passed on is noted, and
compared once the layer was read whole and has its digest: what the registry gave then may not be what it gave before.
"""

import mmap
from collections.abc import Sequence
from itertools import accumulate

from modelimage.chunks import CHUNK_BYTES, HASH_BYTES, Lists, list_bytes
from modelimage.documents import Descriptor


class Ledger:
    """The digests of chunks by layer (its number in the image) and number. In memory that forked processes share."""

    def __init__(self, layers: Sequence[Descriptor], lists: Lists | None) -> None:
        self.chunk_bytes = lists.chunk_bytes if lists else CHUNK_BYTES
        self._sizes = [layer.size for layer in layers]
        self._lengths = [list_bytes(layer.size, self.chunk_bytes) for layer in layers]
        self._starts = [0, *accumulate(self._lengths)]
        total = max(self._starts[-1], 1)
        self._known = mmap.mmap(-1, total)
        self._noted = mmap.mmap(-1, total)
        self._has_note = mmap.mmap(-1, max(total // HASH_BYTES, 1))
        self._whole = mmap.mmap(-1, max(len(layers), 1))
        self.listed = frozenset(number for number, layer in enumerate(layers) if lists and layer.digest in lists.of)
        for number in self.listed:
            assert lists is not None  # noqa: S101 - what is listed has lists
            self._write(number, lists.of[layers[number].digest])

    def is_known(self, layer: int) -> bool:
        """Whether a layer's chunks are known: by its list, or as it was read whole."""
        return bool(self._whole[layer])

    def count(self, layer: int) -> int:
        """How many chunks a layer has."""
        return self._lengths[layer] // HASH_BYTES

    def length(self, layer: int, number: int) -> int:
        """How many bytes a chunk has: the last one of a layer may have fewer."""
        return min(self.chunk_bytes, self._sizes[layer] - number * self.chunk_bytes)

    def agrees(self, layer: int, number: int, digest: bytes) -> bool:
        """Whether a chunk is the one that is known, or as it was before where none is known yet."""
        at = self._starts[layer] + number * HASH_BYTES
        if not self._whole[layer]:
            if self._has_note[at // HASH_BYTES]:
                return self._noted[at : at + HASH_BYTES] == digest
            self._noted[at : at + HASH_BYTES] = digest
            self._has_note[at // HASH_BYTES] = 1
        # Asked last: whoever publishes meanwhile reads the notes after this one, or is seen here.
        return not self._whole[layer] or self._known[at : at + HASH_BYTES] == digest

    def publish(self, layer: int, digests: bytes) -> int | None:
        """Make known what the chunks of a layer that has its digest hash to; the first that was noted otherwise."""
        self._write(layer, digests)
        start = self._starts[layer]
        for at in range(start, start + len(digests), HASH_BYTES):
            noted = self._noted[at : at + HASH_BYTES]
            if self._has_note[at // HASH_BYTES] and noted != self._known[at : at + HASH_BYTES]:
                return (at - start) // HASH_BYTES
        return None

    def _write(self, layer: int, digests: bytes) -> None:
        start = self._starts[layer]
        self._known[start : start + self._lengths[layer]] = digests
        self._whole[layer] = 1
