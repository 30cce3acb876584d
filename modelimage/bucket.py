"""A prefix of a Google Cloud Storage bucket as a source: its objects pass through memory, never onto a disk.

Each object is pinned to the generation that was listed, so that an upload in the meantime cannot mix into the image,
and its CRC-32C is verified while it streams. Authorisation is Google application default credentials;
`STORAGE_EMULATOR_HOST` points to an emulator.
"""

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google_crc32c
import requests
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, RetryError, Unauthorized
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud import storage

from modelimage import weights
from modelimage.cache import source_key
from modelimage.errors import ImageError, first_line
from modelimage.fetching import fetched
from modelimage.patience import Patience, TransientError
from modelimage.progress import Reporter
from modelimage.reach import root_cause, unreachable
from modelimage.rules import accepted
from modelimage.source import CHUNK_BYTES, Selection, Source, SourceFile
from modelimage.streams import BodyPart, Expected
from oci_model_serving.errors import InputError

# Neither library has types; seen as Any, their calls are checked by the tests alone.
_storage: Any = storage
_crc32c: Any = google_crc32c

_ADDRESS = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(?P<prefix>.*))?")
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_PAGES_LIMIT = 500  # of a thousand objects each
_OBJECTS_LIMIT = 100_000
_REQUEST_BYTES = 8 << 20  # one ranged request: few enough of them, and a few MB of memory for each layer under way


def parse(uri: str) -> tuple[str, str]:
    """The bucket and the prefix (empty, or ending in `/`) that `gs://bucket/prefix` names.

    Raises:
        InputError: it is malformed.
    """
    match = _ADDRESS.fullmatch(uri)
    if not match:
        raise InputError(f"{uri!r}: write gs://bucket/prefix")
    prefix = (match["prefix"] or "").strip("/")
    return match["bucket"], f"{prefix}/" if prefix else ""


def open_source(uri: str, selection: Selection, patience: Patience) -> Source:
    """List the objects below a prefix, each at its present generation."""
    bucket_name, prefix = parse(uri)
    with _storage_errors(f"listing {uri}"):
        # Reading needs no project of one's own, and credentials of a person often name none.
        client = _storage.Client(project=None)

    def listing() -> list[Any]:
        found: list[Any] = []
        with _storage_errors(f"listing {uri}"):
            for number, page in enumerate(client.list_blobs(bucket_name, prefix=prefix, retry=None).pages):
                found += page
                if number >= _PAGES_LIMIT or len(found) > _OBJECTS_LIMIT:
                    raise ImageError(f"listing {uri}: it has no end after {len(found)} objects: name a folder below it")
        if not all(isinstance(blob.name, str) and isinstance(blob.size, int) and blob.size >= 0 for blob in found):
            raise ImageError(f"listing {uri}: an object has no name or no size: does Google Cloud Storage answer?")
        return found

    blobs = patience.retrying()(listing)
    objects = {blob.name.removeprefix(prefix): blob for blob in blobs if not blob.name.endswith("/")}
    chosen = sorted(path for path in objects if selection.takes(path))
    files = tuple(_source_file(client, bucket_name, path, objects[path], patience) for path in chosen)
    annotations = {"org.opencontainers.image.source": f"gs://{bucket_name}/{prefix}"}
    return accepted(Source(uri, files, annotations), objects, selection)


def local_folder(uri: str, selection: Selection, patience: Patience, reporter: Reporter, cache: Path) -> Path:
    """Fetch the objects into a folder below `cache`, each where it is not there yet, and return that folder."""
    return fetched(open_source(uri, selection, patience).files, cache / "sources" / source_key(uri), reporter)


def _source_file(client: Any, bucket: str, path: str, blob: Any, patience: Patience) -> SourceFile:
    size = int(blob.size)
    # The bucket's generations never come twice: name and generation are the content.
    identity = f"gs:{bucket}/{blob.name}#{blob.generation}"

    def pinned() -> Any:
        # A new one for each request: the client overwrites a blob's generation with what an answer's headers say.
        return client.bucket(bucket).blob(blob.name, generation=blob.generation)

    doing = f"reading gs://{bucket}/{blob.name}"

    def read_range(start: int, end: int) -> Iterator[bytes]:
        chunks = _read(pinned, start, end, doing, patience)
        return weights.checked(path, size, chunks) if (start, end) == (0, size) else chunks

    def checksum() -> Expected:
        listed = str(blob.crc32c)
        otherwise = f"{doing}: what came does not have the object's CRC-32C ({listed}): run again"
        return Expected(_crc32c.Checksum(), lambda digest: base64.b64encode(digest).decode() == listed, otherwise)

    return SourceFile(path, size, identity, read_range, checksum=checksum)


def _read(pinned: Callable[[], Any], start: int, end: int, doing: str, patience: Patience) -> Iterator[bytes]:
    for first in range(start, end, _REQUEST_BYTES):
        last = min(first + _REQUEST_BYTES, end)
        content = patience.retrying()(lambda first=first, last=last: _range(pinned(), first, last, doing))
        for begin in range(0, len(content), CHUNK_BYTES):
            yield content[begin : begin + CHUNK_BYTES]


def _range(blob: Any, start: int, end: int, doing: str) -> bytes:
    with _storage_errors(doing):
        # Raw: the bytes as they are stored, which is what size and checksum are of. The whole object's checksum
        # is verified by the caller, since the server has none for a range. The library would repeat for two minutes
        # within each of our own attempts.
        into = BodyPart(end - start, doing)
        blob.download_to_file(into, start=start, end=end - 1, raw_download=True, checksum=None, retry=None)
    content = into.getvalue()
    if len(content) != end - start:
        raise TransientError(f"{doing}: {len(content)} bytes came where {end - start} were asked for")
    return content


@contextmanager
def _storage_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except (GoogleAPICallError, GoogleAuthError, RetryError, OSError) as error:
        if isinstance(error, requests.ConnectionError | TransportError) and isinstance(root_cause(error), OSError):
            raise unreachable(error, doing, _host(error)) from error
        raise _explained(error, doing) from error


def _explained(error: Exception, doing: str) -> ImageError:
    if isinstance(error, NotFound):
        return ImageError(f"{doing}: no such bucket or object, or it was replaced meanwhile: check the name, run again")
    if isinstance(error, Forbidden | Unauthorized):
        return ImageError(f"{doing}: not allowed: the account needs roles/storage.objectViewer on the bucket")
    if isinstance(error, DefaultCredentialsError):
        return ImageError(f"{doing}: no Google credentials: run `gcloud auth application-default login`")
    if isinstance(error, GoogleAuthError):
        return ImageError(f"{doing}: Google's credentials gave no token: log in again, or check the service account")
    text = first_line(error)
    if isinstance(error, requests.RequestException | RetryError) or getattr(error, "code", 0) in _RETRIED:
        return TransientError(f"{doing}: Google Cloud Storage failed: {text}")
    return ImageError(f"{doing}: Google Cloud Storage refused: {text}")


def _host(error: BaseException) -> str:
    """The host that a failed request was for, as the error or the one that it came from tells."""
    one: BaseException | None = error
    while one is not None:
        url = getattr(getattr(one, "request", None), "url", None)
        if url:
            return urlsplit(str(url)).hostname or str(url)
        one = one.__cause__ or one.__context__
    return "Google"
