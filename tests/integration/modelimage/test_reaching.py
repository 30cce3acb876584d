"""Registries that are not just there: with TLS on this machine, with clients' certificates, behind a firm's proxy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelimage import copy, inspect, pack
from modelimage.errors import ImageError
from modelimage.patience import RetryPolicy
from modelimage.refusals import RegistryError
from tests.integration.modelimage.authority import Authority
from tests.integration.modelimage.forward import ForwardProxy
from tests.registry import RegistryServer, registry_missing

pytestmark = pytest.mark.integration

QUICK = RetryPolicy(attempts=3, first_seconds=0.02)
LOGIN = ("me", "s3cret")
PROXY_LOGIN = "user:pr0xy%2Fpassword"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    if reason := registry_missing():
        pytest.skip(reason)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def secured(tmp_path: Path, authority: Authority) -> Iterator[RegistryServer]:
    """A registry on this machine that speaks TLS."""
    with RegistryServer(tmp_path / "secured", tls=authority.issue("127.0.0.1")) as server:
        yield server


@pytest.fixture
def choosy(tmp_path: Path, authority: Authority) -> Iterator[RegistryServer]:
    """One that wants to see its clients' certificates."""
    tls = authority.issue("127.0.0.1")
    with RegistryServer(tmp_path / "choosy", tls=tls, clients=authority.certificate) as server:
        yield server


def certificates(tmp_path: Path, host: str, *files: Path) -> Path:
    """Put files where podman has them."""
    folder = tmp_path / "xdg-config" / "containers" / "certs.d" / host
    folder.mkdir(parents=True)
    for file in files:
        shutil.copy(file, folder / file.name)
    return folder


def test_a_registry_here_that_speaks_tls_is_spoken_to_with_tls(
    secured: RegistryServer, authority: Authority, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        RegistryError, match=r"certificate is not trusted .*SSL_CERT_FILE.*certs.d/127.0.0.1:\d+/ca.crt"
    ):
        pack(str(model), f"{secured.host}/m:v1", policy=QUICK)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    image = pack(str(model), f"{secured.host}/m:v1", policy=QUICK)
    assert inspect(image.reference, require_digest_tag=True).digest == image.digest
    assert copy(image.reference, f"{secured.host}/copy", policy=QUICK).digest == image.digest


def test_its_authority_may_lie_where_podman_has_it(
    secured: RegistryServer, authority: Authority, model: Path, tmp_path: Path
) -> None:
    certificates(tmp_path, secured.host, authority.certificate)
    assert pack(str(model), f"{secured.host}/m:v1", policy=QUICK).digest


def test_its_authority_may_be_one_of_a_folder(
    secured: RegistryServer, authority: Authority, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "trusted"
    folder.mkdir()
    shutil.copy(authority.certificate, folder / "ours.pem")
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    subprocess.run(["openssl", "rehash", str(folder)], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    assert pack(str(model), f"{secured.host}/m:v1", policy=QUICK).digest


def test_a_password_is_for_a_registry_with_tls_here_too(
    tmp_path: Path, authority: Authority, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("htpasswd"):
        pytest.skip("htpasswd is not installed (Debian: apache2-utils)")
    monkeypatch.setenv("MODELIMAGE_USERNAME", LOGIN[0])
    monkeypatch.setenv("MODELIMAGE_PASSWORD", LOGIN[1])
    with RegistryServer(tmp_path / "guarded", htpasswd=LOGIN, tls=authority.issue("127.0.0.1")) as server:
        certificates(tmp_path, server.host, authority.certificate)
        assert pack(str(model), f"{server.host}/m:v1", policy=QUICK).digest


def test_a_registry_that_wants_a_clients_certificate_gets_it(
    choosy: RegistryServer, authority: Authority, model: Path, tmp_path: Path
) -> None:
    folder = certificates(tmp_path, choosy.host, authority.certificate)
    with pytest.raises(
        RegistryError, match=r"refuses our TLS.*put client.cert and client.key into ~/.config/containers"
    ):
        pack(str(model), f"{choosy.host}/m:v1", policy=QUICK)
    certificate, key = authority.issue("client")
    shutil.copy(certificate, folder)
    with pytest.raises(ImageError, match=r"client.cert: there is no client.key beside it"):
        pack(str(model), f"{choosy.host}/m:v1", policy=QUICK)
    shutil.copy(key, folder)
    image = pack(str(model), f"{choosy.host}/m:v1", policy=QUICK)
    assert copy(image.reference, f"oci:{tmp_path / 'copy'}", policy=QUICK).digest == image.digest


def test_a_locked_key_is_told_and_asked_for_on_no_terminal(
    choosy: RegistryServer, authority: Authority, model: Path, tmp_path: Path
) -> None:
    files = authority.issue("client", password=b"s3cret")
    certificates(tmp_path, choosy.host, authority.certificate, *files)
    with pytest.raises(
        ImageError, match=r"client.cert: cannot be used as a certificate .* with its key client.key, bare"
    ):
        pack(str(model), f"{choosy.host}/m:v1", policy=QUICK)


def test_who_has_certificates_for_a_registry_here_never_speaks_plain_http_to_it(
    registry: RegistryServer, authority: Authority, model: Path, tmp_path: Path
) -> None:
    certificates(tmp_path, registry.host, authority.certificate)
    with pytest.raises(RegistryError, match="speaks no TLS there"):
        pack(str(model), f"{registry.host}/m:v1", policy=QUICK)


@pytest.fixture
def behind(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryServer]:
    """A registry by a name that only the firm's proxy can resolve."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with RegistryServer(tmp_path / "behind", tls=authority.issue("registry.firm.invalid")) as server:
        yield server


def test_a_registry_is_reached_by_the_firms_proxy_with_its_login(
    behind: RegistryServer, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"registry.firm.invalid:{behind.port}"
    with ForwardProxy("user:pr0xy/password") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{PROXY_LOGIN}@{proxy.host}")
        image = pack(str(model), f"{place}/m:v1", policy=QUICK)
        assert inspect(image.reference).digest == image.digest
    assert set(proxy.asked) == {place}


def test_a_proxy_that_lets_nobody_in_is_told_without_its_password(
    behind: RegistryServer, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"registry.firm.invalid:{behind.port}/m:v1"
    with ForwardProxy("user:other") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{PROXY_LOGIN}@{proxy.host}")
        with pytest.raises(
            RegistryError, match=r"proxy in https_proxy refuses to lead to .* \(407\): it wants"
        ) as caught:
            pack(str(model), place, policy=QUICK)
    assert len(proxy.asked) == 1
    with ForwardProxy(refuse=403) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{PROXY_LOGIN}@{proxy.host}")
        with pytest.raises(RegistryError, match=r"\(403\): allow it there, or name the host in NO_PROXY") as refused:
            pack(str(model), place, policy=QUICK)
    monkeypatch.setenv("HTTPS_PROXY", f"http://{PROXY_LOGIN}@127.0.0.1:not-a-port")
    with pytest.raises(ImageError, match="https_proxy names no proxy") as wrong:
        pack(str(model), place, policy=QUICK)
    for error in (caught, refused, wrong):
        assert "pr0xy" not in "".join(_chain(error.value))


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error} {error!r}"
        error = error.__cause__


def test_no_proxy_is_asked_for_a_registry_here(
    registry: RegistryServer, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy.host}")
        assert pack(str(model), f"{registry.host}/m:v1", policy=QUICK).digest
    assert proxy.asked == []
