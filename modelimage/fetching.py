"""A source's files on this machine's disk, for builders that need them there: each is fetched once."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from modelimage.errors import ImageError
from modelimage.progress import Reporter
from modelimage.source import SourceFile


def fetched(files: Iterable[SourceFile], root: Path, reporter: Reporter) -> Path:
    """Fetch files into `root`, each where its content is not there yet, remove what is no part of them; gives `root`.

    Raises:
        ImageError: reading or writing failed.
    """
    wanted: set[Path] = set()
    for file in files:
        path = root / file.path
        _fetch(file, path, reporter)
        wanted |= {path, _stamp(path)}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path not in wanted:
            path.unlink()  # what the source no longer has
    return root


def _stamp(path: Path) -> Path:
    """The hidden file that keeps which content was fetched to `path`."""
    return path.with_name(f".{path.name}.identity")


def _fetch(file: SourceFile, path: Path, reporter: Reporter) -> None:
    stamp = _stamp(path)
    # What cannot be read is not fetched yet, or not to its end.
    with suppress(OSError):
        if path.is_file() and stamp.read_text(encoding="utf-8") == file.identity:
            return
    partly = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        reporter.started(file.path, file.size)
        with partly.open("wb") as out:
            for chunk in file.read():
                out.write(chunk)
                reporter.advanced(file.path, len(chunk))
        partly.replace(path)
        stamp.write_text(file.identity, encoding="utf-8")
    except OSError as error:
        raise ImageError(f"{path}: fetching failed: {error.strerror}: make room, or give another --cache") from error
    finally:
        partly.unlink(missing_ok=True)
    reporter.finished(file.path, "fetched")
