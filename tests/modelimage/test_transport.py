from __future__ import annotations

import base64
import gzip
import json
import socket
import threading
import tracemalloc
from email.utils import formatdate
from pathlib import Path
from time import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from modelimage.credentials import Credentials
from modelimage.errors import CancelledError
from modelimage.patience import GaveUpError, Patience, RetryPolicy, TransientError
from modelimage.refusals import RegistryError, error_of
from modelimage.registry import Registry
from modelimage.transport import Transport
from oci_model_serving.reference import RegistryReference
from tests.modelimage.servers import Answer, Request, serving

QUICK = RetryPolicy(attempts=4, first_seconds=0.01)
ASKED = httpx.Request("GET", "https://registry.example/v2/")
SCOPE = "repository:models:pull"


def transport(address: str, patience: Patience | None = None, *, own: bool = True) -> Transport:
    host = address.removeprefix("http://")
    return Transport(host, Credentials(host, use_environment=own), patience or Patience(QUICK))


def get(client: Transport) -> httpx.Response:
    return client.call("GET", "/v2/", doing="looking", scope=SCOPE, accept=(200,))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again_and_told(status: int) -> None:
    answers = [Answer(status), Answer(status), Answer(200)]
    told: list[str] = []
    with serving(lambda _: answers.pop(0)) as address:
        assert get(transport(address, Patience(QUICK, tell=told.append))).status_code == 200
    assert len(told) == 2
    assert str(status) in told[0]
    assert "trying again (2 of 4)" in told[0]


def test_a_lasting_failure_is_given_up_with_the_registrys_own_words() -> None:
    body = json.dumps({"errors": [{"code": "UNKNOWN", "message": "out of disk", "detail": {"path": "/x"}}]}).encode()
    with serving(lambda _: Answer(503, body)) as address, pytest.raises(GaveUpError) as caught:
        get(transport(address))
    assert 'looking: the registry answered 503 Service Unavailable: UNKNOWN: out of disk ({"path": "/x"})' in str(
        caught.value
    )
    assert "gave up after 4 attempts; run the same command again" in str(caught.value)


@pytest.mark.parametrize(("status", "remedy"), [(401, "docker login"), (403, "writer role"), (413, "raise that limit")])
def test_a_refusal_is_not_tried_again_and_says_what_to_do(status: int, remedy: str) -> None:
    asked: list[Request] = []

    def refuse(request: Request) -> Answer:
        asked.append(request)
        return Answer(status)

    with serving(refuse) as address, pytest.raises(RegistryError, match=remedy):
        get(transport(address))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://me:pw@new.example:1/v2/x?X-Amz-Signature=secret#secret", "'https://new.example:1/v2/x'"),
        ("//me@new.example/v2/x?sig=secret", "'//new.example/v2/x'"),
        ("/v2/x?sig=secret", "'/v2/x'"),
        ("https://[me:pw/x?sig=secret", "'an address that is none'"),
    ],
)
def test_an_address_is_told_without_what_signs_it(location: str, shown: str) -> None:
    message = str(error_of(httpx.Response(302, headers={"Location": location}, request=ASKED), "x"))
    assert f"leads to {shown}: name the host" in message
    assert not any(word in message for word in ("secret", "me:pw", "me@"))


