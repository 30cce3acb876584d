"""What a container sees under its mount, and what a model folder holds: the same, byte for byte."""

import hashlib
from pathlib import Path

from watch.kube import KubeApi

# Follows the links of the mount and of the image's root; only what lies directly there, as weights do.
_DIGESTS = 'cd "$0" && find -L . -maxdepth 1 -type f -exec sha256sum {} +'


def mounted(api: KubeApi, namespace: str, pod: str, container: str, path: str) -> dict[str, str]:
    """Return the files of a folder in a container: name and SHA-256.

    Raises:
        AssertionError: the folder cannot be listed.
    """
    done = api.execute(namespace, pod, container, ["sh", "-c", _DIGESTS, path])
    assert done.code == 0, done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    return {name.removeprefix("./"): digest for digest, name in lines}


def digests_of(folder: Path) -> dict[str, str]:
    """Return the files of a folder on this machine, in the same way."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
