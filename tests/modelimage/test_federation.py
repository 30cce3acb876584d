"""Workload Identity Federation, by google-auth itself, against a token service on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from modelimage.credentials import Credential, Credentials
from modelimage.errors import ImageError
from tests.modelimage.servers import Answer, Request, serving

HOST = "us-central1-docker.pkg.dev"
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/ci/providers/github"
SUBJECT = "subj3ct-token"


class TokenService:
    """Google's exchange of tokens, and the impersonation of an account after it."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.refusing = False
        self.address = ""

    def __call__(self, request: Request) -> Answer:
        self.asked.append(request)
        if request.path == "/subject":
            return Answer(200, json.dumps({"value": SUBJECT}).encode())
        if self.refusing:
            return Answer(400, json.dumps({"error": "invalid_grant", "error_description": "not of this pool"}).encode())
        if request.path == "/v1/token":
            answer = {"access_token": "federated", "token_type": "Bearer", "expires_in": 3600}
        else:
            answer = {"accessToken": "impersonated", "expireTime": "2099-01-01T00:00:00Z"}
        return Answer(200, json.dumps(answer).encode())


@pytest.fixture
def google() -> Iterator[TokenService]:
    service = TokenService()
    with serving(service) as address:
        service.address = address
        yield service


def configure(
    google: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: dict[str, Any], **more: str
) -> None:
    """Write what `gcloud iam workload-identity-pools create-cred-config` writes."""
    file = tmp_path / "federation.json"
    content = {
        "type": "external_account",
        "audience": AUDIENCE,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{google.address}/v1/token",
        "credential_source": source,
    }
    file.write_text(json.dumps({**content, **more}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))


def find(*, refresh: bool = False) -> Credential | None:
    return Credentials(HOST, "p/r/m", use_environment=False).find(refresh=refresh)


def test_a_token_of_a_file_is_traded_for_one_of_google(
    google: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(SUBJECT)
    configure(google, tmp_path, monkeypatch, {"file": str(tmp_path / "token")})
    assert find() == Credential("oauth2accesstoken", "federated")
    form = parse_qs(google.asked[0].body.decode())
    assert (form["subject_token"], form["audience"]) == ([SUBJECT], [AUDIENCE])
    assert form["scope"] == ["https://www.googleapis.com/auth/cloud-platform"]


def test_a_token_of_an_address_is_traded_and_an_account_impersonated(
    google: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{google.address}/v1/projects/-/serviceAccounts/ci@p.iam.gserviceaccount.com:generateAccessToken"
    source = {"url": f"{google.address}/subject", "format": {"type": "json", "subject_token_field_name": "value"}}
    configure(google, tmp_path, monkeypatch, source, service_account_impersonation_url=url)
    assert find() == Credential("oauth2accesstoken", "impersonated")
    assert google.asked[-1].headers["authorization"] == "Bearer federated"


def test_the_token_is_for_googles_registries_alone(
    google: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(google, tmp_path, monkeypatch, {"file": str(tmp_path / "token")})
    assert Credentials("registry.example", use_environment=False).find() is None
    assert google.asked == []


@pytest.mark.parametrize("missing", [True, False])
def test_a_token_that_is_not_there_or_not_taken_is_told_without_it(
    google: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: bool
) -> None:
    google.refusing = True
    if not missing:
        (tmp_path / "token").write_text(SUBJECT)
    configure(google, tmp_path, monkeypatch, {"file": str(tmp_path / "token")})
    with pytest.raises(ImageError, match="Workload Identity Federation, that its subject token is there and") as caught:
        find()
    assert SUBJECT not in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "{", '{"type": "none"}', '{"type": "external_account"}'])
def test_a_file_of_credentials_that_is_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    file = tmp_path / "federation.json"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    with pytest.raises(ImageError, match="GOOGLE_APPLICATION_CREDENTIALS: ") as caught:
        find()
    assert "\n" not in str(caught.value)
