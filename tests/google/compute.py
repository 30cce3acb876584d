"""Compute Engine: resources by their links, changed by operations of their region, zone or the whole project."""

from __future__ import annotations

import copy
import re

from tests.google import faults
from tests.google.errors import JSON, GoogleError, not_found
from tests.google.generic import page
from tests.google.operations import answered
from tests.google.state import Call, State, timestamp

_REGIONS = ("us-central1", "us-east1", "us-west1", "europe-west1", "europe-west4", "asia-east1")
_LINK = re.compile(r"^(?:https://[^/]+/compute/[^/]+/)?(projects/.+)$")


def insert(state: State, call: Call) -> JSON:
    """Make a resource of the collection."""
    name = f"{call.name}/{call.body.get('name', '')}"
    if state.get("compute", name) is not None:
        text = f"The resource '{name}' already exists"
        raise GoogleError(409, text, reason="alreadyExists")
    resource = _stamped(state, call, name)
    for target in _references(resource):
        if state.get("compute", target) is None and target.split("/")[-2] in {"networks", "subnetworks", "routers"}:
            raise not_found(f"The resource '{target}' was not found")
    return answered(state, call, name, lambda: state.put("compute", name, resource))


def get(state: State, call: Call) -> JSON:
    """A resource; a network says which subnetworks it has."""
    resource = copy.deepcopy(_existing(state, call))
    if call.method.collection == "networks":
        users = [link for link in _users(state, call.name) if "/subnetworks/" in link]
        if users:
            resource["subnetworks"] = [link_of(call, name) for name in users]
    return resource


def list_(state: State, call: Call) -> JSON:
    """A collection."""
    if call.method.collection == "regions":
        return page(call, [{"name": region, "status": "UP"} for region in _REGIONS])
    return page(call, [copy.deepcopy(resource) for _, resource in state.below("compute", call.name)])


def patch(state: State, call: Call) -> JSON:
    """Change the fields of the body; a stale fingerprint is refused."""
    resource = _existing(state, call)
    wanted = call.body.get("fingerprint")
    if wanted and wanted != resource.get("fingerprint"):
        raise GoogleError(412, "Invalid fingerprint.", reason="conditionNotMet")
    body = {key: copy.deepcopy(value) for key, value in call.body.items() if key != "fingerprint"}

    def finish() -> JSON:
        for key, value in body.items():
            if value is None:
                resource.pop(key, None)
            else:
                resource[key] = value
        if "fingerprint" in resource:
            resource["fingerprint"] = _fingerprint(state)
        return resource

    return answered(state, call, call.name, finish)


def set_private_access(state: State, call: Call) -> JSON:
    """A subnetwork's access to Google's services without public addresses."""
    resource = _existing(state, call)

    def finish() -> JSON:
        resource["privateIpGoogleAccess"] = bool(call.body.get("privateIpGoogleAccess"))
        return resource

    return answered(state, call, call.name, finish)


def delete(state: State, call: Call) -> JSON:
    """Remove a resource that nothing else needs."""
    _existing(state, call)
    users = _users(state, call.name)
    if users:
        raise faults.in_use(call.method.collection.removesuffix("s"), call.name, users[0])

    def finish() -> JSON:
        state.delete("compute", call.name)
        return {}

    return answered(state, call, call.name, finish)


def link_of(call: Call, name: str) -> str:
    """The address of a resource, as Compute Engine writes it."""
    return f"https://www.googleapis.com/compute/{call.method.version}/{name}"


def _existing(state: State, call: Call) -> JSON:
    found = state.get("compute", call.name)
    if found is None:
        raise not_found(f"The resource '{call.name}' was not found")
    return found


def _stamped(state: State, call: Call, name: str) -> JSON:
    parts = name.split("/")
    resource = copy.deepcopy(call.body)
    properties = call.method.schemas[call.method.request]["properties"]
    for key, value in resource.items():
        # Compute Engine answers with full links, whatever part of them it was given.
        if isinstance(value, str) and _LINK.match(value) and key in {"network", "subnetwork", "region", "zone"}:
            resource[key] = link_of(call, _LINK.sub(r"\1", value))
    own = {
        "kind": properties.get("kind", {}).get("default", ""),
        "id": f"{state.number():019d}".replace("0", "1", 1),
        "creationTimestamp": timestamp(),
        "selfLink": link_of(call, name),
        "selfLinkWithId": link_of(call, f"{name.rpartition('/')[0]}/{state.number():019d}"),
        "fingerprint": _fingerprint(state),
        "status": "READY" if call.method.collection == "disks" else None,
    }
    if parts[2] in {"regions", "zones"}:
        own[parts[2][:-1]] = link_of(call, "/".join(parts[:4]))
    resource.update({key: value for key, value in own.items() if key in properties and value})
    defaults = {**_DEFAULTS.get(call.method.collection, {})}
    if call.method.collection == "subnetworks":
        defaults |= _subnetwork(resource)
    return {**defaults, **resource}


def _subnetwork(resource: JSON) -> JSON:
    """What Compute Engine adds to a subnetwork; the ranges of proxies have no private access."""
    purpose = resource.get("purpose", "PRIVATE")
    address = str(resource.get("ipCidrRange", "10.0.0.0/24")).partition("/")[0]
    added: JSON = {
        "purpose": purpose,
        "gatewayAddress": ".".join([*address.split(".")[:3], "1"]),
        "privateIpGoogleAccess": False,
        "allowSubnetCidrRoutesOverlap": False,
    }
    if purpose == "PRIVATE":
        added |= {"stackType": "IPV4_ONLY", "privateIpv6GoogleAccess": "DISABLE_GOOGLE_ACCESS"}
        added |= {"enableFlowLogs": False, "logConfig": {"enable": False}}
    else:
        added |= {"state": "READY"}
    return added


_DEFAULTS: dict[str, JSON] = {
    "networks": {
        "networkFirewallPolicyEnforcementOrder": "AFTER_CLASSIC_FIREWALL",
        "routingConfig": {"routingMode": "REGIONAL"},
    },
    "routers": {"encryptedInterconnectRouter": False},
}


def _references(resource: JSON) -> list[str]:
    values = [resource.get("network"), resource.get("subnetwork")]
    return [match[1] for value in values if isinstance(value, str) and (match := _LINK.match(value))]


def _users(state: State, name: str) -> list[str]:
    """The resources that name this one."""
    return [
        own
        for (service, own), resource in sorted(state.resources.items())
        if service == "compute" and own != name and name in _references(resource)
    ]


def _fingerprint(state: State) -> str:
    return f"{state.number():08x}AAA="
