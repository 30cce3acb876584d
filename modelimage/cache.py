"""What is remembered between runs: digests of layers and files, chunk lists, and where layers were pushed.

With it a second push of the same folder reads no weights, nor does a second plan. An entry is one small file, written
whole by rename, so that runs side by side and a killed run cannot harm it; the folder may be deleted at any time.
"""

import hashlib
import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oci_model_serving.errors import InputError
from oci_model_serving.private import private_folder
from oci_model_serving.reference import DIGEST

if TYPE_CHECKING:
    from modelimage.layers import Layer  # a plan, which remembers files alone, does without
    from modelimage.source import SourceFile

RACY_SECONDS = 2.0
"""A file changed this shortly before it was hashed is not remembered: a second change could leave the same time stamp
behind, for file systems count time in steps of up to two seconds (FAT; ext4: one kernel tick). git guards its index
in the same way (git documentation, "racy-git")."""

_REPOSITORIES_KEPT = 8


def default_folder() -> Path:
    """The cache's folder by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification has relative paths ignored.
    try:
        root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    except RuntimeError:
        root = Path(os.devnull)  # a user without a home folder, as in some containers: nothing is kept
    folder = root / "oci-model-serving"
    if folder.is_dir():
        with suppress(OSError, InputError):  # the cache of an earlier version was open to others
            private_folder(folder)
    return folder


class LayerCache:
    """Remembered layer digests below `folder`. A cache that cannot be read or written is as good as an empty one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._layers = folder / "layers"
        self._blobs = folder / "blobs"
        self._checked = folder / "checked"
        self._recognised = folder / "recognised-packed"  # `recognised` has what any image there has said
        self._files = folder / "files"
        self._lists = folder / "chunks"

    def digest_of(self, layer: "Layer") -> str | None:
        """The digest that this very layer had when it was last hashed, if that is remembered."""
        return _digest_in(self._layers / layer.key, layer.size)

    def remember(self, layer: "Layer", digest: str, hashed_since: float) -> None:
        """Keep `digest`, hashed from `hashed_since` on (seconds since the epoch), unless a file was too young."""
        if _is_racy(layer.changed_at, hashed_since):
            return
        write_entry(self._layers / layer.key, {"digest": digest, "size": layer.size, "title": layer.title})

    def list_of(self, digest: str, length: int) -> bytes:
        """The chunk list (`chunks`) of the blob of this digest, of so many bytes; empty where none is remembered."""
        entry = read_entry(self._lists / digest.removeprefix("sha256:"))
        said = entry.get("list")
        try:
            listed = bytes.fromhex(said) if isinstance(said, str) else b""
        except ValueError:
            return b""
        # It stands in an image that outlives this disk: what has changed on it is no list.
        whole = len(listed) == length and hashlib.sha256(listed).hexdigest() == entry.get("sha256")
        return listed if whole else b""

    def remember_list(self, digest: str, listed: bytes) -> None:
        """Keep the chunk list of the blob of this digest."""
        if self.list_of(digest, len(listed)) != listed:
            entry = {"list": listed.hex(), "sha256": hashlib.sha256(listed).hexdigest()}
            write_entry(self._lists / digest.removeprefix("sha256:"), entry)

    def forget(self, layer: "Layer") -> None:
        """Drop what is remembered of `layer`: it has proved wrong."""
        with suppress(OSError):
            (self._layers / layer.key).unlink()

    def recognised(self, layer: "Layer", place: str) -> str | None:
        """The digest that an image at `place` was seen to name for this very layer; it counts for no other place."""
        return _digest_in(self._recognised / source_key(f"{layer.key} {place}"), layer.size)

    def recognise(self, layer: "Layer", digest: str, place: str) -> None:
        """Keep that an image at `place` names `digest` for this very layer. Nobody has hashed it here."""
        write_entry(
            self._recognised / source_key(f"{layer.key} {place}"), {"digest": digest, "size": layer.size, "at": place}
        )

    def unrecognise(self, layer: "Layer", place: str) -> None:
        """Drop that: it has proved wrong."""
        with suppress(OSError):
            (self._recognised / source_key(f"{layer.key} {place}")).unlink()

    def digest_of_file(self, file: "SourceFile") -> str | None:
        """The digest that this very file's content had when it was last hashed, if that is remembered."""
        return _digest_in(self._files / source_key(file.identity), file.size)

    def remember_file(self, file: "SourceFile", digest: str, hashed_since: float) -> None:
        """Keep the digest of a file's content, as `remember` does for a layer."""
        if not _is_racy(file.changed_at, hashed_since):
            write_entry(self._files / source_key(file.identity), {"digest": digest, "size": file.size})

    def is_checked(self, identity: str) -> bool:
        """Tell whether all that is remembered of a file's parts comes from passes whose whole checksum was right."""
        return read_entry(self._checked / source_key(identity)).get("identity") == identity

    def checked(self, identity: str) -> None:
        """Keep that the checksum of the whole file was right in the passes that its parts were packed in."""
        write_entry(self._checked / source_key(identity), {"identity": identity})

    def unchecked(self, identity: str) -> None:
        """Drop that: a part is about to be remembered whose pass is not checked yet."""
        with suppress(OSError):
            (self._checked / source_key(identity)).unlink()

    def repositories_with(self, digest: str) -> list[str]:
        """The repositories (`HOST/REPO`) that were seen to hold the blob, the latest first."""
        repositories = read_entry(self._blobs / digest.removeprefix("sha256:")).get("repositories", [])
        return [name for name in repositories if isinstance(name, str)] if isinstance(repositories, list) else []

    def seen_in(self, repository: str, digest: str) -> None:
        """Keep that `repository` (`HOST/REPO`) holds the blob: another one on the host can mount it from there."""
        known = self.repositories_with(digest)
        if known[:1] == [repository]:
            return
        names = [repository, *(name for name in known if name != repository)][:_REPOSITORIES_KEPT]
        write_entry(self._blobs / digest.removeprefix("sha256:"), {"repositories": names, "at": int(time.time())})


def _is_racy(changed_at: float | None, hashed_since: float) -> bool:
    return changed_at is not None and changed_at > hashed_since - RACY_SECONDS


def _digest_in(path: Path, size: int) -> str | None:
    """The digest that an entry has for content of this size."""
    entry = read_entry(path)
    digest = entry.get("digest")
    known = entry.get("size") == size and isinstance(digest, str) and DIGEST.fullmatch(digest)
    return str(digest) if known else None


def source_key(text: str) -> str:
    """A file name for `text`, whatever characters it has."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_entry(path: Path) -> dict[str, Any]:
    """What is remembered in a file; empty where nothing is, or nothing that can be read."""
    try:
        entry = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return entry if isinstance(entry, dict) else {}


def write_entry(path: Path, entry: dict[str, Any]) -> None:
    """Remember something in a file, whole or not at all."""
    # Failing to remember costs time in the next run and nothing else.
    with suppress(OSError, InputError):
        if not path.parent.is_dir():
            if path.is_relative_to(folder := default_folder()):
                private_folder(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(entry, file)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
