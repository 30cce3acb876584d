"""The Python that the program's own commands run with."""

import sys
from pathlib import Path


def python() -> str:
    """The interpreter, relative to the project where it can be: the same text on every machine, so no needless diff."""
    executable = Path(sys.executable)
    try:
        return executable.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return executable.as_posix()
