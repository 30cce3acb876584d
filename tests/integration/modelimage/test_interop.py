"""Our image as others read it: each tool sees the same digest and the same files, in a registry and in a layout.

What a tool does to the digest when it passes the image on is held here too: docs/mirrors.md says it to users.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelimage import Image, copy, inspect, pack
from tests.registry import RegistryServer, running

pytestmark = pytest.mark.integration

Run = Callable[..., str]
_FROM_GO = {"oras": "oras.land/oras/cmd/oras", "crane": "github.com/google/go-containerregistry/cmd/crane"}
_NAME = "org.opencontainers.image.ref.name"
_TITLE = "org.opencontainers.image.title"


def run(*command: str | Path, fails: bool = False) -> str:
    """What a command says on stdout; on both streams where it is to fail."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert bool(done.returncode) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr if fails else done.stdout


def needed(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            where = f"Go: {_FROM_GO[program]}" if program in _FROM_GO else f"Debian: {program}"
            pytest.skip(f"{program} is not installed ({where})")


@pytest.fixture
def image(registry: RegistryServer, model: Path) -> Image:
    return pack(str(model), f"{registry.host}/models:v1")


@pytest.fixture
def layout(tmp_path: Path, model: Path) -> Path:
    pack(str(model), f"oci:{tmp_path / 'ours'}")
    return tmp_path / "ours"


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[RegistryServer]:
    """Another registry, that has nothing."""
    yield from running(tmp_path / "mirror")


def digest_at(registry: RegistryServer, repository: str) -> str:
    answer = registry.manifest(repository, "v1")
    assert answer.status_code == 200, answer.text
    return f"sha256:{hashlib.sha256(answer.content).hexdigest()}"


def media_types(registry: RegistryServer, repository: str) -> set[str]:
    return {layer["mediaType"].rpartition(".")[2] for layer in registry.manifest(repository, "v1").json()["layers"]}


def entry_of(layout: Path) -> dict[str, Any]:
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    return dict(entry)


def holds_the_model(root: Path, model: Path) -> None:
    """The unpacked image has each file below /models with its mode, and a link to it at the root."""
    for path in [path for path in model.rglob("*") if path.is_file() and not path.name.startswith(".")]:
        inside = root / "models" / path.relative_to(model)
        assert inside.read_bytes() == path.read_bytes()
        assert inside.stat().st_mode & 0o777 == 0o644
    assert (root / "models" / "nested").stat().st_mode & 0o777 == 0o755
    assert (root / "config.json").readlink() == Path("models/config.json")


def unpacked(archive: Path, to: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(to, filter="tar")
    return to


# skopeo


def test_skopeo_sees_the_same_image_in_a_registry_and_in_a_layout(
    registry: RegistryServer, image: Image, layout: Path, tmp_path: Path
) -> None:
    needed("skopeo")
    for place in (f"docker://{registry.host}/models:v1", f"oci:{layout}"):
        seen = json.loads(run("skopeo", "inspect", "--tls-verify=false", place))
        assert seen["Digest"] == image.digest
        assert seen["Layers"] == [layer.digest for layer in image.layers]
    for number, place in enumerate((f"docker://{image.reference}", f"oci:{layout}")):
        folder = tmp_path / f"dir{number}"
        run("skopeo", "copy", "--src-tls-verify=false", place, f"dir:{folder}")
        assert hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest() == image.digest[7:]
        for layer in image.layers:
            assert hashlib.sha256((folder / layer.digest[7:]).read_bytes()).hexdigest() == layer.digest[7:]


def test_skopeo_keeps_the_digest_only_where_it_is_told_to(
    registry: RegistryServer, mirror: RegistryServer, image: Image, layout: Path
) -> None:
    needed("skopeo")
    insecure = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    places = {"registry": f"docker://{image.reference}", "layout": f"oci:{layout}"}
    # First: skopeo takes blobs that it knows to be there as they are.
    for name, place in places.items():
        run("skopeo", "copy", *insecure, place, f"docker://{mirror.host}/changed/{name}:v1")
        assert digest_at(mirror, f"changed/{name}") != image.digest
        assert media_types(mirror, f"changed/{name}") == {"tar+gzip"}
    for name, place in places.items():
        run("skopeo", "copy", *insecure, "--preserve-digests", place, f"docker://{mirror.host}/kept/{name}:v1")
        assert digest_at(mirror, f"kept/{name}") == image.digest
    sync = ["skopeo", "sync", *insecure, "--src", "docker", "--dest", "docker", f"{registry.host}/models:v1"]
    run(*sync, "--preserve-digests", f"{mirror.host}/synced")
    assert digest_at(mirror, "synced/models") == image.digest


def test_ours_keeps_the_digest_wherever_it_copies(
    mirror: RegistryServer, image: Image, layout: Path, tmp_path: Path
) -> None:
    assert copy(image.reference, f"{mirror.host}/models:v1").digest == image.digest
    assert digest_at(mirror, "models") == image.digest
    assert copy(f"oci:{layout}@{image.digest}", f"{mirror.host}/carried:v1").digest == image.digest
    assert entry_of(layout)["digest"] == image.digest


# umoci


def test_umoci_unpacks_identical_files(layout: Path, tmp_path: Path, model: Path) -> None:
    needed("umoci")
    name = entry_of(layout).get("annotations", {}).get(_NAME)
    if name is None:
        needed("skopeo")
        run("skopeo", "copy", "--preserve-digests", f"oci:{layout}", f"oci:{tmp_path / 'named'}:v1")
        layout, name = tmp_path / "named", "v1"
    assert run("umoci", "list", "--layout", layout).split() == [name]
    run("umoci", "unpack", "--rootless", "--image", f"{layout}:{name}", tmp_path / "bundle")
    holds_the_model(tmp_path / "bundle" / "rootfs", model)


# crane


def test_crane_reads_the_image_and_keeps_its_digest(
    registry: RegistryServer, mirror: RegistryServer, image: Image, tmp_path: Path, model: Path
) -> None:
    needed("crane")
    insecure = "--insecure"
    assert run("crane", "digest", insecure, f"{registry.host}/models:v1").strip() == image.digest
    manifest = run("crane", "manifest", insecure, image.reference)
    assert hashlib.sha256(manifest.encode()).hexdigest() == image.digest[7:]
    run("crane", "pull", insecure, "--format=oci", image.reference, tmp_path / "pulled")
    assert entry_of(tmp_path / "pulled")["digest"] == image.digest
    run("crane", "export", insecure, image.reference, tmp_path / "exported.tar")
    holds_the_model(unpacked(tmp_path / "exported.tar", tmp_path / "exported"), model)
    run("crane", "copy", insecure, image.reference, f"{mirror.host}/copied:v1")
    run("crane", "push", insecure, tmp_path / "pulled", f"{mirror.host}/pushed:v1")
    assert digest_at(mirror, "copied") == digest_at(mirror, "pushed") == image.digest


def test_crane_validates_the_image_without_its_layers_and_takes_every_layer_for_gzip(image: Image) -> None:
    needed("crane")
    assert "PASS" in run("crane", "validate", "--insecure", "--fast", "--remote", image.reference)
    # docs/mirrors.md: this verdict is on go-containerregistry's reading, not on the image.
    assert "gzip: invalid header" in run("crane", "validate", "--insecure", "--remote", image.reference, fails=True)


# oras


def test_oras_reads_the_image_and_keeps_its_digest(
    mirror: RegistryServer, image: Image, layout: Path, tmp_path: Path
) -> None:
    needed("oras")
    manifest = run("oras", "manifest", "fetch", "--plain-http", image.reference)
    assert hashlib.sha256(manifest.encode()).hexdigest() == image.digest[7:]
    to = ["--to-plain-http", f"{mirror.host}/copied:v1"]
    run("oras", "copy", "--from-plain-http", image.reference, *to)
    assert digest_at(mirror, "copied") == image.digest
    run("oras", "copy", "--from-oci-layout", f"{layout}@{image.digest}", "--to-plain-http", f"{mirror.host}/laid:v1")
    assert digest_at(mirror, "laid") == image.digest
    run("oras", "copy", "--from-plain-http", image.reference, "--to-oci-layout", f"{tmp_path / 'copied'}:v1")
    assert inspect(f"oci:{tmp_path / 'copied'}@{image.digest}", files=True).digest == image.digest


def test_oras_pulls_what_has_a_title(image: Image, tmp_path: Path) -> None:
    needed("oras")
    manifest = json.loads(run("oras", "manifest", "fetch", "--plain-http", image.reference))
    titles = {layer["annotations"][_TITLE] for layer in manifest["layers"] if _TITLE in layer.get("annotations", {})}
    run("oras", "pull", "--plain-http", "--output", tmp_path / "pulled", image.reference)
    assert all((tmp_path / "pulled" / title).exists() for title in titles)
    assert bool(titles) == any((tmp_path / "pulled").glob("*"))


# podman and buildah


@pytest.fixture(params=["podman", "buildah"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The beginning of a command line of a tool with a storage of its own."""
    needed(request.param)
    if os.getuid() != 0:
        pytest.skip(f"mounting an image with {request.param} needs root, or a user namespace")
    monkeypatch.delenv("DOCKER_CONFIG")  # they insist that the file is there
    # Not below pytest's folder: podman takes a path of 50 characters at most.
    root = tempfile.mkdtemp(prefix="storage-")
    command = [request.param, "--root", f"{root}/root", "--runroot", f"{root}/run", "--storage-driver", "vfs"]
    if request.param == "podman":
        command += ["--events-backend", "file", "--cgroup-manager", "cgroupfs", "--tmpdir", f"{root}/own"]
    try:
        yield command
        run(*command, *(["image", "unmount", "--all", "--force"] if request.param == "podman" else ["rm", "--all"]))
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_podman_and_buildah_mount_the_image_by_its_digest(storage: list[str], image: Image, model: Path) -> None:
    if storage[0] == "podman":
        run(*storage, "pull", "--tls-verify=false", image.reference)
        mounted = run(*storage, "image", "mount", image.reference).strip()
    else:
        mounted = run(*storage, "mount", run(*storage, "from", "--tls-verify=false", image.reference).strip()).strip()
    holds_the_model(Path(mounted), model)
    assert image.digest in run(*storage, "images", "--digests")


def test_podman_and_buildah_give_what_they_push_another_digest(
    storage: list[str], mirror: RegistryServer, image: Image
) -> None:
    run(*storage, "pull", "--tls-verify=false", image.reference)
    run(*storage, "push", "--tls-verify=false", image.reference, f"docker://{mirror.host}/pushed:v1")
    assert digest_at(mirror, "pushed") != image.digest
    assert media_types(mirror, "pushed") == {"tar+gzip"}


@pytest.mark.parametrize("storage", ["podman"], indirect=True)
def test_podman_loads_a_layout(storage: list[str], layout: Path, model: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "ours.tar", "w") as tar:
        tar.add(layout, arcname=".")
    loaded = run(*storage, "load", "--quiet", "--input", tmp_path / "ours.tar").strip().rpartition(": ")[2]
    identity = run(*storage, "image", "inspect", "--format", "{{.ID}}", loaded.removeprefix("sha256:")).strip()
    holds_the_model(Path(run(*storage, "image", "mount", identity).strip()), model)


# A pull-through cache


def test_a_pull_through_cache_hands_out_the_same_digest_also_while_its_upstream_is_away(
    registry: RegistryServer, image: Image, tmp_path: Path
) -> None:
    cache = RegistryServer(tmp_path / "cache")
    config = json.loads((tmp_path / "cache" / "config.yml").read_text())
    config["proxy"] = {"remoteurl": f"http://{registry.host}"}
    (tmp_path / "cache" / "config.yml").write_text(json.dumps(config))
    with cache:
        through = f"{cache.host}/models@{image.digest}"
        assert copy(through, f"oci:{tmp_path / 'first'}").digest == image.digest
        registry.stop()
        assert copy(through, f"oci:{tmp_path / 'second'}").digest == image.digest


# containerd


@pytest.fixture(scope="module")
def ctr() -> Iterator[Run]:
    """Run ctr against a containerd of our own: the one that the test cluster's node runs, or Debian's."""
    built = shutil.which("containerd", path=str(Path("~/.cache/test-cluster/bin").expanduser()))
    daemon = built or shutil.which("containerd")
    if not daemon or not shutil.which("ctr"):
        pytest.skip("containerd and ctr are not installed (Debian: containerd)")
    if os.getuid() != 0:
        pytest.skip("containerd needs root")
    # Not below pytest's folder: the path of a Unix socket has at most 107 characters.
    root = Path(tempfile.mkdtemp(prefix="containerd-"))
    (root / "config.toml").write_text(
        f'version = 2\nroot = "{root}/root"\nstate = "{root}/state"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
        f'[grpc]\naddress = "{root}/sock"\n[ttrpc]\naddress = "{root}/ttrpc"\n'
        f'[plugins."io.containerd.internal.v1.opt"]\npath = "{root}/opt"\n'
    )
    with (root / "log").open("wb") as log:
        process = subprocess.Popen([daemon, "--config", str(root / "config.toml")], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(
            ["ctr", "--address", root / "sock", "version"], check=False, capture_output=True
        ).returncode:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.skip(f"containerd does not start here: {(root / 'log').read_text()[-500:]}")
            time.sleep(0.1)
        yield lambda *arguments: run("ctr", "--address", root / "sock", *arguments)
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(root, ignore_errors=True)


def seen_by(ctr: Run) -> dict[str, str]:
    """The digest of each image that containerd has, by its name."""
    return {words[0]: words[2] for words in map(str.split, ctr("images", "list").splitlines()[1:])}


def test_containerd_pulls_mounts_exports_and_pushes_the_same_digest(
    ctr: Run, mirror: RegistryServer, image: Image, tmp_path: Path, model: Path
) -> None:
    ctr("images", "pull", "--plain-http", "--snapshotter", "native", image.reference)
    assert seen_by(ctr)[image.reference] == image.digest
    (tmp_path / "mounted").mkdir()
    ctr("images", "mount", "--snapshotter", "native", image.reference, tmp_path / "mounted")
    try:
        holds_the_model(tmp_path / "mounted", model)
    finally:
        ctr("images", "unmount", tmp_path / "mounted")
    ctr("images", "export", "--platform", "linux/amd64", tmp_path / "exported.tar", image.reference)
    assert entry_of(unpacked(tmp_path / "exported.tar", tmp_path / "exported"))["digest"] == image.digest
    ctr("images", "push", "--plain-http", f"{mirror.host}/pushed:v1", image.reference)
    assert digest_at(mirror, "pushed") == image.digest
    # Layers that are not compressed are left as they are.
    ctr("images", "convert", "--uncompress", "--oci", image.reference, "localhost/converted:v1")
    assert seen_by(ctr)["localhost/converted:v1"] == image.digest


def test_containerd_imports_a_layout(ctr: Run, layout: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "ours.tar", "w") as tar:
        tar.add(layout, arcname=".")
    digest = entry_of(layout)["digest"]
    before = seen_by(ctr)
    ctr(
        "images",
        "import",
        "--digests",
        "--snapshotter",
        "native",
        "--base-name",
        "localhost/ours",
        tmp_path / "ours.tar",
    )
    new = {name: found for name, found in seen_by(ctr).items() if name not in before}
    assert new
    assert set(new.values()) == {digest}
