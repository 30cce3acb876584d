"""The names of a node pool and of its service account, and what its nodes are marked with. Pure."""

import hashlib
import json
from typing import Any

from components.google.accelerators import Machine
from components.settings.google import NodePoolSettings

SYSTEM = "system"
"""The pool without GPUs that a created cluster has; no GPU pool may be called so."""
POOL_LABEL = "oci-model-serving/pool"
"""Selects the nodes of a pool by its key, which outlives a replacement (GKE's own label holds the pool's name)."""
CLASS_LABEL = "cloud.google.com/compute-class"
"""Label and taint of the nodes of a ComputeClass (GKE, "About custom ComputeClasses")."""
_GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
"""GKE puts it on GPU nodes by itself (GKE, "Run GPUs in Standard node pools"), so it is not among the pool's taints."""
EFFECTS = {"NO_SCHEDULE": "NoSchedule", "PREFER_NO_SCHEDULE": "PreferNoSchedule", "NO_EXECUTE": "NoExecute"}
"""A taint's effect as Google spells it -> as Kubernetes does."""
_POOL_NAME = 40
ACCOUNT_ID = 30
_DIGITS = 6


def account_id(cluster: str, key: str, pool: NodePoolSettings | None = None) -> str:
    """The id of a pool's service account: the one in the settings, or `<cluster>-<key>`.

    Google wants 6 to 30 characters; a longer default is cut and told apart by six hexadecimal digits.
    """
    if pool is not None and pool.service_account_id:
        return pool.service_account_id
    name = f"{cluster}-{key}"
    if len(name) <= ACCOUNT_ID:
        return name if len(name) >= 6 else f"{name}-nodes"
    return _shortened(name, ACCOUNT_ID, _hash(name))


def pool_name(key: str, replacing: dict[str, Any]) -> str:
    """The name of a node pool in GKE: its key and six digits of what cannot change in place.

    A change of those replaces the pool; with the digits the new one has another name, so that it can be created before
    the old one goes. At most 40 characters (GKE).
    """
    return _shortened(key, _POOL_NAME, _hash(json.dumps(replacing, sort_keys=True)))


def replacing(pool: NodePoolSettings, machine: Machine, account: str) -> dict[str, Any]:
    """What of a pool's settings forces its replacement, by the provider's argument that does.

    Source: the fields with ForceNew of `google_container_node_pool` and its `node_config`
    (terraform-provider-google 7.45.0, August 2026); machine type, boot disk, zones, sizes, labels, taints, image
    streaming and the kubelet's settings are updated in place there.
    """
    return {
        "guestAccelerators": [machine.accelerator, machine.count, pool.driver_version],
        "spot": pool.spot,
        "flexStart": pool.flex_start,
        "queuedProvisioning": pool.queued_provisioning,
        "maxRunDuration": pool.max_run_duration,
        "reservationAffinity": pool.reservation,
        "secondaryBootDisks": list(pool.secondary_boot_disks),
        "sandboxConfig": pool.sandbox,
        "serviceAccount": account,
        "maxPodsPerNode": pool.max_pods_per_node,
        # Not among the others of a pool that does not ask for it: pools made before had no such setting.
        **({"ephemeralStorageLocalSsdConfig": pool.local_ssd} if isinstance(pool.local_ssd, int) else {}),
        **_later(pool),
    }


def _later(pool: NodePoolSettings) -> dict[str, Any]:
    """Settings that came later, where they are used: a pool that an earlier version has made keeps its name."""
    sharing = pool.sharing and [pool.sharing.strategy, pool.sharing.max_clients]
    given = {
        "bootDiskKmsKey": pool.boot_disk.kms_key,
        "gpuPartitionSize": pool.gpu_partition_size,
        "gpuSharingConfig": sharing,
    }
    return {name: value for name, value in given.items() if value is not None}


def google_labels(key: str) -> dict[str, str]:
    """The Google labels of a pool's nodes that are the program's."""
    return {"managed-by": "pulumi", "part-of": "oci-model-serving", "node-pool": key}


def taints(pool: NodePoolSettings) -> list[dict[str, str]]:
    """The taints of a pool's nodes, as Kubernetes spells them, GKE's own included."""
    own = [{"key": taint.key, "value": taint.value, "effect": EFFECTS[taint.effect]} for taint in pool.taints]
    name = pool.compute_class
    of_class = [{"key": CLASS_LABEL, "value": name, "effect": "NoSchedule"}] if name else []
    return [_GPU_TAINT, *own, *of_class]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _shortened(name: str, length: int, digits: str) -> str:
    return f"{name[: length - _DIGITS - 1].rstrip('-')}-{digits}"
