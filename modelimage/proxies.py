"""Which proxy a host is reached by: what `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.

`NO_PROXY` is read as Go's programs read it, so docker, oras, crane and containerd (golang.org/x/net/http/httpproxy):
`*`, addresses, ranges in CIDR form, `name` with all below it, `.name` for what is below it alone, each with a port or
without. What a proxy's address holds, a password too, is never in a message.
"""

import ipaddress
import re
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import httpx

from modelimage.errors import ImageError
from oci_model_serving.reference import is_loopback


@dataclass(frozen=True)
class Proxies:
    """The proxies of the environment: the variable of each scheme with its value, and who is reached without."""

    by_scheme: Mapping[str, str]
    direct: tuple[str, ...]

    @classmethod
    def of_environment(cls) -> "Proxies":
        """What the environment says now; where upper and lower case differ, lower case counts, as for curl."""
        said = urllib.request.getproxies()
        direct = tuple(entry for part in said.get("no", "").split(",") if (entry := part.strip().lower()))
        return cls({scheme: said[scheme] for scheme in ("http", "https", "all") if said.get(scheme)}, direct)

    def proxy(self, url: httpx.URL) -> httpx.Proxy | None:
        """The proxy that `url` is reached by; None for none.

        Raises:
            ImageError: the variable names no proxy; its value is not told.
        """
        scheme = url.scheme if url.scheme in self.by_scheme else "all"
        value = self.by_scheme.get(scheme)
        # A proxy would look for loopback on its own machine.
        if not value or is_loopback(url.host) or self._is_direct(url):
            return None
        try:
            proxy = httpx.Proxy(value if "://" in value else f"http://{value}")
            usable = re.fullmatch(r"[\w.:-]+", proxy.url.host) is not None
        except (httpx.InvalidURL, ValueError):
            usable = False
        if not usable:
            # `from None`: the library's error shows the address.
            raise ImageError(
                f"{scheme}_proxy names no proxy: write {scheme.upper()}_PROXY=http://HOST:PORT, with USER:PASSWORD@ "
                "before the host where it wants a login"
            ) from None
        return proxy

    def _is_direct(self, url: httpx.URL) -> bool:
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
        return any(_fits(entry, url.host.lower(), port) for entry in self.direct)


def _fits(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY means the host."""
    if entry == "*":
        return True
    with suppress(ValueError):
        network = ipaddress.ip_network(entry, strict=False)
        address = _address(host)
        return address is not None and address in network
    named = re.fullmatch(r"(?P<name>\[[^]]*\]|[^:]*)(?::(?P<port>\d{1,5}))?", entry)
    if named is None or (named["port"] and int(named["port"]) != port):
        return False
    name = named["name"].removeprefix("[").removesuffix("]").removeprefix("*").rstrip(".")
    if (address := _address(name)) is not None:
        return address == _address(host)
    return bool(name) and (host == name or host.endswith(name if name.startswith(".") else f".{name}"))


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
