"""A commit on the Hugging Face Hub as a source: its files pass through memory and never land on a disk.

Listing, addresses and authorisation (`HF_TOKEN`, `HF_ENDPOINT`, a stored login) are huggingface_hub's. What the
hub says of each file is verified while it streams: the SHA-256 of an LFS file, the git blob hash of any other.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from modelimage.errors import ImageError, first_line
from modelimage.patience import Patience, TransientError
from modelimage.progress import Reporter
from modelimage.rules import accepted
from modelimage.source import CHUNK_BYTES, Selection, Source, SourceFile
from modelimage.streams import resumed, without_start
from oci_model_serving.errors import InputError

_ADDRESS = re.compile(r"hf://(?P<repo>[A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(?P<revision>[^@]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# ValueError: an address (HF_ENDPOINT's) or an answer that is none.
_FAILURES = (OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL)
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


def parse(uri: str) -> tuple[str, str]:
    """The repository and the commit that `hf://org/name@<commit>` names.

    Raises:
        InputError: it is malformed, or names a branch or tag, or nothing: the message has the commit to use when
            the hub tells it.
    """
    match = _ADDRESS.fullmatch(uri)
    if not match:
        raise InputError(f"{uri!r}: write hf://org/name@<40-hex commit>")
    repository, revision = match["repo"], match["revision"]
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"{uri!r}: {repository!r} is no name that the hub allows: {first_line(error)}") from error
    if revision and _COMMIT.fullmatch(revision):
        return repository, revision
    what = f"{revision!r} is a branch, a tag or a short hash" if revision else "there is no commit"
    commit = _commit_of(repository, revision)
    remedy = f"it is at hf://{repository}@{commit} now" if commit else "take it from the repository's history page"
    raise InputError(
        f"{uri!r}: {what}, which may mean other weights tomorrow: write hf://{repository}@<40-hex commit>; {remedy}"
    )


def _api() -> huggingface_hub.HfApi:
    return huggingface_hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"), library_name="oci-model-serving")


def _commit_of(repository: str, revision: str | None) -> str | None:
    try:
        return _api().model_info(repository, revision=revision, timeout=10).sha
    except _FAILURES:
        return None  # looking it up is a courtesy


def open_source(uri: str, selection: Selection, patience: Patience) -> Source:
    """List a commit of a model repository."""
    repository, commit = parse(uri)

    def listing() -> list[RepoFile]:
        with _hub_errors(f"listing hf://{repository}@{commit}"):
            tree = _api().list_repo_tree(repository, revision=commit, recursive=True)
            return [entry for entry in tree if isinstance(entry, RepoFile)]

    entries = sorted(patience.retrying()(listing), key=lambda entry: entry.path)
    files = tuple(_source_file(repository, commit, entry, patience) for entry in entries if selection.takes(entry.path))
    annotations = {
        # The public name, not HF_ENDPOINT's: a mirror must not change the digest.
        "org.opencontainers.image.source": f"https://huggingface.co/{repository}",
        "org.opencontainers.image.revision": commit,
    }
    return accepted(Source(uri, files, annotations), [entry.path for entry in entries], selection)


def local_folder(uri: str, selection: Selection, *_: Patience | Reporter | Path) -> Path:
    """Fetch a commit into huggingface_hub's cache, where that is needed, and return the snapshot's folder."""
    repository, commit = parse(uri)
    with _hub_errors(f"fetching {uri}"):
        folder = huggingface_hub.snapshot_download(
            repository,
            revision=commit,
            allow_patterns=list(selection.allow) or None,
            ignore_patterns=list(selection.ignore) or None,
            endpoint=os.environ.get("HF_ENDPOINT"),
            library_name="oci-model-serving",
        )
    return Path(folder)


@contextmanager
def _hub_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise _explained(error, doing) from error


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
        return TransientError(f"{doing}: the hub failed: {status or type(error).__name__}: {first_line(error)}")
    return ImageError(f"{doing}: the hub refused: {first_line(error)}: check HF_TOKEN and HF_ENDPOINT")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def _source_file(repository: str, commit: str, entry: RepoFile, patience: Patience) -> SourceFile:
    doing = f"reading {entry.path} of hf://{repository}@{commit}"
    hashing: Callable[[], _Hash]
    if entry.lfs is not None:
        expected, hashing = entry.lfs.sha256, hashlib.sha256
        # The content's own hash: the same shard in another commit or repository is the same layer.
        identity = f"sha256:{expected}"
    else:
        # git names a file by the SHA-1 of a header and its content (git documentation, "Git Objects").
        expected = entry.blob_id
        hashing = partial(hashlib.sha1, b"blob %d\0" % entry.size, usedforsecurity=False)
        identity = f"git:{expected}"

    def read() -> Iterator[bytes]:
        url = huggingface_hub.hf_hub_url(
            repository, entry.path, revision=commit, endpoint=os.environ.get("HF_ENDPOINT")
        )
        digest = hashing()
        for chunk in resumed(patience, entry.size, doing, lambda start: _read_from(url, start, doing)):
            digest.update(chunk)
            yield chunk
        if digest.hexdigest() != expected:
            raise ImageError(f"{doing}: what came is not what the hub lists (hash {expected}): run again")

    return SourceFile(entry.path, entry.size, identity, lambda: weights.checked(entry.path, entry.size, read()))


def _read_from(url: str, start: int, doing: str) -> Iterator[bytes]:
    # A compressed answer would have another length than the file.
    headers = {**build_hf_headers(library_name="oci-model-serving"), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with (
        _hub_errors(doing),
        huggingface_hub.get_session().stream("GET", url, headers=headers, follow_redirects=True) as response,
    ):
        if response.is_error:
            response.read()
        huggingface_hub.hf_raise_for_status(response)
        ranged = response.status_code != httpx2.codes.OK
        yield from without_start(response.iter_raw(CHUNK_BYTES), 0 if ranged else start)
