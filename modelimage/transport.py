"""HTTP to one registry: redirects, retries, deadlines, and how much of an answer is read.

Plain http is spoken to a registry on this machine only, whatever an answer's Location or realm says; one there that
speaks TLS is spoken to with TLS. Our Authorization goes to the registry's own address and nowhere else.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

import httpx

from modelimage.answers import ENCODINGS, ERROR_LIMIT_BYTES, held
from modelimage.authorisation import Authorisations
from modelimage.certificates import certificate_remedy, certificates_folder, speaks_tls
from modelimage.credentials import Credentials
from modelimage.errors import CancelledError, ImageError
from modelimage.patience import Patience, StalledError, TransientError
from modelimage.reach import root_cause, unreachable
from modelimage.refusals import RegistryError, error_of
from modelimage.routes import Routes
from modelimage.stores import MANIFEST_LIMIT_BYTES
from oci_model_serving.reference import is_loopback

_CONNECT_SECONDS = 15.0
_HTTPS_PORT = 443
_SLOWEST_BYTES_PER_SECOND = 16_000_000
"""What a registry may hash, or move to where it keeps it, before it answers an upload: ten minutes for 9.5 GB."""
_REDIRECTS = 10
_CHALLENGES = 2  # a token may have expired, and its successor be fetched with a credential that has too
_ANSWER_LIMIT_BYTES = MANIFEST_LIMIT_BYTES + 1
"""Of answers that are held in memory: one byte more than the largest manifest, so that a larger one is seen."""

Body = bytes | Callable[[], Iterator[bytes]]
"""What a request sends: bytes, or what begins a fresh pass over them each time that they are sent."""


@dataclass(frozen=True)
class _Asked:
    """A request, wherever it is sent."""

    method: str
    scope: str
    headers: Mapping[str, str]
    content: Body | None
    pending: int


class Transport:
    """Requests to the registry at `host`. Safe to use from many threads; close it when done."""

    def __init__(self, host: str, credentials: Credentials, patience: Patience) -> None:
        self.host, self.patience = host, patience
        # Docker Hub's API has another name than its images.
        address = "registry-1.docker.io" if host == "docker.io" else host
        self._local = is_loopback(host)
        # Who has put certificates there for a registry on this machine says that it speaks TLS.
        plain = self._local and certificates_folder(host) is None
        self.base = httpx.URL(f"{'http' if plain else 'https'}://{address}")
        self.routes = Routes(host, self.base.netloc.decode())
        self._client = httpx.Client(
            transport=self.routes,
            timeout=self._timeout(),
            trust_env=False,  # the routes know the environment's proxies and authorities
            headers={"User-Agent": "oci-model-serving", "Accept-Encoding": ENCODINGS},
            event_hooks={"request": [self._check_scheme]},
        )
        self._authorisations = Authorisations(self._client, host, credentials)
        self._answered = False

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def url(self, path: str) -> httpx.URL:
        """The address of a path at the registry."""
        return self.base.join(path)

    def authorisation(self, scope: str, challenge: str | None, *, refresh: bool) -> str | None:
        """The Authorization header for who asks the registry by other means, as `Authorisations.header` has it."""
        return self._authorisations.header(scope, challenge, refresh=refresh)

    def located(self, response: httpx.Response, location: str | None = "") -> httpx.URL | None:
        """Where an answer leads, by its Location or a link of it, seen from the host that gave it; None for nowhere.

        A registry behind a proxy that ends TLS may call itself by plain http (distribution #123): what leads to the
        registry's own host by http, at its own port or without one, is asked for by https.
        """
        location = response.headers.get("location") if location == "" else location
        if not location:
            return None
        try:
            url = response.url.join(location)
        except (httpx.InvalidURL, ValueError) as error:
            raise RegistryError(f"{self.host} answered with an address that is none: {error}") from error
        own = url.host == self.base.host and url.port in (None, self.base.port or _HTTPS_PORT)
        if own and url.scheme == "http" and self.base.scheme == "https":
            return url.copy_with(scheme="https", port=self.base.port)
        return url

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
        pending: int = 0,
    ) -> httpx.Response:
        """Send a small request and try again while that may help.

        `doing` begins the message of an error ("pushing layer x"); `accept` are the statuses that are answers;
        `pending` are the bytes that the registry may have to go through before it answers.
        """
        return (patience or self.patience).retrying()(
            self.once,
            method,
            path,
            doing=doing,
            scope=scope,
            accept=accept,
            headers=headers,
            content=content,
            pending=pending,
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
        content: Body | None = None,
        pending: int = 0,
    ) -> httpx.Response:
        """Send a request once, but again where the registry asks who we are or sends it elsewhere.

        The answer is held in memory, up to a byte more than a manifest may have.
        """
        answer = self._answer(method, path, doing=doing, scope=scope, headers=headers, content=content, pending=pending)
        with answer as response:
            if response.status_code in accept:
                return held(response, _ANSWER_LIMIT_BYTES)
            raise self._refusal(response, doing)

    @contextmanager
    def stream(self, path: str, *, doing: str, scope: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """Send a GET once and hand out the answer before its body."""
        with self._answer("GET", path, doing=doing, scope=scope, headers=headers) as response:
            if response.status_code not in {200, 206}:
                raise self._refusal(response, doing)
            yield response

    def _refusal(self, response: httpx.Response, doing: str) -> ImageError:
        login = self._authorisations.login if "authorization" in response.request.headers else ""
        return error_of(held(response, ERROR_LIMIT_BYTES), doing, login)

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str | httpx.URL,
        *,
        doing: str,
        scope: str,
        headers: Mapping[str, str] | None,
        content: Body | None = None,
        pending: int = 0,
    ) -> Iterator[httpx.Response]:
        if self.patience.stop.is_set():
            raise CancelledError(f"{doing}: stopped")
        with _transport_errors(doing, self.host, answered=self._answered):
            asked = _Asked(method, scope, headers or {}, content, pending)
            url = path if isinstance(path, httpx.URL) else self.url(path)
            for _ in range(_REDIRECTS):
                response = self._answer_of(url, asked)
                try:
                    self._answered = True
                    target = self.located(response) if _is_redirect(method, response) else None
                    if target is None:
                        yield response
                        return
                finally:
                    response.close()
                url = target
            raise RegistryError(f"{doing}: {self.host} sends from one address to the next: is it a registry?")

    def _answer_of(self, url: httpx.URL, asked: _Asked) -> httpx.Response:
        """One address' answer; a registry on this machine that turns out to speak TLS is asked again, with TLS."""
        try:
            response = self._authorised(url, asked)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            if not self._turns_out_to_speak_tls(url):
                raise
        else:
            if response.status_code != httpx.codes.BAD_REQUEST or not self._turns_out_to_speak_tls(url):
                return response
            response.close()
        return self._authorised(url.copy_with(scheme="https"), asked)

    def _turns_out_to_speak_tls(self, url: httpx.URL) -> bool:
        """Servers of TLS answer plain http with 400, with an alert, or not at all; then it is TLS from now on."""
        if self._answered or (url.scheme, url.host, url.port) != ("http", self.base.host, self.base.port):
            return False
        if not speaks_tls(url.host, url.port or 80):
            return False
        self.base = self.base.copy_with(scheme="https")
        return True

    def _authorised(self, url: httpx.URL, asked: _Asked) -> httpx.Response:
        """One address' answer, its body not read; where it is the registry's own, it learns who we are if it asks."""
        ours = (url.scheme, url.host, url.port) == (self.base.scheme, self.base.host, self.base.port)
        challenge: str | None = None
        attempt = 0
        while True:
            sent = dict(asked.headers)
            if ours and (authorisation := self._authorisations.header(asked.scope, challenge, refresh=attempt > 1)):
                sent["Authorization"] = authorisation
            request = self._client.build_request(
                asked.method,
                url,
                headers=sent,
                content=asked.content() if callable(asked.content) else asked.content,
                timeout=self._timeout(asked.pending),
            )
            response = self._client.send(request, stream=True)
            challenge = response.headers.get("www-authenticate", "")
            if response.status_code != httpx.codes.UNAUTHORIZED or not challenge or attempt == _CHALLENGES or not ours:
                return response
            with closing(response):
                held(response, ERROR_LIMIT_BYTES)
            attempt += 1

    def _timeout(self, pending: int = 0) -> httpx.Timeout:
        """How long a connection may move no byte; an answer may take longer where the registry has work to do."""
        silence = self.patience.policy.silence_seconds
        return httpx.Timeout(
            connect=_CONNECT_SECONDS, read=silence + pending / _SLOWEST_BYTES_PER_SECOND, write=silence, pool=None
        )

    def _check_scheme(self, request: httpx.Request) -> None:
        url = request.url
        if url.scheme == "https" or (url.scheme == "http" and self._local and is_loopback(url.host)):
            return
        what = "plain http" if url.scheme == "http" else repr(url.scheme[:20])
        raise RegistryError(f"refused to speak {what} to {url.host}: only loopback registries may do without TLS")


def _is_redirect(method: str, response: httpx.Response) -> bool:
    """Whether the same request goes to another address: a body is sent again only where the status says so."""
    followed = {307, 308} if method not in {"GET", "HEAD"} else {301, 302, 303, 307, 308}
    return response.status_code in followed


@contextmanager
def _transport_errors(doing: str, host: str, *, answered: bool) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        found = unreachable(error, doing, host, answered_before=answered)
        if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
            raise StalledError(str(found)) from error
        if isinstance(found, TransientError):
            raise found from error
        raise RegistryError(f"{found}{certificate_remedy(root_cause(error), host)}") from error
    except httpx.RequestError as error:
        raise RegistryError(f"{doing}: {host} answered with what is no answer: {error}: is it a registry?") from error
    except httpx.InvalidURL as error:
        raise RegistryError(f"{doing}: {host} answered with an address that is none: {error}") from error
