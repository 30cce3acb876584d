"""YAML as Pulumi's engine reads it, and nothing that the engine could not hold."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from oci_model_serving.errors import InputError
from oci_model_serving.foreign import beginning, in_line

_SCALARS = (str, int, float, bool, type(None))
_LIMIT_BYTES = 1 << 20
"""Of a file: hundreds of models with a pool each have a quarter of it."""
_LIMIT_VALUES = 200_000
"""Of the values in a file, each reference to an anchor counted as all that it stands for: references to references
multiply ("billion laughs"; go-yaml, which is the engine's, bounds them as well)."""
_LIMIT_DEPTH = 100
_LIMIT_PROBLEMS = 100
_WHOLE_NUMBERS = range(-(1 << 63), 1 << 64)
"""What go-yaml reads as whole numbers (int64, uint64)."""


class _TooMuchError(Exception):
    """A document is of more than any stack has."""


class _Loader(yaml.SafeLoader):
    """YAML as the engine's parser (go-yaml v3) reads it: `yes` and dates stay texts, a key may be there once."""

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _weigh(node)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        "in a mapping", node.start_mark, f"the key {key.value!r} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a file.

    Raises:
        InputError: the file cannot be read, is not YAML, or holds what JSON, and so the engine, cannot.
    """
    try:
        return parsed(beginning(path, _LIMIT_BYTES).decode(), str(path))
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read: {in_line(str(error))}") from error


def parsed(text: str, path: str) -> dict[str, Any]:
    """The mapping in the text of a file, as `read_yaml`."""
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {in_line(str(error))}") from error
    except _TooMuchError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        # What PyYAML raises for a value that is not of its tag: `!!int x`, `!!timestamp x`, `!!bool x`.
        raise InputError(f"{path}: a value is not of its tag (!!…): remove the tag") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} must be a mapping with the key 'config'")
    problems = list(_not_plain(data, "", ()))
    if problems:
        raise InputError(*(f"{path}: {in_line(problem)}" for problem in problems[:_LIMIT_PROBLEMS]))
    return data


def _weigh(root: yaml.Node) -> None:
    """Count what a document comes to, before anything is made of it; each node is looked at once.

    Raises:
        _TooMuchError: it is more than any stack has.
    """
    known: dict[int, int] = {}

    def weight(node: yaml.Node, within: frozenset[int]) -> int:
        if id(node) in known:
            return known[id(node)]
        if id(node) in within or isinstance(node, yaml.ScalarNode):
            return 1  # what refers to itself is told by its key later
        if len(within) >= _LIMIT_DEPTH:
            raise _TooMuchError(f"it is nested more than {_LIMIT_DEPTH} deep")
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
        known[id(node)] = whole = 1 + sum(weight(part, within | {id(node)}) for part in parts)
        if whole > _LIMIT_VALUES:
            raise _TooMuchError(
                f"it comes to more than {_LIMIT_VALUES} values, references to anchors counted as what they stand for"
            )
        return whole

    weight(root, frozenset())


def _not_plain(value: Any, at: str, within: tuple[int, ...]) -> Iterator[str]:
    """What JSON, and so the engine, cannot hold: anchors within themselves, and the types of tags such as `!!set`."""
    if id(value) in within:
        yield f"{at}: refers to itself by an anchor: write the value out"
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{at}.{key}" if at else str(key)
            if isinstance(key, _SCALARS):
                yield from () if isinstance(key, bool) else _not_plain(key, f"the key {inner!r}", ())
                yield from _not_plain(item, inner, (*within, id(value)))
            else:
                yield f"{inner}: a key of the type {type(key).__name__}: write a text"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _not_plain(item, f"{at}[{index}]", (*within, id(value)))
    elif isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
        yield f"{at}: a text with half of a character (\\ud800 to \\udfff): write the character itself"
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{at}: {value} is no number of JSON: write a number, or a text in quotation marks"
    elif isinstance(value, int) and value not in _WHOLE_NUMBERS:
        yield f"{at}: a whole number of more than 64 bits: write it in quotation marks"
    elif not isinstance(value, _SCALARS):
        yield f"{at}: a value of the type {type(value).__name__}: write a text, number, truth value, list or mapping"
