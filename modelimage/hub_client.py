"""How the hub is asked: where a token may go, and what is tried again by whom.

huggingface_hub is given this client for all of its requests. By itself it repeats each request six times with waits
of its own and hands the token on to whatever host a `Link` header names (2.4.0, utils/_http.py and _pagination.py);
here a request is sent once, `Patience` alone repeats, and the token leaves for the endpoint's own host only.
"""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

import httpx2  # the HTTP library below huggingface_hub
import huggingface_hub
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # documented; only not exported

from modelimage.answers import ENCODINGS, body_of
from modelimage.errors import ImageError
from modelimage.hub_address import HUB, EndpointError, endpoint, is_offline
from modelimage.patience import RETRIED_STATUSES
from oci_model_serving.foreign import in_line, is_header, read_json
from oci_model_serving.reference import is_loopback

_TIMEOUT = httpx2.Timeout(connect=15, read=60, write=60, pool=None)
_REFUSAL_LIMIT_BYTES = 64 << 10
_ANSWER_LIMIT_BYTES = 8 << 20
"""A page of a listing has a thousand files, of half a kilobyte each."""
_PAGES_LIMIT = 200
_HASH = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})")
_FILES_LIMIT = 100_000
answered: set[str] = set()
"""Hosts that have answered in this run: their names are right, whatever a name server says later."""
_token: ContextVar[str | None] = ContextVar("hub token", default=None)


class SentOnceError(OfflineModeIsEnabled):
    """No answer came from `host`. huggingface_hub repeats none of this class, and then looks into its cache."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} was not reached")
        self.host = host


class _Client(httpx2.Client):
    """Sends each request once; what may pass comes out as an error that huggingface_hub hands on."""

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request.

        Raises:
            SentOnceError: no answer came.
            HfHubHTTPError: the hub is busy.
        """
        stream = options.pop("stream", False)
        try:
            response = super().send(request, stream=True, **options)
            answered.add(response.url.host)
            if response.is_error:
                response = _read(response, _REFUSAL_LIMIT_BYTES)
            elif not stream:
                response = _read(response, _ANSWER_LIMIT_BYTES)
        except httpx2.TransportError as error:
            if isinstance(error, httpx2.UnsupportedProtocol):
                raise
            raise SentOnceError(error.request.url.host) from error
        if response.status_code in RETRIED_STATUSES:
            huggingface_hub.hf_raise_for_status(response)
        return response


def _read(response: httpx2.Response, limit: int) -> httpx2.Response:
    """The answer with its body: of a refusal as much as `limit`, of another all, which may not be more."""
    with closing(response):
        if response.request.method == "HEAD":  # its Content-Length is the file's
            response.read()
            return response
        try:
            body = body_of(response, limit + 1)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(str(error), request=response.request) from error
    if len(body) > limit and not response.is_error:
        raise ValueError(f"an answer of more than {limit} bytes is none")
    headers = httpx2.Headers(response.headers)
    for name in ("content-encoding", "content-length", "transfer-encoding"):
        headers.pop(name, None)
    return httpx2.Response(response.status_code, headers=headers, content=body[:limit], request=response.request)


def _guard(request: httpx2.Request) -> None:
    """Look at each request before it leaves, those that redirects make included."""
    if is_offline():
        raise OfflineModeIsEnabled("HF_HUB_OFFLINE is set")
    if origin(request.url) != origin(httpx2.URL(endpoint())):
        request.headers.pop("Authorization", None)
    elif given := _token.get():
        request.headers["Authorization"] = f"Bearer {given}"
    if "Authorization" in request.headers and not is_header(request.headers["Authorization"]):
        # The HTTP library's own error would say the token.
        raise ImageError("the hub's token holds what no header can: set HF_TOKEN (in a stack hubToken) anew")
    if request.url.scheme != "https" and not is_loopback(request.url.netloc.decode()):
        if "Authorization" in request.headers:
            raise EndpointError(
                f"HF_ENDPOINT is {endpoint()}: a token is not sent without TLS: write its https:// address, or, where "
                f"it needs no token, unset HF_TOKEN and set HF_HUB_DISABLE_IMPLICIT_TOKEN=1"
            )
        if origin(request.url) != origin(httpx2.URL(endpoint())):
            raise ImageError(f"refused to follow the hub to {request.url.host} over plain http: check HF_ENDPOINT")


