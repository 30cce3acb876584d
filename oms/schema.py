"""The JSON Schemas of a stack's file and of its outputs, made from the classes that read them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from components.settings.plain_yaml import read_yaml
from components.settings.reader import KINDS
from components.settings.types import NAMESPACE
from oci_model_serving.outputs import CONTRACT_VERSION, StackOutputs

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SECURE = {
    "type": "object",
    "description": "A secret: `pulumi config set --secret`.",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}
EXAMPLES: Mapping[str, Any] = {
    "target": "gke",
    "registry": {"create": {"repository": "models"}},
    "cluster": {"create": {"name": "demo", "channel": "REGULAR", "version": "1.35"}},
    "nodePools": {
        "l4": {
            "accelerator": "nvidia-l4",
            "count": 1,
            "zones": ["us-central1-a"],
            "bootDisk": {"sizeGb": 200, "type": "pd-balanced"},
            "minNodes": 0,
            "maxNodes": 2,
            "spot": True,
        }
    },
    "platforms": {"kserve": {"version": "v0.20.0", "gateway": "gke"}},
    "pullSecrets": {"private": {"server": "docker.io", "username": "reader", "password": {"secure": "v1:…"}}},
    "hubToken": {"secure": "v1:…"},
    "cloudBuild": {"serviceAccount": "builder@demo.iam.gserviceaccount.com", "timeout": 7200},
    "clusterBuild": {"pods": 4, "serviceAccount": "packer", "memory": "4Gi"},
    "policy": {"licences": ["apache-2.0", "mit"]},
    "models": {
        "qwen2.5-0.5b-instruct": {
            "source": "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775",
            "licence": "apache-2.0",
            "delivery": "modelcar",
            "nodePool": "l4",
            "replicas": {"min": 1, "max": 2},
            "args": ["--max-model-len=8192"],
        }
    },
}
"""What an editor offers for a key; together they are a stack that the program takes (the secrets are the engine's)."""


def stack_file_schema() -> dict[str, Any]:
    """What `Pulumi.<stack>.yaml` may hold: our keys, with or without the project's name, beside those of providers."""
    adapters = [(key, "validation", TypeAdapter[Any](kind)) for key, kind in KINDS.items()]
    found, shared = TypeAdapter.json_schemas(adapters, by_alias=True)  # type: ignore[arg-type]
    kinds = {key: _with_secrets(found[key, "validation"]) for key in KINDS}
    kinds["pullSecrets"] = {"anyOf": [kinds["pullSecrets"], _SECURE]}
    declared = read_yaml(Path(__file__).parents[1] / "Pulumi.yaml")["config"]
    for key, kind in kinds.items():
        said = {"description": declared[key]["description"]} if key in declared else {}
        kinds[key] = kind | said | ({"examples": [EXAMPLES[key]]} if key in EXAMPLES else {})
    known = "|".join(KINDS)
    return {
        "$schema": _DRAFT,
        "title": f"Settings of a stack of {NAMESPACE}",
        "type": "object",
        "properties": {
            "config": {
                "type": "object",
                "properties": {f"{before}{key}": kinds[key] for before in (f"{NAMESPACE}:", "") for key in KINDS},
                "patternProperties": {f"^({NAMESPACE}:)?(?!({known})$)[^:]*$": False},
            }
        },
        "$defs": _with_secrets(shared.get("$defs", {})),
    }


def outputs_schema() -> dict[str, Any]:
    """What `pulumi stack output --json` prints of a stack of this version; later ones of the contract may have more."""
    schema = StackOutputs.model_json_schema()
    schema["properties"]["contract_version"]["const"] = CONTRACT_VERSION
    return {"$schema": _DRAFT, **schema, "title": f"Outputs of a stack of {NAMESPACE}"}


def _with_secrets(schema: Any) -> Any:
    """The schema, with the engine's ciphertext wherever a secret may be."""
    if isinstance(schema, list):
        return [_with_secrets(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "password":
        return {"anyOf": [schema, _SECURE]}
    return {key: _with_secrets(value) for key, value in schema.items()}
