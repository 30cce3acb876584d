"""Google's discovery documents as a table of methods, to which requests are held.

The documents are those of the package google-api-python-client (`googleapiclient/discovery_cache/documents`), which
Google generates from the services themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

from tests.google.errors import JSON, GoogleError, invalid

VERSIONS: Mapping[str, tuple[str, ...]] = {
    "artifactregistry": ("v1", "v1beta2"),
    "certificatemanager": ("v1",),
    "cloudbuild": ("v1",),
    "cloudkms": ("v1",),
    "cloudresourcemanager": ("v1", "v3"),
    "compute": ("v1", "beta"),
    "container": ("v1", "v1beta1"),
    "iam": ("v1",),
    "secretmanager": ("v1",),
    "serviceusage": ("v1", "v1beta1"),
    "storage": ("v1",),
}
"""The services that are served, each with its versions."""

# `prettyPrint` and the like, which every method takes, and what Google's gateways take beside the documents' list.
_EVERYWHERE = frozenset({"$alt", "$fields", "$prettyPrint", "$userProject", "userProject", "$unique"})


@dataclass(frozen=True)
class Method:
    """A method of a service: how it is called, and what it takes."""

    id: str
    service: str
    version: str
    verb: str
    root: str
    """What stands before a resource's name: `v1/`, `compute/beta/`."""
    title: str
    prefix: str
    path: re.Pattern[str]
    custom: str
    """What stands behind a resource's name: `:setIamPolicy`, `/wait`, or nothing."""
    literals: int
    parameters: Mapping[str, JSON]
    common: frozenset[str]
    request: str
    response: str
    schemas: Mapping[str, JSON]

    @property
    def action(self) -> str:
        """The last part of its id: `create`, `insert`, `list`."""
        return self.id.rpartition(".")[2]

    @property
    def collection(self) -> str:
        """The part of its id before that: `repositories`, `nodePools`."""
        return self.id.split(".")[-2]

    def path_parameters(self, path: str) -> dict[str, str] | None:
        """The path's parameters, or None where the path is not this method's."""
        match = self.path.fullmatch(path)
        if match is None:
            return None
        names = [name for name, rule in self.parameters.items() if rule["location"] == "path"]
        return {name: unquote(match[_group(name)]) for name in names if _group(name) in self.path.groupindex}

    def check_parameters(self, path: Mapping[str, str], query: Mapping[str, list[str]]) -> None:
        """Hold the parameters against the document.

        Raises:
            GoogleError: one is unknown, missing or malformed.
        """
        for name, values in query.items():
            rule = self.parameters.get(name)
            if name in self.common or name in _EVERYWHERE:
                continue
            if rule is None or rule["location"] != "query":
                text = f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter. '
                text += f"Field '{name}' could not be found in request message."
                raise invalid(text, {"description": text})
            if len(values) > 1 and not rule.get("repeated"):
                raise invalid(f"Invalid value at '{name}': it is given {len(values)} times and is no list")
            for value in values:
                self._check(name, rule, value)
        for name, rule in self.parameters.items():
            if rule["location"] == "path" and name in path:
                self._check(name, rule, path[name])
            if rule["location"] == "query" and self._required(name, rule) and not query.get(name):
                raise GoogleError(400, f"Required parameter: {name}", reason="required")

    def _required(self, name: str, rule: JSON) -> bool:
        """By its own word; the id of what is created also by its description alone (`repositoryId`)."""
        said = str(rule.get("description", "")).startswith("Required.")
        return bool(rule.get("required")) or (said and self.action == "create" and name != "projectId")

    def _check(self, name: str, rule: JSON, value: str) -> None:
        pattern = rule.get("pattern")
        if pattern and not re.fullmatch(pattern.removeprefix("^").removesuffix("$"), value):
            raise invalid(f"Invalid value for field '{name}': '{value}'. Must be a match of regex '{pattern}'")
        if rule.get("type") == "boolean" and value.lower() not in {"true", "false"}:
            raise invalid(f"Invalid value at '{name}' (TYPE_BOOL), \"{value}\"")
        if rule.get("type") == "integer" and not re.fullmatch(r"-?\d+", value):
            raise invalid(f"Invalid value at '{name}' (TYPE_INT32), \"{value}\"")
        if "enum" in rule and value not in rule["enum"]:
            raise invalid(f"Invalid value at '{name}' (TYPE_ENUM), \"{value}\"")


def _group(name: str) -> str:
    return "p_" + re.sub(r"\W", "_", name)


@cache
def methods(service: str) -> tuple[Method, ...]:
    """The methods of a service in all its versions, those with more literal text in their paths first."""
    found = [method for version in VERSIONS[service] for method in _read(service, version)]
    return tuple(sorted(found, key=lambda method: -method.literals))


def find(service: str, verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """The method that a request calls, with its path's parameters; `path` is without the service's root URL."""
    for method in methods(service):
        if method.verb == verb and path.startswith(method.prefix):
            parameters = method.path_parameters(path)
            if parameters is not None:
                return method, parameters
    return None


def _read(service: str, version: str) -> Iterator[Method]:
    spec = find_spec("googleapiclient.discovery_cache")
    assert spec is not None
    assert spec.origin is not None
    name = Path(spec.origin).with_name("documents") / f"{service}.{version}.json"
    document = json.loads(name.read_bytes())
    for described in _methods_of(document):
        path = described["path"]
        yield _method(service, version, document, described, document["servicePath"] + path)
        if described.get("supportsMediaDownload"):
            # Google's own clients read an object's content there (`useMediaDownloadService`).
            yield _method(service, version, document, described, f"download/{document['servicePath']}{path}")


def _methods_of(node: JSON) -> Iterator[JSON]:
    for resource in node.get("resources", {}).values():
        yield from resource.get("methods", {}).values()
        yield from _methods_of(resource)


def _method(service: str, version: str, document: JSON, described: JSON, template: str) -> Method:
    parameters: dict[str, JSON] = described.get("parameters", {})
    parts = re.split(r"\{(\+?[^}]+)\}", template)
    pattern = ""
    for index, part in enumerate(parts):
        if index % 2 == 0:
            pattern += re.escape(part)
            continue
        name = part.removeprefix("+")
        own = parameters[name].get("pattern", "[^/]+") if part.startswith("+") else "[^/]+"
        pattern += f"(?P<{_group(name)}>{own.removeprefix('^').removesuffix('$')})"
    return Method(
        id=described["id"],
        service=service,
        version=version,
        verb=described["httpMethod"],
        root=document["servicePath"] or f"{version}/",
        title=document["title"],
        prefix=parts[0],
        path=re.compile(pattern),
        custom=_custom(parts[-1], described["id"]),
        literals=sum(map(len, parts[::2])),
        parameters=parameters,
        common=frozenset(document["parameters"]),
        request=described.get("request", {}).get("$ref", ""),
        response=described.get("response", {}).get("$ref", ""),
        schemas=document["schemas"],
    )


def _custom(last: str, id_: str) -> str:
    if ":" in last:
        return last[last.index(":") :]
    action = id_.rpartition(".")[2]
    return f"/{action}" if last == f"/{action}" and id_.startswith("compute.") else ""
