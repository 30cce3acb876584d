"""Who a pod is to its registry: what is mounted, else its service account by Google's metadata server, else nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from modelimage.credentials import Credential
from modelimage.errors import ImageError
from modelimage.stream import rights
from modelimage.stream.rights import PodCredentials
from tests.modelimage.servers import Answer, Request, serving

HOST = "us-central1-docker.pkg.dev"


class Metadata:
    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        self.asked.append(request)
        if len(self.answers) > 1:
            return self.answers.pop(0)
        return self.answers[0]


def token(text: object = "ya29.t") -> Answer:
    return Answer(200, json.dumps({"access_token": text, "expires_in": 3599, "token_type": "Bearer"}).encode())


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    server = Metadata()
    monkeypatch.setattr(rights, "_WAITS", (0.0, 0.01, 0.01))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there
    with serving(server) as address:
        monkeypatch.setenv("GCE_METADATA_HOST", address.removeprefix("http://"))
        yield server


def find(host: str = HOST) -> Credential | None:
    return PodCredentials(host, "p/r/m", use_environment=True).find()


def test_the_pods_service_account_is_asked_for_at_the_metadata_server(metadata: Metadata) -> None:
    metadata.answers = [token()]
    assert find() == Credential("oauth2accesstoken", "ya29.t")
    assert metadata.asked[0].path == "/computeMetadata/v1/instance/service-accounts/default/token"
    assert metadata.asked[0].headers["metadata-flavor"] == "Google"


@pytest.mark.parametrize("host", ["ghcr.io", "docker.io", "registry.example:5000", "docker.pkg.dev.example"])
def test_googles_token_goes_to_googles_registries_alone(metadata: Metadata, host: str) -> None:
    metadata.answers = [token()]
    assert find(host) is None
    assert metadata.asked == []


def test_a_metadata_server_that_is_not_up_yet_is_waited_for(metadata: Metadata) -> None:
    metadata.answers = [Answer(503), Answer(429), token()]
    assert find() == Credential("oauth2accesstoken", "ya29.t")


@pytest.mark.parametrize("answer", [Answer(503), token(""), token(7), token("a\nb"), Answer(200, b"<html>")])
def test_a_metadata_server_that_gives_no_token_is_told_with_what_to_do(metadata: Metadata, answer: Answer) -> None:
    metadata.answers = [answer]
    with pytest.raises(ImageError, match=r"no token for us-central1.*egress.*Workload Identity"):
        find()


def test_a_pod_without_an_account_is_nobody(metadata: Metadata) -> None:
    metadata.answers = [Answer(404)]
    assert find() is None


def test_where_nobody_has_that_name_a_public_registry_is_read_as_nobody(
    metadata: Metadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", "metadata.invalid")
    assert find() is None


def test_what_is_mounted_comes_first(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "mine")
    assert find() == Credential("me", "mine")
    assert metadata.asked == []
