"""What a server and the processes that it started have cost so far, as the kernel counts it."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Seconds of processor; the peaks of the processes' resident memory, added up; MB that they wrote to disks."""

    cpu: float
    peak_mb: float
    written_mb: float


def cost_of(pid: int) -> Cost:
    """Add up a process and all that have come of it and still run; of those that have ended the processor alone."""
    pids = [pid]
    for one in pids:
        for task in Path(f"/proc/{one}/task").iterdir():
            pids += map(int, (task / "children").read_text().split())
    cpu = peak = written = 0.0
    for one in pids:
        numbers = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        cpu += sum(map(int, numbers[11:15])) / _TICKS
        peak += _number(Path(f"/proc/{one}/status"), "VmHWM:") / 1024
        written += _number(Path(f"/proc/{one}/io"), "write_bytes:") / 1e6
    return Cost(cpu, peak, written)


def _number(file: Path, name: str) -> int:
    (line,) = [line for line in file.read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1])
