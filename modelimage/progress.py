"""Progress on stderr: bars on a terminal, a line for each layer elsewhere (as in the log of ``pulumi up``)."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Protocol, TextIO, final

_LINE_EVERY_SECONDS = 15.0


class Reporter(Protocol):
    """What the packer tells while it works. All methods may be called from any thread."""

    def note(self, text: str) -> None:
        """Tell one thing."""

    def started(self, title: str, size: int) -> None:
        """A blob of ``size`` bytes is on its way, or on its way again from its beginning."""

    def advanced(self, title: str, count: int) -> None:
        """``count`` more bytes of the blob have passed."""

    def finished(self, title: str, outcome: str) -> None:
        """The blob is where it belongs; ``outcome`` says how it came there."""


class Silent:
    """Tells nothing: for callers that have their own way, and for plan time."""

    def note(self, text: str) -> None:
        """Tell nothing."""

    def started(self, title: str, size: int) -> None:
        """Tell nothing."""

    def advanced(self, title: str, count: int) -> None:
        """Tell nothing."""

    def finished(self, title: str, outcome: str) -> None:
        """Tell nothing."""


class Lines:
    """One line for each event, and one for each blob every 15 seconds: for logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._passed: dict[str, tuple[int, int, float]] = {}

    def note(self, text: str) -> None:
        """Write the text as a line."""
        with self._lock:
            print(text, file=self._stream, flush=True)

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
                print(f"{title}: {readable(passed + count)} of {readable(size)}", file=self._stream, flush=True)
            self._passed[title] = (passed + count, size, told)

    def finished(self, title: str, outcome: str) -> None:
        """Write how the blob ended."""
        self.note(f"{title}: {outcome}")


@final
class Bars:
    """A bar for each blob on its way, by rich; a context manager that owns the terminal's last lines."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs rich
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            TaskID,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=False),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Bars:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()

    def note(self, text: str) -> None:
        """Write the text above the bars."""
        self._progress.console.print(text, markup=False, highlight=False)

    def started(self, title: str, size: int) -> None:
        """Show the blob's bar, empty."""
        with self._lock:
            if title in self._tasks:
                self._progress.reset(self._tasks[title], total=size)
            else:
                self._tasks[title] = self._progress.add_task(title, total=size)

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


class reporting:  # noqa: N801 - used as a verb: `with reporting() as reporter`
    """Choose the way to report for this process: bars where stderr is a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._bars = Bars() if sys.stderr.isatty() else None

    def __enter__(self) -> Reporter:
        """Begin to report."""
        return self._bars.__enter__() if self._bars else Lines(sys.stderr)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        if self._bars:
            self._bars.__exit__(kind, error, trace)


def readable(size: float) -> str:
    """Write a size in bytes for people, in decimal units as registries and disks count."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} TB"
