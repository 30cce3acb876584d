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
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request (httpx' interface)."""
        return self._way(request.url).handle_request(request)

    def close(self) -> None:
        """Close all connections."""
        for way in self._ways.values():
            way.close()

    def _way(self, url: httpx.URL) -> httpx.HTTPTransport:
        proxy = self._proxies.proxy(url)
        name = url.netloc.decode()
        folder = certificates_folder(self._host if name == self._address else name) if url.scheme == "https" else None
        with self._lock:
            key = (url.scheme, proxy.url if proxy else None, folder)
            if key not in self._ways:
                # Nothing that is verified goes over plain http: an empty context spares reading the authorities.
                context = tls_context(folder) if url.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                try:
                    self._ways[key] = httpx.HTTPTransport(verify=context, limits=_LIMITS, proxy=proxy)
                except (ImportError, ValueError):
                    # `from None`: the library's error may show the proxy's address.
                    raise ImageError(
                        "the environment's proxy is of a kind that is not known here: give one that speaks HTTP "
                        "(HTTPS_PROXY=http://HOST:PORT), or `pip install 'httpx[socks]'` for SOCKS"
                    ) from None
            return self._ways[key]
