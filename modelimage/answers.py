"""How much of an answer is held in memory: who answers says anything, and as much of it as it likes."""

import zlib

import httpx

ERROR_LIMIT_BYTES = 64 << 10
ENCODINGS = "gzip"
"""What requests take (`Accept-Encoding`). httpx inflates each chunk whole, a thousandfold for each coding that is said;
here it is done up to a limit."""
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def held(response: httpx.Response, limit: int) -> httpx.Response:
    """The answer with up to `limit` bytes of its body in memory; what is beyond is neither read nor inflated."""
    content = bytearray()
    compressed = response.headers.get("content-encoding", "").strip().lower() == ENCODINGS
    inflating = zlib.decompressobj(_GZIP_WINDOW)
    for chunk in response.iter_raw():
        room = limit - len(content)
        try:
            content += inflating.decompress(chunk, room) if compressed else chunk[:room]
        except zlib.error as error:
            raise httpx.DecodingError(str(error), request=response.request) from error
        if len(content) >= limit:
            break
    headers = [(name, value) for name, value in response.headers.multi_items() if name != "content-encoding"]
    return httpx.Response(
        response.status_code,
        headers=headers,
        content=bytes(content),
        request=response.request,
        extensions=response.extensions,
    )
