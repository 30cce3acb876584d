"""The CRDs that the test cluster serves, as JSON schemas in which an unknown field is a failure.

The schema's rules in CEL are left to the API server (tests/integration/test_crd_contract.py).
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from tests.integration.cluster import SHARED

CRDS = SHARED / "crds"
GATEWAY_API, KUBEAI = "gateway-api-v1.6.1", "kubeai"
JSON = Mapping[str, Any]


def problems(body: JSON, folder: str) -> list[str]:
    """What is wrong with an object by the CRD of its kind in a folder of CRDs; the test is skipped without them."""
    validator = _validator(folder, body["apiVersion"], body["kind"])
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(body)]


@lru_cache
def _validator(folder: str, api_version: str, kind: str) -> Validator:
    if not CRDS.exists():
        pytest.skip(f"no CRDs: {CRDS} is not here")
    group, _, version = api_version.partition("/")
    for path in sorted((CRDS / folder).glob(f"{group}_*.yaml")):
        if kind.lower().removesuffix("y") not in path.stem:  # a file has the plural
            continue
        crd = _read(path)
        for served in crd["spec"]["versions"]:
            if (crd["spec"]["names"]["kind"], served["name"]) == (kind, version):
                return Draft202012Validator(strict(served["schema"]["openAPIV3Schema"]))
    raise LookupError(f"{CRDS / folder} has no CRD of {api_version} {kind}")


def _read(path: Path) -> dict[str, Any]:
    crd: dict[str, Any] = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe both
    return crd


def strict(schema: JSON) -> dict[str, Any]:
    """A structural schema as a JSON schema that takes no field that the API server would prune or refuse."""
    made = dict(_members(schema))
    if "properties" in made and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if "required" in made:
        # The API server fills defaults in before it looks.
        made["required"] = [name for name in made["required"] if "default" not in schema["properties"].get(name, {})]
    if schema.get("nullable") and "type" in made:
        made["type"] = [made["type"], "null"]
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    return made


def _members(schema: JSON) -> Iterator[tuple[str, Any]]:
    for key, value in schema.items():
        if key.startswith("x-kubernetes-") or key in {"description", "format", "nullable", "default"}:
            continue
        if key == "properties":
            yield key, {name: strict(inner) for name, inner in value.items()}
        elif key in {"items", "additionalProperties"} and isinstance(value, Mapping):
            yield key, strict(value)
        else:
            yield key, value
