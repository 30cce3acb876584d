"""A real registry for tests: Debian's docker-registry on loopback, on a free port, in a folder of the test.

Use it from any test module::

    from tests.registry import running

    @pytest.fixture
    def registry(tmp_path):
        yield from running(tmp_path / "registry")            # its host is "127.0.0.1:<port>"
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, final

import httpx
import pytest

_MEMORY = Path("/dev/shm")  # noqa: S108 - the file system in memory that Linux has there


def registry_missing() -> str | None:
    """Return why there can be no registry here, or None."""
    return None if shutil.which("docker-registry") else "docker-registry is not installed (Debian: docker-registry)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@final
class RegistryServer:
    """One docker-registry process; it can be stopped and started again at the same port with the same storage.

    Its storage is in memory where it can be: it waits for the disk at each file, which took most of the tests' time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        htpasswd: tuple[str, str] | None = None,
        tls: tuple[Path, Path] | None = None,
        clients: Path | None = None,
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._tls = tls
        self._htpasswd = htpasswd
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._in_memory = tempfile.TemporaryDirectory(prefix="registry-", dir=_MEMORY) if _MEMORY.is_dir() else None
        self.storage = Path(self._in_memory.name) if self._in_memory else folder / "storage"
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.storage)}, "delete": {"enabled": True}},
            "http": {"addr": self.host},
        }
        if htpasswd:
            answer = subprocess.run(["htpasswd", "-Bbn", *htpasswd], capture_output=True, check=True)
            (folder / "htpasswd").write_bytes(answer.stdout)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        if tls:
            config["http"]["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
            if clients:  # the authority of certificates that clients must show
                config["http"]["tls"]["clientcas"] = [str(clients)]
        self._config = folder / "config.yml"
        self._config.write_text(json.dumps(config))  # JSON is YAML

    def __enter__(self) -> RegistryServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        if self._in_memory:
            self._in_memory.cleanup()

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self._config)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        raise RuntimeError(f"docker-registry did not start: {(self.folder / 'log').read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    # What a test sees of the registry without going through the code under test.

    def get(self, path: str, **headers: str) -> httpx.Response:
        return httpx.get(f"http://{self.host}/v2/{path}", headers=headers, auth=self._htpasswd, trust_env=False)

    def tags(self, repository: str) -> list[str]:
        answer = self.get(f"{repository}/tags/list")
        return sorted(answer.json().get("tags") or []) if answer.status_code == 200 else []

    def manifest(self, repository: str, name: str) -> httpx.Response:
        return self.get(f"{repository}/manifests/{name}", Accept="application/vnd.oci.image.manifest.v1+json")


def running(folder: Path) -> Iterator[RegistryServer]:
    """A registry for as long as a fixture lives; the test is skipped where there can be none."""
    if reason := registry_missing():
        pytest.skip(reason)
    with RegistryServer(folder) as server:
        yield server
