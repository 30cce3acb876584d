"""What is kept on a machine is for its user alone."""

import stat
from pathlib import Path

from oci_model_serving.errors import InputError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private_folder(path: Path) -> Path:
    """Make a folder that nobody else may look into, and one that is there already closed to others.

    Raises:
        InputError: it belongs to another user, and is open.
    """
    path.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    mode = path.stat().st_mode
    if mode & _OTHERS:
        try:
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
        except PermissionError:
            raise InputError(f"{path} is another user's, who could read what is kept there: move it away") from None
    return path
