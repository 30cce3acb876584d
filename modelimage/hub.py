"""A commit on the Hugging Face Hub as a source: its files pass through memory and never land on a disk.

How the hub is asked is `hub_client`'s. What it says of each file is verified while it streams: the SHA-256 of an LFS
file, the git blob hash of any other.
"""

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import httpx2
import huggingface_hub
from huggingface_hub.errors import HFValidationError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import (  # type: ignore[attr-defined] # documented; only not marked as exported
    build_hf_headers,
    validate_repo_id,
)

from modelimage import hub_address, hub_client, remedies, weights
from modelimage.answers import moving
from modelimage.cache import read_entry, source_key, write_entry
from modelimage.errors import ImageError, first_line
from modelimage.hub_refusals import hub_errors
from modelimage.patience import Patience
from modelimage.progress import Reporter
from modelimage.rules import accepted
from modelimage.source import CHUNK_BYTES, Selection, Source, SourceFile
from modelimage.streams import Expected, at_most, resumed, without_start
from oci_model_serving.errors import InputError


def parse(uri: str) -> tuple[str, str]:
    """The repository and the commit that `hf://org/name@<commit>` names.

    Raises:
        InputError: it is malformed, or names a branch or tag, or nothing: the message has the commit to use when
            the hub tells it.
    """
    address = hub_address.read(uri)
    if address is not None:
        try:
            validate_repo_id(address.repository)
        except HFValidationError as error:
            what = f"{address.repository!r} is no name that the hub allows: {first_line(error)}"
            raise InputError(f"{uri!r}: {what}") from error
    try:
        pinned = hub_address.parse(uri)
    except InputError as error:
        commit = _commit_of(address) if address and not address.pinned else None
        if address is None or commit is None:
            raise
        raise InputError(f"{error}; it is at hf://{address.repository}@{commit} now") from error
    return pinned.repository, str(pinned.revision)


def _commit_of(address: hub_address.HubAddress) -> str | None:
    try:
        with hub_errors("looking up the commit"):
            sha = hub_client.model_card(address.repository, address.revision).get("sha")
    except (ImageError, InputError):
        return None  # looking it up is a courtesy
    return sha if isinstance(sha, str) else None


def open_source(uri: str, selection: Selection, patience: Patience) -> Source:
    """List a commit of a model repository."""
    repository, commit = parse(uri)

    def listing() -> list[RepoFile]:
        with hub_errors(f"listing hf://{repository}@{commit}"):
            return hub_client.files(repository, commit)

    entries = sorted(patience.retrying()(listing), key=lambda entry: entry.path)
    files = tuple(_source_file(repository, commit, entry, patience) for entry in entries if selection.takes(entry.path))
    return accepted(Source(uri, files, _annotations(repository, commit)), [entry.path for entry in entries], selection)


def _annotations(repository: str, commit: str) -> Mapping[str, str]:
    """Where the files are from: the public hub's page where it was asked itself.

    A mirror's files were compared with what the mirror lists, so nothing is claimed of the public hub: the image of
    a mirror has another digest than the hub's.
    """
    revision = {"org.opencontainers.image.revision": commit}
    if hub_address.endpoint() != hub_address.HUB:
        return revision
    return {"org.opencontainers.image.source": f"{hub_address.HUB}/{repository}", **revision}


def local_folder(uri: str, selection: Selection, patience: Patience, _: Reporter, cache: Path) -> Path:
    """Fetch a commit into huggingface_hub's cache, where that is needed, and return the snapshot's folder.

    What was fetched is remembered below `cache`, so that it is found whole without the hub.
    """
    repository, commit = parse(uri)
    remembered = cache / "fetched" / source_key(f"{uri} {selection}")
    if hub_address.is_offline():
        allow = read_entry(remembered).get("allow") or list(selection.allow)
    else:
        # What is refused is not fetched first, and what is left out not at all.
        allow = [remedies.pattern(file.path) for file in open_source(uri, selection, patience).files]

    def fetched() -> str:
        with hub_errors(f"fetching {uri}"):
            return huggingface_hub.snapshot_download(
                repository,
                revision=commit,
                allow_patterns=allow or None,
                ignore_patterns=list(selection.ignore) or None,
                endpoint=hub_address.endpoint(),
                library_name="oci-model-serving",
            )

    folder = Path(patience.retrying()(fetched))
    write_entry(remembered, {"allow": allow})
    return folder


def _source_file(repository: str, commit: str, entry: RepoFile, patience: Patience) -> SourceFile:
    doing = f"reading {entry.path} of hf://{repository}@{commit}"
    size = int(entry.size)
    if entry.lfs is not None:
        expected = entry.lfs.sha256
        # The content's own hash: the same shard in another commit or repository is the same layer.
        identity = f"sha256:{expected}"
    else:
        expected = entry.blob_id
        identity = f"git:{expected}"

    def checksum() -> Expected:
        # git names a file by the SHA-1 of a header and its content (git documentation, "Git Objects").
        git = partial(hashlib.sha1, b"blob %d\0" % size, usedforsecurity=False)
        otherwise = f"{doing}: what came is not what the hub lists (hash {expected}): run again"
        running = hashlib.sha256() if entry.lfs is not None else git()
        return Expected(running, lambda digest: digest.hex() == expected, otherwise)

    def read_range(start: int, end: int) -> Iterator[bytes]:
        if start == end:
            return iter(())  # no range of bytes says "none"
        url = huggingface_hub.hf_hub_url(repository, entry.path, revision=commit, endpoint=hub_address.endpoint())
        chunks = resumed(patience, end - start, doing, lambda done: _read_from(url, (start + done, end), size, doing))
        return weights.checked(entry.path, size, chunks) if (start, end) == (0, size) else chunks

    return SourceFile(entry.path, size, identity, read_range, checksum=checksum, published=True)


def _read_from(url: str, wanted: tuple[int, int], size: int, doing: str) -> Iterator[bytes]:
    start, end = wanted
    # A compressed answer would have another length than the file.
    headers = {**build_hf_headers(library_name="oci-model-serving"), "Accept-Encoding": "identity"}
    if wanted != (0, size):
        headers["Range"] = f"bytes={start}-{'' if end == size else end - 1}"
    with (
        hub_errors(doing),
        huggingface_hub.get_session().stream("GET", url, headers=headers, follow_redirects=True) as response,
    ):
        huggingface_hub.hf_raise_for_status(response)
        ranged = response.status_code != httpx2.codes.OK
        yield from at_most(end - start, without_start(moving(response, CHUNK_BYTES, doing), 0 if ranged else start))
