"""The suite's own check of what it leaves behind sees what it is there to see."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e import leftovers

pytestmark = pytest.mark.node


@pytest.fixture(autouse=True)
def _no_pods_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods that the suite has deleted may begin to drain meanwhile, which is a process more in their containers."""
    monkeypatch.setattr(leftovers, "_POD_CGROUP", "no container of ours")


def sleeping(*, start_new_session: bool = False) -> subprocess.Popen[bytes]:
    """A process that stays. Popen returns a moment before the kernel shows the program's arguments and environment."""
    process = subprocess.Popen(["sleep", "600"], start_new_session=start_new_session)
    while not Path(f"/proc/{process.pid}/environ").read_bytes():
        time.sleep(0.01)
    return process


def test_a_process_that_stays_is_told(tmp_path: Path) -> None:
    started = []
    try:
        with (
            pytest.raises(pytest.fail.Exception, match=r"process \d+: sleep 600"),
            leftovers.nothing_left(tmp_path / "cluster", tmp_path, seconds=0, shared=lambda: False),
        ):
            started.append(sleeping(start_new_session=True))
    finally:
        for process in started:
            process.kill()
            process.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_mount_that_stays_is_told(tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    try:
        with (
            pytest.raises(pytest.fail.Exception, match=f"mount {place}"),
            leftovers.nothing_left(tmp_path / "cluster", tmp_path, seconds=0, shared=lambda: False),
        ):
            subprocess.run(["mount", "-t", "tmpfs", "e2e", place], check=True)
    finally:
        subprocess.run(["umount", place], check=True)


def test_what_was_there_before_is_nobody_elses_matter(tmp_path: Path) -> None:
    process = sleeping()
    try:
        with leftovers.nothing_left(tmp_path / "cluster", tmp_path, seconds=10, shared=lambda: False):
            pass
    finally:
        process.kill()
        process.wait()
