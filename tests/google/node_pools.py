"""GKE's node pools: their nodes need quota and capacity, and their fields change by `nodePools.update`."""

from __future__ import annotations

import copy

from components.google import local_ssd
from tests.google import faults, filled
from tests.google.errors import JSON, GoogleError, invalid, not_found
from tests.google.operations import answered
from tests.google.state import Call, State

_LINK = "https://container.googleapis.com"
_GROUPS = "https://www.googleapis.com/compute/v1"


def create(state: State, call: Call) -> JSON:
    """Make a node pool; one whose first nodes cannot be had stays, in error."""
    cluster_name = call.name.removesuffix("/nodePools")
    cluster = state.get("container", cluster_name)
    if cluster is None:
        raise not_found(f"Not found: {cluster_name}.")
    check_free(state, cluster_name)
    asked: JSON = copy.deepcopy(call.body["nodePool"])
    name = f"{call.name}/{asked.get('name', '')}"
    if state.get("container", name) is not None:
        raise GoogleError(409, f"Already exists: {name}.")
    zones = asked.get("locations") or cluster["locations"]
    check_quotas(state, call, asked.get("initialNodeCount", 0) * len(zones), asked)
    make(state, call, cluster_name, asked)

    def finish() -> JSON:
        return settle(state, call, name)

    def failed(error: GoogleError) -> None:
        pool = state.get("container", name)
        if pool is not None:
            pool |= {"status": "ERROR", "statusMessage": error.message}

    return answered(state, call, name, finish, failed)


def existing(state: State, name: str) -> JSON:
    """A node pool, or a cluster.

    Raises:
        GoogleError: there is none (404).
    """
    found = state.get("container", name)
    if found is None:
        raise not_found(f"Not found: {name}.")
    return found


def get(state: State, call: Call) -> JSON:
    """A node pool."""
    return copy.deepcopy(existing(state, call.name))


def list_(state: State, call: Call) -> JSON:
    """The node pools of a cluster."""
    pools = [copy.deepcopy(pool) for _, pool in state.below("container", call.name)]
    return {"nodePools": pools} if pools else {}


def delete(state: State, call: Call) -> JSON:
    """Remove a node pool, or a cluster with its own."""
    existing(state, call.name)["status"] = "STOPPING"

    def finish() -> JSON:
        state.delete("container", call.name)
        return {}

    return answered(state, call, call.name, finish)


def update(state: State, call: Call) -> JSON:
    """Change fields of a pool or of its nodes, whichever has a field of that name."""
    pool = existing(state, call.name)
    schemas = call.method.schemas
    body = {key: value for key, value in call.body.items() if key not in {"name", "etag"}}
    version = node_version(existing(state, call.name.partition("/nodePools/")[0]), str(body.get("nodeVersion", "-")))

    def finish() -> JSON:
        for key, value in body.items():
            if key in {"nodeVersion", "nodePoolId", "clusterId", "projectId", "zone"}:
                pool["version"] = version if key == "nodeVersion" else pool["version"]
            elif key in {"labels", "taints", "tags", "resourceLabels"}:  # each a message around the list or map
                pool["config"][key] = copy.deepcopy(value.get("labels" if key == "resourceLabels" else key))
            elif key in schemas["NodePool"]["properties"]:
                pool[key] = copy.deepcopy(value)
            elif key == "nodeNetworkConfig":
                pool["networkConfig"].update(copy.deepcopy(value))
            elif key in schemas["NodeConfig"]["properties"]:
                pool["config"][key] = copy.deepcopy(value)
            else:
                raise GoogleError(501, f"{key} is not served here: see tests/google/node_pools.py")
        _disks(pool["config"])
        pool["etag"] = f"{state.number():08x}"
        return settle(state, call, call.name) if "locations" in body else pool

    return answered(state, call, call.name, finish)


def set_field(state: State, call: Call) -> JSON:
    """The older methods, each for one field: `setSize`, `setManagement`, `setAutoscaling`."""
    pool = existing(state, call.name)
    fields = {"nodeCount": "initialNodeCount", "management": "management", "autoscaling": "autoscaling"}
    changes = {fields[key]: value for key, value in call.body.items() if key in fields}
    zones = len(pool["locations"])
    check_quotas(state, call, (changes.get("initialNodeCount", 0) - pool.get("initialNodeCount", 0)) * zones, pool)

    def finish() -> JSON:
        pool.update(copy.deepcopy(changes))
        return settle(state, call, call.name)

    return answered(state, call, call.name, finish)


def node_version(cluster: JSON, asked: str) -> str:
    """The version that nodes of a cluster get by one that is asked for; `-` is the control plane's.

    Raises:
        GoogleError: it is newer than the control plane's, which goes first (GKE, "Manually upgrading a cluster or node
            pool"), or GKE offers none.
    """
    master = str(cluster["currentMasterVersion"])
    version = master if asked in {"", "-"} else filled.version(asked)
    if _minor(version) > _minor(master):
        text = f'Node version "{version}" must not have a greater minor version than master version "{master}".'
        raise invalid(text)
    return version


