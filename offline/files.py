"""Paths that a person has typed."""

from pathlib import Path


def is_file(path: Path) -> bool:
    """Whether there is such a file; no for a text that cannot be a path at all (too long for the file system)."""
    try:
        return path.is_file()
    except OSError:
        return False
