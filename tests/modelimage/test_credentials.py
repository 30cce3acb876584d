from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError

from modelimage.credentials import Credential, Credentials
from modelimage.errors import ImageError
from modelimage.variables import SECRET_VARIABLES

SECRET = "s3cr:et"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write Docker's configuration, and put credential helpers on PATH."""
    folder = tmp_path / "docker-config"
    folder.mkdir()
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))  # not the machine's own helpers

    class Docker:
        asked = tmp_path / "asked"

        def config(self, **content: Any) -> None:
            (folder / "config.json").write_text(json.dumps(content))

        def raw(self, content: bytes) -> None:
            (folder / "config.json").write_bytes(content)

        def helper(self, name: str, script: str) -> None:
            path = tmp_path / "bin" / f"docker-credential-{name}"
            path.write_text(f"#!/bin/sh\n/bin/cat > {self.asked}\n{script}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return Docker()


@pytest.fixture
def google_credentials(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Fake:
        def __init__(self) -> None:
            self.valid, self.token, self.refreshed, self.broken = False, "", 0, False

        def refresh(self, _: object) -> None:
            if self.broken:
                raise RefreshError("no")  # type: ignore[no-untyped-call]
            self.refreshed += 1
            self.valid, self.token = True, f"ya29.{self.refreshed}"

    fake = Fake()
    monkeypatch.setattr(google.auth, "default", lambda **_: (fake, "project"))
    return fake


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def find(host: str, *, own: bool = False) -> Credential | None:
    return Credentials(host, use_environment=own).find()


def test_nothing_configured_is_anonymous() -> None:
    assert find("registry.example") is None


def test_the_environment_is_for_our_own_registry_only_and_comes_first(
    docker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.config(auths={"registry.example": {"auth": basic("docker", "x")}})
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", SECRET)
    assert find("registry.example", own=True) == Credential("me", SECRET)
    assert find("registry.example") == Credential("docker", "x")
    assert find("docker.io") is None


def test_half_a_credential_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELIMAGE_PASSWORD", SECRET)
    with pytest.raises(ImageError, match="MODELIMAGE_USERNAME is not") as caught:
        find("registry.example", own=True)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("key", ["registry.example", "https://registry.example", "https://registry.example/v1/"])
def test_dockers_configuration_is_read_in_all_its_spellings(docker: Any, key: str) -> None:
    docker.config(auths={key: {"auth": basic("me", SECRET)}})
    assert find("registry.example") == Credential("me", SECRET)
    assert find("other.example") is None


def test_docker_hub_has_a_key_of_its_own(docker: Any) -> None:
    docker.config(auths={"https://index.docker.io/v1/": {"username": "me", "password": SECRET}})
    assert find("docker.io") == Credential("me", SECRET)


@pytest.mark.parametrize(
    ("variable", "file"),
    [
        ("REGISTRY_AUTH_FILE", ""),
        ("XDG_RUNTIME_DIR", "containers/auth.json"),
        ("XDG_CONFIG_HOME", "containers/auth.json"),
    ],
)
def test_logins_of_podman_and_skopeo_are_found_where_they_leave_them(
    variable: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "logins" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": {"registry.example": {"auth": basic("me", SECRET)}}}))
    monkeypatch.setenv(variable, str(tmp_path / "logins"))
    assert find("registry.example") == Credential("me", SECRET)


def test_a_login_for_a_namespace_holds_there_alone_and_the_narrowest_wins(docker: Any) -> None:
    docker.config(
        auths={
            "quay.example/team": {"auth": basic("team", SECRET)},
            "quay.example/team/model": {"auth": basic("model", SECRET)},
            "quay.example": {"auth": basic("host", SECRET)},
        }
    )

    def who(path: str) -> str:
        found = Credentials("quay.example", path, use_environment=False).find()
        return found.username if found else ""

    paths = ("team/model", "team/other", "team", "teams", "other/team/model")
    assert [who(path) for path in paths] == ["model", "team", "team", "host", "host"]


def test_a_file_that_fails_counts_only_where_no_other_knows_the_host(
    docker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.config(credsStore="desktop")  # left by a Docker that is no longer there
    with pytest.raises(ImageError, match=r"docker-credential-desktop .* not on PATH"):
        find("registry.example")

    (tmp_path / "containers").mkdir()
    (tmp_path / "containers" / "auth.json").write_text(
        json.dumps({"auths": {"registry.example": {"auth": basic("me", SECRET)}}})
    )
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert find("registry.example") == Credential("me", SECRET)


def test_an_identity_token_is_told_from_a_password(docker: Any) -> None:
    docker.config(auths={"registry.example": {"auth": basic("me", ""), "identitytoken": "refresh-me"}})
    assert find("registry.example") == Credential("", "", "refresh-me")


@pytest.mark.parametrize("entry", ["%%%", base64.b64encode(b"nocolon").decode(), base64.b64encode(b"\xff:x").decode()])
def test_a_damaged_entry_is_told_without_its_content(docker: Any, entry: str) -> None:
    docker.config(auths={"registry.example": {"auth": entry}})
    with pytest.raises(ImageError, match=r"auths.registry.example.auth is not base64") as caught:
        find("registry.example")
    assert entry not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"auths": [1]}', b'{"credHelpers": "gcloud"}'])
def test_a_damaged_configuration_is_told(docker: Any, content: bytes) -> None:
    docker.raw(content)
    with pytest.raises(ImageError, match=r"config.json: .*repair or remove it"):
        find("registry.example")


def test_a_helper_is_asked_by_its_protocol_and_wins_over_an_entry(docker: Any) -> None:
    docker.helper("test", f"""echo '{{"Username": "me", "Secret": "{SECRET}"}}'""")
    docker.config(credHelpers={"registry.example": "test"}, auths={"registry.example": {"auth": basic("old", "old")}})
    assert find("registry.example") == Credential("me", SECRET)
    assert docker.asked.read_text() == "registry.example"


def test_a_helper_has_none_of_the_packers_own_secrets(docker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRET_VARIABLES:
        monkeypatch.setenv(name, SECRET)
    docker.helper(
        "test", f"""/usr/bin/env | /bin/grep -q {SECRET} && exit 3; echo '{{"Username": "me", "Secret": "other"}}'"""
    )
    docker.config(credsStore="test")

    found = Credentials("registry.example", use_environment=False).find()

    assert found
    assert found.password == "other"


def test_a_helper_may_give_an_identity_token(docker: Any) -> None:
    docker.helper("test", """echo '{"Username": "<token>", "Secret": "refresh-me"}'""")
    docker.config(credsStore="test")
    assert find("registry.example") == Credential("", "", "refresh-me")


def test_a_store_that_knows_nothing_of_the_host_means_anonymous(docker: Any) -> None:
    docker.helper("test", "echo 'credentials not found in native keychain'; exit 1")
    docker.config(credsStore="test")
    assert find("registry.example") is None


def test_a_helper_that_fails_is_told_without_what_it_said(docker: Any) -> None:
    docker.helper("test", f"echo 'expired: {SECRET}' >&2; exit 3")
    docker.config(credHelpers={"registry.example": "test"})
    with pytest.raises(ImageError, match=r"docker-credential-test failed .*exit code 3") as caught:
        find("registry.example")
    assert SECRET not in str(caught.value)


def test_a_helper_that_is_not_there_or_talks_nonsense_is_told(docker: Any) -> None:
    docker.config(credHelpers={"registry.example": "gone"})
    with pytest.raises(ImageError, match=r"docker-credential-gone .* not on PATH"):
        find("registry.example")
    docker.helper("gone", "echo hello")
    with pytest.raises(ImageError, match=r"answered for registry.example with no credential"):
        find("registry.example")


@pytest.mark.parametrize("host", ["us-docker.pkg.dev", "gcr.io", "eu.gcr.io"])
def test_googles_registries_take_application_default_credentials(google_credentials: Any, host: str) -> None:
    credentials = Credentials(host, use_environment=False)
    assert credentials.find() == Credential("oauth2accesstoken", "ya29.1")
    assert credentials.find() == Credential("oauth2accesstoken", "ya29.1")
    assert credentials.find(refresh=True) == Credential("oauth2accesstoken", "ya29.2")


def test_googles_token_goes_nowhere_else(google_credentials: Any) -> None:
    assert find("registry.example") is None
    assert find("pkg.dev.example") is None
    assert google_credentials.refreshed == 0


def test_a_missing_gcloud_helper_is_made_up_for(docker: Any, google_credentials: Any) -> None:
    docker.config(credHelpers={"us-docker.pkg.dev": "gcloud"})
    assert find("us-docker.pkg.dev") == Credential("oauth2accesstoken", "ya29.1")


def test_a_gcloud_helper_that_is_not_logged_in_is_made_up_for(docker: Any, google_credentials: Any) -> None:
    docker.helper("gcloud", "echo 'no active account' >&2; exit 1")
    docker.config(credHelpers={"us-docker.pkg.dev": "gcloud"})
    assert find("us-docker.pkg.dev") == Credential("oauth2accesstoken", "ya29.1")


def test_no_google_credentials_means_anonymous_and_broken_ones_are_told(
    google_credentials: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    google_credentials.broken = True
    with pytest.raises(ImageError, match="gcloud auth application-default login"):
        find("us-docker.pkg.dev")

    def none(**_: object) -> None:
        raise DefaultCredentialsError("none")  # type: ignore[no-untyped-call]

    monkeypatch.setattr(google.auth, "default", none)
    assert find("us-docker.pkg.dev") is None


def test_a_credential_does_not_show_its_secret() -> None:
    assert SECRET not in repr(Credential("me", SECRET, "refresh-me"))
    assert "refresh-me" not in repr(Credential("me", SECRET, "refresh-me"))
    assert Credential("me", "pw").basic() == "Basic " + basic("me", "pw")


@pytest.mark.parametrize(
    "host",
    [
        "us-central1-docker-pkg.dev",
        "evilpkg.dev",
        "evil.pkg.dev",
        "docker.pkg.dev.evil.com",
        "us-docker.pkg.dev:5000",
        "evil.gcr.io",
        "gcr.io.evil.com",
        "gcr.io:5000",
    ],
)
def test_a_google_token_is_never_offered_to_a_host_that_only_looks_like_googles(
    google_credentials: Any, host: str
) -> None:
    assert find(host) is None
    assert google_credentials.refreshed == 0
