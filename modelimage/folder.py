"""A local folder as a source: every file is opened once before anything is packed, and watched while it is read."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from modelimage import remedies, weights
from modelimage.errors import ImageError
from modelimage.rules import accepted
from modelimage.source import CHUNK_BYTES, Selection, Source, SourceFile
from oci_model_serving.errors import InputError

if TYPE_CHECKING:
    from modelimage.patience import Patience
    from modelimage.progress import Reporter


_DOWNLOADS = ".cache/huggingface/download"
_NAME = attrgetter("name")


def parse(uri: str) -> Path:
    """The folder that the text names; InputError where there is none."""
    root = Path(uri)
    try:
        what = "" if root.is_dir() else "it is not a folder" if root.exists() else "no such folder"
    except OSError as error:
        what = str(error.strerror)
    if what:
        raise InputError(f"{uri}: {what}: give the folder that holds the model's config.json and weights")
    return root


def open_source(uri: str, selection: Selection, _: "Patience") -> Source:
    """List a local folder, as `walk` finds it."""
    found = walk(uri)
    chosen = [file for file in found.files if selection.takes(file.path)]
    notes = []
    if found.hidden:
        notes.append(f"hidden files are left out: {', '.join(sorted(found.hidden))}")
    if not any(weights.is_weights(file.path) for file in chosen):
        notes.append(f"{uri} holds no weights (*.safetensors, *.gguf …): is it the right folder?")

    problems = [*found.unreadable, *(what for path, what in found.refused.items() if selection.takes(path))]
    problems += _unfinished(Path(uri), selection)
    listed = accepted(
        Source(uri, tuple(file.source_file() for file in chosen), notes=tuple(notes)),
        [*found.refused, *(file.path for file in found.files)],
        selection,
        problems,
    )
    packed = {file.path for file in listed.files}

    def verify() -> None:
        watched = (file for file in chosen if file.path in packed)
        changed = [problem for file in watched if (problem := file.changed(file.now()))]
        if changed:
            raise ImageError("\n".join(changed))

    return replace(listed, verify=verify)


def _unfinished(root: Path, selection: Selection) -> list[str]:
    """Downloads that huggingface_hub notes below a folder it fetches to (`hf download --local-dir`) until they end."""
    paths = sorted(path.relative_to(root).as_posix() for path in root.glob(f"{_DOWNLOADS}/**/*.incomplete"))
    left = [path for path in paths if not selection.ignores(path)]
    if not left:
        return []
    return [
        f"{root}: a download into it is under way or broken off ({remedies.shown(left)}): run the download again, or "
        f"remove that file, or {remedies.leave_out(f'{_DOWNLOADS}/')}"
    ]


def local_folder(uri: str, *_: "Selection | Patience | Reporter | Path") -> Path:
    """The folder itself."""
    return Path(uri)


def _stat_or_none(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


class FolderFile(NamedTuple):
    """A file that was found: its path below the folder, its real path, and what it looked like then.

    A tuple, and its real path a text: a folder may hold tens of thousands of files.
    """

    path: str
    real: str
    status: os.stat_result

    def now(self) -> os.stat_result | None:
        """What it looks like now; None where it is gone."""
        return _stat_or_none(self.real)

    def changed(self, now: os.stat_result | None) -> str | None:
        """What to tell when the file is no longer the one that was found."""
        was = self.status
        if now is None:
            return f"{self.real}: removed while it was being packed: run again when nothing writes to the folder"
        same = now.st_mtime_ns == was.st_mtime_ns and now.st_size == was.st_size
        if same and now.st_ino == was.st_ino and now.st_dev == was.st_dev:
            return None
        return (
            f"{self.real}: changed while it was being packed ({was.st_size} bytes, then {now.st_size}): "
            f"run again when nothing writes to the folder"
        )

    def source_file(self) -> SourceFile:
        """The file for the packer."""
        was = self.status
        # The change time is in it as well: tools that keep the modification time (rsync -t, cp -p) still move it.
        identity = f"file:{self.real}:{was.st_dev}:{was.st_ino}:{was.st_size}:{was.st_mtime_ns}:{was.st_ctime_ns}"
        changed_at = max(was.st_mtime, was.st_ctime)
        return SourceFile.quickly(
            path=self.path,
            size=was.st_size,
            identity=identity,
            read_range=self._read,
            changed_at=changed_at,
            local=self.real,
        )

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        # What is read at once needs no generator: of small files there may be tens of thousands.
        return self._pieces(start, end) if end - start > CHUNK_BYTES else iter((self._piece(start, end),))

    def _pieces(self, start: int, end: int) -> Iterator[bytes]:
        descriptor = self._opened()
        try:
            self._expect(os.fstat(descriptor))
            while start < end:
                data = self._read_at(descriptor, start, min(end, start + CHUNK_BYTES))
                start += len(data)
                yield data
            self._expect(os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def _piece(self, start: int, end: int) -> bytes:
        descriptor = self._opened()
        try:
            data = b""
            while len(data) < end - start:
                data += self._read_at(descriptor, start + len(data), end)
            self._expect(os.fstat(descriptor))  # what is as it was found after the reading was so before it
            return data
        finally:
            os.close(descriptor)

    def _opened(self) -> int:
        try:
            return os.open(self.real, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f"{self.real}: cannot be read: {error.strerror}") from error

    def _read_at(self, descriptor: int, start: int, end: int) -> bytes:
        """Some of the bytes from `start` up to `end`."""
        try:
            data = os.pread(descriptor, end - start, start)
        except OSError as error:
            raise ImageError(f"{self.real}: reading failed: {error.strerror}") from error
        if not data:
            self._expect(os.fstat(descriptor))
            raise ImageError(f"{self.real}: ended {end - start} bytes early while it was being packed: run again")
        return data

    def _expect(self, now: os.stat_result) -> None:
        if problem := self.changed(now):
            raise ImageError(problem)


@dataclass
class Walk:
    """What a folder holds: files in order of their paths, and what is none, by its path, with the reason.

    `hidden` names (a leading dot) are not looked at; `unreadable` tells of folders that cannot be listed.
    """

    files: list[FolderFile] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def walk(uri: str, *, hidden: bool = False) -> Walk:
    """Go through a folder: packing and fingerprints see the same files. `hidden` names are taken where that is said.

    A symbolic link to a file inside the folder is that file. A snapshot of huggingface_hub's cache
    (`models--…/snapshots/<commit>`) may also link into its own `blobs` folder, which is how that cache is built.
    """
    root, found = parse(uri), Walk()
    top = os.path.realpath(root)
    inside, prefix = [Path(top)], os.path.join(top, "")  # noqa: PTH118 - a text that ends in one slash
    if inside[0].parent.name == "snapshots" and inside[0].parent.parent.name.startswith("models--"):
        inside.append(inside[0].parent.parent / "blobs")

    # Paths are put together as text: a folder may hold tens of thousands of files.
    def visit(folder: str, below: str) -> None:
        try:
            entries = sorted(os.scandir(folder), key=_NAME)
        except OSError as error:
            found.unreadable.append(f"{folder}: cannot be read: {error.strerror}: allow it for this user")
            return
        for entry in entries:
            name = entry.name
            path = below + name
            if name.startswith(".") and not hidden:
                found.hidden.append(path)
            elif entry.is_dir(follow_symlinks=False):
                visit(entry.path, f"{path}/")
            else:
                linked = entry.is_symlink()
                real = os.path.realpath(entry.path) if linked else prefix + path
                status = _stat_or_none(real)
                leaves = linked and not any(Path(real).is_relative_to(allowed) for allowed in inside)
                if status and stat.S_ISREG(status.st_mode) and not leaves:
                    found.files.append(FolderFile(path, real, status))
                else:
                    found.refused[path] = f"{entry.path}: {_no_file(Path(entry.path), path, status, leaves=leaves)}"

    visit(str(root), "")
    found.files.sort(key=lambda file: file.path)
    return found


def _no_file(where: Path, path: str, status: os.stat_result | None, *, leaves: bool) -> str:
    """Why an entry is no file to pack, with the remedy."""
    without = f"or {remedies.leave_out(path)}"
    if where.is_symlink() and (leaves or status is None):
        what = "points nowhere" if status is None else "leaves the folder"
        return f"the link {what} ({where.readlink()}): put the file itself there, {without}"
    if status is None:
        return "removed while the folder was listed: run again"
    if stat.S_ISDIR(status.st_mode):
        return f"a link to a folder: put the folder itself there, {without}"
    return f"not a regular file: remove it, {without}"
