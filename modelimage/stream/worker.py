"""A process of the door: it serves connections until its parent ends, and tells it what ends them both."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import httpx

from modelimage.errors import ImageError
from modelimage.patience import Patience
from modelimage.stream.checked import CheckedChunks
from modelimage.stream.counters import Counters
from modelimage.stream.door import Door, Objects
from modelimage.stream.files import ServedImage
from modelimage.stream.pool import ChunkPool
from modelimage.stream.rights import PodCredentials
from modelimage.stream.upstream import Upstream

LINE_BYTES = 4000
"""Of a message to the parent: less than a pipe takes as a whole (PIPE_BUF), whoever else writes."""
_STACK_BYTES = 256 << 10


@dataclass(frozen=True)
class Shared:
    """What the processes of the sidecar share.

    Attributes:
        image: what is served.
        objects: the same as the door shows it.
        address: of the registry, as it was found.
        pool: the chunks in memory.
        counters: what was done.
        patience: with the registry.
        faults: the pipe that a process writes its last word to.
        alive: a pipe of which the parent has the other end, and nobody writes to it.
    """

    image: ServedImage
    objects: Objects
    address: httpx.URL
    pool: ChunkPool
    counters: Counters
    patience: Patience
    faults: int
    alive: int

    def upstream(self) -> Upstream:
        """The image's layers, for the process that asks."""
        reference = self.image.reference
        login = PodCredentials(reference.host, reference.repository, use_environment=True)
        return Upstream(
            reference, self.image.layers, self.address, login, patience=self.patience, counters=self.counters
        )

    def tell(self, error: ImageError) -> None:
        """Give the parent what ends the sidecar."""
        message = f"{error.exit_code} {error}".replace("\n", " ").encode("utf-8", "replace")
        os.write(self.faults, message[:LINE_BYTES] + b"\n")


def serve(shared: Shared, row: int, listening: socket.socket, *, others: Callable[[], None]) -> NoReturn:
    """Serve connections at `listening` for ever; `others` closes what belongs to other processes."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    others()
    shared.counters.row = row
    threading.stack_size(_STACK_BYTES)
    threading.Thread(target=_end_with_parent, args=(shared.alive,), daemon=True).start()
    chunks = CheckedChunks(shared.upstream(), shared.image.ledger, shared.pool)
    door = Door(listening, shared.objects, chunks, shared.counters, shared.tell)
    try:
        door.serve_forever(poll_interval=60)
    finally:
        os._exit(1)


def _end_with_parent(alive: int) -> None:
    os.read(alive, 1)  # which ends when the parent does
    os._exit(0)