@pytest.mark.parametrize("bearer", [False, True])
@pytest.mark.parametrize("variables", [False, True])
def test_a_login_that_is_refused_is_told_by_its_source(
    variables: bool, bearer: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge = 'Bearer realm="{}/token",service="x"' if bearer else 'Basic realm="x"'
    with serving(lambda _: Answer(401, b"", {"WWW-Authenticate": challenge.format(address)})) as address:
        host = address.removeprefix("http://")
        if variables:
            monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
            monkeypatch.setenv("MODELIMAGE_PASSWORD", "s3cret")
        else:
            (tmp_path / "docker-config").mkdir()
            login = {"username": "me", "password": "s3cret"}
            (tmp_path / "docker-config" / "config.json").write_text(json.dumps({"auths": {host: login}}))
        with pytest.raises(RegistryError) as caught:
            get(transport(address))
    file = f"auths.{host} in {tmp_path / 'docker-config' / 'config.json'}"
    source = "MODELIMAGE_USERNAME and MODELIMAGE_PASSWORD" if variables else file
    assert f"the login from {source} was refused: renew or correct it there" in str(caught.value)
    assert "docker login" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("challenge", ['Basic realm="x"', 'Bearer realm="{}/token",service="x"'])
def test_who_has_no_login_is_told_how_to_log_in(challenge: str) -> None:
    with (
        serving(lambda _: Answer(401, b"", {"WWW-Authenticate": challenge.format(address)})) as address,
        pytest.raises(RegistryError, match="401 Unauthorized: log in with `docker login`"),
    ):
        get(transport(address))


def test_retry_after_is_obeyed_in_seconds_and_as_a_date() -> None:
    policy = RetryPolicy()

    def wait(value: str) -> float:
        error = error_of(httpx.Response(429, headers={"Retry-After": value}, content=b"", request=ASKED), "x")
        assert isinstance(error, TransientError)
        return policy.wait_seconds(1, error)

    assert wait("7") == 7
    assert 50 < wait(formatdate(time() + 60, usegmt=True)) <= 60
    assert wait("100000") == policy.retry_after_limit_seconds
    assert wait("soon") < 1


def test_waits_grow_and_are_bounded() -> None:
    policy = RetryPolicy(first_seconds=1, longest_seconds=8)
    waits = [policy.wait_seconds(attempt, None) for attempt in range(1, 8)]
    assert all(0.75 * 2 ** min(n, 3) <= wait <= 1.25 * 2 ** min(n, 3) for n, wait in enumerate(waits))


def test_stopping_ends_the_waiting_at_once() -> None:
    stop = threading.Event()
    patience = Patience(RetryPolicy(first_seconds=600, longest_seconds=600), stop, lambda _: stop.set())
    with serving(lambda _: Answer(503)) as address, pytest.raises(CancelledError):
        get(transport(address, patience))


def test_a_registry_that_is_not_there_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(GaveUpError, match=r"the connection to .* failed: .*refused"):
            get(transport(f"http://{host}"))


def test_a_name_that_does_not_exist_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(RegistryError, match=r"registry.invalid cannot be resolved .*: check the name"):
        get(transport("registry.invalid"))


def test_other_hosts_are_spoken_to_with_tls_only() -> None:
    assert transport("registry.example").base.scheme == "https"
    assert transport("docker.io").base.host == "registry-1.docker.io"
    with (
        serving(lambda _: Answer(302, headers={"Location": "http://registry.example/v2/"})) as address,
        pytest.raises(RegistryError, match=r"refused to speak plain http to registry.example"),
    ):
        get(transport(address))


class TokenService:
    """A registry that asks for a token, and the service that gives one."""

    def __init__(self) -> None:
        self.address = ""
        self.asked: list[Request] = []
        self.number = 0
        self.valid: set[str] = set()
        self.answer: bytes | None = None
        self.said: dict[str, str] = {}

    def __call__(self, request: Request) -> Answer:
        if request.path.startswith("/token"):
            self.asked.append(request)
            self.number += 1
            self.valid.add(f"t{self.number}")
            return Answer(
                200, self.answer or json.dumps({"token": f"t{self.number}", "expires_in": 300}).encode(), self.said
            )
        if request.headers.get("authorization", "").removeprefix("Bearer ") in self.valid:
            return Answer(200)
        challenge = f'Bearer realm="{self.address}/token?x=1",service="the, registry",scope="ignored"'
        return Answer(401, b"", {"WWW-Authenticate": challenge})


def test_a_token_is_fetched_for_the_scope_once_and_again_when_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "pw")
    service = TokenService()
    with serving(service) as address:
        service.address = address
        client = transport(address)
        get(client)
        get(client)
        assert len(service.asked) == 1
        service.valid.clear()
        get(client)
    assert len(service.asked) == 2
    query = parse_qs(urlsplit(service.asked[0].path).query)
    assert query == {"x": ["1"], "service": ["the, registry"], "scope": [SCOPE]}
    assert service.asked[0].headers["authorization"] == "Basic " + base64.b64encode(b"me:pw").decode()


