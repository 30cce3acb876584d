"""Properties as the engine sends them: plain data in which a secret is a marked object and an unknown is a constant."""

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]

Properties = dict[str, Any]
# Constants of the protocol (pulumi/pulumi, sdk/go/common/resource/sig and sdk/go/common/resource/plugin/rpc.go), which
# the SDK has in `pulumi.runtime.rpc`: that cannot be imported without all of it (`alone`).
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"


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
