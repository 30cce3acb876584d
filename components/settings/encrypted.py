"""Where in a stack's values its secrets are.

The engine tells a program of each key whether it holds a secret, and not where (`PULUMI_CONFIG_SECRET_KEYS`; pulumi
#6531). The stack's own file tells where; of a value that came by another way (`--config-file`, an environment of Pulumi
ESC) that is not known.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.settings import stack_file

Place = tuple[str | int, ...]
"""Where a value is: names of maps and numbers of lists."""


def places(folder: Path, stack: str, values: Mapping[str, Any]) -> dict[str, frozenset[Place]]:
    """Where below each of these keys its secrets are; a key is left out where that is not known.

    Args:
        folder: of the project.
        stack: the stack's name.
        values: what the engine, or a plan, has read for `namespace:key`.
    """
    found = {}
    written = stack_file.written(folder, stack) if values else {}
    for key, value in values.items():
        masked = frozenset(at for at, text in texts(value) if text == stack_file.MASK)
        if at := masked or _ciphertexts(written.get(key), value):
            found[key] = at
    return found


def texts(value: Any) -> Iterator[tuple[Place, str]]:
    """Every text of a value, with its place, in the order of lists."""
    waiting: list[tuple[Place, Any]] = [((), value)]
    while waiting:
        at, one = waiting.pop()
        if isinstance(one, str):
            yield at, one
        waiting += reversed([((*at, name), inner) for name, inner in _below(one)])


def path_of(place: Place) -> str:
    """A place as the engine's `--path` takes it (pulumi, "Structured configuration")."""
    words = [str(place[0])]
    for one in place[1:]:
        plain = isinstance(one, str) and re.fullmatch(r"[A-Za-z_][\w-]*", one)
        words.append(f".{one}" if plain else f"[{json.dumps(one)}]")
    return "".join(words)


def key_of(place: Place) -> str:
    """A place as messages name it: that of an item of a list is the list's."""
    return ".".join(one for one in place if isinstance(one, str))


def _ciphertexts(written: Any, known: Any) -> frozenset[Place] | None:
    """Where a value of the file is encrypted; None where what is known did not come from there."""
    found: set[Place] = set()
    waiting: list[tuple[Place, Any, Any]] = [((), written, known)]
    while waiting:
        at, said, read = waiting.pop()
        if stack_file.is_ciphertext(said):
            found.add(at)
        elif isinstance(said, dict | list) and type(said) is type(read):
            below, has = dict(_below(said)), dict(_below(read))
            if below.keys() != has.keys():
                return None
            waiting += [((*at, name), inner, has[name]) for name, inner in below.items()]
        elif said != read and str(said) != str(read):
            return None
    return frozenset(found)


def _below(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        yield from ((str(name), inner) for name, inner in value.items())
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
