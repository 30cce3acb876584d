"""What replaces a resource of Google's, and which goes first then: the old one or its successor.

For a resource whose `name` the program gives, the bridge of the Google provider deletes the old one first, whatever
the names (pulumi-terraform-bridge v3, `nameRequiresDeleteBeforeReplace`). So every resource whose name or id is ours
says itself which it is:

- `SUCCESSOR_FIRST` where each change that replaces it also gives it another identity, so that both can exist at once.
  A node pool: its name has six digits of what replaces it (`pool_names`), and its models lose no GPU before the new
  pool is there. A service account: its project and id are all that replaces it. A repository: a new one must be there
  for the images to move to; under the same id Google refuses the second (409) and nothing is lost, where deleting
  first would take the images that are being served.
- `OLD_FIRST` where it is fixed, so that Google would refuse a second one: the cluster, which keeps its name when it
  becomes an alpha cluster or gets other ranges, and what it stands on: subnetworks of one network may not overlap, and
  a network has one NAT for all its subnetworks in a region. They go with the cluster in any case.

The identity of a role's binding and of an enabled API is all that they have, and those have no name.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pulumi

SUCCESSOR_FIRST = pulumi.ResourceOptions(delete_before_replace=False)
OLD_FIRST = pulumi.ResourceOptions(delete_before_replace=True)

UPGRADED = ("version", "initialNodeCount")
"""What a pool's settings only start with: its channel upgrades the nodes."""

_POOL = ("max_pods_per_node", "network_config", "placement_policy", "queued_provisioning")
_NODES = (
    "advanced_machine_features",
    "boot_disk_kms_key",
    "enable_confidential_storage",
    "ephemeral_storage_local_ssd_config",
    "flex_start",
    "guest_accelerators",
    "host_maintenance_policy",
    "local_nvme_ssd_block_config",
    "local_ssd_count",
    "local_ssd_encryption_mode",
    "max_run_duration",
    "min_cpu_platform",
    "node_group",
    "preemptible",
    "reservation_affinity",
    "sandbox_config",
    "secondary_boot_disks",
    "sole_tenant_config",
    "spot",
)
# Without the pods' range, which excludes `ip_allocation_policy`: a cluster that was imported has both in its state, and
# what is ignored comes from there. The provider takes what GKE says of it anyway.
_CLUSTER = ("confidential_nodes", "default_max_pods_per_node", "description", "enable_autopilot")
_PRIVATE = ("master_ipv4_cidr_block", "private_endpoint_subnetwork")


def unasked_of_pool(pool: Mapping[str, Any], nodes: Mapping[str, Any]) -> list[str]:
    """What of a node pool is not asked for and would replace it, were GKE to report a value: to be ignored.

    Of a pool, a block that goes from the settings still replaces it: its name changes (`pool_names.replacing`), and a
    successor is made of the program's inputs alone.

    Args:
        pool: the pool's own arguments, as far as they are among those that may be left out.
        nodes: its `node_config`.
    """
    return [*_unasked(_POOL, pool), *_unasked(_NODES, nodes, "nodeConfig.")]


def unasked_of_cluster(private: Mapping[str, Any]) -> list[str]:
    """The same of a cluster, whose `private_cluster_config` is given."""
    return [*_unasked(_CLUSTER, {}), *_unasked(_PRIVATE, private, "privateClusterConfig.")]


def _unasked(optional: Iterable[str], given: Mapping[str, Any], prefix: str = "") -> list[str]:
    return [prefix + _camel(name) for name in optional if given.get(name) is None]


def _camel(name: str) -> str:
    """The name as the provider spells it, which is how the engine takes paths."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)
