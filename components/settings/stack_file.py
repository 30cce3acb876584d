"""A stack's configuration as the engine hands it to the program, read without the engine: the only reader of its file.

The rules are those of Pulumi's `sdk/go/common/workspace/config.go` (v3.224): values of `Pulumi.<stack>.yaml`, then
the project's defaults; structured values as JSON text; a declared key without default must be set.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.settings.plain_yaml import read_yaml
from components.settings.types import NAMESPACE, Target
from oci_model_serving.errors import InputError

_TARGET = f"{NAMESPACE}:target"
MASK = "[secret]"
"""What stands for the text of a secret that only the engine can decrypt (`secure:`)."""


def is_stack_name(text: str) -> bool:
    """Whether it can be a stack's own name (Pulumi's grammar, `tokens.ParseStackName`)."""
    return re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", text) is not None


def is_file(path: Path) -> bool:
    """Whether there is such a file; no for a text that cannot be a path at all (too long for the file system)."""
    try:
        return path.is_file()
    except OSError:
        return False


@dataclass(frozen=True)
class Project:
    """A Pulumi project: its folder, its stacks' folder, the backend that it names and what it declares."""

    folder: Path
    name: str
    declared: Mapping[str, Any]
    stack_folder: Path
    backend: str | None = None

    def stack_file(self, stack: str) -> Path:
        """Where the settings of a stack are, given by its own or by its full name (`org/project/stack`)."""
        return self.stack_folder / f"Pulumi.{stack.rpartition('/')[2]}.yaml"

    def stacks(self) -> list[str]:
        """The stacks that have a settings file."""
        files = self.stack_folder.glob("Pulumi.*.yaml")
        return sorted(file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files)


@dataclass(frozen=True)
class StackConfig:
    """What the program reads: texts by `namespace:key`, and the keys that hold a secret."""

    values: Mapping[str, str]
    secret_keys: frozenset[str]

    @property
    def target(self) -> Target:
        """Where the stack lives.

        Raises:
            InputError: that cannot be told, so it must not be taken for local.
        """
        said = self.values.get(_TARGET, Target.LOCAL.value)
        try:
            return Target(said)
        except ValueError:
            known = " or ".join(target.value for target in Target)
            raise InputError(f"{_TARGET}: is {said!r}: write {known}, in plain text") from None

    @property
    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """The models as they are written, by name.

        Raises:
            InputError: they are not maps.
        """
        models = _read_map(self.values, "models")
        if not all(isinstance(model, dict) for model in models.values()):
            raise InputError(f"{NAMESPACE}:models: write a map of settings for each model")
        return models

    @property
    def kubeconfig(self) -> str | None:
        """The cluster of a local stack, where it has one."""
        return _read_map(self.values, "cluster").get("kubeconfig")

    @property
    def promotes(self) -> bool:
        """Whether a model takes its image from another stack."""
        return any(model.get("fromStack") for model in self.models.values())


def _read_map(values: Mapping[str, str], key: str) -> dict[str, Any]:
    try:
        read = json.loads(values.get(f"{NAMESPACE}:{key}", "{}"))
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise InputError(f"{NAMESPACE}:{key}: write a map from names to settings")
    return read


def find_project(start: Path) -> Project:
    """The project of the folder `start` or of the nearest one above it.

    Raises:
        InputError: there is none, or its `Pulumi.yaml` cannot be read.
    """
    for folder in (start, *start.parents):
        file = folder / "Pulumi.yaml"
        if file.is_file():
            data = read_yaml(file)
            name = data.get("name")
            if not isinstance(name, str) or not name:
                raise InputError(f"{file}: 'name' is missing: write the project's name")
            declared, stacks = data.get("config") or {}, data.get("stackConfigDir") or "."
            if isinstance(declared, str):  # its older meaning: what is stackConfigDir now
                declared, stacks = {}, declared
            if not isinstance(declared, dict):
                raise InputError(f"{file}: 'config' must be a mapping of keys")
            backend = data.get("backend")
            url = backend.get("url") if isinstance(backend, dict) else None
            return Project(folder, name, declared, folder / str(stacks), url)
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
    data = read_yaml(path)
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
    if data.get("environment") and _TARGET not in values:
        raise InputError(f"{path}: an environment of Pulumi ESC may set the target: write {_TARGET} into the file too")
    _apply_project(project, stack, values, secret_keys)
    return StackConfig(values, frozenset(secret_keys))


def written(folder: Path, stack: str) -> dict[str, Any]:
    """What a stack's file says for each `namespace:key`, as it stands there; nothing where it cannot be read."""
    try:
        project = find_project(folder)
        config = read_yaml(project.stack_file(stack)).get("config")
    except InputError:
        return {}
    return {_qualified(project, str(key)): value for key, value in config.items()} if isinstance(config, dict) else {}


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


def is_ciphertext(value: Any) -> bool:
    """Whether a value of the file is one that only the engine can decrypt."""
    return isinstance(value, dict) and value.keys() == {"secure"} and isinstance(value["secure"], str)


def _holds_ciphertext(value: Any) -> bool:
    if is_ciphertext(value):
        return True
    if isinstance(value, dict):
        return any(_holds_ciphertext(item) for item in value.values())
    return isinstance(value, list) and any(_holds_ciphertext(item) for item in value)


def _without_ciphertext(value: Any) -> Any:
    if is_ciphertext(value):
        return MASK
    if isinstance(value, dict):
        return {key: _without_ciphertext(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_ciphertext(item) for item in value]
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
