"""What GKE refuses of a node pool's labels, taints and disk images, and of two pools that share an identity."""

import re
from collections.abc import Iterator, Mapping

from components.google import pool_names
from components.google.pool_origin import NodeOrigin
from components.settings.checks.unread import Problem
from components.settings.google import NodePoolSettings
from components.settings.places import StackPool

_IMAGE = r"(https://(www|compute)\.googleapis\.com/compute/v1/)?(projects/[^/]+/)?global/images/[a-z]([-a-z0-9]{0,61}[a-z0-9])?"
"""GKE, "Use secondary boot disks": a disk image by its path."""
_KUBERNETES = ("kubernetes.io", "k8s.io")
_OF_NODES = ("kubelet.kubernetes.io", "node.kubernetes.io")
"""Kubernetes' NodeRestriction: the only ones of its domains that a node may give itself; GKE refuses others ("Applying
kubernetes label is not allowed")."""
_OF_GKE = (
    "cloud.google.com/gke-accelerator",
    "cloud.google.com/gke-nodepool",
    "sandbox.gke.io/runtime",
)
"""GKE sets these by itself, and refuses them ("is reserved for gke sandbox", "managed by GKE or Kubernetes")."""


def of_pool(pool: NodePoolSettings) -> Iterator[Problem]:
    """What GKE refuses of a pool, by paths relative to it."""
    for image in pool.secondary_boot_disks:
        if not re.fullmatch(_IMAGE, image):
            yield (
                ".secondaryBootDisks",
                f"has {image!r}, the path of no disk image: write projects/PROJECT/global/images/NAME, as "
                "`oms image disk` prints it",
            )
    for key in pool.labels:
        problem = _own(key)
        if problem:
            yield ".labels", problem
    seen: set[tuple[str, str]] = set()
    for taint in pool.taints:
        if (taint.key, taint.effect) in seen:
            yield ".taints", f"has {taint.key} with {taint.effect} twice: write it once"
        seen.add((taint.key, taint.effect))


def together(pools: Mapping[str, StackPool]) -> Iterator[Problem]:
    """Pools whose nodes would have one service account, which each of them would create."""
    owners: dict[str, str] = {}
    for key, pool in pools.items():
        if key == pool_names.SYSTEM or pool.origin is not NodeOrigin.MADE:
            continue  # that name is refused already; nodes of others have an account of their own
        create = pool.cluster.settings.create
        if create is not None and not owners:
            owners[pool_names.account_id(create.name, pool_names.SYSTEM)] = "the system pool"
        if pool.account_id in owners:
            yield (
                f"nodePools.{key}.serviceAccountId",
                f"would be {pool.account_id!r}, as that of {owners[pool.account_id]}: write another one here",
            )
        owners.setdefault(pool.account_id, f"nodePools.{key}")


def _own(key: str) -> str | None:
    """What is wrong with a label that others give to nodes, or None."""
    if key == pool_names.POOL_LABEL:
        return f"has {key}, which marks the pool's nodes and is set without it: remove it"
    domain = key.rpartition("/")[0]
    reserved = any(domain == known or domain.endswith(f".{known}") for known in _KUBERNETES)
    allowed = any(domain == known or domain.endswith(f".{known}") for known in _OF_NODES)
    if key in _OF_GKE or (reserved and not allowed):
        return f"has {key}, which GKE reserves and refuses: write a prefix of your own, or none"
    return None
