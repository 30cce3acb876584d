"""The Kubernetes client: credentials, errors, and secrets that stay where they are."""

import base64
import datetime as dt
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from oci_model_serving.errors import InputError
from tests import recorded_api
from tests.recorded_api import RecordedApi
from tests.serving import ROOT
from watch.kube import ApiError, KubeApi


def test_a_kubeconfigs_text_is_enough_to_read_and_write(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.objects["/api/v1/namespaces/a"] = {"metadata": {"name": "a"}}

    assert api.get("/api/v1/namespaces/a")["metadata"]["name"] == "a"
    api.patch("/api/v1/namespaces/a", {"metadata": {"annotations": {"x": "y"}}})

    assert cluster.objects["/api/v1/namespaces/a"]["metadata"]["annotations"] == {"x": "y"}


def test_a_refusal_carries_the_servers_words_and_a_remedy(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.answers["GET", "/api/v1/nodes"] = recorded_api.forbidden('User "dev" cannot list resource "nodes"')

    with pytest.raises(ApiError) as refused:
        api.items("/api/v1/nodes")

    assert 'User "dev" cannot list resource "nodes"' in refused.value.evidence
    assert "right" in refused.value.remedy


def test_what_is_not_there_is_found_as_nothing(api: KubeApi) -> None:
    assert api.find("/api/v1/namespaces/absent") is None
    assert api.items("/apis/unknown.io/v1/namespaces/a/widgets") == []


@pytest.mark.parametrize("text", ["just words with a very-secret-token", "{a: b: very-secret-token", "a: 1"])
def test_a_broken_kubeconfig_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(InputError, match="--kubeconfig FILE") as refused:
        KubeApi(text)

    assert "very-secret-token" not in str(refused.value)


def test_keys_of_a_kubeconfig_are_in_no_file_that_could_stay_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = with_keys()

    api = KubeApi(text)  # which loads them

    assert list(tmp_path.iterdir()) == []
    again = KubeApi(text)
    again.service_client("models", "qwen", 80, timeout=1).close()
    again.close()
    api.close()


def test_a_killed_command_leaves_no_key_behind(tmp_path: Path) -> None:
    code = "import os; from watch.kube import KubeApi; KubeApi(os.environ['TEXT']); os.kill(os.getpid(), 9)"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "TEXT": with_keys()}

    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=False, capture_output=True)

    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_absolute_path_is_read_as_a_file_with_what_is_beside_it(tmp_path: Path) -> None:
    key, certificate = key_and_certificate()
    (tmp_path / "ca.crt").write_bytes(certificate)
    (tmp_path / "own.pem").write_bytes(certificate + key)
    user = {"client-certificate": "own.pem", "client-key": "own.pem"}
    text = kubeconfig({"server": "https://127.0.0.1:1", "certificate-authority": "ca.crt"}, user)
    (tmp_path / "config").write_text(text)

    api = KubeApi(str(tmp_path / "config"))

    assert api.server == "https://127.0.0.1:1"
    api.close()


def with_keys() -> str:
    """A kubeconfig that holds a client's certificate and key."""
    key, certificate = (base64.b64encode(part).decode() for part in key_and_certificate())
    user = {"client-certificate-data": certificate, "client-key-data": key}
    return kubeconfig({"server": "https://127.0.0.1:1", "certificate-authority-data": certificate}, user)


def kubeconfig(cluster: dict[str, str], user: dict[str, str]) -> str:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "a", "cluster": cluster}],
        "users": [{"name": "a", "user": user}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }
    return json.dumps(config)


@functools.cache
def key_and_certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.timezone.utc)
    built = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(1)
    )
    plain = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return text, built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_missing_kubeconfig_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent"):
        KubeApi(tmp_path / "absent")
