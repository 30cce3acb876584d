"""What most resources of Google's APIs do alike: create, get, list, patch, delete (AIP-131 to AIP-135)."""

from __future__ import annotations

import copy
import re
from typing import Any

from tests.google.errors import JSON, GoogleError, invalid, not_found
from tests.google.operations import answered
from tests.google.state import Call, State, timestamp


def create(state: State, call: Call) -> JSON:
    """Make the resource of the body in the collection that the path names."""
    name = f"{call.name}/{_identifier(call)}"
    if state.get(call.method.service, name) is not None:
        raise GoogleError(409, f"Resource '{name}' already exists.", code="ALREADY_EXISTS")
    resource = stamped(state, call, name, {**_DEFAULTS.get(call.method.request, {}), **copy.deepcopy(call.body)})

    def finish() -> JSON:
        return state.put(call.method.service, name, resource)

    return answered(state, call, name, finish)


def get(state: State, call: Call) -> JSON:
    """The resource of that name."""
    return copy.deepcopy(existing(state, call))


def list_(state: State, call: Call) -> JSON:
    """A page of a collection."""
    items = [copy.deepcopy(resource) for _, resource in state.below(call.method.service, call.name)]
    return page(call, items)


def patch(state: State, call: Call) -> JSON:
    """Change the fields that `updateMask` names, or those of the body."""
    resource = existing(state, call)
    changed = masked(resource, call.body, call.query.get("updateMask"))

    def finish() -> JSON:
        resource.clear()
        resource.update(changed)
        if "updateTime" in _properties(call, call.method.request):
            resource["updateTime"] = timestamp()
        return resource

    return answered(state, call, call.name, finish)


def delete(state: State, call: Call) -> JSON:
    """Remove the resource with all below it."""
    existing(state, call)

    def finish() -> JSON:
        state.delete(call.method.service, call.name)
        return {}

    return answered(state, call, call.name, finish)


def existing(state: State, call: Call) -> JSON:
    """The resource that the call is about.

    Raises:
        GoogleError: there is none (404).
    """
    found = state.get(call.method.service, call.name)
    if found is None:
        raise not_found(f"Resource '{call.name}' was not found")
    return found


def masked(resource: JSON, body: JSON, mask: str | None) -> JSON:
    """`resource` as a patch makes it; with a mask, what it names and the body lacks goes back to its default."""
    changed = copy.deepcopy(resource)
    if not mask or mask == "*":
        changed.update({key: value for key, value in body.items() if value is not None})
        for key in [key for key, value in body.items() if value is None]:
            changed.pop(key, None)
        return changed
    for path in mask.split(","):
        keys = [camel(part) for part in path.strip().split(".")]
        value: Any = body
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        target = changed
        for key in keys[:-1]:
            target = target.setdefault(key, {})
        if value is None:
            target.pop(keys[-1], None)
        else:
            target[keys[-1]] = copy.deepcopy(value)
    return changed


def page(call: Call, items: list[JSON], most: int = 500) -> JSON:
    """A page of items in the form of the method's response; `most` is what the service gives at once."""
    properties = _properties(call, call.method.response)
    lists = [key for key, rule in properties.items() if rule.get("type") == "array" and "$ref" in rule["items"]]
    key = next((name for name in ("items", call.method.collection) if name in lists), lists[0] if lists else "items")
    start = int(call.query.get("pageToken") or 0)
    size = min(int(call.query.get("pageSize") or call.query.get("maxResults") or most), most)
    answer: JSON = {key: items[start : start + size]} if items else {}
    if start + size < len(items):
        answer["nextPageToken"] = str(start + size)
    return answer


def stamped(state: State, call: Call, name: str, resource: JSON) -> JSON:
    """The resource with what the service adds: whatever of its fields are the usual output of one."""
    properties = _properties(call, call.method.request)
    now, number = timestamp(), state.number()
    own = {
        "name": name,
        "createTime": now,
        "updateTime": now,
        "uid": f"00000000-0000-4000-8000-{number:012d}",
        "etag": f'"{number:08x}"',
        "satisfiesPzi": False,
    }
    for key, value in own.items():
        if key in properties:
            resource[key] = value
    return resource


def without_defaults(value: Any) -> Any:
    """As protocol buffers (3) become JSON: fields with their default are left out, messages that are there stay.

    Compute Engine and Cloud Storage answer in another way. Which fields are `optional`, and so keep a false, no
    document says.
    """
    if isinstance(value, list):
        return [without_defaults(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without_defaults(item) for key, item in value.items() if key in _OPTIONAL or item not in (None, "", [], 0)
    }


# What a service says of a resource for which it was not said. A repository without a mode is a standard one (`mode` and
# `disallowUnspecifiedMode` of the discovery document).
_DEFAULTS: dict[str, JSON] = {"Repository": {"mode": "STANDARD_REPOSITORY"}}
_OPTIONAL = frozenset(
    {
        "allowExternalTraffic",
        "enableInsecureBindingSystemAuthenticated",
        "enableInsecureBindingSystemUnauthenticated",
        "enableK8sCertsViaDns",
        "enableK8sTokensViaDns",
        "enablePrivateNodes",
        "enablePublicEndpoint",
        "gcpPublicCidrsAccessEnabled",
        "insecureKubeletReadonlyPortEnabled",
        "privateEndpointEnforcementEnabled",
    }
)


def camel(name: str) -> str:
    """A field's name as JSON has it."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def _properties(call: Call, schema: str) -> JSON:
    properties: JSON = call.method.schemas.get(schema, {}).get("properties", {})
    return properties


def _identifier(call: Call) -> str:
    ids = [
        value
        for key, value in call.query.items()
        if key.endswith("Id") and key != "requestId" and key in call.method.parameters
    ]
    own = ids[0] if ids else str(call.body.get("name", "")).rpartition("/")[2]
    if not own:
        raise invalid(f"Invalid resource id for {call.method.collection}: it is empty")
    return own