def make(state: State, call: Call, cluster_name: str, asked: JSON) -> JSON:
    """Keep a pool with what GKE fills in."""
    name = f"{cluster_name}/nodePools/{asked['name']}"
    cluster = state.resources["container", cluster_name]
    project = name.split("/")[1]
    config: JSON = {**copy.deepcopy(_CONFIG), **asked.get("config", {})}
    config["metadata"] = {"disable-legacy-endpoints": "true", **config.get("metadata", {})}
    _disks(config)
    _local_ssds(config)
    zones = asked.get("locations") or cluster["locations"]
    groups = [f"{_GROUPS}/projects/{project}/zones/{zone}/instanceGroupManagers/gke-{asked['name']}" for zone in zones]
    pool = {
        "podIpv4CidrSize": 24,
        "management": {"autoUpgrade": True, "autoRepair": True},
        "upgradeSettings": {"maxSurge": 1, "strategy": "SURGE"},
        "maxPodsConstraint": {"maxPodsPerNode": "110"},
        "autoscaling": {},
        **asked,
        "config": config,
        "locations": list(zones),
        "networkConfig": {
            "podRange": cluster["ipAllocationPolicy"].get("clusterSecondaryRangeName", "pods"),
            "podIpv4CidrBlock": "10.1.0.0/16",
            "enablePrivateNodes": bool(cluster["privateClusterConfig"].get("enablePrivateNodes")),
            **asked.get("networkConfig", {}),
        },
        "version": node_version(cluster, asked.get("version", "-")),
        "selfLink": f"{_LINK}/{call.method.version}/{name}",
        "instanceGroupUrls": groups,
        "status": "PROVISIONING",
        "etag": f"{state.number():08x}",
    }
    if state.faults.unasked_blocks:
        pool.setdefault("queuedProvisioning", {})
        config.setdefault("advancedMachineFeatures", {})
    return state.put("container", name, pool)


def settle(state: State, call: Call, name: str) -> JSON:
    """Let a pool's first nodes come.

    Raises:
        GoogleError: a zone has no capacity, and the pool stays in error.
    """
    pool = existing(state, name)
    short = [zone for zone in pool["locations"] if zone in state.faults.stockout_zones]
    if pool.get("initialNodeCount") and pool["config"].get("accelerators") and short:
        error = faults.stockout(name.split("/")[1], short[0])
        condition = {"code": "GCE_STOCKOUT", "canonicalCode": "RESOURCE_EXHAUSTED", "message": error.message}
        pool |= {"status": "ERROR", "statusMessage": error.message, "conditions": [condition]}
        raise error
    pool |= {"status": "RUNNING"}
    pool.pop("conditions", None)
    pool.pop("statusMessage", None)
    return pool


def check_quotas(state: State, call: Call, nodes: int, asked: JSON) -> None:
    """Hold what a pool's first nodes need against the region's quotas.

    Raises:
        GoogleError: one is too small.
    """
    config: JSON = asked.get("config") or asked.get("nodeConfig") or {}
    disk = config.get("bootDisk", {})
    size = float(disk.get("sizeGb") or config.get("diskSizeGb") or 100)
    kind = disk.get("diskType") or config.get("diskType") or "pd-balanced"
    needed = {"DISKS_TOTAL_GB" if kind == "pd-standard" else "SSD_TOTAL_GB": size * nodes}
    for accelerator in config.get("accelerators", ()):
        metric = f"{'PREEMPTIBLE_' if config.get('spot') else ''}{accelerator['acceleratorType'].upper()}_GPUS"
        needed[metric.replace("-", "_")] = float(accelerator["acceleratorCount"]) * nodes
    for metric, amount in needed.items():
        left = state.faults.quotas.get(metric)
        if left is not None and amount > left:
            raise faults.quota(metric, amount, left, call.project)


def check_free(state: State, cluster: str) -> None:
    """Refuse a change while another one of the cluster is under way, as GKE does.

    Raises:
        GoogleError: one is.
    """
    for operation in state.operations.values():
        if not operation.done and operation.call.method.service == "container" and operation.target == cluster:
            text = f"Cluster is running incompatible operation {operation.name.rpartition('/')[2]}."
            raise GoogleError(400, text, code="FAILED_PRECONDITION", reason="failedPrecondition")


def _minor(version: str) -> int:
    return int(version.split(".")[1])


def _disks(config: JSON) -> None:
    """Both spellings of the boot disk say the same."""
    disk = config.setdefault("bootDisk", {})
    if "sizeGb" in disk:
        config["diskSizeGb"] = int(disk["sizeGb"])
    if "diskType" in disk:
        config["diskType"] = disk["diskType"]
    disk.setdefault("sizeGb", str(config.setdefault("diskSizeGb", 100)))
    disk.setdefault("diskType", config.setdefault("diskType", "pd-balanced"))
    if int(disk["sizeGb"]) < 10:
        raise invalid(f"Disk size {disk['sizeGb']} GB is too small: the minimum is 10 GB.")


def _local_ssds(config: JSON) -> None:
    """Report the Local SSDs that a machine type always comes with, and that a pool did not ask for, as GKE does.

    Reported of a3-highgpu-2g: mozilla/terraform-modules #464.
    """
    machine = config["machineType"]
    found, asked = local_ssd.of(machine), config.get("ephemeralStorageLocalSsdConfig")
    if asked:
        if not found or int(asked.get("localSsdCount", 0)) not in found.counts:
            raise invalid(f"Invalid number of local SSDs for machine type {machine}.")
    elif found and found.bundled and not config.get("localNvmeSsdBlockConfig"):
        config["ephemeralStorageLocalSsdConfig"] = {"localSsdCount": found.counts[0]}


_CONFIG: JSON = {
    "machineType": "e2-medium",
    "imageType": "COS_CONTAINERD",
    "serviceAccount": "default",
    "oauthScopes": ["https://www.googleapis.com/auth/devstorage.read_only"],
    "shieldedInstanceConfig": {"enableIntegrityMonitoring": True},
    "effectiveCgroupMode": "EFFECTIVE_CGROUP_MODE_V2",
    "windowsNodeConfig": {},
}
