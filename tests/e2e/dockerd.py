"""A Docker daemon of the tests' own: its data, its socket and its network are nobody else's."""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.stack import run

_SECONDS = 60


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment in which `docker` speaks to a daemon that keeps everything in `folder`."""
    program = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if not program or not shutil.which("docker"):
        pytest.skip("docker and dockerd are not installed (Debian: docker.io)")
    socket = f"unix://{folder}/docker.sock"
    # Without a bridge there is no interface and no firewall rule to leave behind; COPY needs no network.
    options = ["--bridge=none", "--iptables=false", "--host", socket, "--pidfile", f"{folder}/pid"]
    places = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"]
    environment = {"DOCKER_HOST": socket, "DOCKER_CONFIG": f"{folder}/config"}
    environment.update(_builder(environment))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, *options, *places], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait(process, environment, folder / "log")
        yield environment
    finally:
        process.terminate()
        process.wait(_SECONDS)
        # Its exec root may keep mounts of network namespaces after it has ended.
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            point = line.split()[4]
            if point.startswith(str(folder)):
                subprocess.run(["umount", point], check=True)


def push(context: Path, image: str, environment: dict[str, str]) -> str:
    """Build a context, push it as `image` (HOST/REPO:TAG), and return the digest that `docker push` tells."""
    run(["docker", "build", "--quiet", "--tag", image, str(context)], context, environment)
    said = run(["docker", "push", image], context, environment)
    match = re.search(r"digest: (sha256:[0-9a-f]{64})", said)
    assert match, said
    return match[1]


def _builder(environment: dict[str, str]) -> dict[str, str]:
    """Choose the daemon's classic builder where the client has no BuildKit."""
    buildx = subprocess.run(
        ["docker", "buildx", "version"], capture_output=True, check=False, env={**os.environ, **environment}
    )
    return {"DOCKER_BUILDKIT": "0" if buildx.returncode else "1"}


def _wait(process: subprocess.Popen[bytes], environment: dict[str, str], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    line = ["docker", "version"]
    while subprocess.run(line, capture_output=True, check=False, env={**os.environ, **environment}).returncode:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.skip(f"no Docker daemon can run here: {log.read_text()[-500:]}")
        time.sleep(0.5)
