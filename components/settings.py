"""The stack's configuration, read and checked once. The only reader of `pulumi.Config`.

`load()` reads the running stack, `parse()` plain mappings. Both report every problem of the stack in one
`SettingsError`, each with the full key path and what to write instead.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import pulumi
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

import modelimage
from components import checks
from components.schema import (
    GB,
    NAMESPACE,
    Cluster,
    Model,
    NodePool,
    Platforms,
    PullSecret,
    Registry,
    Settings,
    Target,
)

KEYS = ("target", "registry", "cluster", "nodePools", "platforms", "pullSecrets", "models")

_PLAIN = {
    "a valid integer": "a whole number",
    "a valid ": "a ",
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
}
"""How pydantic's expectations read behind "write"."""

_T = TypeVar("_T")
_F = TypeVar("_F")


class SettingsError(pulumi.RunError):
    """The configuration of a stack is wrong. `str()` is the whole message: each problem with key and remedy, a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = list(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''} in the stack's configuration"
        super().__init__("\n".join([f"{count}:", *(f"  {problem}" for problem in self.problems)]))


def load() -> Settings:
    """Read and check the running stack's configuration.

    Raises:
        SettingsError: with every problem of the stack.
    """
    known = pulumi.runtime.config.CONFIG.get() or pulumi.runtime.config.get_config_env()
    prefix = f"{NAMESPACE}:"
    values = {key[len(prefix) :]: value for key, value in known.items() if key.startswith(prefix)}
    secret = {key for key in values if pulumi.runtime.config.is_config_secret(prefix + key)}
    google = pulumi.Config("gcp")
    return parse(
        {key: _structured(value) for key, value in values.items()},
        stack=pulumi.get_stack(),
        project=google.get("project") or "",
        region=google.get("region") or "",
        secret=secret,
    )


def parse(
    values: Mapping[str, Any], *, stack: str, project: str = "", region: str = "", secret: Iterable[str] = ()
) -> Settings:
    """Check a configuration given as plain values, keys without the project's namespace.

    Args:
        values: the keys of the project's namespace.
        stack: name of the stack.
        project: Google project (`gcp:project`).
        region: Google region (`gcp:region`).
        secret: those of the keys that Pulumi holds encrypted.

    Raises:
        SettingsError: with every problem of the stack.
    """
    reader = _Reader()
    for key in values:
        if key not in KEYS:
            reader.add(key, _unknown(key, KEYS))
    settings = Settings(
        stack=stack,
        target=reader.one("target", Target, values.get("target", Target.LOCAL.value), Target.LOCAL),
        project=project,
        region=region,
        registry=reader.one("registry", Registry, values.get("registry", {}), Registry()),
        cluster=reader.one("cluster", Cluster, values.get("cluster", {}), Cluster()),
        platforms=reader.one("platforms", Platforms, values.get("platforms", {}), Platforms()),
        node_pools=reader.each("nodePools", NodePool, values.get("nodePools", {})),
        pull_secrets=reader.each("pullSecrets", PullSecret, values.get("pullSecrets", {})),
        models=reader.each("models", Model, values.get("models", {})),
    )
    if values.get("pullSecrets") and "pullSecrets" not in secret:
        reader.add(
            "pullSecrets",
            "is plain text in the stack's file: remove it there, change the passwords, and set each with "
            "`pulumi config set --secret --path 'pullSecrets.NAME.password'`",
        )
    settings = _with_sizes(settings, reader)
    for path, problem in checks.problems(settings, unread=reader.paths):
        reader.add(path, problem)
    if reader.problems:
        raise SettingsError(reader.problems)
    return settings


def _with_sizes(settings: Settings, reader: "_Reader") -> Settings:
    sizes: dict[str, float] = {}
    for key, model in settings.models.items():
        if model.size_gb is not None:
            sizes[key] = model.size_gb
        elif model.source and "://" not in model.source:
            if not Path(model.source).is_dir():
                reader.add(f"models.{key}.source", f"no folder {model.source!r}: write the path of a folder of weights")
                continue
            try:
                sizes[key] = modelimage.folder_size_bytes(model.source) / GB
            except (modelimage.ImageError, OSError) as error:
                reader.add(f"models.{key}.source", str(error))
    return Settings(**{**settings.__dict__, "image_sizes_gb": sizes})


def _structured(value: object) -> object:
    """The engine passes every value as text, structured ones as JSON."""
    if isinstance(value, str) and value[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


class _Reader:
    """Reads parts of the configuration and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.paths: set[str] = set()

    def add(self, path: str, problem: str) -> None:
        self.paths.add(path)
        name = path if path.startswith("gcp:") else f"{NAMESPACE}:{path}"
        line = f"{name}: {problem}"
        if line not in self.problems:
            self.problems.append(line)

    def one(self, path: str, kind: type[_T], value: object, fallback: _F) -> _T | _F:
        """Validate a value; of a wrong one, what is right is kept, so that its other mistakes are found as well."""
        try:
            return self._validated(kind, value)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=True)
        for detail in details:
            self.add(_path(path, detail), _remedy(kind, detail))
        kept = value
        for detail in details:
            kept = _without(kept, detail["loc"])
        try:
            return self._validated(kind, kept)
        except ValidationError:
            self.paths.add(path)
            return fallback

    @staticmethod
    def _validated(kind: type[_T], value: object) -> _T:
        return TypeAdapter(kind).validate_python(value, by_alias=True, by_name=False)

    def each(self, path: str, kind: type[_T], values: object) -> dict[str, _T]:
        if not isinstance(values, Mapping):
            self.add(path, f"is {_shape(values)}: write a map from names to settings")
            return {}
        read: dict[str, _T] = {}
        for key, value in values.items():
            entry = self.one(f"{path}.{key}", kind, value, None)
            if entry is not None:
                read[str(key)] = entry
        return read


