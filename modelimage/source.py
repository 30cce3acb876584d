"""What an image is made of: files with known sizes, wherever they lie, and the choice among them.

`folder`, `hub` and `bucket` list a source, `origins` picks the one that a text names, `rules` judges what was listed:
the same files make the same image from any of them.
"""

import fnmatch
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CHUNK_BYTES = 1 << 20
"""How much is read, hashed and sent at a time: large enough that system calls and thread switches cost nothing."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a model: `path` in POSIX form below the model's root and `size` in bytes.

    `read` starts a fresh pass over the content and yields exactly `size` bytes or raises ImageError. `identity`
    changes whenever the content may have: it is what a remembered digest hangs on. `changed_at` is when the file
    was last changed (seconds since the epoch), for sources whose identity can lag behind a change; None for sources
    whose identity is the content's own. `local` is where the file lies, if it is on a disk.
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

    `verify` raises ImageError when the files are no longer those that were listed; it is asked last, before an
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

    `allow` and `ignore` are shell patterns on the path below the model's root (`*` also matches `/`, and a
    pattern that ends in `/` means all below it), as huggingface_hub's `allow_patterns` and `ignore_patterns`.
    Files and folders whose name begins with a dot are left out in any case: they are a tool's notes (.git, .cache),
    and `.wh.` names would be read as deletions by container runtimes.
    """

    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def takes(self, path: str) -> bool:
        """Tell whether the file at `path` goes into the image."""
        if any(part.startswith(".") for part in path.split("/")):
            return False
        if self.allow and not any(_matches(path, pattern) for pattern in self.allow):
            return False
        return not any(_matches(path, pattern) for pattern in self.ignore)


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, f"{pattern}*" if pattern.endswith("/") else pattern)
