"""Connections to the registry and to where it sends: kept alive, by the way that each host is reached.

The standard library's HTTP: a range is read into memory that is there already, without a copy or an object for each
piece, which is most of what the server's own library would cost.
"""

import http.client
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from modelimage.credentials import Credential
from modelimage.refusals import RegistryError
from modelimage.routes import Routes
from oci_model_serving.reference import is_loopback

_IDLE_SECONDS = 20.0
"""Shorter than servers and balancers keep an idle connection; a request on one that is closed is sent again."""
_KEPT = 64

Place = tuple[str, str, int]
"""Scheme, host and port."""


def place_of(address: str) -> Place:
    """Where an address is asked for.

    Raises:
        RegistryError: it is none, or one that is not spoken to: plain http is for this machine only.
    """
    try:
        url = urlsplit(address)
        place = (url.scheme, url.hostname or "", url.port or {"http": 80, "https": 443}.get(url.scheme, 0))
    except ValueError as error:
        raise RegistryError(f"the registry sends to an address that is none: {error}") from error
    if not place[1] or not (url.scheme == "https" or (url.scheme == "http" and is_loopback(place[1]))):
        raise RegistryError(
            f"the registry sends to {url.scheme[:20]}://{place[1][:100]}: only loopback may do without TLS"
        )
    return place


class Exchange(NamedTuple):
    """An answer, its body not read: where it came from, and by which connection."""

    address: str
    connection: http.client.HTTPConnection
    response: http.client.HTTPResponse


class _Prompt(http.client.HTTPResponse):
    """An answer that gives what has come, and does not wait until as much came as there is room for."""

    def readinto(self, b: Any) -> int:
        """The next bytes; 0 at the end (io's interface)."""
        view = memoryview(b)
        if self.chunked or self.length is None:
            data = self.read1(len(view))
            view[: len(data)] = data
            return len(data)
        count = int(self.fp.readinto1(view[: self.length])) if self.length else 0
        self.length -= count
        if not count or not self.length:
            self.close()
        return count


class Connections:
    """Idle connections by place. Safe to use from many threads of one process."""

    def __init__(self, routes: Routes, silence_seconds: float) -> None:
        self._routes, self._silence_seconds = routes, silence_seconds
        self._idle: dict[Place, list[tuple[http.client.HTTPConnection, float]]] = defaultdict(list)
        self._lock = threading.Lock()

    def ask(self, address: str, headers: Mapping[str, str]) -> "Exchange":
        """Send a GET and return the answer before its body; a connection that was closed meanwhile is replaced.

        Raises:
            OSError: the host is not reached, or falls silent.
            http.client.HTTPException: what answers speaks no HTTP.
        """
        place = place_of(address)
        url = urlsplit(address)
        target = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
        while idle := self._take(place):
            if response := self._again(idle, target, headers):
                return Exchange(address, idle, response)
        connection = self._opened(address, place)
        return Exchange(address, connection, self._send(connection, target, headers))

    def _again(
        self, connection: http.client.HTTPConnection, target: str, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse | None:
        """As `_send`; None where the other side had closed the connection."""
        try:
            return self._send(connection, target, headers)
        except (ConnectionError, http.client.BadStatusLine, ssl.SSLEOFError):
            return None

    @staticmethod
    def _send(
        connection: http.client.HTTPConnection, target: str, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        try:
            connection.putrequest("GET", target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            return connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def _opened(self, address: str, place: Place) -> http.client.HTTPConnection:
        connection = self._unopened(address, place)
        connection.response_class = _Prompt
        return connection

    def _unopened(self, address: str, place: Place) -> http.client.HTTPConnection:
        scheme, host, port = place
        seconds = self._silence_seconds
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=seconds)
        url = httpx.URL(address)
        proxy = self._routes.proxy(url)
        context = self._routes.context(url)
        if proxy is None:
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
        if proxy.url.scheme != "http":
            raise RegistryError(f"a proxy by {proxy.url.scheme} is not known here: give HTTPS_PROXY=http://HOST:PORT")
        tunnel = http.client.HTTPSConnection(proxy.url.host, proxy.url.port or 80, timeout=seconds, context=context)
        login = {"Proxy-Authorization": Credential(*proxy.auth).basic()} if proxy.auth else {}
        tunnel.set_tunnel(host, port, login)
        return tunnel

    def _take(self, place: Place) -> http.client.HTTPConnection | None:
        now = time.monotonic()
        with self._lock:
            while self._idle[place]:
                connection, since = self._idle[place].pop()
                if now - since < _IDLE_SECONDS:
                    return connection
                connection.close()
        return None

    def give_back(self, answered: "Exchange") -> None:
        """Keep a connection whose answer was read to its end."""
        place, connection = place_of(answered.address), answered.connection
        with self._lock:
            if connection.sock is not None and len(self._idle[place]) < _KEPT:
                self._idle[place].append((connection, time.monotonic()))
                return
        connection.close()