def _without(value: object, loc: tuple[int | str, ...]) -> object:
    """A copy without the key that a location leads to (the whole list, where it leads into one)."""
    if not loc or not isinstance(value, Mapping) or loc[0] not in value:
        return value
    rest = loc[1:]
    if rest and isinstance(value[loc[0]], Mapping):
        return {**value, loc[0]: _without(value[loc[0]], rest)}
    return {key: one for key, one in value.items() if key != loc[0]}


def _path(path: str, detail: ErrorDetails) -> str:
    return ".".join([path, *(str(part) for part in detail["loc"] if part not in {"function-after", "tuple"})])


def _remedy(kind: Any, detail: ErrorDetails) -> str:  # noqa: PLR0911 - one line for each sort of mistake
    sort, context = detail["type"], detail.get("ctx", {})
    if sort == "extra_forbidden":
        model = _model_at(kind, detail["loc"][:-1])
        return _unknown(str(detail["loc"][-1]), [f.alias or n for n, f in model.model_fields.items()] if model else [])
    if sort == "missing":
        model = _model_at(kind, detail["loc"][:-1])
        return f"is missing{_meaning(model, str(detail['loc'][-1]))}"
    if sort == "value_error":
        return str(context["error"])
    if sort in {"literal_error", "enum"}:
        expected = str(context["expected"]).replace("'", "")
        return f"is {_said(detail)}: write {expected}"
    if sort in {"model_type", "model_attributes_type", "dict_type"}:
        return f"is {_said(detail)}: write a map, as {{key: value}}"
    if sort == "string_type" and isinstance(detail["input"], int | float):
        return f"is the number {detail['input']}: put it in quotes"
    if sort == "string_pattern_mismatch":
        model = _model_at(kind, detail["loc"][:-1])
        meaning = _meaning(model, str(detail["loc"][-1]))
        return f"is {_said(detail)}{meaning}: write what matches {context['pattern']}"
    expected = detail["msg"].replace("Input should be ", "")
    for said, plain in _PLAIN.items():
        expected = expected.replace(said, plain)
    return f"is {_said(detail)}: write {expected}"


def _said(detail: ErrorDetails) -> str:
    # A password is never echoed; nothing else under a pull secret is needed to see the mistake either.
    if "password" in detail["loc"]:
        return "not a text"
    value = detail["input"]
    return repr(value) if isinstance(value, str | int | float | bool) else _shape(value)


def _shape(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a map"
    return "a list" if isinstance(value, list | tuple) else f"{value!r}"


def _unknown(key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(key, names, n=1)
    return f"is unknown: {f'did you mean {close[0]!r}?' if close else 'write'} one of {', '.join(names)}".replace(
        "? one of", "? Known are"
    )


def _meaning(model: type[BaseModel] | None, alias: str) -> str:
    for name, info in (model.model_fields if model else {}).items():
        if alias in {info.alias, name} and info.description:
            return f" ({info.description})"
    return ""


def _model_at(kind: Any, loc: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The settings class that a location inside `kind` belongs to."""
    for model in _models_in(kind):
        if not loc:
            return model
        for name, info in model.model_fields.items():
            if loc[0] in {info.alias, name}:
                rest = loc[1:]
                while rest and isinstance(rest[0], int):
                    rest = rest[1:]
                return _model_at(info.annotation, rest)
    return None


def _models_in(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and get_origin(kind) is None:
        if issubclass(kind, BaseModel):
            yield kind
        return
    for part in get_args(kind):
        yield from _models_in(part)
