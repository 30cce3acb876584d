"""A prefix of a Google Cloud Storage bucket as a source: its objects pass through memory, never onto a disk.

Each object is pinned to the generation that was listed, so that an upload in the meantime cannot mix into the image,
and its CRC-32C is verified while it streams. Authorisation is Google application default credentials;
``STORAGE_EMULATOR_HOST`` points to an emulator.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import google_crc32c
import requests
from google.api_core.exceptions import Forbidden, GoogleAPICallError, NotFound, RetryError, Unauthorized
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import storage

from modelimage import weights
from modelimage.errors import BadInputError, ImageError
from modelimage.patience import Patience, TransientError
from modelimage.sources import CHUNK_BYTES, Selection, Source, SourceFile, check_names

# Neither library has types; seen as Any, their calls are checked by the tests alone.
_storage: Any = storage
_crc32c: Any = google_crc32c

_ADDRESS = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(?P<prefix>.*))?")
_REQUEST_BYTES = 8 << 20  # one ranged request: few enough of them, and a few MB of memory for each layer under way


def parse_bucket(uri: str) -> tuple[str, str]:
    """Return the bucket and the prefix (empty, or ending in ``/``) that ``gs://bucket/prefix`` names.

    Raises:
        BadInputError: it is malformed.
    """
    match = _ADDRESS.fullmatch(uri)
    if not match:
        raise BadInputError(f"{uri!r}: write gs://bucket/prefix")
    prefix = (match["prefix"] or "").strip("/")
    return match["bucket"], f"{prefix}/" if prefix else ""


def open_bucket(uri: str, selection: Selection, patience: Patience) -> Source:
    """List the objects below a prefix, each at its present generation.

    Raises:
        BadInputError: the address is malformed, or what is there cannot be packed.
        ImageError: the bucket cannot be read.
    """
    bucket_name, prefix = parse_bucket(uri)
    doing = f"listing {uri}"
    try:
        # Reading needs no project of one's own, and credentials of a person often name none.
        client = _storage.Client(project=None)
        blobs = list(client.list_blobs(bucket_name, prefix=prefix))
    except (GoogleAPICallError, GoogleAuthError, RetryError, OSError) as error:
        raise _explained(error, doing) from error
    objects = {blob.name.removeprefix(prefix): blob for blob in blobs if not blob.name.endswith("/")}
    chosen = sorted(path for path in objects if selection.takes(path))
    files = tuple(_source_file(client, bucket_name, path, objects[path], patience) for path in chosen)
    problems = check_names(uri, chosen)
    if not problems:
        problems += weights.missing_shards(files, objects)
    refused, notes = weights.pickle_findings(chosen, selection)
    problems += refused
    if problems:
        raise BadInputError(*problems)
    annotations = {"org.opencontainers.image.source": f"gs://{bucket_name}/{prefix}"}
    return Source(uri, files, annotations, tuple(notes))


def _source_file(client: Any, bucket: str, path: str, blob: Any, patience: Patience) -> SourceFile:
    size = int(blob.size)
    # The bucket's generations never come twice: name and generation are the content.
    identity = f"gs:{bucket}/{blob.name}#{blob.generation}"

    def pinned() -> Any:
        # A new one for each request: the client overwrites a blob's generation with what an answer's headers say.
        return client.bucket(bucket).blob(blob.name, generation=blob.generation)

    read = partial(_read, pinned, f"gs://{bucket}/{blob.name}", size, str(blob.crc32c), patience)
    return SourceFile(path, size, identity, lambda: weights.checked(path, size, read()))


def _read(pinned: Callable[[], Any], name: str, size: int, expected: str, patience: Patience) -> Iterator[bytes]:
    doing = f"reading {name}"
    checksum = _crc32c.Checksum()
    done = 0
    while done < size:
        content = b""
        for attempt in patience.retrying():
            with attempt:
                content = _range(pinned(), done, min(done + _REQUEST_BYTES, size), doing)
        checksum.update(content)
        done += len(content)
        for start in range(0, len(content), CHUNK_BYTES):
            yield content[start : start + CHUNK_BYTES]
    if base64.b64encode(checksum.digest()).decode() != expected:
        raise ImageError(f"{doing}: what came does not have the object's CRC-32C ({expected}): run again")


def _range(blob: Any, start: int, end: int, doing: str) -> bytes:
    try:
        # Raw: the bytes as they are stored, which is what size and checksum are of. The whole object's checksum
        # is verified by the caller, since the server has none for a range.
        content: bytes = blob.download_as_bytes(start=start, end=end - 1, raw_download=True, checksum=None)
    except (GoogleAPICallError, GoogleAuthError, RetryError, OSError) as error:
        raise _explained(error, doing) from error
    if len(content) != end - start:
        raise TransientError(f"{doing}: {len(content)} bytes came where {end - start} were asked for")
    return content


def _explained(error: Exception, doing: str) -> ImageError:
    if isinstance(error, NotFound):
        return ImageError(f"{doing}: no such bucket or object, or it was replaced meanwhile: check the name, run again")
    if isinstance(error, Forbidden | Unauthorized):
        return ImageError(f"{doing}: not allowed: the account needs roles/storage.objectViewer on the bucket")
    if isinstance(error, DefaultCredentialsError):
        return ImageError(f"{doing}: no Google credentials: run `gcloud auth application-default login`")
    if isinstance(error, GoogleAuthError):
        return ImageError(f"{doing}: Google's credentials gave no token: log in again, or check the service account")
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, requests.RequestException | RetryError) or getattr(error, "code", 0) in {429, 500, 502, 503}:
        return TransientError(f"{doing}: Google Cloud Storage failed: {text}")
    return ImageError(f"{doing}: Google Cloud Storage refused: {text}")
