"""What one run of a command costs: time, processor, memory, what it writes and what passes over the network."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Row:
    """One measurement.

    Wall seconds; seconds of processor, user and system; peak resident memory of the largest process in MB; MB written
    to disks; MB that passed over the network.
    """

    name: str
    seconds: float
    cpu: float | None = None
    rss_mb: float | None = None
    written_mb: float | None = None
    network_mb: float | None = None
    note: str = ""


def say(text: str) -> None:
    """Tell how far it is, on stderr: stdout is for the table."""
    print(text, file=sys.stderr, flush=True)


def network_bytes() -> int:
    """What this network namespace has sent over loopback so far: all that client and registry told each other."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[8])
    return 0


def seconds_of(usage: resource.struct_rusage) -> float:
    """The processor's time."""
    return usage.ru_utime + usage.ru_stime


def measured(name: str, command: Sequence[str | Path], *, env: dict[str, str] | None = None) -> Row:
    """Run a command to its end and measure its process tree; a failure ends the benchmark."""
    say(f"  {name}")
    with tempfile.TemporaryFile() as output:
        before, started = network_bytes(), time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=output, env={**os.environ, **(env or {})}, cwd=ROOT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{name} failed ({process.returncode}):\n{output.read().decode(errors='replace')[-2000:]}")
    passed = (network_bytes() - before) / 1e6
    return Row(name, seconds, seconds_of(usage), usage.ru_maxrss / 1024, usage.ru_oublock * 512 / 1e6, passed)


def total(name: str, rows: Sequence[Row]) -> Row:
    """Add steps up."""
    return Row(
        name,
        sum(row.seconds for row in rows),
        sum(row.cpu or 0 for row in rows),
        max(row.rss_mb or 0 for row in rows),
        sum(row.written_mb or 0 for row in rows),
        sum(row.network_mb or 0 for row in rows),
    )


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| what | seconds | CPU seconds | largest process, MB | written by the client, MB | over the network, MB | |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        cpu = "" if row.cpu is None else f"{row.cpu:.1f}"
        numbers = ["" if value is None else f"{value:.0f}" for value in (row.rss_mb, row.written_mb, row.network_mb)]
        lines.append(f"| {row.name} | {row.seconds:.1f} | {cpu} | {' | '.join(numbers)} | {row.note} |")
    return "\n".join(lines)
