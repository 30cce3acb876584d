"""Image layouts in other tools' hands: each finds the image by its name, and it is the image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelimage import inspect, pack
from modelimage.images import Image
from tests.e2e.dockerd import daemon

pytestmark = pytest.mark.integration


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def needs(program: str, package: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed (Debian: {package})")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return tmp_path / "Qwen2.5"


@pytest.fixture
def image(layout: Path, model: Path) -> Image:
    return pack(str(model), f"oci:{layout}")


@pytest.fixture
def archive(layout: Path, image: Image, tmp_path: Path) -> Path:
    """The layout as one file, which is what stores take."""
    return Path(shutil.make_archive(str(tmp_path / "layout"), "tar", layout))


@pytest.fixture
def containerd() -> Iterator[str]:
    """The socket of a containerd that shares nothing with the machine's own."""
    needs("containerd", "containerd")
    needs("ctr", "containerd")
    if os.getuid() != 0:
        pytest.skip("containerd needs root")
    # Not below pytest's folder: the path of a Unix socket has at most 107 characters.
    root = Path(tempfile.mkdtemp(prefix="containerd-"))
    socket = root / "socket"
    places = [f"--root={root / 'root'}", f"--state={root / 'state'}", f"--address={socket}"]
    (root / "config.toml").write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(["containerd", f"--config={root / 'config.toml'}", *places], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"containerd does not start here: {(root / 'log').read_text()[-500:]}")
            time.sleep(0.1)
        yield str(socket)
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(root, ignore_errors=True)


def test_skopeo_finds_it_by_its_name(layout: Path, image: Image) -> None:
    needs("skopeo", "skopeo")
    assert json.loads(run("skopeo", "inspect", f"oci:{layout}:latest"))["Digest"] == image.digest
    assert json.loads(run("skopeo", "inspect", f"oci:{layout}"))["Digest"] == image.digest


def test_umoci_finds_it_without_a_name_and_unpacks_its_files(
    layout: Path, image: Image, model: Path, tmp_path: Path
) -> None:
    needs("umoci", "umoci")
    assert run("umoci", "ls", "--layout", layout).split() == ["latest"]
    run("umoci", "unpack", "--rootless", "--image", layout, tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/models/config.json").read_bytes() == (model / "config.json").read_bytes()


def test_what_umoci_tags_stays_when_another_image_is_packed(layout: Path, image: Image, model: Path) -> None:
    needs("umoci", "umoci")
    run("umoci", "tag", "--image", layout, "mine")
    assert inspect(f"oci:{layout}").digest == image.digest
    (model / "config.json").write_text("{}")
    other = pack(str(model), f"oci:{layout}")
    assert sorted(run("umoci", "ls", "--layout", layout).split()) == ["latest", "mine"]
    run("umoci", "gc", "--layout", layout)
    for one in (image, other):
        assert inspect(one.reference, files=True).unread == ()


@pytest.fixture
def logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of no logins, where the tests say that it is: buildah wants one."""
    (tmp_path / "logins.json").write_text("{}")
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "logins.json"))


@pytest.mark.usefixtures("logins")
def test_buildah_which_reads_layouts_as_podman_does_calls_it_after_its_folder(archive: Path) -> None:
    needs("buildah", "buildah")
    with tempfile.TemporaryDirectory(prefix="buildah-") as root:
        store = ["buildah", "--storage-driver=vfs", "--root", f"{root}/root", "--runroot", f"{root}/run"]
        run(*store, "pull", f"oci-archive:{archive}")
        names = json.loads(run(*store, "images", "--json"))
    assert [one["names"] for one in names] == [["localhost/qwen2-5:latest"]]


@pytest.mark.usefixtures("logins")
def test_podman_loads_it_by_its_name(archive: Path) -> None:
    needs("podman", "podman")
    with tempfile.TemporaryDirectory(prefix="podman-") as root:
        store = ["podman", "--storage-driver=vfs", "--root", f"{root}/root", "--runroot", f"{root}/run"]
        assert "localhost/qwen2-5:latest" in run(*store, "load", "--input", archive)


def test_containerd_imports_it_by_its_name_and_digest(containerd: str, archive: Path, image: Image) -> None:
    ctr = ["ctr", "--address", containerd, "--namespace", "tests", "images"]
    run(*ctr, "import", "--snapshotter", "native", archive)
    assert run(*ctr, "ls", "--quiet").split() == ["localhost/qwen2-5:latest"]
    assert image.digest in run(*ctr, "ls")


def test_docker_loads_it_by_its_name(archive: Path, image: Image) -> None:
    with tempfile.TemporaryDirectory(prefix="dockerd-") as folder, daemon(Path(folder)) as environment:
        assert "localhost/qwen2-5:latest" in run("docker", "load", "--input", archive, **environment)
        found = run("docker", "image", "inspect", "--format", "{{.Architecture}}", "localhost/qwen2-5", **environment)
        assert found.strip() == "amd64"
