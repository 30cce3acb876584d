"""YAML as Pulumi's engine reads it, and nothing that the engine could not hold."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from oci_model_serving.errors import InputError

_SCALARS = (str, int, float, bool, type(None))


class _Loader(yaml.SafeLoader):
    """YAML as the engine's parser (go-yaml v3) reads it: `yes` and dates stay texts, a key may be there once."""

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
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except (ValueError, AttributeError, KeyError) as error:
        # What PyYAML raises for a value that is not of its tag: `!!int x`, `!!timestamp x`, `!!bool x`.
        raise InputError(f"{path}: a value is not of its tag (!!…): remove the tag") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} must be a mapping with the key 'config'")
    problems = list(_not_plain(data, "", ()))
    if problems:
        raise InputError("\n".join(f"{path}: {problem}" for problem in problems))
    return data


def _not_plain(value: Any, at: str, within: tuple[int, ...]) -> Iterator[str]:
    """What JSON, and so the engine, cannot hold: anchors within themselves, and the types of tags such as `!!set`."""
    if id(value) in within:
        yield f"{at}: refers to itself by an anchor: write the value out"
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{at}.{key}" if at else str(key)
            if isinstance(key, _SCALARS):
                yield from _not_plain(item, inner, (*within, id(value)))
            else:
                yield f"{inner}: a key of the type {type(key).__name__}: write a text"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _not_plain(item, f"{at}[{index}]", (*within, id(value)))
    elif not isinstance(value, _SCALARS):
        yield f"{at}: a value of the type {type(value).__name__}: write a text, number, truth value, list or mapping"
