"""What the contenders talk to: a real registry, the one that stores nothing, a hub, and a Docker daemon of our own."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.image.measuring import ROOT, Row, seconds_of


class LocalRegistry:
    """A docker-registry whose storage can be emptied between contenders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        folder.mkdir()
        config = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
            "http": {"addr": self.host},
        }
        (folder / "config.yml").write_text(json.dumps(config))
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """Stop the registry."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def emptied(self) -> None:
        """Start afresh, with nothing stored and nothing waiting to be written to the disk."""
        self.stop()
        shutil.rmtree(self._folder / "storage", ignore_errors=True)
        os.sync()
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self._folder / "config.yml")], stdout=log, stderr=log
            )
        for _ in range(200):
            with socket.socket() as probe:
                host, port = self.host.split(":")
                if probe.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.05)
        raise SystemExit("docker-registry did not start")


@contextmanager
def serving(script: str, *arguments: str | Path) -> Iterator[str]:
    """Run one of this folder's servers; gives the address that it prints."""
    command = [sys.executable, str(ROOT / "bench" / "image" / script), *map(str, arguments)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if server.stdout is None or server.stdin is None:
        raise SystemExit("no pipe")
    try:
        yield server.stdout.readline().strip()
    finally:
        server.stdin.close()
        server.stdout.close()
        server.wait(timeout=30)


class Daemon:
    """A Docker daemon of our own: makes a client's command line; `usage` is what it cost, once it has ended."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.usage = Row("daemon", 0)

    def client(self, *arguments: str | Path) -> tuple[str | Path, ...]:
        """The command line of a client."""
        return ("docker", "--host", self._address, *arguments)


@contextmanager
def dockerd(folder: Path) -> Iterator[Daemon]:
    """Run a daemon that adds nothing to the machine's."""
    # The socket's path must be short; everything else lies with the benchmark's other files.
    with tempfile.TemporaryDirectory(prefix="bench-") as short:
        made = Daemon(f"unix://{short}/docker.sock")
        shutil.rmtree(folder, ignore_errors=True)
        command = ["dockerd", "--host", f"unix://{short}/docker.sock", "--data-root", folder / "data"]
        command += ["--exec-root", folder / "exec", "--pidfile", folder / "pid"]
        command += ["--bridge=none", "--iptables=false", "--ip6tables=false"]
        folder.mkdir()
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        try:
            _until(Path(short, "docker.sock").exists, daemon, folder / "log")
            yield made
        finally:
            daemon.terminate()
            _, _, usage = os.wait4(daemon.pid, 0)
            daemon.returncode = 0
            made.usage = Row("daemon", 0, seconds_of(usage), usage.ru_maxrss / 1024, usage.ru_oublock * 512 / 1e6)
            shutil.rmtree(folder, ignore_errors=True)


def _until(ready: Callable[[], bool], daemon: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if ready():
            return
        if daemon.poll() is not None:
            raise SystemExit(f"dockerd did not start: {log.read_text()[-500:]}")
        time.sleep(0.1)
