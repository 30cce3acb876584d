"""What Pulumi asks at plan time: has a source changed? The answer is of content: a copy elsewhere is no change.

A file that was not seen before is read once and its digest remembered (`cache`), for as long as it looks the same. It
is the file's own digest and not its layer's, though packing has to hash that once more: which files make a layer, and
what its archive looks like, may change without the source.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from modelimage.cache import LayerCache, default_folder
from modelimage.errors import ImageError
from modelimage.folder import FolderFile, walk
from modelimage.origins import Origin, origin_of
from modelimage.progress import readable
from modelimage.source import SourceFile
from oci_model_serving.errors import InputError

_ALWAYS_READ_BYTES = 1 << 20
"""Files up to this size are read each time: that costs as much as looking them up."""
_MOST_READERS = 8
_FIRST_WORD_SECONDS, _WORD_EVERY_SECONDS = 3.0, 15.0


def fingerprint(source: str, tell: Callable[[str], None] = lambda _: None, stop: threading.Event | None = None) -> str:
    """A hash (64 hex digits) that changes when the source does, without asking the network.

    A pinned address (`hf://…@<commit>`, `gs://…`) is hashed as it is written. For a folder it is every file's name,
    size and SHA-256. Where reading takes longer than a few seconds `tell` is called with how far it is, now and then;
    setting `stop` ends it early.

    Raises:
        InputError: the source is of no known kind, or the folder does not exist, cannot be read or is being written.
    """
    if origin_of(source) is not Origin.FOLDER:
        return hashlib.sha256(source.encode()).hexdigest()
    files = [file.source_file() for file in _files(source)]
    hashes = _Reading(source, files, tell, stop or threading.Event()).hashes()
    return _hashed([[file.path, file.size, one] for file, one in zip(files, hashes, strict=True)])


def former_fingerprint(source: str) -> str | None:
    """What `fingerprint` was for a folder up to version 0.1.0, by time stamps; None where it is what it is now.

    States hold it: a build whose state has this very hash is not to be run again.

    Raises:
        InputError: as for `fingerprint`, but files above 1 MiB are not read for it.
    """
    if origin_of(source) is not Origin.FOLDER:
        return None
    files = _files(source)
    if all(file.status.st_size <= _ALWAYS_READ_BYTES for file in files):
        return None
    described: list[list[str | int]] = []
    for file in files:
        size = file.status.st_size
        what = _content_hash(file.source_file()) if size <= _ALWAYS_READ_BYTES else file.status.st_mtime_ns
        described.append([file.path, size, what])
    return _hashed(described)


def _files(source: str) -> list[FolderFile]:
    found = walk(source)
    closed = [file.real for file in found.files if not os.access(file.real, os.R_OK)]
    if problems := [*found.unreadable, *(f"{path}: cannot be read: allow it for this user" for path in closed)]:
        raise InputError(*problems)
    return found.files


def _hashed(described: Sequence[Sequence[str | int]]) -> str:
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()


def _content_hash(file: SourceFile, passed: Callable[[int], None] = lambda _: None) -> str:
    found = hashlib.sha256()
    try:
        for chunk in file.read_range(0, file.size):
            found.update(chunk)
            passed(len(chunk))
    except ImageError as error:
        raise InputError(str(error)) from error
    return found.hexdigest()


class _Reading:
    """One reading of what is not remembered of a folder, several files at a time, each in pieces."""

    def __init__(
        self, source: str, files: Sequence[SourceFile], tell: Callable[[str], None], stop: threading.Event
    ) -> None:
        self._source, self._files, self._tell, self._stop = source, files, tell, stop
        self._cache = LayerCache(default_folder())
        self._known = {file.path: known for file in files if (known := self._remembered(file))}
        self._lock = threading.Lock()
        self._left_bytes = sum(file.size for file in files if file.path not in self._known)
        self._read_bytes = 0
        self._next_word = time.monotonic() + _FIRST_WORD_SECONDS

    def hashes(self) -> list[str]:
        """The SHA-256 of each file, as hex digits."""
        # The largest first, so that none is alone at the end.
        order = sorted((file for file in self._files if file.path not in self._known), key=lambda file: -file.size)
        with ThreadPoolExecutor(min(_MOST_READERS, os.cpu_count() or 1), thread_name_prefix="fingerprint") as pool:
            try:
                found = dict(zip((file.path for file in order), pool.map(self._read, order), strict=True))
            finally:
                self._stop.set()
        return [(self._known | found)[file.path] for file in self._files]

    def _remembered(self, file: SourceFile) -> str | None:
        digest = self._cache.digest_of_file(file) if file.size > _ALWAYS_READ_BYTES else None
        return digest and digest.removeprefix("sha256:")

    def _read(self, file: SourceFile) -> str:
        since = time.time()
        found = _content_hash(file, self._passed)
        if file.size > _ALWAYS_READ_BYTES:
            self._cache.remember_file(file, f"sha256:{found}", since)
        return found

    def _passed(self, count: int) -> None:
        if self._stop.is_set():
            raise InputError(f"{self._source}: the reading was given up")
        with self._lock:
            self._read_bytes += count
            now = time.monotonic()
            if now < self._next_word:
                return
            self._next_word = now + _WORD_EVERY_SECONDS
            said = f"{readable(self._read_bytes)} of {readable(self._left_bytes)}"
        self._tell(f"reading {self._source}, to see whether it has changed: {said}; what is read is remembered")
