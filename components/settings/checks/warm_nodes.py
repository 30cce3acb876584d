"""Whether nodes can be kept beside those in use, and whether a pool has room for them."""

import math
from collections.abc import Collection, Iterator

from components.google import gpu_sharing
from components.google.pool_origin import NodeOrigin
from components.settings import spare
from components.settings.checks.unread import Problem, touches
from components.settings.places import StackPool
from components.settings.stack import Settings


def problems(settings: Settings, unread: Collection[str] = ()) -> Iterator[Problem]:
    """What would keep no node; by full paths."""
    for key, pool in settings.node_pools.items():
        below, wanted = f"nodePools.{key}", pool.settings.warm_nodes
        if not wanted or pool.origin is NodeOrigin.ON_DEMAND or touches(below, unread):
            continue
        path = f"{below}.warmNodes"
        if gpu_sharing.shared(pool.settings):
            yield (
                path,
                f"is {wanted}, and a pod cannot take all parts of a shared GPU: remove it, or {below}.sharing and "
                "gpuPartitionSize, or keep nodes by minNodes",
            )
        if pool.settings.queued_provisioning:
            yield path, f"is {wanted}, and nodes come for a ProvisioningRequest only: remove it or queuedProvisioning"
        if settings.serves and spare.keeper(settings, pool) is None:
            yield (
                path,
                f"is {wanted}, and no model has nodePool: {key} or it in fallbackPools: remove it, nobody "
                "would use the node",
            )
        if pool.most_nodes is not None and wanted > pool.most_nodes:
            most = _max_nodes(pool, wanted + 1)
            yield path, f"is {wanted}, and the pool has {pool.most_nodes} at most: write {below}.maxNodes: {most}"


def warnings(settings: Settings) -> Iterator[Problem]:
    """Nodes that find no room once the models' pods are there."""
    for key, pool in settings.node_pools.items():
        wanted, most = pool.settings.warm_nodes, pool.most_nodes
        if not wanted or most is None or pool.origin is NodeOrigin.ON_DEMAND:
            continue
        used = spare.in_use(settings, pool)
        if used + wanted > most:
            yield (
                f"nodePools.{key}.warmNodes",
                f"is {wanted}, and beside the {used} that the models' pods need the pool has room for "
                f"{max(most - used, 0)}: write maxNodes: {_max_nodes(pool, used + wanted)}",
            )


def _max_nodes(pool: StackPool, nodes: int) -> int:
    """What `maxNodes` has to be for so many nodes in all zones together."""
    return math.ceil(nodes / (pool.zone_count or 1))