@contextmanager
def asking_with(token: str | None) -> Iterator[None]:
    """Ask the hub with this token in place of the environment's; None is no other one."""
    before = _token.set(token)
    try:
        yield
    finally:
        _token.reset(before)


def origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    """What must be alike for a token to be shared: scheme, host and port (RFC 6454)."""
    return url.scheme, url.host, url.port


def _made() -> httpx2.Client:
    # A proxy would look for loopback on its own machine.
    direct = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}
    hooks: dict[str, list[Any]] = {"request": [_guard]}
    headers = {"Accept-Encoding": ENCODINGS}
    return _Client(headers=headers, event_hooks=hooks, follow_redirects=True, timeout=_TIMEOUT, mounts=direct)


huggingface_hub.set_client_factory(_made)


def model_card(repository: str, revision: str | None = None) -> dict[str, Any]:
    """What the hub says of a model and one of its revisions (default: its main branch).

    `sha` is the commit; the card's metadata are in `cardData`.
    """
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    answer = _get(f"{endpoint()}/api/models/{repository}{at}")
    said = read_json(answer.content)
    if not isinstance(said, dict):
        raise ImageError("the hub's answer describes no model: check HF_ENDPOINT")
    return said


def files(repository: str, commit: str) -> list[RepoFile]:
    """All files of a commit, as the hub lists them page by page."""
    found: list[RepoFile] = []
    url: str | None = f"{endpoint()}/api/models/{repository}/tree/{commit}?recursive=true&expand=false"
    for _ in range(_PAGES_LIMIT):
        if url is None:
            return found
        answer = _get(url)
        found += [_file(entry) for entry in _entries(read_json(answer.content))]
        if len(found) > _FILES_LIMIT:
            break
        url = _next(answer)
    raise ImageError(f"the hub's listing of {repository} has no end after {len(found)} files: check HF_ENDPOINT")


def _entries(page: Any) -> list[dict[str, Any]]:
    if not isinstance(page, list) or not all(isinstance(entry, dict) for entry in page):
        raise ValueError("it lists no files")
    return [entry for entry in page if entry.get("type") == "file"]


def _file(entry: dict[str, Any]) -> RepoFile:
    """A file that is listed: by its path, its size and its hash alone, all of which are looked at."""
    path, size, known = entry.get("path"), entry.get("size"), entry.get("oid")
    lfs = entry.get("lfs")
    if not isinstance(path, str) or not _is_size(size):
        raise ValueError(f"it lists {in_line(repr(path))} with the size {in_line(repr(size))}")
    if not isinstance(known, str) or not _HASH.fullmatch(known):
        raise ValueError(f"it lists {in_line(repr(path))} with no hash")
    if lfs is None:
        return RepoFile(path=path, size=size, oid=known)  # type: ignore[no-untyped-call]
    if not isinstance(lfs, dict) or not _is_size(lfs.get("size")) or not _HASH.fullmatch(str(lfs.get("oid"))):
        raise ValueError(f"it lists {in_line(repr(path))} with no hash")
    large = {"size": lfs["size"], "oid": lfs["oid"], "pointerSize": lfs.get("pointerSize")}
    return RepoFile(path=path, size=size, oid=known, lfs=large)  # type: ignore[no-untyped-call]


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _next(answer: httpx2.Response) -> str | None:
    link = answer.links.get("next", {}).get("url")
    if not link:
        return None
    here = endpoint()
    # A mirror may hand on the public hub's own links.
    if here != HUB and link.startswith(f"{HUB}/"):
        link = here + link.removeprefix(HUB)
    target = answer.url.join(link)
    if origin(target) != origin(httpx2.URL(here)):
        raise ImageError(f"the hub's listing goes on at {target.host}, which is not its own host: check HF_ENDPOINT")
    return str(target)


def _get(url: str) -> httpx2.Response:
    answer = huggingface_hub.get_session().get(url, headers=build_hf_headers(library_name="oci-model-serving"))
    huggingface_hub.hf_raise_for_status(answer)
    return answer
