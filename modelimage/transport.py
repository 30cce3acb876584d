"""HTTP to one registry: authorisation, retries and errors that say what the registry said.

Authorisation is the distribution project's token flow (https://distribution.github.io/distribution/spec/auth/token/)
or Basic, whichever the registry asks for. Plain http is spoken to loopback addresses only, whatever an answer's
Location or realm says.
"""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from modelimage.credentials import Credential, Credentials
from modelimage.errors import CancelledError, ImageError
from modelimage.patience import RETRIED_STATUSES, Patience, TransientError, retry_after
from modelimage.reach import unreachable
from oci_model_serving.reference import is_loopback

_TOKEN_MARGIN_SECONDS = 30.0
_TOKEN_DEFAULT_SECONDS = 60.0  # the token specification's own default for `expires_in`
_TIMEOUT = httpx.Timeout(connect=15, read=600, write=120, pool=None)
"""Reading is patient: a registry may hash 9.5 GB before it answers the request that ends an upload."""


class RegistryError(ImageError):
    """The registry refused, for good: `status` is its HTTP status, `codes` its own error codes."""

    def __init__(self, message: str, *, status: int = 0, codes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status, self.codes = status, codes


class Transport:
    """Requests to the registry at `host`. Safe to use from many threads; close it when done."""

    def __init__(self, host: str, credentials: Credentials, patience: Patience) -> None:
        self.host, self.patience = host, patience
        # Docker Hub's API has another name than its images.
        address = "registry-1.docker.io" if host == "docker.io" else host
        local = is_loopback(host)
        self.base = httpx.URL(f"{'http' if local else 'https'}://{address}")
        self._client = httpx.Client(
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=None, keepalive_expiry=30),
            trust_env=not local,  # a proxy would look for loopback on its own machine
            headers={"User-Agent": "oci-model-serving"},
            event_hooks={"request": [_refuse_plain_http]},
        )
        self._authorisations = _Authorisations(self._client, host, credentials)
        self._answered = False

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def url(self, path: str) -> httpx.URL:
        """The address of `path`, which may itself be an address, as a Location header's."""
        return self.base.join(path)

    def call(
        self,
        method: str,
        path: str | httpx.URL,
        *,
        doing: str,
        scope: str,
        accept: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        patience: Patience | None = None,
    ) -> httpx.Response:
        """Send a small request and try again while that may help.

        `doing` begins the message of an error ("pushing layer x"); `accept` are the statuses that are answers.
        """
        return (patience or self.patience).retrying()(
            self.once, method, path, doing=doing, scope=scope, accept=accept, headers=headers, content=content
        )

    def once(
        self,
        method: str,
        path: str | httpx.URL,
        *,
        doing: str,
        scope: str,
        accept: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterator[bytes] | None = None,
    ) -> httpx.Response:
        """Send a request once; a streamed `content` cannot be sent again, so an expired token is then transient."""
        with self._answer(method, path, doing=doing, scope=scope, headers=headers, content=content) as response:
            response.read()
            if response.status_code in accept:
                return response
            raise error_of(response, doing)

    @contextmanager
    def stream(self, path: str, *, doing: str, scope: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Send a GET once and hand out the answer before its body; redirects are followed, without our secrets."""
        with self._answer("GET", path, doing=doing, scope=scope, headers=headers, content=None) as response:
            if response.status_code not in {200, 206}:
                response.read()
                raise error_of(response, doing)
            yield response

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str | httpx.URL,
        *,
        doing: str,
        scope: str,
        headers: Mapping[str, str] | None,
        content: bytes | Iterator[bytes] | None,
    ) -> Iterator[httpx.Response]:
        if self.patience.stop.is_set():
            raise CancelledError(f"{doing}: stopped")
        url = path if isinstance(path, httpx.URL) else self.url(path)
        ours = (url.scheme, url.host, url.port) == (self.base.scheme, self.base.host, self.base.port)
        challenge: str | None = None
        with _transport_errors(doing, self.host, answered=self._answered):
            for attempt in range(3):
                sent = dict(headers or {})
                if ours and (authorisation := self._authorisations.header(scope, challenge, refresh=attempt > 1)):
                    sent["Authorization"] = authorisation
                request = self._client.build_request(method, url, headers=sent, content=content)
                response = self._client.send(request, stream=True, follow_redirects=method in {"GET", "HEAD"})
                self._answered = True
                try:
                    challenge = response.headers.get("www-authenticate", "")
                    if response.status_code != httpx.codes.UNAUTHORIZED or not challenge or attempt == 2 or not ours:
                        yield response
                        return
                    response.read()
                finally:
                    response.close()
                if content is not None and not isinstance(content, bytes):
                    self._authorisations.header(scope, challenge, refresh=True)
                    raise TransientError(f"{doing}: the registry's token expired", retry_after=0)


class _Authorisations:
    """The Authorization header for each scope, kept while it is valid."""

    def __init__(self, client: httpx.Client, host: str, credentials: Credentials) -> None:
        self._client, self._host, self._credentials = client, host, credentials
        self._known: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, scope: str, challenge: str | None, *, refresh: bool) -> str | None:
        """The header for `scope`, answering the registry's `challenge` where it has made one."""
        with self._lock:
            known = self._known.get(scope)
            if challenge is None:
                return known[0] if known and time.monotonic() < known[1] else None
            scheme, _, rest = challenge.partition(" ")
            credential = self._credentials.find(refresh=refresh)
            if scheme.lower() == "basic":
                if credential is None:
                    return None
                lifetime = float("inf")
                header = credential.basic()
            elif scheme.lower() == "bearer":
                token, lifetime = self._token(self._parameters(rest), scope, credential)
                header = f"Bearer {token}"
            else:
                raise RegistryError(f"{self._host} asks for authorisation by {scheme!r}, which is not known here")
            self._known[scope] = (header, time.monotonic() + lifetime)
            return header

    def _parameters(self, challenge: str) -> dict[str, str]:
        try:
            parameters = urllib.request.parse_keqv_list(urllib.request.parse_http_list(challenge))
        except ValueError:
            parameters = {}
        if not parameters.get("realm"):
            raise RegistryError(f"{self._host} asks for a token and does not say where: is it a registry?")
        return parameters

    def _token(self, challenge: Mapping[str, str], scope: str, credential: Credential | None) -> tuple[str, float]:
        realm, service = challenge["realm"], challenge.get("service", "")
        doing = f"asking {httpx.URL(realm).host or realm!r} for a token for {self._host}"
        if credential and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": "oci-model-serving",
                "scope": scope,
                "refresh_token": credential.identity_token,
            }
            response = self._client.post(realm, data=form)
        else:
            headers = {"Authorization": credential.basic()} if credential else {}
            # One `scope` parameter each: the specification's way to ask for several.
            query: list[tuple[str, str | int | float | bool | None]] = [("service", service)]
            query += [("scope", part) for part in scope.split(" ")]
            response = self._client.get(httpx.URL(realm).copy_merge_params(query), headers=headers)
        if response.status_code != httpx.codes.OK:
            raise error_of(response, doing)
        try:
            answer = response.json()
            token = str(answer.get("token") or answer["access_token"])
            lifetime = float(answer.get("expires_in") or _TOKEN_DEFAULT_SECONDS)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(f"{doing}: the answer holds no token") from error
        # Short-lived tokens are used for half their life rather than never.
        return token, max(lifetime - _TOKEN_MARGIN_SECONDS, lifetime / 2)


