"""The test node's container runtime, alone: what the kubelet asks it for where a pod has an image volume or a modelcar.

Each has a containerd of its own with nothing stored, in a mount namespace of its own. It needs root, the test cluster's
programs (make e2e builds them) and, in `~/.cache/test-tools`, `crictl` and, to mount what was pulled, `ctr`.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CACHE = Path.home() / ".cache"
CONTAINERD = _CACHE / "test-cluster" / "bin" / "containerd"
CRICTL = _CACHE / "test-tools" / "crictl"
CTR = _CACHE / "test-tools" / "ctr"
_NAMESPACE = "k8s.io"  # the runtime interface's, of containerd's
_START_SECONDS = 30
_TICKS = os.sysconf("SC_CLK_TCK")


class Node:
    """A containerd of our own with nothing stored, in a mount namespace of its own, on a device where one is given."""

    def __init__(self, folder: Path, unpacks: int, device: str | None = None) -> None:
        self._folder = folder
        self._socket = folder / "containerd.sock"
        config = folder / "containerd.toml"
        config.write_text(
            f'version = 3\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
            f'[grpc]\naddress = "{self._socket}"\n'
            "[plugins.'io.containerd.transfer.v1.local']\n"
            f"max_concurrent_unpacks = {unpacks}\n"
        )
        (folder / "root").mkdir()
        # Mounted where nobody else sees it: another's mount namespace, made meanwhile, would keep the device.
        place = f'mount {device} "{folder}/root" && ' if device else ""
        start = ["sh", "-c", f'{place}exec "$0" --config "$1"', str(CONTAINERD), str(config)]
        command = ["unshare", "--mount", "--propagation", "private", *start]
        path = f"{CONTAINERD.parent}:{os.environ['PATH']}:/usr/sbin:/sbin"  # of its shim, and of runc
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PATH": path})
        for _ in range(_START_SECONDS * 10):
            if self._crictl("version").returncode == 0:
                return
            time.sleep(0.1)
        self.stop()
        raise SystemExit(f"containerd did not start: {(folder / 'log').read_text()[-2000:]}")

    @property
    def pid(self) -> int:
        """Containerd's process: `unshare` and the shell have become it, as they do not fork."""
        return self._process.pid

    def pull(self, reference: str) -> tuple[float, float]:
        """Pull an image; wall seconds, and seconds of containerd's processor."""
        cpu, began = self._cpu(), time.monotonic()
        done = self._crictl("pull", reference)
        seconds = time.monotonic() - began
        if done.returncode:
            raise SystemExit(f"the pull of {reference} failed: {done.stderr}")
        return seconds, self._cpu() - cpu

    @contextmanager
    def mounted(self, reference: str) -> Iterator[Path]:
        """Mount a pulled image as containerd does for an image volume: a read-only view of its snapshot."""
        place = self._folder / "mounted"
        place.mkdir()
        self._ctr("images", "mount", reference, str(place))
        try:
            yield Path(f"/proc/{self.pid}/root{place}")
        finally:
            self._ctr("images", "unmount", str(place))

    @contextmanager
    def running(self, reference: str) -> Iterator[Path]:
        """Run a pulled image as a modelcar does, asleep, and yield its root as others see it beside it."""
        name = "modelcar"
        self._ctr("run", "--detach", reference, name, "sleep", "3600")
        try:
            told = self._ctr("tasks", "ls")
            (pid,) = [line.split()[1] for line in told.splitlines() if line.startswith(f"{name} ")]
            yield Path(f"/proc/{pid}/root")
        finally:
            self._ctr("tasks", "rm", "--force", name)
            self._ctr("containers", "rm", name)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def _ctr(self, *arguments: str) -> str:
        # In containerd's own mount namespace: what it mounts is nobody else's.
        enter = ["nsenter", "--mount", "--target", str(self.pid)]
        command = [*enter, str(CTR), "--address", str(self._socket), "--namespace", _NAMESPACE, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"ctr {' '.join(arguments)} failed: {done.stderr}")
        return done.stdout

    def _crictl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(CRICTL), "--timeout", "600s", "--runtime-endpoint", f"unix://{self._socket}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def _cpu(self) -> float:
        numbers = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, numbers[11:13])) / _TICKS


@contextmanager
def node(unpacks: int, device: str | None = None) -> Iterator[Node]:
    """Run a fresh one, on a device's empty file system where one is given; what it stored goes with it."""
    with tempfile.TemporaryDirectory(prefix="bench-pull-") as folder:
        os.sync()  # nothing of the last pull is still to be written
        made = Node(Path(folder), unpacks, device)
        try:
            yield made
        finally:
            made.stop()
