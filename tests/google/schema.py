"""Bodies of requests, held against the schemas of a discovery document as Google's gateway does.

The wording of the refusals is that of the gateway, which names fields in the protocol's own spelling (snake case).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

from tests.google.discovery import Method
from tests.google.errors import JSON, GoogleError, invalid

_NOT_ENFORCED = frozenset({"Policy"})
# What Google's own provider sends with every network and NAT, and no document has (google-beta 8.0.0,
# `resource_compute_network.go`, `resource_compute_router_nat.go`).
_UNLISTED = {
    "NetworkRoutingConfig": frozenset({"deleteBgpAlwaysCompareMed"}),
    "RouterNat": frozenset({"initialNatIps"}),
}
_INTEGERS = {"int32": (31, True), "uint32": (32, False), "int64": (63, True), "uint64": (64, False)}


def check_body(method: Method, body: Any) -> None:
    """Hold the body of a request against the method's request schema.

    Raises:
        GoogleError: a field is unknown, missing, or its value cannot be that field's.
    """
    if not method.request:
        if body:
            raise invalid("Invalid JSON payload received: the method takes no body")
        return
    if not isinstance(body, dict):
        raise invalid("Invalid JSON payload received. Unexpected token. Root element must be a message.")
    checker = _Checker(method)
    checker.message(method.request, body, "")
    required = _required(method)
    for name in required:
        if body.get(name) in (None, "", {}, []):
            raise GoogleError(400, f"Required field '{_snake(name)}' not specified", reason="required")


def _required(method: Method) -> list[str]:
    """Of the body's fields: what the document lists for the method, and what its descriptions begin with.

    Descriptions call required, too, what paths have taken the place of (`projectId`), and the whole of which a part is
    sent: they count for messages, and for what names a new resource.
    """
    if method.verb != "POST" or method.request in _NOT_ENFORCED:
        return []
    properties: Mapping[str, JSON] = method.schemas[method.request].get("properties", {})
    return [
        name
        for name, rule in properties.items()
        if method.id in rule.get("annotations", {}).get("required", ())
        or (str(rule.get("description", "")).startswith("Required.") and ("$ref" in rule or name == "accountId"))
    ]


class _Checker:
    def __init__(self, method: Method) -> None:
        self._schemas, self._compute = method.schemas, method.service == "compute"

    def message(self, name: str, value: Any, where: str) -> None:
        schema = self._schemas[name]
        self._object(schema, value, where)

    def _object(self, schema: JSON, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise self._bad(where, "TYPE_MESSAGE", value)
        properties: JSON = schema.get("properties", {})
        additional = schema.get("additionalProperties")
        for key, inner in value.items():
            at = f"{where}.{_snake(key)}" if where else _snake(key)
            # The gateway takes both spellings of a field, as protocol buffers' JSON does.
            rule = properties.get(key) or next((own for name, own in properties.items() if _snake(name) == key), None)
            if rule is not None:
                self.value(rule, inner, at)
            elif key in _UNLISTED.get(schema.get("id", ""), ()):
                continue
            elif additional is not None:
                self.value(additional, inner, f"{where}[{key}]" if where else key)
            else:
                text = f'Invalid JSON payload received. Unknown name "{key}"'
                text += f" at '{where}': Cannot find field." if where else ": Cannot find field."
                raise invalid(text, {"field": where, "description": text})

    def value(self, rule: JSON, value: Any, where: str) -> None:
        if value is None:  # stands for the field's default
            return
        if "$ref" in rule:
            self.message(rule["$ref"], value, where)
            return
        kind = rule.get("type", "any")
        if kind == "array":
            self._array(rule, value, where)
        elif kind == "object":
            self._object(rule, value, where)
        elif kind == "boolean" and not isinstance(value, bool):
            raise self._bad(where, "TYPE_BOOL", value)
        elif kind == "string":
            self._string(rule, value, where)
        elif kind == "integer":
            self._integer(rule.get("format", "int32"), value, where)
        elif kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self._bad(where, "TYPE_DOUBLE", value)

    def _array(self, rule: JSON, value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise self._bad(where, "TYPE_LIST", value)
        for index, item in enumerate(value):
            self.value(rule["items"], item, f"{where}[{index}]")

    def _string(self, rule: JSON, value: Any, where: str) -> None:
        form = rule.get("format", "")
        if form in _INTEGERS:  # 64 bits do not fit into JSON's numbers: they travel as text, and may be numbers
            self._integer(form, value, where)
            return
        if "enum" in rule and isinstance(value, int) and not isinstance(value, bool):  # an enum's number will do
            return
        if not isinstance(value, str):
            raise self._bad(where, "TYPE_STRING", value)
        if "enum" in rule and value not in rule["enum"]:
            raise self._bad(where, "TYPE_ENUM", value)
        if form == "byte" and not _is_base64(value):
            raise invalid(f"Invalid value at '{where}' (TYPE_BYTES), Base64 decoding failed for \"{value[:40]}\"")
        if form == "google-duration" and not re.fullmatch(r"-?\d+(\.\d{1,9})?s", value):
            raise invalid(
                f"Invalid value at '{where}' (type.googleapis.com/google.protobuf.Duration), "
                "Illegal duration format; duration must end with 's'"
            )
        if form == "google-datetime" and not re.fullmatch(
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value
        ):
            raise self._bad(where, "type.googleapis.com/google.protobuf.Timestamp", value)
        # Only Compute Engine's document has patterns, and an empty text there stands for none.
        pattern = rule.get("pattern")
        if pattern and value and not re.fullmatch(pattern, value):
            raise GoogleError(
                400,
                f"Invalid value for field 'resource.{where}': '{value}'. Must be a match of regex '{pattern}'",
                reason="invalid",
            )

    def _integer(self, form: str, value: Any, where: str) -> None:
        text = str(value)
        bits, signed = _INTEGERS[form]
        whole = re.fullmatch(r"-?\d+", text) is not None and not isinstance(value, bool)
        if not whole or not (-(1 << bits) if signed else 0) <= int(text) < 1 << bits:
            raise self._bad(where, f"TYPE_{form.upper()}", value)

    @staticmethod
    def _bad(where: str, kind: str, value: Any) -> GoogleError:
        text = f"Invalid value at '{where}' ({kind}), {_shown(value)}"
        return invalid(text, {"field": where, "description": text})


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode(value.translate(str.maketrans("-_", "+/")) + "=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        return False
    return True


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), name)
