"""A commit on the Hugging Face Hub as a source: its files pass through memory and never land on a disk.

Listing, addresses and authorisation (``HF_TOKEN``, ``HF_ENDPOINT``, a stored login) are huggingface_hub's. What the
hub says of each file is verified while it streams: the SHA-256 of an LFS file, the git blob hash of any other.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import httpx2  # the HTTP library below huggingface_hub: its errors pass through
import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import (  # type: ignore[attr-defined] # documented; only not marked as exported
    build_hf_headers,
    validate_repo_id,
)

from modelimage import weights
from modelimage.errors import BadInputError, ImageError
from modelimage.patience import Patience, TransientError
from modelimage.sources import CHUNK_BYTES, Selection, Source, SourceFile, check_names

_ADDRESS = re.compile(r"hf://(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(?P<revision>[^@]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# ValueError: an address (HF_ENDPOINT's) or an answer that is none.
_FAILURES = (OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL)
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


def parse_hub(uri: str) -> tuple[str, str]:
    """Return the repository and the commit that ``hf://org/name@<commit>`` names.

    Raises:
        BadInputError: it is malformed, or names a branch or tag, or nothing: the message has the commit to use when
            the hub tells it.
    """
    match = _ADDRESS.fullmatch(uri)
    if not match:
        raise BadInputError(f"{uri!r}: write hf://org/name@<40-hex commit>")
    repository, revision = match["repo"], match["revision"]
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise BadInputError(f"{uri!r}: {repository!r} is no name that the hub allows: {_first_line(error)}") from error
    if revision and _COMMIT.fullmatch(revision):
        return repository, revision
    what = f"{revision!r} is a branch, a tag or a short hash" if revision else "there is no commit"
    commit = _commit_of(repository, revision)
    remedy = f"it is at hf://{repository}@{commit} now" if commit else "take it from the repository's history page"
    raise BadInputError(
        f"{uri!r}: {what}, which may mean other weights tomorrow: write hf://{repository}@<40-hex commit>; {remedy}"
    )


def _api() -> huggingface_hub.HfApi:
    return huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="oci-model-serving")


def _commit_of(repository: str, revision: str | None) -> str | None:
    try:
        return _api().model_info(repository, revision=revision, timeout=10).sha
    except _FAILURES:
        return None  # looking it up is a courtesy


def open_hub(uri: str, selection: Selection, patience: Patience) -> Source:
    """List a commit of a model repository.

    Raises:
        BadInputError: the address is not pinned, or what is there cannot be packed.
        ImageError: the hub cannot be reached or refuses.
    """
    repository, commit = parse_hub(uri)
    entries = _list(repository, commit, patience)
    listed = sorted(entry.path for entry in entries)
    chosen = sorted((entry for entry in entries if selection.takes(entry.path)), key=lambda entry: entry.path)
    files = tuple(_source_file(repository, commit, entry, patience) for entry in chosen)
    problems = check_names(uri, [file.path for file in files])
    if not problems:
        problems += weights.missing_shards(files, listed)
    refused, notes = weights.pickle_findings([file.path for file in files], selection)
    problems += refused
    if problems:
        raise BadInputError(*problems)
    annotations = {
        # The public name, not HF_ENDPOINT's: a mirror must not change the digest.
        "org.opencontainers.image.source": f"https://huggingface.co/{repository}",
        "org.opencontainers.image.revision": commit,
    }
    return Source(uri, files, annotations, tuple(notes))


def fetch_snapshot(uri: str, selection: Selection) -> Path:
    """Fetch a commit into huggingface_hub's cache, where that is needed, and return the snapshot's folder.

    Raises:
        BadInputError: the address is not pinned.
        ImageError: the hub cannot be reached or refuses, or the disk is full.
    """
    repository, commit = parse_hub(uri)
    try:
        folder = huggingface_hub.snapshot_download(
            repository,
            revision=commit,
            allow_patterns=list(selection.allow) or None,
            ignore_patterns=list(selection.ignore) or None,
            endpoint=os.environ.get("HF_ENDPOINT"),
            library_name="oci-model-serving",
        )
    except _FAILURES as error:
        raise _explained(error, f"fetching {uri}") from error
    return Path(folder)


def _list(repository: str, commit: str, patience: Patience) -> list[RepoFile]:
    doing = f"listing hf://{repository}@{commit}"
    entries: list[RepoFile] = []
    for attempt in patience.retrying():
        with attempt:
            try:
                tree = _api().list_repo_tree(repository, revision=commit, recursive=True)
                entries = [entry for entry in tree if isinstance(entry, RepoFile)]
            except _FAILURES as error:
                raise _explained(error, doing) from error
    return entries


def _explained(error: Exception, doing: str) -> ImageError:
    if isinstance(error, GatedRepoError):
        return ImageError(f"{doing}: the model is gated: accept its terms on its page, and set HF_TOKEN to your token")
    if isinstance(error, RevisionNotFoundError):
        return ImageError(f"{doing}: there is no such commit: take it from the repository's history page")
    if isinstance(error, RepositoryNotFoundError):
        return ImageError(f"{doing}: no such model, or it is private: check the name, or set HF_TOKEN to your token")
    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else 0
    passing = isinstance(error, httpx2.TransportError) and not isinstance(error, httpx2.UnsupportedProtocol)
    if status in _RETRIED or passing:
        return TransientError(f"{doing}: the hub failed: {status or type(error).__name__}: {_first_line(error)}")
    return ImageError(f"{doing}: the hub refused: {_first_line(error)}: check HF_TOKEN and HF_ENDPOINT")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def _source_file(repository: str, commit: str, entry: RepoFile, patience: Patience) -> SourceFile:
    hashing: Callable[[], _Hash]
    if entry.lfs is not None:
        expected, hashing = entry.lfs.sha256, _sha256
        # The content's own hash: the same shard in another commit or repository is the same layer.
        identity = f"sha256:{expected}"
    else:
        expected, hashing = entry.blob_id, partial(_git_blob_hash, entry.size)
        identity = f"git:{expected}"
    read = partial(_read, repository, commit, entry.path, entry.size, expected, hashing, patience)
    return SourceFile(entry.path, entry.size, identity, lambda: weights.checked(entry.path, entry.size, read()))


def _sha256() -> _Hash:
    return hashlib.sha256()


def _git_blob_hash(size: int) -> _Hash:
    # git names a file by the SHA-1 of a header and its content (git documentation, "Git Objects").
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def _read(  # noqa: PLR0917 - bound by `partial` at one place
    repository: str,
    commit: str,
    path: str,
    size: int,
    expected: str,
    hashing: Callable[[], _Hash],
    patience: Patience,
) -> Iterator[bytes]:
    doing = f"reading {path} of hf://{repository}@{commit}"
    endpoint = os.environ.get("HF_ENDPOINT")
    url = huggingface_hub.hf_hub_url(repository, path, revision=commit, endpoint=endpoint)
    digest, done = hashing(), 0
    for attempt in patience.retrying():
        with attempt:
            for chunk in _read_from(url, done, doing):
                done += len(chunk)
                digest.update(chunk)
                yield chunk
            if done < size:
                raise TransientError(f"{doing}: the answer ended after {done} of {size} bytes")
    if digest.hexdigest() != expected:
        raise ImageError(f"{doing}: what came is not what the hub lists (hash {expected}): run again")


def _read_from(url: str, start: int, doing: str) -> Iterator[bytes]:
    # A compressed answer would have another length than the file.
    headers = {**build_hf_headers(library_name="oci-model-serving"), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with huggingface_hub.get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.is_error:
                response.read()
            huggingface_hub.hf_raise_for_status(response)
            skip = start if start and response.status_code == httpx2.codes.OK else 0
            for chunk in response.iter_raw(CHUNK_BYTES):
                kept = chunk[skip:]
                skip -= len(chunk) - len(kept)
                if kept:
                    yield kept
    except _FAILURES as error:
        raise _explained(error, doing) from error
