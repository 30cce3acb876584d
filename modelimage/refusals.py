"""What a registry's refusal means: its own words, whether it may pass, and what to do about it."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from modelimage.errors import ImageError
from modelimage.patience import RETRIED_STATUSES, TransientError, retry_after
from oci_model_serving.foreign import in_line, read_json, without_login

_REMEDIES = {
    401: "log in with `docker login`, `gcloud auth application-default login`, or set MODELIMAGE_USERNAME and "
    "MODELIMAGE_PASSWORD",
    403: "the account lacks the right to do this there (pushing to Artifact Registry needs its writer role)",
    405: "the registry takes no pushes there, as a mirror or a read-only one",
    413: "the registry or a proxy before it limits the size of a request: raise that limit",
}


_SAID_CHARACTERS = 500


class RegistryError(ImageError):
    """The registry refused, for good: `status` is its HTTP status, `codes` its own error codes."""

    def __init__(self, message: str, *, status: int = 0, codes: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status, self.codes = status, codes


def error_of(response: httpx.Response, doing: str, login: str = "", *further: str) -> RegistryError | TransientError:
    """The error that an answer means, with the registry's own words and what to do.

    `login` is where the login comes from that it was asked with, if any: who has one is not told to log in. What was
    sent to log in is not said again: the request's header, and `further` secrets of it.
    """
    status = response.status_code
    codes, said = _words(response)
    said = in_line(without_login(said, response.request.headers.get("authorization", ""), *further), _SAID_CHARACTERS)
    message = f"{doing}: the registry answered {status} {in_line(response.reason_phrase, 60)}".rstrip()
    if said:
        message += f": {said}"
    if status in RETRIED_STATUSES:
        return TransientError(message, retry_after=retry_after(response.headers))
    if status == httpx.codes.UNAUTHORIZED and login:
        message += (
            f": the login from {login} was refused: renew or correct it there, give its account the right to do this, "
            "or remove it for another one to count"
        )
    elif status in _REMEDIES:
        message += f": {_REMEDIES[status]}"
    elif response.has_redirect_location:
        message += f": it leads to {_shown(response.headers['location'])!r}: name the host that answers there"
    return RegistryError(message, status=status, codes=codes)


def _shown(address: str) -> str:
    """An address for a message: without user and query, which hold what signed ones are worth."""
    try:
        said = urlsplit(address)
    except ValueError:
        return "an address that is none"
    return urlunsplit((said.scheme, said.netloc.rpartition("@")[2], said.path, "", ""))[:200]


def _words(response: httpx.Response) -> tuple[tuple[str, ...], str]:
    try:
        errors: list[dict[str, Any]] = read_json(response.content)["errors"]
        codes = tuple(str(error.get("code", "")) for error in errors)
        said = "; ".join(_error_words(error) for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        said = response.text if response.headers.get("content-type", "").startswith("text/plain") else ""
        codes = ()
    return codes, said


def _error_words(error: Mapping[str, Any]) -> str:
    detail = error.get("detail")
    shown = f" ({detail if isinstance(detail, str) else json.dumps(detail)})" if detail else ""
    return f"{error.get('code', '')}: {error.get('message', '')}{shown}"
