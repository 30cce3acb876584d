"""GKE's clusters: what GKE fills in, which state an operation leads to, and updates by `desired…` fields."""

from __future__ import annotations

import copy
from typing import Any

from tests.google import filled, node_pools
from tests.google.errors import JSON, GoogleError, invalid
from tests.google.operations import answered
from tests.google.state import Call, State


def create(state: State, call: Call) -> JSON:
    """Make a cluster with its first node pool."""
    asked: JSON = copy.deepcopy(call.body["cluster"])
    name = f"{call.name}/{asked.get('name', '')}"
    if state.get("container", name) is not None:
        raise GoogleError(409, f"Already exists: {name}.")
    node_pools.check_quotas(
        state, call, asked.get("initialNodeCount", 0) * len(filled.zones_of(call.name, asked)), asked
    )
    first = {
        "name": "default-pool",
        "initialNodeCount": asked.pop("initialNodeCount", 0),
        "config": asked.pop("nodeConfig", {}),
    }
    pools = asked.pop("nodePools", None) or [first]
    cluster = state.put("container", name, filled.cluster(call, name, asked))
    cluster["etag"] = f"{state.number():08x}"
    for pool in pools:
        node_pools.make(state, call, name, pool)

    def finish() -> JSON:
        _settle(state, call, name, "RUNNING")
        return cluster

    def failed(error: GoogleError) -> None:
        _settle(state, call, name, "ERROR")
        cluster["conditions"] = [{"message": error.message, "canonicalCode": error.code}]

    return answered(state, call, name, finish, failed)


def get(state: State, call: Call) -> JSON:
    """A cluster with its node pools."""
    cluster = copy.deepcopy(node_pools.existing(state, call.name))
    pools = [copy.deepcopy(pool) for _, pool in state.below("container", f"{call.name}/nodePools")]
    if pools:
        cluster["nodePools"] = pools
        cluster["currentNodeVersion"] = min(pool["version"] for pool in pools)
    cluster["currentNodeCount"] = sum(pool.get("initialNodeCount", 0) for pool in pools) * len(cluster["locations"])
    cluster["instanceGroupUrls"] = [url for pool in pools for url in pool["instanceGroupUrls"]]
    return cluster


def list_(state: State, call: Call) -> JSON:
    """The clusters of a location; `-` is every one."""
    found = [cluster for name, cluster in state.below("container", call.name) if name.split("/")[-2] == "clusters"]
    return {"clusters": copy.deepcopy(found)} if found else {}


def update(state: State, call: Call) -> JSON:
    """Set what one `desired…` field says; GKE takes one kind of change at a time."""
    cluster = node_pools.existing(state, call.name)
    node_pools.check_free(state, call.name)
    changes = {key: value for key, value in call.body["update"].items() if key.startswith("desired")}
    if not changes:
        raise invalid("Must specify a field to update.")

    def finish() -> JSON:
        for key, value in changes.items():
            _set(state, call, cluster, key, copy.deepcopy(value))
        cluster["etag"] = f"{state.number():08x}"
        return cluster

    return answered(state, call, call.name, finish)


def set_field(state: State, call: Call) -> JSON:
    """The older methods, each for one field: `setResourceLabels`, `setMaintenancePolicy`, `setLegacyAbac`."""
    action = call.method.action
    name = call.name
    cluster = node_pools.existing(state, name)
    body = {key: value for key, value in call.body.items() if key in cluster or key in _SET_BY}

    def finish() -> JSON:
        if action == "setLegacyAbac":
            cluster["legacyAbac"] = {"enabled": True} if call.body.get("enabled") else {}
        else:
            cluster.update(copy.deepcopy(body))
        cluster["labelFingerprint"] = f"{state.number():08x}"
        return cluster

    return answered(state, call, name, finish)


def server_config(_state: State, _call: Call) -> JSON:
    """The versions that GKE offers."""
    channels = [
        {"channel": channel, "defaultVersion": filled.VERSIONS[1], "validVersions": list(filled.VERSIONS)}
        for channel in ("RAPID", "REGULAR", "STABLE")
    ]
    valid = list(filled.VERSIONS)
    return {
        "defaultClusterVersion": filled.VERSIONS[1],
        "validMasterVersions": valid,
        "validNodeVersions": valid,
        "defaultImageType": "COS_CONTAINERD",
        "validImageTypes": ["COS_CONTAINERD", "UBUNTU_CONTAINERD"],
        "channels": channels,
    }


_SET_BY = frozenset({"resourceLabels", "maintenancePolicy", "networkPolicy"})


def _settle(state: State, call: Call, name: str, status: str) -> None:
    node_pools.existing(state, name)["status"] = status
    for pool_name, _ in list(state.below("container", f"{name}/nodePools")):
        node_pools.settle(state, call, pool_name)


def _set(state: State, call: Call, cluster: JSON, key: str, value: Any) -> None:
    field = key.removeprefix("desired")
    field = field[:1].lower() + field[1:]
    schemas = call.method.schemas
    if field == "masterVersion":
        cluster["currentMasterVersion"] = filled.version(str(value))
    elif field in _OF_POOLS:
        for _, pool in state.below("container", f"{call.name}/nodePools"):
            if call.body["update"].get("desiredNodePoolId", pool["name"]) == pool["name"]:
                pool[_OF_POOLS[field]] = node_pools.node_version(cluster, value) if field == "nodeVersion" else value
    elif field in schemas["NetworkConfig"]["properties"]:
        cluster["networkConfig"][field] = value
    elif field in {"addonsConfig", "controlPlaneEndpointsConfig"}:  # what is not said stays
        for part, said in value.items():
            cluster.setdefault(field, {}).setdefault(part, {}).update(said)
    elif field == "clusterAutoscaling":
        cluster["autoscaling"] = value
    elif field in schemas["Cluster"]["properties"]:
        cluster[field] = value
    elif field not in {"nodePoolId", "gkeReleaseVersion"}:
        raise GoogleError(501, f"{key} is not served here: see tests/google/container.py")


_OF_POOLS = {"nodeVersion": "version", "nodePoolAutoscaling": "autoscaling"}
_CLUSTERS = "container.projects.locations.clusters"
HANDLERS = {
    f"{_CLUSTERS}.create": create,
    f"{_CLUSTERS}.get": get,
    f"{_CLUSTERS}.list": list_,
    f"{_CLUSTERS}.delete": node_pools.delete,
    f"{_CLUSTERS}.update": update,
    f"{_CLUSTERS}.setResourceLabels": set_field,
    f"{_CLUSTERS}.setMaintenancePolicy": set_field,
    f"{_CLUSTERS}.setLegacyAbac": set_field,
    f"{_CLUSTERS}.setNetworkPolicy": set_field,
    f"{_CLUSTERS}.nodePools.create": node_pools.create,
    f"{_CLUSTERS}.nodePools.get": node_pools.get,
    f"{_CLUSTERS}.nodePools.list": node_pools.list_,
    f"{_CLUSTERS}.nodePools.delete": node_pools.delete,
    f"{_CLUSTERS}.nodePools.update": node_pools.update,
    f"{_CLUSTERS}.nodePools.setSize": node_pools.set_field,
    f"{_CLUSTERS}.nodePools.setManagement": node_pools.set_field,
    f"{_CLUSTERS}.nodePools.setAutoscaling": node_pools.set_field,
    "container.projects.locations.getServerConfig": server_config,
}
