"""What it means that a host was not reached: whether it may pass, and what to do about it.

A name that does not resolve, a certificate that is not trusted and a port that speaks no TLS are told at once or
within seconds, whoever asks: the registry's transport, the hub's client, Google's library. A connection that is
refused or breaks may pass: a registry restarts, a network comes back.
"""

import re
import socket
import ssl
import urllib.request

import httpx

from modelimage.errors import ImageError
from modelimage.patience import TransientError

# OpenSSL's reasons that another try does not change: the other side speaks no TLS, or none that both know.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "UNKNOWN_PROTOCOL")
_DIRECT = ": allow it there, or name the host in NO_PROXY"
WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE", "ALERT_HANDSHAKE_FAILURE")
"""OpenSSL's reasons where the other side may want to see a certificate of ours."""
_REFUSED_TLS = ("ALERT_PROTOCOL_VERSION", "UNRECOGNIZED_NAME", *WANTS_CERTIFICATE)


class UnreachableError(ImageError):
    """A host cannot be reached, and trying again will not help."""


def unreachable(error: BaseException, doing: str, host: str, *, answered_before: bool = False) -> ImageError:
    """The error to raise for a failed connection to `host`, by what lies at its root.

    `doing` begins the message ("pushing layer x"). A TransientError is one that may pass; a name server's silence is
    given little time, unless the host has `answered_before` in this run: then the name is right.
    """
    reason = root_cause(error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return UnreachableError(
            f"{doing}: {host}'s certificate is not trusted ({reason.verify_message}): "
            f"point SSL_CERT_FILE at the certificate of its authority"
        )
    if isinstance(reason, ssl.SSLError) and (what := _lasting(reason)):
        return UnreachableError(f"{doing}: {host} {what} ({reason.reason}): check host and port, and any proxy")
    if isinstance(error, httpx.ProxyError) and (refused := re.match(r"4\d\d\b", str(error))):
        login = ": it wants a login: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT" if refused[0] == "407" else ""
        return UnreachableError(
            f"{doing}: the proxy in {' or '.join(proxies())} refuses to lead to {host} ({refused[0]}){login or _DIRECT}"
        )
    if isinstance(reason, socket.gaierror):
        return _unresolved(reason, doing, host, answered_before=answered_before)
    text = str(reason) or type(reason).__name__
    return TransientError(f"{doing}: the connection to {host} failed: {text}")


def _unresolved(reason: socket.gaierror, doing: str, host: str, *, answered_before: bool) -> ImageError:
    or_proxy = f" or that of the proxy in {' or '.join(proxies())}" if proxies() else ""
    message = f"{doing}: {host} cannot be resolved ({reason.strerror}): check the name{or_proxy}"
    # A name server that does not answer says "try again"; so does a machine without a network.
    if reason.errno == socket.EAI_AGAIN:
        return TransientError(message, brief=not answered_before)
    return UnreachableError(message)


def proxies() -> list[str]:
    """The variables of the environment that name a proxy, which then resolves names in our place."""
    return sorted(f"{kind}_proxy" for kind in urllib.request.getproxies() if kind in {"http", "https", "all"})


def _lasting(error: ssl.SSLError) -> str:
    """What is wrong with the other side's TLS for good; empty where a new connection may do better."""
    reason = (error.reason or "").upper().replace(" ", "_")
    if any(reason.endswith(known) for known in _NO_TLS):
        return "speaks no TLS there"
    return "refuses our TLS" if any(reason.endswith(known) for known in _REFUSED_TLS) else ""


def root_cause(error: BaseException) -> BaseException:
    """The first in the chain of errors that led to this one: libraries wrap what the socket said, some in arguments."""
    seen = {id(error)}
    while True:
        inner = [error.__cause__, error.__context__, getattr(error, "reason", None), *error.args]
        cause = next((one for one in inner if isinstance(one, BaseException) and id(one) not in seen), None)
        if cause is None:
            return error
        seen.add(id(cause))
        error = cause
