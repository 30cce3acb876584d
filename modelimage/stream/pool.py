"""The chunks that are in memory, shared by all processes of the sidecar: each is fetched once, by whoever asks first.

Ranges do not end where chunks do, so neighbouring ranges share one; and a client opens a connection for nearly each
range (Run:ai's streamer on AWS' native client: 440 ranges over 360 connections), so that the neighbour is often served
by another process. A chunk that was passed on as a whole is given up first, for a loader reads each byte once; what is
left of others is kept as long as there is room.
"""

import mmap
import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_FREE, _LOADING, _READY = range(3)
_NONE = -1
_WAYS = 32
"""Of the slots that a chunk may be in: with all of a thousand to look through, the lock would be what many ranks wait
for."""
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.001, 0.016
"""How long one waits before one looks again, twice as long each time. A condition of `multiprocessing` would tell, but
who tells waits there until each that is told runs, with the lock in its hand."""


class ChunkPool:
    """`slots` chunks of at most `chunk_bytes`, in memory that processes share which are forked after this was made.

    `readers` is how many want each byte: ranks of a server, each of which reads all of the model.
    """

    def __init__(self, slots: int, chunk_bytes: int, readers: int = 1) -> None:
        self._ways = min(slots, _WAYS)
        self._sets = slots // self._ways
        slots = self._sets * self._ways
        self._chunk_bytes, self._readers = chunk_bytes, readers
        self._memory = memoryview(mmap.mmap(-1, slots * chunk_bytes))
        table = memoryview(mmap.mmap(-1, slots * 8 * 5)).cast("q")
        self._keys, self._states, self._users, self._left, self._used = (
            table[part * slots : (part + 1) * slots] for part in range(5)
        )
        for slot in range(slots):
            self._keys[slot] = _NONE
        context = multiprocessing.get_context("fork")
        self._locks = [context.Lock() for _ in range(self._sets)]
        self._turns = [_Turns() for _ in range(self._sets)]

    @contextmanager
    def slot(self, key: int, length: int) -> Iterator["ChunkSlot"]:
        """The place of the chunk `key` of `length` bytes: one that holds it, or one to load it into.

        Who gets an empty one calls `loaded`, or nobody else ever sees what is in it. A thread holds one at a time.
        """
        number, is_ready = self._take(key, length)
        held = ChunkSlot(self, number, self._memory[number * self._chunk_bytes :][:length], is_ready=is_ready)
        try:
            yield held
        finally:
            self._give_back(number, held)

    def _take(self, key: int, length: int) -> tuple[int, bool]:
        wait = _Wait()
        while True:
            number, state = self._look(key)
            if state == _READY:
                return number, True
            if number == _NONE:
                with self._turns[key % self._sets].turn():
                    number, state = self._claimed(key, length)
                if number != _NONE:
                    return number, state == _READY
            wait()

    def _claimed(self, key: int, length: int) -> tuple[int, int]:
        """A slot for a chunk that is not here, once there is one; none where somebody else loads the chunk by now."""
        wait = _Wait()
        while True:
            number, state = self._look(key)
            if number != _NONE:
                return (number, state) if state == _READY else (_NONE, state)
            with self._locks[key % self._sets]:
                number = _NONE if self._find(key) != _NONE else self._victim(key)
                if number != _NONE:
                    self._keys[number], self._states[number] = key, _LOADING
                    self._users[number], self._left[number] = 1, length * self._readers
                    return number, _LOADING
            wait()

    def _look(self, key: int) -> tuple[int, int]:
        """The slot of a chunk and its state; where it is ready, it is used from now on."""
        with self._locks[key % self._sets]:
            number = self._find(key)
            if number == _NONE:
                return _NONE, _FREE
            if self._states[number] == _READY:
                self._users[number] += 1
            return number, self._states[number]

    def _find(self, key: int) -> int:
        first = key % self._sets * self._ways
        keys = self._keys[first : first + self._ways].tolist()
        return first + keys.index(key) if key in keys else _NONE

    def _victim(self, key: int) -> int:
        """The slot to use next: an empty one, one whose chunk was passed on as a whole, or the one unused longest."""
        first = key % self._sets * self._ways
        unused = [slot for slot in range(first, first + self._ways) if not self._users[slot]]
        return min(unused, key=lambda slot: (self._left[slot] > 0, self._used[slot]), default=_NONE)

    def mark_loaded(self, number: int) -> None:
        """Let others use what is in a slot."""
        with self._locks[number // self._ways]:
            self._states[number] = _READY

    def _give_back(self, number: int, held: "ChunkSlot") -> None:
        with self._locks[number // self._ways]:
            self._users[number] -= 1
            if self._states[number] == _LOADING:  # it failed: who waits tries for itself
                self._keys[number], self._states[number], self._left[number] = _NONE, _FREE, 0
            else:
                self._left[number] -= held.passed_on
            self._used[number] = time.monotonic_ns()


class ChunkSlot:
    """A chunk's place in memory while somebody uses it; `passed_on` counts the bytes that its user has passed on."""

    def __init__(self, pool: ChunkPool, number: int, view: memoryview, *, is_ready: bool) -> None:
        self._pool, self._number = pool, number
        self.view, self.is_ready = view, is_ready
        self.passed_on = 0

    def loaded(self) -> None:
        """Say that the chunk is here as it should be."""
        self._pool.mark_loaded(self._number)


class _Wait:
    """Waits a little longer each time that it is called."""

    def __init__(self) -> None:
        self._seconds = _FIRST_WAIT_SECONDS

    def __call__(self) -> None:
        time.sleep(self._seconds)
        self._seconds = min(2 * self._seconds, _LONGEST_WAIT_SECONDS)


class _Turns:
    """One after the other, in the order in which they came: the client gives up who waits much longer than others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        mine = threading.Event()
        with self._lock:
            self._waiting.append(mine)
            if len(self._waiting) == 1:
                mine.set()
        mine.wait()
        try:
            yield
        finally:
            with self._lock:
                self._waiting.popleft()
                if self._waiting:
                    self._waiting[0].set()
