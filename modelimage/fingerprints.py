"""What Pulumi asks at plan time: has a source changed, and how large is it? Neither reads weights."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from modelimage.errors import BadInputError

_BY_CONTENT_BYTES = 1 << 20
"""Files up to this size are compared by content, so that a fresh checkout of the same model changes nothing."""


def fingerprint(source: str) -> str:
    """Return a hash (64 hex digits) that changes when the source does, without reading weights or the network.

    A pinned address (``hf://…@<commit>``, ``gs://…``) is hashed as it is written. For a folder it is every file's
    name and size with, up to 1 MiB, its content and, above, its modification time in nanoseconds.

    Raises:
        BadInputError: the folder does not exist or cannot be read.
    """
    if "://" in source:
        return hashlib.sha256(source.encode()).hexdigest()
    described: list[list[str | int]] = []
    for path, file in _files(source):
        status = file.stat()
        if status.st_size <= _BY_CONTENT_BYTES:
            described.append([path, status.st_size, hashlib.sha256(_content(file)).hexdigest()])
        else:
            described.append([path, status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def folder_size_bytes(path: str | Path) -> int:
    """Return the size in bytes of what would be packed from a folder: what its image will be at least.

    Raises:
        BadInputError: the folder does not exist or cannot be read.
    """
    return sum(file.stat().st_size for _, file in _files(str(path)))


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInputError(f"{file}: cannot be read: {error.strerror}: allow it for this user") from error


def _files(source: str) -> list[tuple[str, Path]]:
    root = Path(source)
    try:
        what = "" if root.is_dir() else "no such folder"
    except OSError as error:
        what = str(error.strerror)
    if what:
        raise BadInputError(f"{source}: {what}: give the folder that holds the model's config.json and weights")
    found: list[tuple[str, Path]] = []

    def refuse(error: OSError) -> None:
        raise BadInputError(f"{error.filename}: cannot be read: {error.strerror}: allow it for this user") from error

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(folder) / name
            if not name.startswith(".") and file.is_file():
                found.append((file.relative_to(root).as_posix(), file))
    return sorted(found)
