"""Where a pool's nodes come from (this stack, the cluster, or GKE when pods ask), and how pods find them. Pure.

Sources (GKE): "Deploy GPU workloads in Autopilot" and "About custom ComputeClasses" for the labels by which pods ask
for nodes; "Consume reserved zonal resources" for reservations; "About GPU obtainability with flex-start".
"""

from enum import Enum

from components.google import gpu_sharing
from components.google.pool_names import CLASS_LABEL, POOL_LABEL
from components.settings.google import NodePoolSettings

NODE_POOL_LABEL = "cloud.google.com/gke-nodepool"
ACCELERATOR_LABEL = "cloud.google.com/gke-accelerator"
BUILT_IN = ("Accelerator", "Performance")
"""ComputeClasses of GKE's own that have GPUs, on Autopilot: they know the accelerator from the pod alone."""
_COUNT_LABEL = "cloud.google.com/gke-accelerator-count"
_SPOT_LABEL = "cloud.google.com/gke-spot"
_FLEX_LABEL = "cloud.google.com/gke-flex-start"
_ZONE_LABEL = "topology.kubernetes.io/zone"


class NodeOrigin(Enum):
    """Where the nodes of a pool come from."""

    MADE = "made"
    """This stack makes the pool."""
    EXISTING = "existing"
    """The adopted cluster has the pool."""
    ON_DEMAND = "on demand"
    """GKE makes nodes for the pods: on Autopilot, or of a ComputeClass."""


def of(pool: NodePoolSettings, *, autopilot: bool) -> NodeOrigin:
    """Where the nodes of a pool come from."""
    if pool.existing:
        return NodeOrigin.EXISTING
    return NodeOrigin.ON_DEMAND if autopilot or pool.compute_class else NodeOrigin.MADE


def existing_name(key: str, pool: NodePoolSettings) -> str:
    """The name in GKE of a pool that exists."""
    return pool.existing if isinstance(pool.existing, str) else key


def chosen_by_class(pool: NodePoolSettings) -> bool:
    """Whether a ComputeClass of one's own says what the nodes are."""
    return pool.compute_class is not None and pool.compute_class not in BUILT_IN


def selector(key: str, pool: NodePoolSettings, origin: NodeOrigin) -> dict[str, str]:
    """The labels by which pods find the nodes of a pool."""
    if origin is NodeOrigin.MADE:
        return {POOL_LABEL: key, **gpu_sharing.labels(pool)}
    if origin is NodeOrigin.EXISTING:
        return {NODE_POOL_LABEL: existing_name(key, pool), **gpu_sharing.labels(pool)}
    shared = gpu_sharing.labels(pool)
    chosen = {CLASS_LABEL: pool.compute_class} if pool.compute_class else {}
    if chosen_by_class(pool):
        return {**chosen, **shared}
    return {
        **chosen,
        ACCELERATOR_LABEL: pool.accelerator,
        _COUNT_LABEL: str(pool.count),
        **shared,
        **({_SPOT_LABEL: "true"} if pool.spot else {}),
        **({_FLEX_LABEL: "true"} if pool.flex_start else {}),
        **_reserved(pool),
        **({_ZONE_LABEL: pool.zones[0]} if pool.zones else {}),
    }


def _reserved(pool: NodePoolSettings) -> dict[str, str]:
    if not pool.reservation:
        return {}
    prefix = "cloud.google.com/reservation"
    return {f"{prefix}-name": pool.reservation, f"{prefix}-affinity": "specific"}