def test_an_identity_token_is_traded_by_oauth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = TokenService()
    with serving(service) as address:
        service.address = address
        (tmp_path / "docker-config").mkdir()
        entry = {"auths": {address.removeprefix("http://"): {"identitytoken": "refresh-me"}}}
        (tmp_path / "docker-config" / "config.json").write_text(json.dumps(entry))
        get(transport(address))
    form = parse_qs(service.asked[0].body.decode())
    assert service.asked[0].method == "POST"
    assert (form["grant_type"], form["refresh_token"], form["scope"]) == (["refresh_token"], ["refresh-me"], [SCOPE])


def test_a_token_service_that_gives_none_is_told() -> None:
    service = TokenService()
    service.answer = b"{}"
    with serving(service) as address:
        service.address = address
        with pytest.raises(RegistryError, match="the answer holds no token"):
            get(transport(address))


def test_a_token_services_answer_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    service = TokenService()
    service.said = {"Content-Encoding": "gzip"}
    service.answer = gzip.compress(bytes(64 << 20))
    identity = {"auths": {"HOST": {"identitytoken": "refresh-me"}}}
    (tmp_path / "docker-config").mkdir()
    with serving(service) as address:
        service.address = address
        for logins in ("{}", json.dumps(identity).replace("HOST", address.removeprefix("http://"))):
            (tmp_path / "docker-config" / "config.json").write_text(logins)
            tracemalloc.start()
            with pytest.raises(RegistryError, match="the answer holds no token"):
                get(transport(address))
            assert tracemalloc.get_traced_memory()[1] < 16 << 20
            tracemalloc.stop()


def test_our_secrets_do_not_follow_an_upload_to_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "pw")
    elsewhere: list[Request] = []

    def registry(request: Request) -> Answer:
        if "authorization" not in request.headers:
            return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        if request.method == "HEAD":
            return Answer(404)
        return Answer(202, headers={"Location": f"{other}/upload?state=1"})

    def storage(request: Request) -> Answer:
        elsewhere.append(request)
        return Answer(201, headers={"Location": "/upload?state=2"})

    with serving(storage) as other, serving(registry) as address:
        place = RegistryReference(address.removeprefix("http://"), "models")
        with Registry(place, patience=Patience(QUICK)) as opened:
            from modelimage.streams import Blob

            opened.write_blob(Blob.of("a blob", b"content"))
    assert [request.method for request in elsewhere] == ["PUT"]
    assert all("authorization" not in request.headers for request in elsewhere)
    assert parse_qs(urlsplit(elsewhere[0].path).query)["state"] == ["1"]


def test_an_unknown_scheme_of_authorisation_is_told() -> None:
    with (
        serving(lambda _: Answer(401, b"", {"WWW-Authenticate": "Negotiate"})) as address,
        pytest.raises(RegistryError, match="authorisation by 'Negotiate'"),
    ):
        get(transport(address))


@pytest.mark.parametrize("challenge", ["Bearer", "Bearer realm", 'Bearer service="x"', 'Bearer realm="",a'])
def test_a_challenge_without_an_address_is_told(challenge: str) -> None:
    with (
        serving(lambda _: Answer(401, b"", {"WWW-Authenticate": challenge})) as address,
        pytest.raises(RegistryError, match="does not say where"),
    ):
        get(transport(address))


def test_a_token_service_over_plain_http_elsewhere_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "pw")
    challenge = 'Bearer realm="http://tokens.example/token",service="x"'
    with (
        serving(lambda _: Answer(401, b"", {"WWW-Authenticate": challenge})) as address,
        pytest.raises(RegistryError, match=r"refused to speak plain http to tokens\.example"),
    ):
        get(transport(address))


