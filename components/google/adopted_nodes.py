"""What the pools of an existing GKE cluster must be for the models that name them, and as whom their nodes pull.

A pool that exists is described in the settings like one that is made; what GKE reports of it must hold what they say.
"""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from components.google import accelerators, custom_machines, image_disk, image_volume, pool_names, pool_origin
from components.google import sdk as gcp
from components.google.pool_origin import NodeOrigin
from components.settings.google import NodePoolSettings
from components.settings.places import StackCluster

DEFAULT_ACCOUNT = "default"
"""What GKE reports of nodes that act as Compute Engine's own service account."""
_PREFER = "PREFER_NO_SCHEDULE"


@dataclass(frozen=True)
class ReportedPool:
    """What GKE reports of a node pool; `max_nodes` in all zones together, as many as there are without autoscaling."""

    name: str
    version: str = ""
    machine_type: str = ""
    accelerator: str = ""
    count: int = 0
    partition: str = ""
    strategy: str = ""
    clients: int = 0
    disk_gb: int = 0
    local_ssds: int = 0
    max_nodes: int = 0
    spot: bool = False
    queued: bool = False
    sandbox: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[tuple[str, str, str], ...] = ()
    account: str = ""


@dataclass(frozen=True)
class ReportedNodes:
    """The pools of a cluster by their names, and the account of the nodes that GKE makes by itself."""

    pools: Mapping[str, ReportedPool] = field(default_factory=dict)
    account: str = DEFAULT_ACCOUNT


def reported(result: gcp.container.GetClusterResult) -> ReportedNodes:
    """What of a look-up's result matters here."""
    autoscaling = next(iter(result.cluster_autoscalings or []), None)
    defaults = next(iter(autoscaling.auto_provisioning_defaults if autoscaling else []), None)
    pools = [_pool(pool) for pool in result.node_pools or []]
    return ReportedNodes(
        {pool.name: pool for pool in pools}, (defaults.service_account if defaults else "") or DEFAULT_ACCOUNT
    )


def account(result: gcp.container.GetClusterResult, key: str, pool: NodePoolSettings) -> str:
    """The account of a pool's nodes: an email, or `default`."""
    nodes = reported(result)
    if not pool.existing:
        return nodes.account
    return nodes.pools[pool_origin.existing_name(key, pool)].account or DEFAULT_ACCOUNT


def problems(nodes: ReportedNodes, wanted: StackCluster) -> list[str]:
    """Why the stack's models cannot run on the cluster's pools that they name, each with the key and the remedy."""
    return [
        f"nodePools.{key}{below}: {problem}"
        for key, pool in wanted.given.items()
        if pool_origin.of(pool, autopilot=wanted.settings.autopilot) is NodeOrigin.EXISTING
        for below, problem in _problems(nodes, wanted, key, pool)
    ]


def _problems(
    nodes: ReportedNodes, wanted: StackCluster, key: str, pool: NodePoolSettings
) -> Iterator[tuple[str, str]]:
    name = pool_origin.existing_name(key, pool)
    there = nodes.pools.get(name)
    if there is None:
        names = ", ".join(sorted(nodes.pools)) or "none"
        yield ".existing", f"cluster {wanted.name} has no pool {name!r}: its pools are {names}"
        return
    yield from _gpus(there, pool)
    yield from _machine(there, pool)
    yield from _capacity(there, pool)
    yield from _marks(there, pool)
    if key in wanted.mounting:
        problem = image_volume.problem(there.version, alpha=False, sandbox=there.sandbox, subpath=wanted.needs_subpath)
        if problem:
            upgrade = f"gcloud container clusters upgrade {wanted.name} --node-pool={name}"
            yield ".existing", f"its nodes: {problem}{'' if there.sandbox else f' ({upgrade})'}"


def _gpus(there: ReportedPool, pool: NodePoolSettings) -> Iterator[tuple[str, str]]:
    if not there.count:
        yield ".existing", f"pool {there.name} has no GPUs: name another one"
        return
    for below, said, has in (
        (".accelerator", pool.accelerator, there.accelerator),
        (".count", pool.count, there.count),
        (".gpuPartitionSize", pool.gpu_partition_size or "", there.partition),
    ):
        if said != has:
            yield below, _differs(there.name, said, has)
    shares = (pool.sharing.strategy, pool.sharing.max_clients) if pool.sharing else ("", 0)
    if shares != (there.strategy, there.clients):
        write = f"{{strategy: {there.strategy}, maxClients: {there.clients}}}" if there.clients else ""
        remedy = f"write {write}" if write else "remove it"
        yield ".sharing", f"pool {there.name} shares its GPUs {'so' if write else 'not at all'}: {remedy}"


