"""The stack's configuration, read and checked once. The only reader of `pulumi.Config`.

`load()` reads the running stack, `parse()` plain mappings. Both report every problem of the stack in one
`SettingsError`, each with the full key path and what to write instead.
"""

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import pulumi
from pydantic import TypeAdapter, ValidationError

from components import prediction
from components.settings import checks, choosing, encrypted, foretelling, secrecy
from components.settings.building import CloudBuildSettings, ClusterBuildSettings, HubToken
from components.settings.google import ClusterSettings, NodePoolSettings
from components.settings.policy import PolicySettings
from components.settings.registry import RegistrySettings
from components.settings.remedies import key_path, remedy, second, shape, unknown
from components.settings.sections import Sections
from components.settings.serving import ModelSettings, Platforms, PullSecret
from components.settings.stack import Settings
from components.settings.stack_file import MASK
from components.settings.types import NAMESPACE, Target
from oci_model_serving.errors import InputError

KINDS: Mapping[str, Any] = {
    "target": Target,
    "registry": RegistrySettings,
    "cluster": ClusterSettings,
    "nodePools": dict[str, NodePoolSettings],
    "platforms": Platforms,
    "pullSecrets": dict[str, PullSecret],
    "hubToken": HubToken,
    "cloudBuild": CloudBuildSettings,
    "clusterBuild": ClusterBuildSettings,
    "policy": PolicySettings,
    "models": dict[str, ModelSettings],
}
"""What each key of the configuration holds."""
KEYS = tuple(KINDS)


_T = TypeVar("_T")
_F = TypeVar("_F")


class SettingsError(InputError, pulumi.RunError):
    """The configuration of a stack is wrong. `str()` is the whole message: each problem with key and remedy, a line."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__(*problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''} in the stack's configuration"
        self.args = ("\n".join([f"{count}:", *(f"  {problem}" for problem in self.problems)]),)


def load() -> Settings:
    """Read and check the running stack's configuration.

    Raises:
        SettingsError: with every problem of the stack.
    """
    known = pulumi.runtime.config.CONFIG.get() or pulumi.runtime.config.get_config_env()
    prefix = f"{NAMESPACE}:"
    values = {key.removeprefix(prefix): _structured(value) for key, value in known.items()}
    secret = [key for key in known if pulumi.runtime.config.is_config_secret(key)]
    held = {key: values[key.removeprefix(prefix)] for key in secret}
    places = encrypted.places(Path.cwd(), pulumi.get_stack(), held)
    google = pulumi.Config("gcp")
    if pulumi.runtime.config.CONFIG.get():
        # The engine hands over the values decrypted. What this process starts is to have none of them unasked.
        os.environ.pop("PULUMI_CONFIG", None)
    settings = parse(
        {key: value for key, value in values.items() if prefix + key in known},
        stack=pulumi.get_stack(),
        project=google.get("project") or "",
        region=google.get("region") or "",
        secret=[key.removeprefix(prefix) for key in secret],
        places={key.removeprefix(prefix): found for key, found in places.items()},
        elsewhere={key: value for key, value in values.items() if prefix + key not in known},
    )
    foretelling.say(settings.forecasts)
    prediction.say(prediction.predict(settings))
    for warning in settings.warnings:
        pulumi.log.warn(warning)
    return settings


def parse(
    values: Mapping[str, Any],
    *,
    stack: str,
    project: str = "",
    region: str = "",
    secret: Collection[str] = (),
    places: Mapping[str, Collection[encrypted.Place]] = MappingProxyType({}),
    elsewhere: Mapping[str, Any] = MappingProxyType({}),
) -> Settings:
    """Check a configuration given as plain values, keys without the project's namespace.

    Args:
        values: the keys of the project's namespace.
        stack: name of the stack.
        project: Google project (`gcp:project`).
        region: Google region (`gcp:region`).
        secret: the keys, of any namespace, that Pulumi holds encrypted or that have something encrypted below them.
        places: where below such a key that is, as far as it is known.
        elsewhere: the keys of other namespaces, with theirs.

    Raises:
        SettingsError: with every problem of the stack.
    """
    reader, written = _Reader(), secrecy.Secrecy({**values, **elsewhere}, secret, places)
    for key in values:
        if key not in KEYS:
            reader.add(key, unknown(key, KEYS))
    sections = Sections(
        registry=reader.one("registry", RegistrySettings, values.get("registry", {}), RegistrySettings()),
        cluster=reader.one("cluster", ClusterSettings, values.get("cluster", {}), ClusterSettings()),
        platforms=reader.one("platforms", Platforms, values.get("platforms", {}), Platforms()),
        node_pools=reader.each("nodePools", NodePoolSettings, values.get("nodePools", {})),
        pull_secrets=reader.each("pullSecrets", PullSecret, values.get("pullSecrets", {})),
        hub_token=reader.one("hubToken", HubToken, values["hubToken"], None) if values.get("hubToken") else None,
        cloud_build=reader.one("cloudBuild", CloudBuildSettings, values.get("cloudBuild", {}), CloudBuildSettings()),
        cluster_build=reader.one(
            "clusterBuild", ClusterBuildSettings, values.get("clusterBuild", {}), ClusterBuildSettings()
        ),
        policy=reader.one("policy", PolicySettings, values.get("policy", {}), PolicySettings()),
        models=reader.each("models", ModelSettings, values.get("models", {})),
    )
    told = foretelling.forecasts_of(sections, reader.add)
    settings = Settings(
        stack=stack,
        target=reader.one("target", Target, values.get("target", Target.LOCAL.value), Target.LOCAL),
        project=project,
        region=region,
        sections=sections,
        image_sizes_gb=foretelling.sizes_gb(sections.models, told),
        forecasts=told,
    )
    settings = choosing.chosen(settings)
    for path, problem in written.problems():
        if path != "hubToken" or path not in reader.paths:
            reader.add(path, problem)
    for path, problem in checks.problems(settings, unread=reader.paths):
        reader.add(path, problem)
    if reader.problems:
        raise SettingsError(written.hide(problem) for problem in reader.problems)
    said = (*written.warnings(), *checks.warnings(settings))
    warned = dict.fromkeys(written.hide(f"{path}: {text}") for path, text in said)
    return replace(settings, warnings=tuple(warned))


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
        name = path if ":" in path.partition(".")[0] else f"{NAMESPACE}:{path}"
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
            if not second(detail):
                self.add(key_path(path, detail), remedy(kind, detail))
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
        whole = [key for key, value in values.items() if value == MASK] if isinstance(values, Mapping) else []
        if whole or values == MASK:
            name = f"{path}.{whole[0]}" if whole else path
            self.add(name, "is encrypted as a whole, which only the engine can read: set its secrets alone, by --path")
            return {}
        if not isinstance(values, Mapping):
            self.add(path, f"is {shape(values)}: write a map from names to settings")
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
