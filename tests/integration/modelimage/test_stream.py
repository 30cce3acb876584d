"""The stream sidecar before a real registry: what is in its storage decides, and who may read it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from modelimage import pack
from modelimage.images import Image
from tests.integration.modelimage.authority import Authority
from tests.integration.modelimage.forward import ForwardProxy
from tests.modelimage.stream.process import Running, sidecar
from tests.registry import RegistryServer, registry_missing

pytestmark = pytest.mark.integration

LOGIN = ("me", "s3cret")


def taken(running: Running, model: Path, *, of: str = "*.safetensors") -> None:
    """See that the files are the model's, by parts that end anywhere."""
    running.until("/ready")
    for path in model.rglob(of):
        data = path.read_bytes()
        address = f"http://127.0.0.1:{running.port}/models/m/{path.relative_to(model)}"
        middle = len(data) // 3
        for start, end in ((0, middle), (middle, len(data))):
            part = httpx.get(address, headers={"Range": f"bytes={start}-{end - 1}"}, trust_env=False)
            assert part.content == data[start:end]


@pytest.fixture
def large(model: Path) -> Path:
    """A model with a shard of several chunks."""
    header = b'{"w":{"dtype":"U8","shape":[3000000],"data_offsets":[0,3000000]}}'
    weights = bytes(range(256)) * 11719
    (model / "large.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + weights[:3_000_000])
    return model


def blob(registry: RegistryServer, image: Image) -> Path:
    """Where the registry keeps the largest layer."""
    digest = max(image.layers, key=lambda layer: layer.size_bytes).digest.removeprefix("sha256:")
    return registry.storage / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"


def test_what_was_packed_is_what_is_served(registry: RegistryServer, large: Path) -> None:
    image = pack(str(large), f"{registry.host}/m")
    with sidecar(image.reference) as running:
        taken(running, large, of="*.json")


def test_a_byte_that_was_flipped_in_the_registry_is_never_passed_on(registry: RegistryServer, large: Path) -> None:
    image = pack(str(large), f"{registry.host}/m")
    kept = blob(registry, image)
    data = bytearray(kept.read_bytes())
    data[2_500_000] ^= 1
    kept.write_bytes(data)
    with sidecar(image.reference) as running:
        running.until("/ready")
        assert running.get("/models/m/config.json").status_code == 200
        with pytest.raises(httpx.TransportError):
            running.get("/models/m/large.safetensors")
        code, said = running.end()
    assert code == 3
    assert f"{image.reference}: chunk 2 of layer sha256:{kept.parent.name} is not what its list says" in said


def test_a_blob_that_was_cut_short_in_the_registry_is_not_the_image(registry: RegistryServer, large: Path) -> None:
    image = pack(str(large), f"{registry.host}/m")
    kept = blob(registry, image)
    size = kept.stat().st_size
    kept.write_bytes(kept.read_bytes()[:1_500_000])
    with sidecar(image.reference) as running:
        running.until("/ready")
        with pytest.raises(httpx.TransportError):
            running.get("/models/m/large.safetensors")
        code, said = running.end()
    assert code == 3
    assert f"layer sha256:{kept.parent.name} ends after 1500000 of {size} bytes" in said


def test_a_blob_that_is_gone_is_told(registry: RegistryServer, large: Path) -> None:
    image = pack(str(large), f"{registry.host}/m")
    shutil.rmtree(blob(registry, image).parent)
    with sidecar(image.reference) as running:
        running.until("/ready")
        with pytest.raises(httpx.TransportError):
            running.get("/models/m/large.safetensors")
        code, said = running.end()
    assert code == 1
    assert "is not there (404)" in said


def test_a_registry_with_a_login_wants_it_and_takes_the_one_that_is_mounted(
    tmp_path: Path, authority_file: Authority, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("htpasswd"):
        pytest.skip("htpasswd is not installed (Debian: apache2-utils)")
    tls = authority_file.issue("127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_file.certificate))
    with RegistryServer(tmp_path / "guarded", htpasswd=LOGIN, tls=tls) as server:
        monkeypatch.setenv("MODELIMAGE_USERNAME", LOGIN[0])
        monkeypatch.setenv("MODELIMAGE_PASSWORD", LOGIN[1])
        image = pack(str(large), f"{server.host}/m")
        monkeypatch.delenv("MODELIMAGE_USERNAME")
        monkeypatch.delenv("MODELIMAGE_PASSWORD")
        with sidecar(image.reference) as running:
            code, said = running.end()
        assert (code, f"{image.reference} wants credentials (401)" in said) == (1, True)
        logins = tmp_path / "logins"
        logins.mkdir()
        auth = base64.b64encode(":".join(LOGIN).encode()).decode()
        (logins / "config.json").write_text(json.dumps({"auths": {server.host: {"auth": auth}}}))
        with sidecar(image.reference, environment={"DOCKER_CONFIG": str(logins)}) as running:
            taken(running, large)


@pytest.fixture
def authority_file(tmp_path: Path) -> Authority:
    if reason := registry_missing():
        pytest.skip(reason)
    return Authority(tmp_path / "authority")


def test_a_registry_whose_certificate_nobody_trusts_is_told(
    tmp_path: Path, authority_file: Authority, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RegistryServer(tmp_path / "secured", tls=authority_file.issue("127.0.0.1")) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority_file.certificate))
        image = pack(str(large), f"{server.host}/m")
        monkeypatch.delenv("SSL_CERT_FILE")
        with sidecar(image.reference) as running:
            code, said = running.end()
    assert (code, "certificate is not trusted" in said) == (1, True)


def test_a_firms_proxy_leads_to_the_registry(
    tmp_path: Path, authority_file: Authority, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "registry.firm.invalid"
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_file.certificate))
    with (
        RegistryServer(tmp_path / "inside", tls=authority_file.issue(name)) as server,
        ForwardProxy("user:pr0xy/password") as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pr0xy%2Fpassword@{proxy.host}")
        image = pack(str(large), f"{name}:{server.port}/m")
        with sidecar(image.reference) as running:
            taken(running, large)


def test_layers_that_another_tool_has_compressed_are_refused(
    registry: RegistryServer, tmp_path: Path, large: Path
) -> None:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    pack(str(large), f"oci:{tmp_path / 'image'}")
    target = f"{registry.host}/packed"
    subprocess.run(
        [
            *("skopeo", "copy", "--dest-tls-verify=false", "--dest-compress-format", "gzip", "--dest-compress"),
            *("--digestfile", str(tmp_path / "digest"), f"oci:{tmp_path / 'image'}", f"docker://{target}:v1"),
        ],
        check=True,
        capture_output=True,
    )
    with sidecar(f"{target}@{(tmp_path / 'digest').read_text().strip()}") as running:
        code, said = running.end()
    assert code == 1
    assert "is compressed (application/vnd.oci.image.layer.v1.tar+gzip)" in said
