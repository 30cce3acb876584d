"""The two servers that the streaming loader reads from: our door to a registry, and a bucket's over a folder."""

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.stream.door import free_port, running
from bench.stream.processes import Cost, cost_of

VERSITYGW = Path.home() / ".cache" / "test-tools" / "versitygw"
_REGION = "us-east-1"
_TRIES = 3000


@dataclass(frozen=True)
class Endpoint:
    """Where the loader reads, what it is told for it, and what the server has cost so far."""

    place: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    peak_mb: Callable[[], float] | None = None

    def cost(self) -> Cost:
        """Return what it has cost."""
        cost = cost_of(self.process.pid)
        # Of several processes that came of one, what they share is counted once.
        return replace(cost, peak_mb=self.peak_mb()) if self.peak_mb else cost


@contextmanager
def door(reference: str, processes: int) -> Iterator[Endpoint]:
    """Run our server for an image; it is there once it is ready."""
    with running(reference, processes, "models/bench") as sidecar:
        yield Endpoint(
            "s3://models/bench", _environment(sidecar.port, "none", "none"), sidecar.process, lambda: sidecar.peak_mib
        )


@contextmanager
def bucket(folder: Path) -> Iterator[Endpoint]:
    """Run an S3 server whose objects are the files below a folder: that folder's own name is the bucket's."""
    port, key, secret = free_port(), "bench", secrets.token_hex(16)
    command = [str(VERSITYGW), "--port", f"127.0.0.1:{port}", "--region", _REGION, "--quiet", "--keep-alive"]
    command += ["posix", "--nometa", "--default-etag", "none", str(folder.parent)]
    environment = {"ROOT_ACCESS_KEY": key, "ROOT_SECRET_KEY": secret}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    try:
        _listening(process, port)
        yield Endpoint(f"s3://{folder.name}", _environment(port, key, secret), process)
    finally:
        process.terminate()
        process.wait()


def _environment(port: int, key: str, secret: str) -> dict[str, str]:
    address = f"http://127.0.0.1:{port}"
    return {
        "AWS_ENDPOINT_URL": address,
        "RUNAI_STREAMER_S3_ENDPOINT": address,
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": _REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _listening(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(_TRIES):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise SystemExit(f"{VERSITYGW} did not start")
