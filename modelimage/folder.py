"""A local folder as a source: every file is opened once before anything is packed, and watched while it is read."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelimage import remedies, weights
from modelimage.errors import ImageError
from modelimage.rules import accepted
from modelimage.source import CHUNK_BYTES, Selection, Source, SourceFile
from oci_model_serving.errors import InputError

if TYPE_CHECKING:
    from modelimage.patience import Patience
    from modelimage.progress import Reporter


_DOWNLOADS = ".cache/huggingface/download"


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
        changed = [problem for file in watched if (problem := file.changed(_stat_or_none(file.real)))]
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


def _stat_or_none(path: Path) -> os.stat_result | None:
    try:
        return path.stat(follow_symlinks=False)
    except OSError:
        return None


@dataclass(frozen=True)
class FolderFile:
    """A file that was found: its path below the folder, its real path, and what it looked like then."""

    path: str
    real: Path
    status: os.stat_result

    def changed(self, now: os.stat_result | None) -> str | None:
        """What to tell when the file is no longer the one that was found."""
        was = self.status
        if now is None:
            return f"{self.real}: removed while it was being packed: run again when nothing writes to the folder"
        if all(getattr(now, name) == getattr(was, name) for name in ("st_dev", "st_ino", "st_size", "st_mtime_ns")):
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
        return SourceFile(self.path, was.st_size, identity, self._read, changed_at, self.real)

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        try:
            descriptor = os.open(self.real, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f"{self.real}: cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            self._expect(os.fstat(descriptor))
            file.seek(start)
            left = end - start
            while left:
                try:
                    data = file.read(min(CHUNK_BYTES, left))
                except OSError as error:
                    raise ImageError(f"{self.real}: reading failed: {error.strerror}") from error
                if not data:
                    break
                left -= len(data)
                yield data
            self._expect(os.fstat(descriptor))
            if left:
                raise ImageError(f"{self.real}: ended {left} bytes early while it was being packed: run again")

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


def walk(uri: str) -> Walk:
    """Go through a folder: packing and fingerprints see the same files.

    A symbolic link to a file inside the folder is that file. A snapshot of huggingface_hub's cache
    (`models--…/snapshots/<commit>`) may also link into its own `blobs` folder, which is how that cache is built.
    """
    root, found = parse(uri), Walk()
    inside = [Path(os.path.realpath(root))]
    if inside[0].parent.name == "snapshots" and inside[0].parent.parent.name.startswith("models--"):
        inside.append(inside[0].parent.parent / "blobs")

    def visit(folder: Path) -> None:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            found.unreadable.append(f"{folder}: cannot be read: {error.strerror}: allow it for this user")
            return
        for entry in entries:
            where = Path(entry.path)
            path = where.relative_to(root).as_posix()
            if entry.name.startswith("."):
                found.hidden.append(path)
            elif entry.is_dir(follow_symlinks=False):
                visit(where)
            else:
                real = Path(os.path.realpath(where))
                status = _stat_or_none(real)
                leaves = entry.is_symlink() and not any(real.is_relative_to(allowed) for allowed in inside)
                if why := _no_file(where, path, status, leaves=leaves):
                    found.refused[path] = f"{where}: {why}"
                elif status:
                    found.files.append(FolderFile(path, real, status))

    visit(root)
    found.files.sort(key=lambda file: file.path)
    return found


def _no_file(where: Path, path: str, status: os.stat_result | None, *, leaves: bool) -> str:
    """Why an entry is no file to pack, with the remedy; empty for one that is."""
    without = f"or {remedies.leave_out(path)}"
    if where.is_symlink() and (leaves or status is None):
        what = "points nowhere" if status is None else "leaves the folder"
        return f"the link {what} ({where.readlink()}): put the file itself there, {without}"
    if status is None:
        return "removed while the folder was listed: run again"
    if stat.S_ISDIR(status.st_mode):
        return f"a link to a folder: put the folder itself there, {without}"
    return "" if stat.S_ISREG(status.st_mode) else f"not a regular file: remove it, {without}"
