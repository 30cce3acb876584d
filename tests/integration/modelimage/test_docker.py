"""The image in Docker: pulled, run, and built from our context. A daemon of our own, gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelimage import copy, inspect, pack, write_base, write_context
from tests.registry import RegistryServer

pytestmark = pytest.mark.integration

BUSYBOX = Path("/bin/busybox")
Docker = Callable[..., str]


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """Run the docker client against a daemon that shares nothing with the machine's own."""
    for program, package in (("dockerd", "docker.io"), ("docker", "docker.io")):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed (Debian: {package})")
    if os.getuid() != 0:
        pytest.skip("dockerd needs root")
    # Not below pytest's folder: the path of a Unix socket has at most 107 characters.
    root = Path(tempfile.mkdtemp(prefix="dockerd-"))
    address = f"unix://{root / 'docker.sock'}"
    command = ["dockerd", "--host", address, "--data-root", root / "data", "--exec-root", root / "exec"]
    command += ["--pidfile", root / "pid", "--bridge=none", "--iptables=false", "--ip6tables=false"]
    with (root / "log").open("wb") as log:
        daemon = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)

    def run(*arguments: str | Path) -> str:
        done = subprocess.run(
            ["docker", "--host", address, *(str(part) for part in arguments)],
            env={**os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(root / "config")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        deadline = time.monotonic() + 60
        while not (root / "docker.sock").exists():
            if daemon.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"dockerd does not start here: {(root / 'log').read_text()[-500:]}")
            time.sleep(0.1)
        run("version")
        yield run
    finally:
        daemon.terminate()
        daemon.wait(timeout=60)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def base(registry: RegistryServer, tmp_path: Path) -> str:
    if not BUSYBOX.exists():
        pytest.skip("there is no /bin/busybox (Debian: busybox-static)")
    layout = write_base(str(tmp_path / "base"), str(BUSYBOX))
    return copy(layout.reference, f"{registry.host}/bases/busybox").reference


def test_what_docker_pulls_and_pushes_again_has_another_digest(
    docker: Docker, registry: RegistryServer, model: Path
) -> None:
    image = pack(str(model), f"{registry.host}/m:v1")
    docker("pull", image.reference)
    assert image.reference in docker("inspect", "--format", "{{.RepoDigests}}", image.reference)
    docker("tag", image.reference, f"{registry.host}/again:v1")
    docker("push", f"{registry.host}/again:v1")
    # docs/mirrors.md: its manifest is Docker's own, and its layers are gzip.
    again = registry.get("again/manifests/v1", Accept="application/vnd.docker.distribution.manifest.v2+json").json()
    assert again["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert {layer["mediaType"] for layer in again["layers"]} == {"application/vnd.docker.image.rootfs.diff.tar.gzip"}
    assert inspect(f"{registry.host}/again:v1").digest != image.digest


def test_the_image_runs_with_a_busybox_base(docker: Docker, registry: RegistryServer, model: Path, base: str) -> None:
    image = pack(str(model), f"{registry.host}/m:v1", base=base)
    out = docker("run", "--rm", "--network=none", image.reference, "ls", "-l", "/models", "/")
    assert "config.json -> models/config.json" in out
    assert "nested -> models/nested" in out
    assert "model-00003-of-00003.safetensors\n" in out
    # What KServe's modelcar does, as the user that it does it as.
    script = "ln -sf /proc/$$/root/models /tmp/models && cat /tmp/models/config.json /nested/extra.txt && sleep 0"
    read = docker("run", "--rm", "--network=none", "--user=1010", image.reference, "sh", "-c", script)
    assert read == '{"model_type": "qwen2"}extra'


def test_docker_pulls_an_image_without_a_base(docker: Docker, registry: RegistryServer, model: Path) -> None:
    image = pack(str(model), f"{registry.host}/m:v1")
    docker("pull", image.reference)
    assert image.digest in docker("image", "inspect", "--format", "{{.RepoDigests}}", image.reference)
    platform = docker("image", "inspect", "--format", "{{.Os}}/{{.Architecture}}", image.reference)
    assert platform.strip() == "linux/amd64"


def test_a_build_of_our_context_has_the_same_files_and_links(
    docker: Docker, registry: RegistryServer, tmp_path: Path, model: Path, base: str
) -> None:
    docker("pull", base)
    write_context(str(model), str(tmp_path / "context"), base=base)
    built = f"{registry.host}/built:v1"
    docker("build", "--network=none", "--tag", built, tmp_path / "context")
    docker("push", built)
    ours = pack(str(model), f"{registry.host}/m:v1", base=base)
    listing = ("find", "/models", "-type", "f", "-exec", "md5sum", "{}", ";")
    assert sorted(docker("run", "--rm", "--network=none", built, *listing).splitlines()) == sorted(
        docker("run", "--rm", "--network=none", ours.reference, *listing).splitlines()
    )
    links = ("find", "/", "-maxdepth", "1", "-type", "l", "-exec", "readlink", "{}", ";")
    assert sorted(docker("run", "--rm", "--network=none", built, *links).splitlines()) == sorted(
        docker("run", "--rm", "--network=none", ours.reference, *links).splitlines()
    )
    read = docker("run", "--rm", "--network=none", "--user=1010", built, "cat", "/nested/extra.txt")
    assert read == "extra"
    assert len(inspect(f"{registry.host}/built:v1").layers) == len(ours.layers) - 1  # docker makes no chunk lists
