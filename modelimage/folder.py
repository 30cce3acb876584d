"""A local folder as a source: every file is opened once before anything is packed, and watched while it is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from modelimage import weights
from modelimage.errors import BadInputError, ImageError
from modelimage.sources import CHUNK_BYTES, Selection, Source, SourceFile, check_names


def open_folder(uri: str, selection: Selection) -> Source:
    """List a local folder.

    A symbolic link to a file inside the folder is packed as that file. A snapshot of huggingface_hub's cache
    (``models--…/snapshots/<commit>``) may also link into its own ``blobs`` folder, which is how that cache is built.

    Raises:
        BadInputError: it is no folder, is empty, holds what cannot be read or packed, or a link leaves it.
    """
    root = Path(uri)
    try:
        what = "" if root.is_dir() else "it is not a folder" if root.exists() else "no such folder"
    except OSError as error:
        what = str(error.strerror)
    if what:
        raise BadInputError(f"{uri}: {what}: give the folder that holds the model's config.json and weights")
    walk = _Walk(root, selection)
    walk.visit(root)
    chosen = sorted(walk.chosen, key=lambda found: found.path)
    problems = walk.problems + check_names(uri, [found.path for found in chosen])
    files = tuple(found.source_file() for found in chosen)
    problems += _content_problems(chosen)
    if not problems:
        problems += weights.missing_shards(files, walk.listed)
    refused, notes = weights.pickle_findings([file.path for file in files], selection)
    problems += refused
    if problems:
        raise BadInputError(*problems)
    if walk.hidden:
        notes.append(f"hidden files are left out: {', '.join(sorted(walk.hidden))}")
    if not any(weights.is_weights(file.path) for file in files):
        notes.append(f"{uri} holds no weights (*.safetensors, *.gguf …): is it the right folder?")

    def verify() -> None:
        changed = [problem for found in chosen if (problem := found.changed(_stat_or_none(found.real)))]
        if changed:
            raise ImageError("\n".join(changed))

    return Source(uri, files, notes=tuple(notes), verify=verify)


def _stat_or_none(path: Path) -> os.stat_result | None:
    try:
        return path.stat(follow_symlinks=False)
    except OSError:
        return None


class _Found:
    """A file that was listed: its path in the image, its real path, and what it looked like then."""

    def __init__(self, path: str, real: Path, status: os.stat_result) -> None:
        self.path, self.real, self.status = path, real, status

    def changed(self, now: os.stat_result | None) -> str | None:
        """Return what to tell when the file is no longer the one that was listed."""
        was = self.status
        if now is None:
            return f"{self.real}: removed while it was being packed: run again when nothing writes to the folder"
        if (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) == (
            was.st_dev,
            was.st_ino,
            was.st_size,
            was.st_mtime_ns,
        ):
            return None
        return (
            f"{self.real}: changed while it was being packed ({was.st_size} bytes, then {now.st_size}): "
            f"run again when nothing writes to the folder"
        )

    def source_file(self) -> SourceFile:
        """Describe the file for the packer."""
        was = self.status
        # The change time is in it as well: tools that keep the modification time (rsync -t, cp -p) still move it.
        identity = f"file:{self.real}:{was.st_dev}:{was.st_ino}:{was.st_size}:{was.st_mtime_ns}:{was.st_ctime_ns}"
        changed_at = max(was.st_mtime, was.st_ctime)
        return SourceFile(self.path, was.st_size, identity, self._read, changed_at, self.real)

    def _read(self) -> Iterator[bytes]:
        try:
            descriptor = os.open(self.real, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f"{self.real}: cannot be read: {error.strerror}") from error
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            self._expect(os.fstat(descriptor))
            left = self.status.st_size
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


class _Walk:
    """Goes through a folder once and sorts what it finds into files to pack, hidden names and problems."""

    def __init__(self, root: Path, selection: Selection) -> None:
        self._root, self._selection = root, selection
        self._inside = [Path(os.path.realpath(root))]
        if self._inside[0].parent.name == "snapshots" and self._inside[0].parent.parent.name.startswith("models--"):
            self._inside.append(self._inside[0].parent.parent / "blobs")
        self.chosen: list[_Found] = []
        self.listed: list[str] = []
        self.hidden: set[str] = set()
        self.problems: list[str] = []

    def visit(self, folder: Path) -> None:
        """List ``folder`` and what lies below it."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(f"{folder}: cannot be read: {error.strerror}: allow it for this user")
            return
        for entry in entries:
            path = Path(entry.path).relative_to(self._root).as_posix()
            if entry.name.startswith("."):
                self.hidden.add(path)
            elif entry.is_dir(follow_symlinks=False):
                self.visit(Path(entry.path))
            else:
                self.listed.append(path)
                if self._selection.takes(path):
                    self._take(path, Path(entry.path), is_link=entry.is_symlink())

    def _take(self, path: str, where: Path, *, is_link: bool) -> None:
        real = Path(os.path.realpath(where))
        status = _stat_or_none(real)
        if is_link and (status is None or not any(real.is_relative_to(root) for root in self._inside)):
            what = "points nowhere" if status is None else "leaves the folder"
            self.problems.append(
                f"{where}: the link {what} ({where.readlink()}): put the file itself there, or leave it out with "
                f"--ignore {path!r}"
            )
        elif status is None:
            self.problems.append(f"{where}: removed while the folder was listed: run again")
        elif stat.S_ISDIR(status.st_mode):
            self.problems.append(
                f"{where}: a link to a folder: put the folder itself there, or leave it out with --ignore {path!r}"
            )
        elif not stat.S_ISREG(status.st_mode):
            self.problems.append(f"{where}: not a regular file: remove it, or leave it out with --ignore {path!r}")
        else:
            self.chosen.append(_Found(path, real, status))


def _content_problems(files: list[_Found]) -> list[str]:
    """Open every file, so that an unreadable one is told now and not after an hour; check safetensors headers."""
    problems: list[str] = []
    for found in files:
        try:
            with found.real.open("rb") as file:
                if not found.path.endswith(".safetensors"):
                    continue
                check = weights.HeaderCheck(str(found.real), found.status.st_size)
                check.feed(file.read(8))
                check.feed(file.read(check.needed - 8))
        except OSError as error:
            problems.append(f"{found.real}: cannot be read: {error.strerror}: allow it for this user")
        except BadInputError as error:
            problems.extend(error.problems)
    return problems
