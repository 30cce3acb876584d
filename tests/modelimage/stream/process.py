"""The sidecar as a process of its own, and what is seen of it from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.registry import free_port

ROOT = Path(__file__).parents[3]


@dataclass
class Running:
    process: subprocess.Popen[str]
    port: int
    health: int

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=20)

    def status(self, path: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{self.health}{path}", trust_env=False, timeout=20).status_code
        except httpx.TransportError:
            return 0

    def until(self, path: str) -> None:
        deadline = time.monotonic() + 30
        while self.status(path) != 200:
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self) -> tuple[int, str]:
        """The exit code and the last word."""
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said.strip().rpartition("\n")[2]


@contextmanager
def sidecar(
    image: object,
    *more: str,
    command: Sequence[str] = ("-m", "modelimage.stream"),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    port, health = free_port(), free_port()
    said = [f"oci+stream://{image}", "--prefix", "models/m", "--port", str(port), "--health-port", str(health)]
    process = subprocess.Popen(
        [sys.executable, *command, *said, "--processes", "2", *more],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield Running(process, port, health)
    finally:
        process.kill()
        process.wait()


def gone(pids: Sequence[int]) -> bool:
    """Whether processes end within a while; one that nobody has waited for is as good as gone."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        states = [Path(f"/proc/{pid}/stat") for pid in pids]
        if all(not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z" for state in states):
            return True
        time.sleep(0.02)
    return False
