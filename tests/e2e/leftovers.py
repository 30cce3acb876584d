"""Whether the suite leaves anything on the machine: processes, containers, mounts, network interfaces."""

import contextlib
import fcntl
import os
import secrets
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_MARK = "OCI_MODEL_SERVING_E2E"
# Of the test cluster (shared/cluster/up): its pods' network and its containers' control groups.
_POD_SUBNET = "10.245.0."
_POD_CGROUP = "/kubepods"
_SIOCGIFADDR = 0x8915  # netdevice(7): the address of an interface
_NET_NAMESPACES = Path("/run/netns")


def used_by_others() -> bool:
    """Whether others hold the users' lock of tests/integration/cluster.py, which this process no longer does."""
    with (Path(tempfile.gettempdir()) / "cluster.users").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def nothing_left(
    cluster_home: Path, folder: Path, *, seconds: float = 60, shared: Callable[[], bool] = used_by_others
) -> Iterator[None]:
    """Fail at the end of the context when something is left of what was started within it.

    Processes are told by a variable that they inherit, so that others on the same machine do not matter. A cluster
    that others started, or still use, is theirs and stays.

    Args:
        cluster_home: the test cluster's folder.
        folder: the folder that the tests write to.
        seconds: how long things may take to go.
        shared: tells whether others use the cluster at the end.
    """
    mark = f"{_MARK}={secrets.token_hex(8)}"
    was_up = _is_up(cluster_home)
    before = _found(mark, cluster_home, folder)
    outer = os.environ.get(_MARK)
    os.environ[_MARK] = mark.partition("=")[2]
    try:
        yield
    finally:
        del os.environ[_MARK]
        if outer:
            os.environ[_MARK] = outer
    if was_up or shared():
        print("the test cluster is in use by others: what it runs is not looked at")
        return
    deadline = time.monotonic() + seconds
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
    found = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            # An interface may have no address, or be gone by now.
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()))
                if socket.inet_ntoa(answer[20:24]).startswith(_POD_SUBNET):
                    found.add(f"network interface {name}")
    return found


def _net_namespaces() -> set[str]:
    names = _NET_NAMESPACES.iterdir() if _NET_NAMESPACES.is_dir() else ()
    return {f"network namespace {path.name}" for path in names if path.name.startswith("cni-")}


def _is_up(cluster_home: Path) -> bool:
    for file in (cluster_home / "run" / "pids").glob("*"):
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(file.read_text()), 0)
            return True
    return False
