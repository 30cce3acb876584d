"""Progress on stderr: bars on a terminal, a line for each layer elsewhere (as in the log of `pulumi up`)."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO, final

from oci_model_serving.foreign import lines, shown

_LINE_EVERY_SECONDS = 15.0


class Reporter:
    """What the packer tells while it works, from any of its threads. This one tells nobody."""

    def note(self, text: str) -> None:
        """Tell one thing."""

    def started(self, title: str, size: int) -> None:
        """A blob of `size` bytes is on its way, or on its way again from its beginning."""

    def advanced(self, title: str, count: int) -> None:
        """`count` more bytes of the blob have passed."""

    def finished(self, title: str, outcome: str) -> None:
        """The blob is where it belongs; `outcome` says how it came there."""


class Lines(Reporter):
    """One line for each event, and one for each blob every 15 seconds: for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._passed: dict[str, tuple[int, int, float]] = {}

    def note(self, text: str) -> None:
        """Write the text as a line."""
        with self._lock:
            print(lines(text), file=self._stream, flush=True)

    def started(self, title: str, size: int) -> None:
        """Begin to count the blob's bytes."""
        with self._lock:
            self._passed[title] = (0, size, time.monotonic())

    def advanced(self, title: str, count: int) -> None:
        """Count, and write a line when the last one is long ago."""
        with self._lock:
            passed, size, told = self._passed[title]
            now = time.monotonic()
            if now - told >= _LINE_EVERY_SECONDS:
                told = now
                print(f"{shown(title)}: {readable(passed + count)} of {readable(size)}", file=self._stream, flush=True)
            self._passed[title] = (passed + count, size, told)

    def finished(self, title: str, outcome: str) -> None:
        """Write how the blob ended."""
        self.note(f"{title}: {outcome}")


@final
class Bars(Reporter):
    """A bar for each blob on its way, by rich; a context manager that owns the terminal's last lines."""

    def __init__(self) -> None:
        from rich import console, progress  # noqa: PLC0415 - only a terminal needs rich

        self._progress = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(binary_units=False),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=console.Console(stderr=True),
        )
        self._tasks: dict[str, progress.TaskID] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def note(self, text: str) -> None:
        """Write the text above the bars."""
        self._progress.console.print(lines(text), markup=False, highlight=False)

    def started(self, title: str, size: int) -> None:
        """Show the blob's bar, empty."""
        with self._lock:
            if title in self._tasks:
                self._progress.reset(self._tasks[title], total=size)
            else:
                self._tasks[title] = self._progress.add_task(shown(title), total=size)

    def advanced(self, title: str, count: int) -> None:
        """Move the blob's bar."""
        self._progress.advance(self._tasks[title], count)

    def finished(self, title: str, outcome: str) -> None:
        """Replace the blob's bar by a line."""
        with self._lock:
            task = self._tasks.pop(title, None)
        if task is not None:
            self._progress.remove_task(task)
        self.note(f"{title}: {outcome}")


@contextmanager
def reporting() -> Iterator[Reporter]:
    """Choose the way to report for this process: bars where stderr is a terminal, lines elsewhere."""
    if sys.stderr.isatty():
        with Bars() as bars:
            yield bars
    else:
        yield Lines(sys.stderr)


def readable(size: float) -> str:
    """Write a size in bytes for people, in decimal units as registries and disks count."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"
