"""The way to each host: by which proxy, and with which certificates. Connections of one way share a pool."""

import ssl
import threading
from pathlib import Path

import httpx

from modelimage.certificates import certificates_folder, tls_context
from modelimage.errors import ImageError
from modelimage.proxies import Proxies

_LIMITS = httpx.Limits(max_connections=None, keepalive_expiry=30)


class Routes(httpx.BaseTransport):
    """Sends each request the way that its host is reached.

    A registry sends to other hosts, for tokens and for what it stores: each has its own certificates, and may be
    reached by another proxy. `host` is the registry's as references write it, `address` its name on the network.
    """

    def __init__(self, host: str, address: str) -> None:
        self._host, self._address = host, address
        self._proxies = Proxies.of_environment()
        self._ways: dict[tuple[str, httpx.URL | None, Path | None], httpx.HTTPTransport] = {}
        self._contexts: dict[Path | None, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request (httpx' interface)."""
        return self._way(request.url).handle_request(request)

    def close(self) -> None:
        """Close all connections."""
        for way in self._ways.values():
            way.close()

    def proxy(self, url: httpx.URL) -> httpx.Proxy | None:
        """The proxy that a host is reached by; None for none.

        Raises:
            ImageError: the environment names one that is none.
        """
        return self._proxies.proxy(url)

    def context(self, url: httpx.URL) -> ssl.SSLContext:
        """What a connection by https to a host is verified with.

        Raises:
            ImageError: a file of certificates is none.
        """
        with self._lock:
            return self._context(self._folder(url))

    def _folder(self, url: httpx.URL) -> Path | None:
        name = url.netloc.decode()
        return certificates_folder(self._host if name == self._address else name) if url.scheme == "https" else None

    def _context(self, folder: Path | None) -> ssl.SSLContext:
        if folder not in self._contexts:
            self._contexts[folder] = tls_context(folder)
        return self._contexts[folder]

    def _way(self, url: httpx.URL) -> httpx.HTTPTransport:
        proxy, folder = self.proxy(url), self._folder(url)
        with self._lock:
            key = (url.scheme, proxy.url if proxy else None, folder)
            if key not in self._ways:
                # Nothing that is verified goes over plain http: an empty context spares reading the authorities.
                secure = url.scheme == "https"
                context = self._context(folder) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                try:
                    self._ways[key] = httpx.HTTPTransport(verify=context, limits=_LIMITS, proxy=proxy)
                except (ImportError, ValueError):
                    # `from None`: the library's error may show the proxy's address.
                    raise ImageError(
                        "the environment's proxy is of a kind that is not known here: give one that speaks HTTP "
                        "(HTTPS_PROXY=http://HOST:PORT), or `pip install 'httpx[socks]'` for SOCKS"
                    ) from None
            return self._ways[key]
