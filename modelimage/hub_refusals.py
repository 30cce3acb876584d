"""What the hub's failures and refusals mean to a person, and which of them may pass.

The codes are the hub's own `X-Error-Code`, which huggingface_hub turns into classes; 401 and 403 are told apart: no
token or a bad one, against an account that was not let in or a token without the permission.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined] # documented

from modelimage.errors import ImageError, first_line
from modelimage.hub_address import HUB, endpoint
from modelimage.hub_client import SentOnceError, answered, origin
from modelimage.patience import RETRIED_STATUSES, StalledError, TransientError, retry_after
from modelimage.reach import unreachable
from oci_model_serving.errors import OmsError
from oci_model_serving.foreign import in_line, without_login

_TOKENS_PAGE = f"{HUB}/settings/tokens"
_SAID_LIMIT = 300
_DISABLED = "Access to this resource is disabled"


@contextmanager
def hub_errors(doing: str) -> Iterator[None]:
    """Turn whatever goes wrong with the hub into an ImageError that begins with `doing`; TransientError may pass."""
    try:
        yield
    except OmsError:
        raise
    except (OSError, ValueError, KeyError, TypeError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _explained(error, doing) from error


def _explained(error: BaseException, doing: str) -> ImageError:
    for one in _chain(error):
        if isinstance(one, SentOnceError):
            found = unreachable(one, doing, one.host, answered_before=one.host in answered)
            stalled = isinstance(one.__cause__, httpx2.ReadTimeout | httpx2.WriteTimeout)
            return StalledError(str(found)) if stalled else found
        if isinstance(one, OfflineModeIsEnabled):
            return ImageError(f"{doing}: HF_HUB_OFFLINE is set and it is not in the cache: unset it, or give a folder")
        if isinstance(one, HfHubHTTPError) and one.response is not None:
            return _refused(one, one.response, doing)
    if isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.UnsupportedProtocol):
        host = httpx2.URL(endpoint()).host
        return unreachable(error, doing, host, answered_before=host in answered)
    return ImageError(f"{doing}: the hub's answer is none ({first_line(error)}): check HF_ENDPOINT")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _refused(error: HfHubHTTPError, response: httpx2.Response, doing: str) -> ImageError:
    """What a status means. The messages hold no address: those of content delivery networks are signed."""
    status, own = response.status_code, origin(response.url) == origin(httpx2.URL(endpoint()))
    login = response.request.headers.get("authorization", "")
    said = in_line(without_login(error.server_message, login), _SAID_LIMIT) if own and error.server_message else ""
    saying = f" ({said})" if said else ""
    if status in RETRIED_STATUSES:
        return TransientError(f"{doing}: the hub failed: {status}{saying}", retry_after=_pause(response))
    if not own and status in {401, 403}:
        return TransientError(f"{doing}: {response.url.host} answered {status}: the hub's signed address has expired")
    tokenless = "authorization" not in response.request.headers
    remedy = _of_model(error, response, saying, tokenless=tokenless) or _of_token(status, saying, tokenless=tokenless)
    return ImageError(f"{doing}: {remedy or f'the hub refused: {status}{saying}: check HF_TOKEN and HF_ENDPOINT'}")


def _pause(response: httpx2.Response) -> float | None:
    limit = parse_ratelimit_headers(response.headers)
    # The header is on every answer: it counts where nothing is left.
    return float(limit.reset_in_seconds) if limit and not limit.remaining else retry_after(response.headers)


def _of_model(error: HfHubHTTPError, response: httpx2.Response, saying: str, *, tokenless: bool) -> str:
    """What the hub's own error code says of the model; empty where it says nothing."""
    if isinstance(error, GatedRepoError):
        page = f"{HUB}/{error.repo_id}" if error.repo_id else "its page"
        if tokenless or response.status_code == httpx2.codes.UNAUTHORIZED:
            return (
                f"the model is gated: accept its terms at {page}, and give a token of that account ({_TOKENS_PAGE}) as "
                f"HF_TOKEN, in a stack as hubToken"
            )
        return (
            f"the model is gated, and the token's account may not read it{saying}: accept its terms at {page} with "
            f"that account and wait until they are granted; a fine-grained token also needs the permission to read "
            f"public gated repositories ({_TOKENS_PAGE})"
        )
    if isinstance(error, RepositoryNotFoundError):
        whose = "your token (in a stack hubToken)" if tokenless else "the token of an account that sees it"
        return f"no such model, or it is private: check the name, or set HF_TOKEN to {whose}"
    if isinstance(error, RevisionNotFoundError):
        return "there is no such commit: take it from the repository's history page"
    if isinstance(error, RemoteEntryNotFoundError):
        return "the hub lists the file and does not have it: check HF_ENDPOINT, or take another commit"
    return ""


def _of_token(status: int, saying: str, *, tokenless: bool) -> str:
    """What 401 and 403 mean where the hub gives no code of its own; empty for other statuses."""
    if status == httpx2.codes.UNAUTHORIZED:
        if tokenless:
            return f"the hub wants a token{saying}: set HF_TOKEN to your token (in a stack hubToken)"
        return f"the hub does not know this token{saying}: set HF_TOKEN to a valid one ({_TOKENS_PAGE}), or unset it"
    if status == httpx2.codes.FORBIDDEN and _DISABLED not in saying:
        return f"the token may not read it{saying}: give it the permission ({_TOKENS_PAGE}), or set HF_TOKEN anew"
    return ""
