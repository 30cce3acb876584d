"""Words that work when they are followed: the pattern and the flags that leave a file out of an image or take it in.

Patterns are those of `Selection`: relative to the model's root, whatever the source, and quoted for a shell.
"""

import glob
import shlex


def pattern(path: str) -> str:
    """The pattern that matches `path` and, but for what cannot be typed, nothing else."""
    # A character that no terminal shows stands for itself best as the one that matches any.
    typed = "".join(letter if letter.isprintable() else "\0" for letter in path)
    return glob.escape(typed).replace("\0", "?")


def quoted(text: str) -> str:
    """The text for a shell, always in quotes: `*` in it is the pattern's, not the shell's."""
    return shlex.quote(text) if "'" in text else f"'{text}'"


def leave_out(*paths: str) -> str:
    """How to leave the files at `paths` out; a path that ends in `/` is a folder."""
    flags = " ".join(f"--ignore {quoted(pattern(path))}" for path in paths)
    return f"leave {'it' if len(paths) == 1 else 'them'} out with {flags} (a stack: files.ignore)"


def take(*patterns: str) -> str:
    """The flags that take what the patterns match."""
    return f"{' '.join(f'--allow {quoted(one)}' for one in patterns)} (a stack: files.allow)"


def shown(paths: list[str], limit: int = 3) -> str:
    """The first few of many names, and how many more there are."""
    named = ", ".join(path if path.isprintable() else repr(path) for path in paths[:limit])
    return named + (f" and {len(paths) - limit} more" if len(paths) > limit else "")
