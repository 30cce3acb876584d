"""What an image is made of: files with known sizes, wherever they lie, and the rules that every source follows.

A source is a folder, a commit on the Hugging Face Hub (``hf://org/name@<commit>``) or a prefix of a Google Cloud
Storage bucket (``gs://bucket/prefix``). The modules ``folder``, ``hub`` and ``bucket`` list them; this one holds the
shape that they share and the choice of files, so that the same files make the same image from any of them.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelimage.errors import BadInputError
from modelimage.patience import Patience

CHUNK_BYTES = 1 << 20
"""How much is read, hashed and sent at a time: large enough that system calls and thread switches cost nothing."""

RESERVED_NAMES = frozenset(
    {"bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "linuxrc", "media", "mnt", "model", "models", "opt"}
    | {"proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"}
)
"""Top-level names whose link at the image's root would hide a folder of the base or of the container runtime."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a model: ``path`` in POSIX form below the model's root and ``size`` in bytes.

    ``read`` starts a fresh pass over the content and yields exactly ``size`` bytes or raises ImageError. ``identity``
    changes whenever the content may have: it is what a remembered digest hangs on. ``changed_at`` is when the file
    was last changed (seconds since the epoch), for sources whose identity can lag behind a change; None for sources
    whose identity is the content's own. ``local`` is where the file lies, if it is on a disk.
    """

    path: str
    size: int
    identity: str
    read: Callable[[], Iterator[bytes]]
    changed_at: float | None = None
    local: Path | None = None


def _unchanged() -> None:
    """Accept a source that cannot change: a commit or an object's generation."""


@dataclass(frozen=True)
class Source:
    """A listed source: its files in order of their paths, its annotations, and what a person should be told.

    ``verify`` raises ImageError when the files are no longer those that were listed; it is asked last, before an
    image is given its name.
    """

    uri: str
    files: tuple[SourceFile, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    verify: Callable[[], None] = _unchanged


@dataclass(frozen=True)
class Selection:
    """Which of a source's files go into the image.

    ``allow`` and ``ignore`` are shell patterns on the path below the model's root (``*`` also matches ``/``, and a
    pattern that ends in ``/`` means all below it), as huggingface_hub's ``allow_patterns`` and ``ignore_patterns``.
    Files and folders whose name begins with a dot are left out in any case: they are a tool's notes (.git, .cache),
    and ``.wh.`` names would be read as deletions by container runtimes.
    """

    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def takes(self, path: str) -> bool:
        """Tell whether the file at ``path`` goes into the image."""
        if any(part.startswith(".") for part in path.split("/")):
            return False
        if self.allow and not any(_matches(path, pattern) for pattern in self.allow):
            return False
        return not any(_matches(path, pattern) for pattern in self.ignore)


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, f"{pattern}*" if pattern.endswith("/") else pattern)


def check_names(uri: str, paths: list[str]) -> list[str]:
    """Return what is wrong with the names of the files that were chosen: one problem each, empty if nothing."""
    if not paths:
        return [f"{uri}: no file to pack (hidden files do not count): give the folder that holds config.json"]
    problems = [
        f"{uri}: the top-level entry {name!r} would hide /{name} of the image: rename it, or leave it out with "
        f"--ignore '{name}' or --ignore '{name}/'"
        for name in sorted({path.split("/", 1)[0] for path in paths} & RESERVED_NAMES)
    ]
    problems += [f"{uri}: the file name {path!r} is not UTF-8: rename it" for path in paths if not _is_utf8(path)]
    # Buckets know no folders: their names may hold what no file's path can, or what leaves the folder it is put in.
    problems += [
        f"{uri}: the name {path!r} is no path below the model's root (an empty part or {'..'!r}): rename it, or leave "
        f"it out with --ignore {path!r}"
        for path in paths
        if not {"", ".", ".."}.isdisjoint(path.split("/"))
    ]
    folders = {path[:end] for path in paths for end, letter in enumerate(path) if letter == "/"}
    problems += [
        f"{uri}: {path!r} is a file and also the folder of others: rename it, or leave it out with --ignore {path!r}"
        for path in paths
        if path in folders
    ]
    return problems


def _is_utf8(path: str) -> bool:
    # Names that the file system holds in another encoding reach Python as lone surrogates.
    return path.encode("utf-8", "ignore").decode("utf-8") == path


def open_source(uri: str, selection: Selection, patience: Patience) -> Source:
    """List the source that ``uri`` names: a folder's path, ``hf://org/name@<commit>`` or ``gs://bucket/prefix``.

    Raises:
        BadInputError: the source is empty, unreadable, not pinned or unsafe to pack; the message lists all problems.
        ImageError: the source cannot be reached.
    """
    scheme, separator, _ = uri.partition("://")
    # Each reader is imported when it is needed: the hub's and Google's libraries take a second to load.
    if separator and scheme == "hf":
        from modelimage.hub import open_hub  # noqa: PLC0415

        return open_hub(uri, selection, patience)
    if separator and scheme == "gs":
        from modelimage.bucket import open_bucket  # noqa: PLC0415

        return open_bucket(uri, selection, patience)
    if separator:
        raise BadInputError(f"{uri!r}: no such kind of source: give a folder, hf://org/name@<commit> or gs://bucket/…")
    from modelimage.folder import open_folder  # noqa: PLC0415

    return open_folder(uri, selection)
