"""Layers without a list, read once more from their beginning to their end, and hashed as a whole."""

import hashlib
import os
import threading
from contextlib import closing

from modelimage.errors import ImageError
from modelimage.stream.faults import mismatch, other_bytes, unexpected
from modelimage.stream.ledger import Ledger
from modelimage.stream.upstream import Run, Upstream
from modelimage.stream.worker import Shared

_AT_ONCE = 2
_NICE = 10  # who waits for weights comes first


class WholeLayers:
    """What is left to be read; `left` counts down to nothing, and then the image is as its digest says."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._todo = sorted(shared.image.unread, key=lambda layer: shared.image.layers[layer].size)
        self._left = set(self._todo)
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """How many layers are not verified yet."""
        return len(self._left)

    def start(self) -> None:
        """Begin to read, in threads of their own."""
        for _ in range(min(_AT_ONCE, len(self._todo))):
            threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        upstream = self._shared.upstream()
        try:
            while True:
                with self._lock:
                    if not self._todo:
                        return
                    layer = self._todo.pop(0)
                read_whole(upstream, self._shared.image.ledger, layer)
                with self._lock:
                    self._left.discard(layer)
        except ImageError as error:
            self._shared.tell(error)
        except Exception as error:  # noqa: BLE001 - else nobody would hear of it, and wait for ever
            self._shared.tell(unexpected(error))


def read_whole(upstream: Upstream, ledger: Ledger, layer: int) -> None:
    """Read a layer, compare it with its digest, and what was passed on of it with what it holds.

    Raises:
        CorruptFault: one of them is another one.
        ImageError: it cannot be read.
    """
    described = upstream.layers[layer]
    where = f"{upstream.reference}: layer {described.digest}"
    running, hashes = hashlib.sha256(), bytearray()
    held = memoryview(bytearray(ledger.chunk_bytes))
    with closing(Run(upstream, layer, described.size)) as run:
        for number in range(ledger.count(layer)):
            view = held[: ledger.length(layer, number)]
            run.fill(view, number * ledger.chunk_bytes)
            running.update(view)
            hashes += hashlib.sha256(view).digest()
    if f"sha256:{running.hexdigest()}" != described.digest:
        raise other_bytes(where)
    other = ledger.publish(layer, bytes(hashes))
    if other is not None:
        raise mismatch(where, other, listed=False)
