"""How much of an answer is held in memory, and how long one waits for it: who answers says anything, at any pace."""

import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Protocol

import httpx

from modelimage.patience import StalledError

ERROR_LIMIT_BYTES = 64 << 10
ENCODINGS = "gzip"
"""What requests take (`Accept-Encoding`). httpx inflates each chunk whole, a thousandfold for each coding that is said;
here it is done up to a limit."""
SILENCE_SECONDS = 60.0
"""How long an answer that has begun may move next to nothing."""
_LEAST_BYTES = 64 << 10
"""What moves in that time at least: a kilobyte a second."""
_SLOWEST_BYTES_PER_SECOND = 100_000
"""How fast what is held in memory comes at least, beyond the time above."""
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Answered(Protocol):
    """An answer whose body was not read: of httpx, or of huggingface_hub's httpx2."""

    @property
    def headers(self) -> Any:
        """Its headers, by names in lower case."""

    def iter_raw(self) -> Iterator[bytes]:
        """The body as it comes."""


def body_of(response: Answered, limit: int) -> bytes:
    """Up to `limit` bytes of a body; what is beyond is neither read nor inflated.

    Raises:
        TimeoutError: it comes too slowly.
        ValueError: it is not compressed as it says.
    """
    content = bytearray()
    compressed = str(response.headers.get("content-encoding", "")).strip().lower() == ENCODINGS
    inflating = zlib.decompressobj(_GZIP_WINDOW)
    end = time.monotonic() + SILENCE_SECONDS + limit / _SLOWEST_BYTES_PER_SECOND
    for chunk in response.iter_raw():
        room = limit - len(content)
        try:
            content += inflating.decompress(chunk, room) if compressed else chunk[:room]
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if len(content) >= limit:
            break
        if time.monotonic() > end:
            raise TimeoutError(f"{len(content)} bytes came, and no more within the time for {limit}")
    return bytes(content)


def held(response: httpx.Response, limit: int) -> httpx.Response:
    """The answer with up to `limit` bytes of its body in memory.

    Raises:
        httpx.ReadTimeout: it comes too slowly.
        httpx.DecodingError: it is not compressed as it says.
    """
    try:
        content = body_of(response, limit)
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error), request=response.request) from error
    except ValueError as error:
        raise httpx.DecodingError(str(error), request=response.request) from error
    # As bytes: what is no ASCII in them could not be encoded again.
    headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"content-encoding"]
    return httpx.Response(
        response.status_code,
        headers=headers,
        content=content,
        request=response.request,
        extensions=response.extensions,
    )


def moving(response: Answered, chunk_bytes: int, doing: str) -> Iterator[bytes]:
    """The body as it is stored, in chunks of `chunk_bytes`, while it gets on.

    What the reader does between two chunks is not the other side's time.

    Raises:
        StalledError: from the iteration, where next to nothing has come for a minute.
    """
    parts: list[bytes] = []
    gathered = 0
    waited, moved = 0.0, 0
    begun = time.monotonic()
    for part in response.iter_raw():
        now = time.monotonic()
        waited += now - begun
        moved += len(part)
        if waited >= SILENCE_SECONDS:
            if moved < _LEAST_BYTES:
                raise StalledError(f"{doing}: {moved} bytes came in {waited:.0f} s")
            waited, moved = 0.0, 0
        parts.append(part)
        gathered += len(part)
        if gathered >= chunk_bytes:
            whole = b"".join(parts)
            yield whole[:chunk_bytes]
            parts = [whole[chunk_bytes:]]
            gathered -= chunk_bytes
            now = time.monotonic()
        begun = now
    if rest := b"".join(parts):
        yield rest


class BoundedClient(httpx.Client):
    """A client that holds no more of an answer than `limit` bytes; one that is streamed is its reader's to bound.

    Raises:
        httpx.HTTPError: from each request; an answer that is longer is none, of a refusal its beginning is kept.
    """

    def __init__(self, limit: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.headers["Accept-Encoding"] = ENCODINGS
        self._limit = limit

    def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """Send a request (httpx' interface)."""
        response = super().send(request, stream=True, **options)
        if stream:
            return response
        with closing(response):
            if response.is_error:
                return held(response, ERROR_LIMIT_BYTES)
            found = held(response, self._limit + 1)
        if len(found.content) > self._limit:
            raise httpx.DecodingError(f"an answer of more than {self._limit} bytes is none", request=request)
        return found
