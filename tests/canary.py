"""Secrets that no test has chosen to hide, and every form in which one could be somewhere all the same."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

_LENGTH = 12
"""Characters of base64 that are no accident."""


def forms(secret: str) -> frozenset[str]:
    """A secret as it is, escaped for JSON and addresses, in hexadecimal, and in base64 wherever it begins in a text."""
    raw = secret.encode()
    made = {secret, json.dumps(secret)[1:-1], json.dumps(json.dumps(secret))[3:-3], quote(secret, safe=""), raw.hex()}
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + raw).decode().rstrip("=")[(0, 2, 3)[shift] : -2]
        assert len(encoded) >= _LENGTH
        made |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    return frozenset(made)


def leaks(text: str, secrets: Mapping[str, str]) -> list[str]:
    """The names of the secrets that are in a text, in whatever form."""
    return [name for name, secret in secrets.items() if any(form in text for form in forms(secret))]


def files(*folders: Path) -> Iterator[tuple[str, str]]:
    """The texts of all files below folders, by their paths; links lead elsewhere and are not followed."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes().decode("latin-1")
