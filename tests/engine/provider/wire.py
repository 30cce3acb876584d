"""Properties as the engine sends them: plain data in which a secret is a marked object and an unknown is a constant."""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime import rpc

Properties = dict[str, Any]
UNKNOWN = rpc.UNKNOWN
_SIGNATURE = rpc._special_sig_key
_SECRET = rpc._special_secret_sig


def read(struct: Any) -> Properties:
    """The properties in a message, secrets and unknowns still marked."""
    properties: Properties = json_format.MessageToDict(struct)
    return properties


def written(properties: Mapping[str, Any]) -> Any:
    """The message of properties."""
    struct = struct_pb2.Struct()
    struct.update(dict(properties))
    return struct


def is_secret(value: Any) -> bool:
    """Whether this value itself is marked as secret."""
    return isinstance(value, dict) and value.get(_SIGNATURE) == _SECRET


def plain(value: Any) -> Any:
    """The value with its secrets in the clear."""
    if is_secret(value):
        return plain(value["value"])
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The paths (`a.b[0].c`) at which two plain values differ, each with both sides; None stands for nothing there."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            old, new = (side[index] if index < len(side) else None for side in (before, after))
            yield from differences(old, new, f"{path}[{index}]")
    elif before != after:
        yield path, before, after
