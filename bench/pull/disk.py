"""A disk of a node in the cloud, as far as its speed goes: a file system of its own, held to so many MB a second."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_THROTTLE = Path("/sys/fs/cgroup/blkio")
"""The block controller of control groups, version 1: its root's limits hold for all that a device writes or reads."""


def missing() -> str:
    """Why there can be none here; "" where there can."""
    return "" if (_THROTTLE / "blkio.throttle.write_bps_device").exists() else f"no block controller at {_THROTTLE}"


@contextmanager
def disk(file: Path, gib: float, mbps: float) -> Iterator[str]:
    """Make a device with an empty file system, in a sparse file, and take it away again."""
    with file.open("wb") as made:
        made.truncate(int(gib * (1 << 30)))
    device = _run("losetup", "--find", "--show", "--direct-io=on", str(file))
    try:
        _run("mkfs.ext4", "-q", device)
        numbers = _run("lsblk", "--nodeps", "--noheadings", "--output", "MAJ:MIN", device)
        _held(numbers, int(mbps * 1e6))
        try:
            yield device
        finally:
            _held(numbers, 0)
    finally:
        _run("losetup", "--detach", device)
        file.unlink()


def _held(numbers: str, rate: int) -> None:
    for direction in ("read", "write"):
        (_THROTTLE / f"blkio.throttle.{direction}_bps_device").write_text(f"{numbers} {rate}")


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
