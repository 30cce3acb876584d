"""A stack's configuration as the engine hands it to the program, read without the engine.

The rules are those of Pulumi's `sdk/go/common/workspace/config.go` (v3.224): values of `Pulumi.<stack>.yaml`, then
the project's defaults; structured values as JSON text; a declared key without default must be set.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from offline.errors import InputError
from offline.files import is_file
from offline.values import MASK

_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class Project:
    """A Pulumi project: its folder and what `Pulumi.yaml` says."""

    folder: Path
    name: str
    declared: Mapping[str, Any]

    def stack_file(self, stack: str) -> Path:
        """Where the stack's settings are."""
        return self.folder / f"Pulumi.{stack}.yaml"

    def stacks(self) -> list[str]:
        """The stacks that have a settings file."""
        files = self.folder.glob("Pulumi.*.yaml")
        return sorted(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files)


@dataclass(frozen=True)
class StackConfig:
    """What the program reads: texts by `namespace:key`, and the keys that hold a secret."""

    values: Mapping[str, str]
    secret_keys: frozenset[str]


def find_project(start: Path) -> Project:
    """The project of the folder `start` or of the nearest one above it.

    Raises:
        InputError: there is none, or its `Pulumi.yaml` cannot be read.
    """
    for folder in (start, *start.parents):
        file = folder / "Pulumi.yaml"
        if file.is_file():
            data = _read_yaml(file)
            name = data.get("name")
            if not isinstance(name, str) or not name:
                raise InputError(f"{file}: 'name' is missing: write the project's name")
            declared = data.get("config") or {}
            if not isinstance(declared, dict):
                raise InputError(f"{file}: 'config' must be a mapping of keys")
            return Project(folder, name, declared)
    raise InputError(f"no Pulumi.yaml in {start} or above it: start this in the project's folder")


def read_config(project: Project, stack: str, file: Path | None = None) -> StackConfig:
    """The configuration of a stack, from `file` or `Pulumi.<stack>.yaml`.

    A value under `secure:` cannot be decrypted without the engine: its text becomes `[secret]`.

    Raises:
        InputError: the file is missing or not the engine's form, or required keys are not set.
    """
    path = file or project.stack_file(stack)
    if not is_file(path):
        known = ", ".join(project.stacks()) or "none"
        raise InputError(f"stack {stack!r} has no settings: {path} does not exist (stacks here: {known})")
    data = _read_yaml(path)
    given = data.get("config") or {}
    if not isinstance(given, dict):
        raise InputError(f"{path}: 'config' must be a mapping of keys")
    values: dict[str, str] = {}
    secret_keys: set[str] = set()
    for key, value in given.items():
        if value is None:
            continue
        name = _qualified(project, str(key))
        if name in values:
            raise InputError(f"{path}: 'config' has {name!r} twice, with and without the project's name: remove one")
        values[name] = _text(_without_ciphertext(value))
        if _holds_ciphertext(value):
            secret_keys.add(name)
    _apply_project(project, stack, values, secret_keys)
    return StackConfig(values, frozenset(secret_keys))


def _apply_project(project: Project, stack: str, values: dict[str, str], secret_keys: set[str]) -> None:
    missing = []
    for key, declaration in project.declared.items():
        name = _qualified(project, str(key))
        schema = declaration if isinstance(declaration, dict) else {"default": declaration}
        if schema.get("secret"):
            if name in values and name not in secret_keys:
                raise InputError(f"stack {stack!r}: {key!r} is a secret: set it with `pulumi config set --secret`")
            secret_keys.add(name)
        if name in values:
            continue
        default = schema.get("default", schema.get("value"))
        if default is not None:
            values[name] = _text(default)
        elif name.startswith(f"{project.name}:"):
            missing.append(str(key))
    if missing:
        raise InputError(
            "\n".join(f"stack {stack!r}: {key!r} is not set: `pulumi config set {key} …`" for key in missing)
        )


def _qualified(project: Project, key: str) -> str:
    return key if ":" in key else f"{project.name}:{key}"


def _is_ciphertext(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"secure"} and isinstance(value["secure"], str)


def _holds_ciphertext(value: Any) -> bool:
    if _is_ciphertext(value):
        return True
    if isinstance(value, dict):
        return any(_holds_ciphertext(item) for item in value.values())
    return isinstance(value, list) and any(_holds_ciphertext(item) for item in value)


def _without_ciphertext(value: Any) -> Any:
    if _is_ciphertext(value):
        return MASK
    if isinstance(value, dict):
        return {key: _without_ciphertext(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_ciphertext(item) for item in value]
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


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


def _read_yaml(path: Path) -> dict[str, Any]:
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
