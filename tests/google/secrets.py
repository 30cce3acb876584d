"""Secret Manager: secrets whose versions are numbered, and give their payload on `access` alone."""

from __future__ import annotations

import base64
import re

import google_crc32c

from tests.google.errors import JSON, GoogleError, not_found
from tests.google.state import Call, State, timestamp


def add_version(state: State, call: Call) -> JSON:
    """Add a version to a secret."""
    if state.get("secretmanager", call.name) is None:
        raise not_found(f"Secret [{call.name}] not found.")
    number = sum(1 for _ in state.below("secretmanager", f"{call.name}/versions")) + 1
    name = f"{call.name}/versions/{number}"
    state.contents["secretmanager", name] = base64.b64decode(call.body["payload"]["data"])
    made = {"name": name, "createTime": timestamp(), "state": "ENABLED", "etag": f'"{state.number():x}"'}
    return state.put("secretmanager", name, made)


def get_version(state: State, call: Call) -> JSON:
    """A version, without its payload; `latest` is the newest."""
    versions = dict(state.below("secretmanager", call.parent))
    wanted = call.name
    if wanted.endswith("/latest"):
        enabled = [name for name, version in versions.items() if version["state"] == "ENABLED"]
        wanted = max(enabled, key=_number, default=wanted)
    if wanted not in versions:
        raise not_found(f"Secret Version [{call.name}] not found.")
    return versions[wanted]


def access(state: State, call: Call) -> JSON:
    """A version's payload, with the checksum that Google gives."""
    version = get_version(state, call)
    if version["state"] != "ENABLED":
        text = f"Secret Version [{version['name']}] is in {version['state']} state."
        raise GoogleError(400, text, code="FAILED_PRECONDITION")
    payload = state.contents["secretmanager", version["name"]]
    checksum = google_crc32c.value(payload)
    return {
        "name": version["name"],
        "payload": {"data": base64.b64encode(payload).decode(), "dataCrc32c": str(checksum)},
    }


def set_state(state: State, call: Call) -> JSON:
    """Enable, disable or destroy a version."""
    version = get_version(state, call)
    version["state"] = {"enable": "ENABLED", "disable": "DISABLED", "destroy": "DESTROYED"}[call.method.action]
    return version


def _number(name: str) -> int:
    return int(re.sub(r"\D", "", name.rpartition("/")[2]) or 0)


_VERSIONS = "secretmanager.projects.secrets.versions"
HANDLERS = {
    "secretmanager.projects.secrets.addVersion": add_version,
    f"{_VERSIONS}.get": get_version,
    f"{_VERSIONS}.access": access,
    f"{_VERSIONS}.enable": set_state,
    f"{_VERSIONS}.disable": set_state,
    f"{_VERSIONS}.destroy": set_state,
}
