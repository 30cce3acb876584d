"""Whether the suite leaves anything on the machine: processes, containers, mounts, network interfaces."""

import contextlib
import fcntl
import json
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_MARK = "OCI_MODEL_SERVING_E2E"
_SECONDS = 60
# Of the test cluster (shared/cluster/up): its pods' network and its containers' control groups.
_POD_SUBNET = "10.245.0."
_POD_CGROUP = "/kubepods"
_NET_NAMESPACES = Path("/run/netns")


@contextlib.contextmanager
def nothing_left(cluster_home: Path, folder: Path) -> Iterator[None]:
    """Fail at the end of the context when something is left of what was started within it.

    Processes are told by a variable that they inherit, so that others on the same machine do not matter. A cluster
    that others started, or still use, is theirs and stays.

    Args:
        cluster_home: the test cluster's folder.
        folder: the folder that the tests write to.
    """
    mark = f"{_MARK}={secrets.token_hex(8)}"
    was_up = _is_up(cluster_home)
    before = _mounts(cluster_home, folder) | _interfaces() | _net_namespaces()
    os.environ[_MARK] = mark.partition("=")[2]
    try:
        yield
    finally:
        del os.environ[_MARK]
    if was_up or _is_used_by_others():
        print("the test cluster is in use by others: what it runs is not looked at")
        return
    deadline = time.monotonic() + _SECONDS
    while left := _found(mark, cluster_home, folder) - before:
        if time.monotonic() > deadline:
            pytest.fail("left on the machine:\n" + "\n".join(sorted(left)))
        time.sleep(1)


def _found(mark: str, cluster_home: Path, folder: Path) -> set[str]:
    return _processes(mark) | _mounts(cluster_home, folder) | _interfaces() | _net_namespaces()


def _processes(mark: str) -> set[str]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        # A process may end while it is looked at.
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                found.add(f"process {process.name}: {line}")
            elif _POD_CGROUP in (process / "cgroup").read_text():
                found.add(f"container's process {process.name}: {line}")
    return found


def _mounts(cluster_home: Path, folder: Path) -> set[str]:
    places = (str(cluster_home), str(folder), str(_NET_NAMESPACES), "/var/lib/kubelet")
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return {f"mount {point}" for point in points if point.startswith(places)}


def _interfaces() -> set[str]:
    said = subprocess.run(["ip", "-json", "-4", "address"], capture_output=True, text=True, check=True)
    return {
        f"network interface {interface['ifname']}"
        for interface in json.loads(said.stdout)
        for address in interface["addr_info"]
        if address["local"].startswith(_POD_SUBNET)
    }


def _net_namespaces() -> set[str]:
    names = _NET_NAMESPACES.iterdir() if _NET_NAMESPACES.is_dir() else ()
    return {f"network namespace {path.name}" for path in names if path.name.startswith("cni-")}


def _is_up(cluster_home: Path) -> bool:
    for file in (cluster_home / "run" / "pids").glob("*"):
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(file.read_text()), 0)
            return True
    return False


def _is_used_by_others() -> bool:
    """Look at the users' lock of tests/integration/cluster.py, which this process no longer holds."""
    with (Path(tempfile.gettempdir()) / "cluster.users").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