def _machine(there: ReportedPool, pool: NodePoolSettings) -> Iterator[tuple[str, str]]:
    machine = accelerators.machine_for(pool.accelerator, pool.count, pool.machine_type)
    if (there.accelerator, there.count) == (pool.accelerator, pool.count) and not _same(
        there.machine_type, machine.name
    ):
        yield (
            ".machineType",
            f"pool {there.name} has {there.machine_type}, and pods are sized for {machine.name}: write "
            f"{there.machine_type}",
        )
    held = image_disk.of(pool, machine)
    asked = image_disk.asked(pool) or 0
    # Those that a machine type always comes with are used without being asked for, and then not reported.
    if asked != there.local_ssds and not (held.is_local and not asked):
        yield ".localSsd", _differs(there.name, asked, there.local_ssds)
    if there.disk_gb < pool.boot_disk.size_gb and not held.is_local:
        yield (
            ".bootDisk.sizeGb",
            f"pool {there.name} has boot disks of {there.disk_gb} GB, less than the {pool.boot_disk.size_gb} that are "
            f"asked for: name another pool, or gcloud container node-pools update {there.name} --cluster=CLUSTER "
            f"--disk-size={pool.boot_disk.size_gb} (its nodes are made anew)",
        )


def _same(there: str, wanted: str) -> bool:
    """Whether two machine types are the same; one of N1 that is made to measure has two names."""
    return there == wanted or (
        (custom := custom_machines.read(there)) is not None and custom == custom_machines.read(wanted)
    )


def _capacity(there: ReportedPool, pool: NodePoolSettings) -> Iterator[tuple[str, str]]:
    most = pool.max_nodes * (len(pool.zones) or 1 if pool.per_zone else 1)
    if most > there.max_nodes:
        yield (
            ".maxNodes",
            f"pool {there.name} has {there.max_nodes} nodes at most in all zones together, fewer than {most}: write "
            f"{there.max_nodes}, or raise it (gcloud container node-pools update {there.name} --cluster=CLUSTER "
            f"--enable-autoscaling --total-max-nodes={most})",
        )
    for below, said, has in (
        (".spot", pool.spot, there.spot),
        (".queuedProvisioning", pool.queued_provisioning, there.queued),
    ):
        if said != has:
            yield below, _differs(there.name, str(said).lower(), str(has).lower())
    if there.sandbox and pool.sandbox is None:
        yield ".sandbox", f"pool {there.name} runs GKE Sandbox: write gvisor"


def _marks(there: ReportedPool, pool: NodePoolSettings) -> Iterator[tuple[str, str]]:
    for label, value in pool.labels.items():
        if there.labels.get(label) != value:
            yield ".labels", f"pool {there.name} has no label {label}={value}: remove it, or put it on the pool"
    borne = {(taint["key"], taint["effect"]): taint["value"] for taint in pool_names.taints(pool)}
    for key, value, effect in there.taints:
        found = borne.get((key, pool_names.EFFECTS.get(effect, effect)))
        if effect != _PREFER and found not in {"", value}:
            yield (
                ".taints",
                f"pool {there.name} has the taint {key}={value}:{effect}, which pods would not tolerate: write "
                f"{{key: {key}, value: {value!r}, effect: {effect}}}",
            )


def _differs(name: str, said: object, has: object) -> str:
    return f"is {said or 'not said'}, but pool {name} has {has or 'none'}: {f'write {has}' if has else 'remove it'}"


def _pool(pool: gcp.container.outputs.GetClusterNodePoolResult) -> ReportedPool:
    config = pool.node_configs[0]
    gpu = next(iter(config.guest_accelerators or []), None)
    sharing = next(iter(gpu.gpu_sharing_configs or []), None) if gpu else None
    return ReportedPool(
        name=pool.name,
        version=pool.version,
        machine_type=config.machine_type,
        accelerator=gpu.type if gpu else "",
        count=gpu.count if gpu else 0,
        partition=(gpu.gpu_partition_size or "") if gpu else "",
        strategy=sharing.gpu_sharing_strategy if sharing else "",
        clients=sharing.max_shared_clients_per_gpu if sharing else 0,
        disk_gb=max([config.disk_size_gb or 0, *(disk.size_gb or 0 for disk in config.boot_disks or [])]),
        local_ssds=sum(ssd.local_ssd_count or 0 for ssd in config.ephemeral_storage_local_ssd_configs or []),
        max_nodes=_most(pool),
        spot=bool(config.spot),
        queued=any(queue.enabled for queue in pool.queued_provisionings or []),
        sandbox=bool(config.sandbox_configs),
        labels=dict(config.labels or {}),
        taints=tuple(
            (taint.key, taint.value, taint.effect) for taint in config.effective_taints or config.taints or []
        ),
        account=config.service_account,
    )


def _most(pool: gcp.container.outputs.GetClusterNodePoolResult) -> int:
    zones = len(pool.node_locations or []) or 1
    for autoscaling in pool.autoscalings or []:
        if autoscaling.total_max_node_count:
            return int(autoscaling.total_max_node_count)
        if autoscaling.max_node_count:
            return int(autoscaling.max_node_count) * zones
    return int(pool.node_count or 0) * zones
