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

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from modelimage.answers import BoundedClient
from oci_model_serving.errors import InputError
from tests import recorded_api
from tests.recorded_api import RecordedApi
from tests.serving import ROOT
from watch.causes import NotHeldError
from watch.kube import ApiError, KubeApi, _code_of, _wrote
from watch.waiting import wait_for


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


def answering(api: KubeApi, *answers: httpx.Response) -> None:
    """Let these be the API server's next answers."""
    left = list(answers)
    api._http = BoundedClient(
        1 << 20, base_url=api.server, auth=api._http.auth, transport=httpx.MockTransport(lambda _: left.pop(0))
    )


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"<html>",
        b"[]",
        b"7",
        b'{"items": "x"}',
        b'{"items": [7]}',
        b'{"items": [{}]}',
        b'{"metadata": 7}',
        b'{"items": [{"metadata": []}]}',
        b'{"items": [{"metadata": {"name": 7}}]}',
        b"\x1b[2J",
        b"NaN",
        b"x" * (2 << 20),
    ],
)
def test_an_answer_that_is_no_list_of_objects_is_told_in_one_line(api: KubeApi, body: bytes) -> None:
    answering(api, httpx.Response(200, stream=httpx.ByteStream(body)))

    with pytest.raises((NotHeldError, httpx.HTTPError)) as refused:
        api.items("/api/v1/pods")

    assert len(str(refused.value)) < 2000
    assert "\x1b" not in str(refused.value)


def test_a_refusals_words_are_short_cleaned_and_without_our_token(api: KubeApi) -> None:
    said = f"\x1b[2Jno, Bearer very-secret-token \u202e{'x' * 100_000}"
    answering(
        api,
        httpx.Response(403, stream=httpx.ByteStream(json.dumps({"message": said}).encode())),
        httpx.Response(500, stream=httpx.ByteStream(said.encode())),
    )
    for _ in range(2):
        with pytest.raises(ApiError) as refused:
            api.get("/api/v1/pods")
        told = str(refused.value)
        assert "no, [secret]" in told
        assert len(told) < 5000
        assert told.replace("\n", "").isprintable()


def test_a_token_that_no_header_takes_is_refused_without_showing_it(cluster: RecordedApi) -> None:
    api = KubeApi(cluster.kubeconfig.replace("very-secret-token", '"very-secret\\ntoken"'))

    with pytest.raises(InputError, match="log in again") as refused:
        api.get("/api/v1/pods")

    assert "very-secret" not in str(refused.value)


@pytest.mark.parametrize("error", [KeyError("metadata"), AttributeError("get"), ValueError("x"), IndexError("0")])
def test_an_object_of_another_form_ends_a_wait_in_one_line(error: Exception) -> None:
    def look() -> None:
        raise error

    with pytest.raises(NotHeldError, match="an object of another form than Kubernetes'"):
        wait_for(look, timeout=1, what="pods", remedy="none")


class Session:
    """A command in a container, as the client's websocket shows it: it writes `text` with each look."""

    returncode: object = 0

    def __init__(self, text: str, looks: int = 10**9) -> None:
        self.text, self.looks = text, looks

    def is_open(self) -> bool:
        return self.looks > 0

    def update(self, timeout: float) -> None:
        self.looks -= 1

    def read_stdout(self, timeout: float) -> str:
        return self.text

    def read_stderr(self, timeout: float) -> str:
        return ""


def test_a_command_that_writes_without_end_is_left() -> None:
    with pytest.raises(NotHeldError, match="wrote more than 16 MiB"):
        _wrote(Session("x" * (1 << 20)), 60)
    assert _wrote(Session("x", looks=2), 60) == ("xxx", "")


@pytest.mark.parametrize("code", ["x", [], {}])
def test_a_command_whose_end_is_not_said_is_told(code: object) -> None:
    session = Session("")
    session.returncode = code or "[]"
    with pytest.raises(NotHeldError, match="did not say how a command has ended"):
        _code_of(session)
