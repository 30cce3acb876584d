"""What Pulumi asks at plan time: has a source changed? No weights are read for the answer."""

import hashlib
import json
from pathlib import Path

from modelimage.folder import walk
from modelimage.origins import Origin, origin_of
from oci_model_serving.errors import InputError

_BY_CONTENT_BYTES = 1 << 20
"""Files up to this size are compared by content, so that a fresh checkout of the same model changes nothing."""


def fingerprint(source: str) -> str:
    """A hash (64 hex digits) that changes when the source does, without reading weights or the network.

    A pinned address (`hf://…@<commit>`, `gs://…`) is hashed as it is written. For a folder it is every file's
    name and size with, up to 1 MiB, its content and, above, its modification time in nanoseconds.

    Raises:
        InputError: the source is of no known kind, or the folder does not exist or cannot be read.
    """
    if origin_of(source) is not Origin.FOLDER:
        return hashlib.sha256(source.encode()).hexdigest()
    found = walk(source)
    if found.unreadable:
        raise InputError(*found.unreadable)
    described: list[list[str | int]] = []
    for file in found.files:
        size = file.status.st_size
        what = _content_hash(file.real) if size <= _BY_CONTENT_BYTES else file.status.st_mtime_ns
        described.append([file.path, size, what])
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _content_hash(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}: allow it for this user") from error