def _refuse_plain_http(request: httpx.Request) -> None:
    if request.url.scheme != "https" and not is_loopback(request.url.host):
        raise RegistryError(
            f"refused to speak plain http to {request.url.host}: only loopback registries may do without TLS"
        )


@contextmanager
def _transport_errors(doing: str, host: str, *, answered: bool) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        found = unreachable(error, doing, host, answered_before=answered)
        raise (found if isinstance(found, TransientError) else RegistryError(str(found))) from error
    except httpx.RequestError as error:
        raise RegistryError(f"{doing}: {host} answered with what is no answer: {error}: is it a registry?") from error
    except httpx.InvalidURL as error:
        raise RegistryError(f"{doing}: {host} answered with an address that is none: {error}") from error


def error_of(response: httpx.Response, doing: str) -> RegistryError | TransientError:
    """The error that an answer means, with the registry's own words and what to do."""
    status = response.status_code
    codes, said = _registry_words(response)
    message = f"{doing}: the registry answered {status} {response.reason_phrase}".rstrip()
    if said:
        message += f": {said}"
    if status in RETRIED_STATUSES:
        return TransientError(message, retry_after=retry_after(response.headers))
    remedies = {
        401: "log in with `docker login`, `gcloud auth application-default login`, or set MODELIMAGE_USERNAME and "
        "MODELIMAGE_PASSWORD",
        403: "the account lacks the right to do this there (pushing to Artifact Registry needs its writer role)",
        405: "the registry takes no pushes there, as a mirror or a read-only one",
        413: "the registry or a proxy before it limits the size of a request: raise that limit",
    }
    if status in remedies:
        message += f": {remedies[status]}"
    return RegistryError(message, status=status, codes=codes)


def _registry_words(response: httpx.Response) -> tuple[tuple[str, ...], str]:
    try:
        errors: list[dict[str, Any]] = json.loads(response.content)["errors"]
        codes = tuple(str(error.get("code", "")) for error in errors)
        said = "; ".join(_words(error) for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        said = response.text if response.headers.get("content-type", "").startswith("text/plain") else ""
        codes = ()
    return codes, " ".join(said.split())[:500]


def _words(error: Mapping[str, Any]) -> str:
    detail = error.get("detail")
    shown = f" ({detail if isinstance(detail, str) else json.dumps(detail)})" if detail else ""
    return f"{error.get('code', '')}: {error.get('message', '')}{shown}"
