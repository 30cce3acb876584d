"""Pushing to a real registry: what is sent, what is not, who may, and what stays behind."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from modelimage import ImageError, NotFoundError, copy, inspect, pack, tag, write_base
from modelimage import cache as cache_module
from modelimage.documents import INDEX_TYPE
from modelimage.folder import FolderFile
from modelimage.patience import RetryPolicy
from modelimage.refusals import RegistryError
from modelimage.streams import digest_of
from oci_model_serving.errors import InputError
from oci_model_serving.reference import digest_tag, packed_tag
from tests.integration.modelimage.proxy import FaultProxy, Tokens
from tests.registry import RegistryServer, registry_missing
from tests.weights import safetensors_bytes, write_model

pytestmark = pytest.mark.integration

QUICK = RetryPolicy(attempts=6, first_seconds=0.02)


@pytest.fixture
def trusting_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fresh files be remembered: the tests cannot wait until they are old enough."""
    monkeypatch.setattr(cache_module, "RACY_SECONDS", 0.0)


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make reading weights an error from now on."""

    def forbid() -> None:
        real = FolderFile._read

        def read(self: FolderFile, start: int, end: int) -> Iterator[bytes]:
            if self.path.endswith(".safetensors") and end - start > 100_000:
                raise AssertionError(f"{self.path} was read")
            return real(self, start, end)

        monkeypatch.setattr(FolderFile, "_read", read)

    return forbid


def test_the_image_is_there_by_digest_by_its_digest_tag_and_by_the_tag(registry: RegistryServer, model: Path) -> None:
    image = pack(str(model), f"{registry.host}/models/qwen:v1")
    assert image.reference == f"{registry.host}/models/qwen@{image.digest}"
    assert registry.tags("models/qwen") == sorted(["v1", digest_tag(image.digest), packed_tag(image.digest)])
    for name in ("v1", digest_tag(image.digest), image.digest):
        answer = registry.manifest("models/qwen", name)
        assert answer.headers["docker-content-digest"] == image.digest
    inspected = inspect(f"{registry.host}/models/qwen:v1", require_digest_tag=True)
    assert (inspected.digest, inspected.size_bytes, inspected.digest_tag) == (image.digest, image.size_bytes, True)


def test_without_a_tag_only_the_digest_tag_is_written(registry: RegistryServer, model: Path) -> None:
    image = pack(str(model), f"{registry.host}/models/qwen")
    assert registry.tags("models/qwen") == [digest_tag(image.digest), packed_tag(image.digest)]


def test_a_registry_and_a_layout_give_the_same_digest(registry: RegistryServer, tmp_path: Path, model: Path) -> None:
    assert pack(str(model), f"{registry.host}/m:v1").digest == pack(str(model), f"oci:{tmp_path / 'image'}").digest


def test_each_upload_is_one_streaming_patch_or_one_put(proxy: FaultProxy, model: Path) -> None:
    pack(str(model), f"{proxy.host}/m:v1")
    assert proxy.count("PATCH", "/blobs/uploads/") == 4
    assert proxy.count("PUT", "/blobs/uploads/") == 6  # four closing ones, the chunk lists and the configuration
    assert proxy.log[-1].startswith("PUT /v2/m/manifests/v1")


@pytest.mark.usefixtures("trusting_cache")
def test_a_second_push_reads_and_sends_nothing(proxy: FaultProxy, model: Path, no_reading: Any) -> None:
    first = pack(str(model), f"{proxy.host}/m:v1")
    proxy.log.clear()
    no_reading()
    second = pack(str(model), f"{proxy.host}/m:v1")
    assert second.digest == first.digest
    assert not any(layer.uploaded for layer in second.layers)
    assert [line for line in proxy.log if line.split()[0] in {"POST", "PATCH"}] == []


@pytest.mark.usefixtures("trusting_cache")
def test_after_one_shard_changed_one_layer_and_the_index_of_it_moves(proxy: FaultProxy, model: Path) -> None:
    pack(str(model), f"{proxy.host}/m:v1")
    (model / "model-00002-of-00003.safetensors").write_bytes(safetensors_bytes(b"new weights"))
    proxy.log.clear()
    second = pack(str(model), f"{proxy.host}/m:v2")
    assert [layer.uploaded for layer in second.layers] == [False, True, False, False, True]
    assert proxy.count("PATCH", "") == 1


@pytest.mark.usefixtures("trusting_cache")
def test_another_repository_of_the_host_mounts_the_layers(proxy: FaultProxy, model: Path, no_reading: Any) -> None:
    pack(str(model), f"{proxy.host}/team/one:v1")
    no_reading()
    proxy.log.clear()
    second = pack(str(model), f"{proxy.host}/team/two:v1")
    assert not any(layer.uploaded for layer in second.layers)
    assert proxy.count("POST", "mount=.*from=team%2Fone") == 5
    assert proxy.count("PATCH", "") == 0


@pytest.mark.usefixtures("trusting_cache")
def test_a_layer_that_the_registry_has_lost_is_sent_again_without_hashing(
    registry: RegistryServer, model: Path
) -> None:
    first = pack(str(model), f"{registry.host}/m:v1")
    registry.stop()
    shutil.rmtree(registry.storage)
    registry.start()
    second = pack(str(model), f"{registry.host}/m:v1")
    assert second.digest == first.digest
    assert all(layer.uploaded for layer in second.layers)


@pytest.mark.usefixtures("trusting_cache")
def test_a_remembered_digest_that_is_wrong_is_refused_by_the_registry_and_made_right(
    registry: RegistryServer, model: Path, own_cache: Path
) -> None:
    first = pack(str(model), f"{registry.host}/one:v1")
    for entry in (own_cache / "layers").iterdir():
        content = json.loads(entry.read_text())
        entry.write_text(json.dumps({**content, "digest": "sha256:" + "0" * 64}))
    assert pack(str(model), f"{registry.host}/two:v1").digest == first.digest


def test_a_base_from_a_registry_lies_below_by_digest(registry: RegistryServer, tmp_path: Path, model: Path) -> None:
    busybox = Path("/bin/busybox")
    if not busybox.exists():
        pytest.skip("there is no /bin/busybox (Debian: busybox-static)")
    layout = write_base(str(tmp_path / "base"), str(busybox))
    base = copy(layout.reference, f"{registry.host}/bases/busybox")
    assert base.digest == layout.digest
    image = pack(str(model), f"{registry.host}/m:v1", base=base.reference)
    assert image.layers[0].digest == layout.layers[0].digest
    annotations = inspect(image.reference).annotations
    assert annotations["org.opencontainers.image.base.digest"] == base.digest
    assert annotations["org.opencontainers.image.base.name"] == f"{registry.host}/bases/busybox"
    with pytest.raises(NotFoundError, match="has no image"):
        pack(str(model), f"{registry.host}/m:v1", base=f"{registry.host}/bases/busybox@sha256:{'0' * 64}")


def test_a_copy_on_the_same_host_is_mounted_and_one_to_another_is_streamed(
    registry: RegistryServer, tmp_path: Path, model: Path
) -> None:
    image = pack(str(model), f"{registry.host}/dev/qwen:v1")
    same = copy(image.reference, f"{registry.host}/prod/qwen")
    assert same.digest == image.digest
    assert not any(layer.uploaded for layer in same.layers)
    assert registry.tags("prod/qwen") == [digest_tag(image.digest)]
    with RegistryServer(tmp_path / "other") as other:
        there = copy(image.reference, f"{other.host}/prod/qwen:v1")
        assert there.digest == image.digest
        assert all(layer.uploaded for layer in there.layers)
        assert inspect(there.reference, require_digest_tag=True).size_bytes == image.size_bytes


def test_an_image_of_several_platforms_is_copied_whole(registry: RegistryServer, tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    blobs = tmp_path / "image" / "blobs" / "sha256"
    manifest = (blobs / image.digest.removeprefix("sha256:")).read_bytes()
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": image.digest,
                "size": len(manifest),
                "platform": {"os": "linux", "architecture": "amd64"},
            }
        ],
    }
    from modelimage.streams import digest_of

    content = json.dumps(index).encode()
    (blobs / digest_of(content).removeprefix("sha256:")).write_bytes(content)
    copied = copy(f"oci:{tmp_path / 'image'}@{digest_of(content)}", f"{registry.host}/m")
    assert copied.digest == digest_of(content)
    assert inspect(copied.reference).layers[0].digest == image.layers[0].digest
    other = pack(str(model), f"{registry.host}/other:v1", base=copied.reference)
    assert other.layers[0].digest == image.layers[0].digest


def test_the_digest_tag_can_be_given_later_and_twice(registry: RegistryServer, model: Path) -> None:
    image = pack(str(model), f"{registry.host}/m:v1")
    manifest = registry.manifest("m", image.digest).content
    other = f"{registry.host}/m2"
    copy(image.reference, other)
    shutil.rmtree(registry.storage / "docker/registry/v2/repositories/m2/_manifests/tags")
    with pytest.raises(ImageError, match="oms image tag"):
        inspect(f"{other}@{image.digest}", require_digest_tag=True)
    assert tag(f"{other}@{image.digest}").digest_tag is True
    assert tag(f"{other}@{image.digest}").digest_tag is True
    assert registry.manifest("m2", digest_tag(image.digest)).content == manifest


def test_a_tag_of_an_absent_image_is_refused(registry: RegistryServer) -> None:
    with pytest.raises(NotFoundError, match="build and push it"):
        tag(f"{registry.host}/m@sha256:{'a' * 64}")
    with pytest.raises(InputError, match="names no digest"):
        tag(f"{registry.host}/m:v1")


def test_an_image_of_two_platforms_is_copied_whole_and_only_it_is_tagged(
    registry: RegistryServer, tmp_path: Path, model: Path
) -> None:
    blobs = tmp_path / "image" / "blobs" / "sha256"

    def put(document: dict[str, Any]) -> dict[str, Any]:
        content = json.dumps(document).encode()
        digest = digest_of(content)
        (blobs / digest.removeprefix("sha256:")).write_bytes(content)
        return {"digest": digest, "size": len(content)}

    packed = pack(str(model), f"oci:{tmp_path / 'image'}")
    amd64 = json.loads((tmp_path / "image" / "index.json").read_text())["manifests"][0]
    manifest = json.loads((blobs / packed.digest.removeprefix("sha256:")).read_text())
    manifest["config"] |= put({"os": "linux", "architecture": "arm64"})
    arm64 = {"mediaType": manifest["mediaType"], "platform": {"os": "linux", "architecture": "arm64"}, **put(manifest)}
    top = put({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [arm64, amd64]})
    image = copy(f"oci:{tmp_path / 'image'}@{top['digest']}", f"{registry.host}/two")
    assert image.digest == top["digest"]
    assert registry.tags("two") == [digest_tag(image.digest)]
    for digest in (arm64["digest"], amd64["digest"]):
        assert registry.manifest("two", digest).content == (blobs / digest.removeprefix("sha256:")).read_bytes()
    back = copy(image.reference, f"oci:{tmp_path / 'back'}")
    assert inspect(back.reference).digest == image.digest


# Who may


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RegistryServer]:
    if reason := registry_missing():
        pytest.skip(reason)
    if not shutil.which("htpasswd"):
        pytest.skip("htpasswd is not installed (Debian: apache2-utils)")
    with RegistryServer(tmp_path / "guarded", htpasswd=("me", "s3cret")) as server:
        yield server


def test_a_password_in_the_environment_lets_in(
    guarded: RegistryServer, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "s3cret")
    image = pack(str(model), f"{guarded.host}/m:v1")
    assert inspect(image.reference).digest == image.digest


def test_dockers_configuration_lets_in(guarded: RegistryServer, tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "docker-config"
    folder.mkdir()
    auth = {"auths": {guarded.host: {"auth": "bWU6czNjcmV0"}}}  # me:s3cret
    (folder / "config.json").write_text(json.dumps(auth))
    assert pack(str(model), f"{guarded.host}/m:v1").digest


def test_who_is_logged_in_with_skopeo_is_let_in(
    guarded: RegistryServer, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed (Debian: skopeo)")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    login = ["skopeo", "login", "--tls-verify=false", "--username", "me", "--password-stdin", guarded.host]
    subprocess.run(login, input=b"s3cret", check=True, capture_output=True)

    assert pack(str(model), f"{guarded.host}/m:v1").digest


@pytest.mark.parametrize(
    ("password", "said"), [(None, "docker login"), ("wr0ng", "MODELIMAGE_USERNAME and MODELIMAGE_PASSWORD was refused")]
)
def test_no_password_or_a_wrong_one_is_refused_before_a_byte_is_read_and_not_shown(
    guarded: RegistryServer,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_reading: Any,
    password: str | None,
    said: str,
) -> None:
    if password:
        monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
        monkeypatch.setenv("MODELIMAGE_PASSWORD", password)
    no_reading()
    with pytest.raises(RegistryError, match=rf"401 .*UNAUTHORIZED.*{said}") as caught:
        pack(str(model), f"{guarded.host}/m:v1", policy=QUICK)
    assert "wr0ng" not in str(caught.value)


def test_tokens_are_asked_for_with_the_scopes_that_are_needed(
    registry: RegistryServer, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "pw")
    tokens = Tokens({"me": "pw"})
    with FaultProxy(registry.host, tokens) as proxy:
        image = pack(str(model), f"{proxy.host}/team/m:v1")
        copy(image.reference, f"{proxy.host}/team/other")
    assert {"repository:team/m:pull", "repository:team/m:pull,push", "repository:team/other:pull,push"} <= set(
        tokens.scopes
    )


# Over TLS


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "registry.test")])
    now = datetime.now(timezone.utc)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("registry.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_a_certificate_is_verified(
    tmp_path: Path, model: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := registry_missing():
        pytest.skip(reason)
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host in {"registry.test", b"registry.test"} else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with RegistryServer(tmp_path / "tls", tls=certificate) as server:
        place = f"registry.test:{server.port}/m:v1"
        with pytest.raises(RegistryError, match=r"certificate is not trusted .*SSL_CERT_FILE"):
            pack(str(model), place, policy=QUICK)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED
        image = pack(str(model), place, policy=QUICK)
        assert inspect(image.reference).digest == image.digest


def test_two_models_live_side_by_side(registry: RegistryServer, tmp_path: Path, model: Path) -> None:
    other = write_model(tmp_path / "other")
    (other / "config.json").write_text('{"other": true}')
    one, two = pack(str(model), f"{registry.host}/m:one"), pack(str(other), f"{registry.host}/m:two")
    assert registry.tags("m") == sorted(
        ["one", "two", *(spell(image.digest) for image in (one, two) for spell in (digest_tag, packed_tag))]
    )
    assert [layer.uploaded for layer in two.layers] == [False, False, False, True, True]  # the shards are the same
