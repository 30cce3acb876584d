"""The JSON Schema of a stack's file, made from the classes that read it."""

from typing import Any

from pydantic import TypeAdapter

from components.settings.reader import KINDS
from components.settings.types import NAMESPACE

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SECURE = {
    "type": "object",
    "description": "A secret: `pulumi config set --secret`.",
    "properties": {"secure": {"type": "string"}},
    "required": ["secure"],
    "additionalProperties": False,
}


def stack_file_schema() -> dict[str, Any]:
    """What `Pulumi.<stack>.yaml` may hold: our keys, with or without the project's name, beside those of providers."""
    adapters = [(key, "validation", TypeAdapter[Any](kind)) for key, kind in KINDS.items()]
    found, shared = TypeAdapter.json_schemas(adapters, by_alias=True)  # type: ignore[arg-type]
    kinds = {key: _with_secrets(found[key, "validation"]) for key in KINDS}
    kinds["pullSecrets"] = {"anyOf": [kinds["pullSecrets"], _SECURE]}
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


def _with_secrets(schema: Any) -> Any:
    """The schema, with the engine's ciphertext wherever a secret may be."""
    if isinstance(schema, list):
        return [_with_secrets(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "password":
        return {"anyOf": [schema, _SECURE]}
    return {key: _with_secrets(value) for key, value in schema.items()}
