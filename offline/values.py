"""What an input or an output can be besides plain data: known only after a real run, or secret."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from components.settings.stack_file import MASK

_KNOWN_AFTER = "known after "
_OF_IMAGES = re.compile(rf"{_KNOWN_AFTER}(build|copy|check) of ")
"""How `offline.recording` words what waits for an image."""


@dataclass(frozen=True)
class KnownAfter:
    """A value that only a real run can know. `event` names what has to happen first: `build of NAME`."""

    event: str

    def __str__(self) -> str:
        return f"{_KNOWN_AFTER}{self.event}"


@dataclass(frozen=True)
class Secret:
    """A secret leaf; its text is left out of `repr` so that no log or assertion shows it."""

    value: Any = field(repr=False)

    def __str__(self) -> str:
        return MASK


def is_known_after(value: Any) -> bool:
    """Whether a value of a plan's JSON stands for one that only a real run can know."""
    return isinstance(value, str) and value.startswith(_KNOWN_AFTER)


def waits_alike(before: Any, after: Any) -> bool:
    """Whether both values of two plans are known after steps of images only, so that nobody can tell them apart.

    Which images those are says little: a digest also waits for the sizes of all that share a pool's disk
    (`components.serving.admission`), and a model more on that pool does not change it.
    """
    return all(is_known_after(one) and _OF_IMAGES.match(one) is not None for one in (before, after))


def transform(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """A copy of `value` in which every leaf of its mappings and lists went through `leaf`."""
    if isinstance(value, dict):
        return {key: transform(item, leaf) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [transform(item, leaf) for item in value]
    return leaf(value)


def plain(value: Any) -> Any:
    """The value as JSON can hold it: secrets masked, and a value known only later as the text that says so."""
    return transform(value, lambda leaf: str(leaf) if isinstance(leaf, KnownAfter | Secret) else leaf)


def reveal(value: Any) -> Any:
    """The value with its secrets in the clear, for the one reader that needs them: the cluster, on an apply."""
    return transform(value, lambda leaf: reveal(leaf.value) if isinstance(leaf, Secret) else leaf)


def unknowns(value: Any) -> list[KnownAfter]:
    """The values in `value`, secret ones too, that only a real run can know."""
    found: list[KnownAfter] = []

    def leaf(item: Any) -> Any:
        inner = item.value if isinstance(item, Secret) else item
        if isinstance(inner, KnownAfter):
            found.append(inner)
        return item

    transform(value, leaf)
    return found


def parse(value: Any) -> Any:
    """Read back what `plain` wrote, for outputs of a plan's JSON; other data stays as it is."""

    def leaf(item: Any) -> Any:
        if is_known_after(item):
            return KnownAfter(cast(str, item).removeprefix(_KNOWN_AFTER))
        return Secret(MASK) if item == MASK else item

    return transform(value, leaf)


def dumps(value: Any) -> str:
    """JSON with sorted keys and a newline at the end: the same value gives the same text."""
    return json.dumps(plain(value), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def within(value: Any, *keys: str) -> Any:
    """The value below these keys, which may hold dots, or none."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