def test_what_only_redirects_is_no_registry() -> None:
    with (
        serving(lambda _: Answer(302, headers={"Location": "/v2/"})) as address,
        pytest.raises(RegistryError, match="is it a registry"),
    ):
        get(transport(address))


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("http://registry.example/v2/x", "https://registry.example/v2/x"),
        ("http://registry.example:80/v2/x?a=%2B", "https://registry.example/v2/x?a=%2B"),
        ("http://registry.example:443/v2/x", "https://registry.example/v2/x"),
        ("http://registry.example:9000/bucket", "http://registry.example:9000/bucket"),  # another service: refused too
        ("https://storage.example/x", "https://storage.example/x"),
        ("http://storage.example/x", "http://storage.example/x"),  # refused when it is asked
        ("/v2/y", "https://front.example/v2/y"),
    ],
)
def test_a_registry_behind_a_proxy_that_ends_tls_may_call_itself_by_plain_http(location: str, leads_to: str) -> None:
    answered = httpx.Response(
        202, headers={"Location": location}, request=httpx.Request("POST", "https://front.example")
    )
    assert str(transport("registry.example").located(answered)) == leads_to


def test_a_registry_here_with_tls_may_lead_to_storage_here_without_it() -> None:
    asked: list[Request] = []

    def storage(request: Request) -> Answer:
        asked.append(request)
        return Answer(200)

    with serving(storage) as address:
        client = transport("127.0.0.1:1")
        client.base = client.base.copy_with(scheme="https")
        answered = httpx.Response(
            307, headers={"Location": f"{address}/bucket"}, request=httpx.Request("GET", client.base)
        )
        target = client.located(answered)
        assert str(target) == f"{address}/bucket"
        assert target is not None
        client.call("GET", target, doing="looking", scope=SCOPE, accept=(200,))
    assert [request.path for request in asked] == ["/bucket"]


def test_a_registry_elsewhere_does_not_lead_to_this_machine() -> None:
    elsewhere = transport("registry.example")
    for address in ("http://127.0.0.1:5000/v2/", "http://localhost/v2/"):
        with pytest.raises(RegistryError, match="refused to speak plain http"):
            elsewhere.call("GET", httpx.URL(address), doing="looking", scope=SCOPE, accept=(200,))


def test_an_answer_without_end_is_not_read_to_it() -> None:
    body = b"x" * (64 << 20)
    with serving(lambda _: Answer(200, body)) as address:
        assert len(get(transport(address)).content) == (4 << 20) + 1
    with serving(lambda _: Answer(400, body, {"Content-Type": "text/plain"})) as address:
        with pytest.raises(RegistryError) as caught:
            get(transport(address))
        assert len(str(caught.value)) < 1000


def test_a_compressed_answer_is_read_and_a_damaged_one_told() -> None:
    packed = gzip.compress(b"what it says")
    for body in (packed, b"no gzip at all"):
        said = Answer(200, body, {"Content-Encoding": "gzip"})
        with serving(lambda _, said=said: said) as address:  # type: ignore[misc]
            if body == packed:
                assert get(transport(address)).content == b"what it says"
            else:
                with pytest.raises(RegistryError, match="answered with what is no answer"):
                    get(transport(address))


def test_a_redirect_is_followed_without_our_authorization_and_back_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "pw")
    seen: list[tuple[str, str, bool]] = []

    def registry(request: Request) -> Answer:
        seen.append(("registry", request.path, "authorization" in request.headers))
        if "authorization" not in request.headers:
            return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        return Answer(200) if request.path == "/back" else Answer(307, headers={"Location": f"{other}/away"})

    def storage(request: Request) -> Answer:
        seen.append(("storage", request.path, "authorization" in request.headers))
        return Answer(302, headers={"Location": f"{address}/back"})

    with serving(storage) as other, serving(registry) as address:
        assert get(transport(address)).status_code == 200
    assert seen == [
        ("registry", "/v2/", False),
        ("registry", "/v2/", True),
        ("storage", "/away", False),
        ("registry", "/back", True),
    ]


def test_what_asks_who_we_are_on_another_host_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "pw")
    asked: list[Request] = []

    def curious(request: Request) -> Answer:
        asked.append(request)
        return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})

    with (
        serving(curious) as other,
        serving(lambda request: Answer(307, headers={"Location": other + request.path})) as address,
        pytest.raises(RegistryError, match="401"),
    ):
        get(transport(address))
    assert ["authorization" in request.headers for request in asked] == [False]
