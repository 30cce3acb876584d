"""What the processes of the sidecar have done, counted in memory that they share, each in a row of its own."""

import mmap
import struct
import threading
import time
from enum import IntEnum

_FIELD = struct.Struct("=q")


class Count(IntEnum):
    """What is counted; of each process."""

    REQUESTS = 0
    SERVED_BYTES = 1
    FETCHED_BYTES = 2
    FETCHES = 3
    REUSED_CHUNKS = 4
    RETRIES = 5
    MISMATCHES = 6
    LOGINS = 7
    REDIRECTS = 8
    FAILED_REQUESTS = 9
    FIRST_BYTE_MICROSECONDS = 10
    LAST_BYTE_MICROSECONDS = 11


class Counters:
    """The counts of `rows` processes. Each process adds to its own `row` alone, from any of its threads."""

    def __init__(self, rows: int) -> None:
        self._rows, self.row = rows, 0
        self._memory = mmap.mmap(-1, rows * len(Count) * _FIELD.size)
        self._lock = threading.Lock()

    def add(self, what: Count, count: int = 1) -> None:
        """Count what this process has done."""
        with self._lock:
            self._put(what, self._get(self.row, what) + count)

    def served(self, count: int) -> None:
        """Count bytes that were passed on, and when."""
        now = time.time_ns() // 1000
        with self._lock:
            self._put(Count.SERVED_BYTES, self._get(self.row, Count.SERVED_BYTES) + count)
            self._put(Count.LAST_BYTE_MICROSECONDS, now)
            if not self._get(self.row, Count.FIRST_BYTE_MICROSECONDS):
                self._put(Count.FIRST_BYTE_MICROSECONDS, now)

    def total(self, what: Count) -> int:
        """What all processes have counted; of times, the first and the last (0: none yet)."""
        values = [self._get(row, what) for row in range(self._rows)]
        if what is Count.FIRST_BYTE_MICROSECONDS:
            return min(filter(None, values), default=0)
        return max(values) if what is Count.LAST_BYTE_MICROSECONDS else sum(values)

    def _get(self, row: int, what: Count) -> int:
        return int(_FIELD.unpack_from(self._memory, (row * len(Count) + what) * _FIELD.size)[0])

    def _put(self, what: Count, value: int) -> None:
        _FIELD.pack_into(self._memory, (self.row * len(Count) + what) * _FIELD.size, value)
