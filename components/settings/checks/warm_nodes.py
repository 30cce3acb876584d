"""Whether nodes can be kept beside those in use, and whether a pool has room for them."""

from collections.abc import Collection, Iterator

from components.google import gpu_sharing
from components.google.pool_origin import NodeOrigin
from components.settings import spare
from components.settings.checks.unread import Problem, touches
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
            yield path, f"is {wanted}, and no model has nodePool: {key}: remove it, nobody would use the node"
        if pool.most_nodes is not None and wanted > pool.most_nodes:
            yield path, f"is {wanted}, and the pool has {pool.most_nodes} at most: write {below}.maxNodes: {wanted + 1}"


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
                f"{max(most - used, 0)}: write maxNodes: {used + wanted}",
            )
