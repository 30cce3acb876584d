"""What a pool says of nodes that this stack does not make: one that exists, or nodes that GKE makes for the pods."""

import re
from collections.abc import Iterator

from pydantic.alias_generators import to_camel

from components.google import pool_origin
from components.google.pool_origin import NodeOrigin
from components.settings.checks.unread import Problem
from components.settings.google import NodePoolSettings
from components.settings.places import StackPool
from components.settings.stack import Settings

_POOL_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_NO_GPUS = frozenset({"Balanced", "Scale-Out", "general-purpose", "autopilot", "autopilot-spot"})
_OF_MAKING = (
    "min_nodes",
    "max_run_duration",
    "image_streaming",
    "driver_version",
    "max_parallel_image_pulls",
    "registry_mirrors",
    "image_gc_high_threshold_percent",
    "image_gc_low_threshold_percent",
    "service_account_id",
    "max_pods_per_node",
    "confidential",
    "resource_labels",
)
"""Settings of a pool that only its maker has."""
_OF_POOLS = (
    "max_nodes",
    "warm_nodes",
    "per_zone",
    "queued_provisioning",
    "secondary_boot_disks",
    "sandbox",
    "labels",
    "local_ssd",
)
"""Those that nodes which come and go with their pods do not have either."""


def cluster_problems(settings: Settings) -> Iterator[Problem]:
    """What contradicts an Autopilot cluster."""
    cluster = settings.cluster.settings
    if not cluster.autopilot:
        return
    if not cluster.name:
        yield "cluster.autopilot", "is of a cluster that exists: write cluster {name: …, location: …, autopilot: true}"
    for key, model in settings.models.items():
        if model.settings.warm == "prepull":
            yield (
                f"models.{key}.warm",
                "is prepull, but on Autopilot a node comes with its pod, so that there is none to warm: write none",
            )


def problems(settings: Settings, made: StackPool) -> Iterator[Problem]:
    """What contradicts where a pool's nodes come from, by paths relative to it."""
    pool, cluster = made.settings, settings.cluster.settings
    if made.origin is NodeOrigin.MADE:
        if pool.service_account:
            yield ".serviceAccount", "is of nodes that this stack does not make: write serviceAccountId, or existing"
        return
    if pool.existing and pool.compute_class:
        yield ".existing", "and computeClass exclude each other: keep one"
    elif pool.existing:
        yield from _existing(made.key, pool, adopted=bool(cluster.name), autopilot=cluster.autopilot)
    else:
        yield from _on_demand(pool, autopilot=cluster.autopilot)
    refused = _OF_MAKING if made.origin is NodeOrigin.EXISTING else (*_OF_MAKING, *_OF_POOLS)
    for name in refused:
        if name in pool.model_fields_set:
            yield f".{to_camel(name)}", f"is of a pool that this stack makes: remove it, {_whose(made.origin)}"
    if pool.boot_disk.kms_key:
        yield ".bootDisk.kmsKey", f"is of a pool that this stack makes: remove it, {_whose(made.origin)}"


def _whose(origin: NodeOrigin) -> str:
    return "the pool has its own" if origin is NodeOrigin.EXISTING else "GKE makes these nodes for the pods"


def _existing(key: str, pool: NodePoolSettings, *, adopted: bool, autopilot: bool) -> Iterator[Problem]:
    name = pool_origin.existing_name(key, pool)
    if autopilot:
        yield ".existing", "is for Standard clusters: remove it, on Autopilot GKE makes the nodes for the pods"
    elif not adopted:
        yield ".existing", "is a pool of an existing cluster: write cluster {name: …, location: …}, or remove it"
    elif not _POOL_NAME.fullmatch(name):
        yield ".existing", f"is {name!r}, which is no name of a node pool: write the one that GKE shows"


def _on_demand(pool: NodePoolSettings, *, autopilot: bool) -> Iterator[Problem]:
    chosen = pool.compute_class
    if chosen in _NO_GPUS:
        yield ".computeClass", f"is {chosen}, which has no GPUs: write Accelerator, or a ComputeClass of your own"
    elif chosen in pool_origin.BUILT_IN and not autopilot:
        yield (
            ".computeClass",
            f"is {chosen}, which is Autopilot's: name a ComputeClass of your own, or write cluster.autopilot: true "
            "where it is one",
        )
    if pool_origin.chosen_by_class(pool):
        return
    for name, set_ in (("bootDisk", "boot_disk"), ("machineType", "machine_type"), ("taints", "taints")):
        if set_ in pool.model_fields_set:
            yield (
                f".{name}",
                "is chosen by GKE on Autopilot: remove it, or say it in a ComputeClass of your own and name that in "
                "computeClass",
            )
    if len(pool.zones) > 1:
        yield ".zones", f"has {len(pool.zones)} zones, and pods on Autopilot ask for one: write one, or none"
