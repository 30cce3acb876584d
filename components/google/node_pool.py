"""GpuNodePool: the GPU nodes of a kind, their identity, and a disk that holds the images."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

from typing import Any

import pulumi

from components.google import google_apis, hardening, image_disk, node_accounts, pool_names, pool_origin, replacement
from components.google import sdk as gcp
from components.google.cluster import Cluster
from components.google.gke import CLOUD_PLATFORM, NODE_METADATA
from components.settings.google import NodePoolSettings
from components.settings.places import StackPool

_RESERVATION_KEY = "compute.googleapis.com/reservation-name"


class GpuNodePool(pulumi.ComponentResource):
    """GPU nodes with their own service account, scaled from zero, and a disk that holds the images.

    Deliberately gives the nodes no role on images: reading a registry is granted on the repository, by ModelRegistry.
    The pool's name carries what cannot change in place, so that a replacement is created before the old pool goes.
    """

    service_account: pulumi.Output[str]
    """Email of the nodes' service account."""
    described: dict[str, Any]
    """The pool as the stack's outputs show it (`oci_model_serving.outputs.NodePoolOutput`)."""

    def __init__(
        self, name: str, pool: StackPool, cluster: Cluster, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[cluster]))
        super().__init__("oci-model-serving:index:GpuNodePool", name, None, after)
        apis = ("containerfilesystem",) if pool.streams and pool.cluster.enable_apis else ()
        enabled = google_apis.enabled(self, name, pool.cluster.project, apis)
        account, bindings = node_accounts.node_account(
            name,
            pool.account_id,
            project=pool.cluster.project,
            pool=pool.key,
            streaming=pool.streams,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self._pool(name, pool, cluster, account.email, [*bindings, *enabled])
        self.service_account = account.email
        self.described = described(pool)
        self.register_outputs({"service_account": self.service_account, **self.described})

    def _pool(
        self, name: str, made: StackPool, cluster: Cluster, account: pulumi.Input[str], before: list[pulumi.Resource]
    ) -> gcp.container.NodePool:
        pool, alpha = made.settings, made.cluster.alpha
        nodes = _node_config(made, account)
        optional: dict[str, Any] = {
            "max_pods_per_node": pool.max_pods_per_node,
            "queued_provisioning": {"enabled": True} if pool.queued_provisioning else None,
        }
        options = pulumi.ResourceOptions(
            parent=self,
            depends_on=before,
            deleted_with=cluster.resource,
            ignore_changes=[*replacement.UPGRADED, *replacement.unasked_of_pool(optional, nodes)],
        )
        return gcp.container.NodePool(
            name,
            name=pool_names.pool_name(made.key, pool_names.replacing(pool, made.machine, made.account_id)),
            cluster=cluster.name,
            location=cluster.location,
            project=cluster.project,
            version=cluster.version,
            node_locations=list(pool.zones) or None,
            initial_node_count=_initial_nodes(pool),
            autoscaling=_autoscaling(made),
            management={"auto_repair": not (alpha or made.on_request), "auto_upgrade": not alpha},
            # A scarce GPU cannot be had twice: the node goes before its successor comes. Nodes that are made on request
            # are upgraded in a way of their own, which GKE chooses.
            upgrade_settings=None if made.on_request else {"strategy": "SURGE", "max_surge": 0, "max_unavailable": 1},
            node_config=nodes,
            **optional,
            opts=pulumi.ResourceOptions.merge(options, replacement.SUCCESSOR_FIRST),
        )


def described(pool: StackPool) -> dict[str, Any]:
    """A pool as the stack's outputs show it."""
    settings = pool.settings
    return {
        "accelerator": settings.accelerator,
        "count": settings.count,
        "machine_type": pool.machine.name,
        "disk_size_gb": settings.boot_disk.size_gb if pool.disk_known else 0,
        "labels": {**pool.selector, pool_origin.ACCELERATOR_LABEL: pool.machine.accelerator},
        "taints": pool_names.taints(settings),
        "min_nodes": settings.min_nodes,
        "max_nodes": settings.max_nodes,
        "spot": settings.spot,
    }


def _node_config(made: StackPool, account: pulumi.Input[str]) -> gcp.container.NodePoolNodeConfigArgsDict:
    pool, machine = made.settings, made.machine
    return {
        "machine_type": machine.name,
        "image_type": "COS_CONTAINERD",
        "guest_accelerators": [
            {
                "type": machine.accelerator,
                "count": machine.count,
                "gpu_driver_installation_config": ({"gpu_driver_version": pool.driver_version}),
                "gpu_partition_size": pool.gpu_partition_size,
                "gpu_sharing_config": _sharing(pool),
            }
        ],
        "boot_disk": {
            "size_gb": pool.boot_disk.size_gb,
            "disk_type": image_disk.type_of(pool.boot_disk, machine),
            "provisioned_iops": pool.boot_disk.provisioned_iops,
            "provisioned_throughput": pool.boot_disk.provisioned_throughput,
        },
        "ephemeral_storage_local_ssd_config": _local_ssds(pool),
        "boot_disk_kms_key": pool.boot_disk.kms_key,
        "secondary_boot_disks": [
            {"disk_image": image, "mode": "CONTAINER_IMAGE_CACHE"} for image in pool.secondary_boot_disks
        ]
        or None,
        "gcfs_config": {"enabled": True} if made.streams else None,
        "spot": pool.spot,
        "flex_start": pool.flex_start or None,
        "max_run_duration": f"{pool.max_run_duration}s" if pool.max_run_duration else None,
        "reservation_affinity": _reservation(made),
        "service_account": account,
        "oauth_scopes": [CLOUD_PLATFORM],
        "metadata": NODE_METADATA,
        "labels": {**pool.labels, pool_names.POOL_LABEL: made.key},
        "resource_labels": {**pool.resource_labels, **pool_names.google_labels(made.key)},
        "taints": [{"key": taint.key, "value": taint.value, "effect": taint.effect} for taint in pool.taints],
        "sandbox_config": {"type": pool.sandbox.upper()} if pool.sandbox else None,
        "gvnic": {"enabled": True},
        "shielded_instance_config": {
            "enable_integrity_monitoring": True,
            # GKE installs signed drivers; what others install is not signed, and would not load.
            "enable_secure_boot": pool.driver_version != "INSTALLATION_DISABLED",
        },
        "workload_metadata_config": {"mode": "GKE_METADATA"},
        "kubelet_config": {
            "max_parallel_image_pulls": pool.max_parallel_image_pulls,
            "image_gc_high_threshold_percent": pool.image_gc_high_threshold_percent,
            "image_gc_low_threshold_percent": pool.image_gc_low_threshold_percent,
            "insecure_kubelet_readonly_port_enabled": "FALSE",
        },
        "containerd_config": _mirrors(pool),
        "confidential_nodes": hardening.confidential(pool.confidential),
    }


def _mirrors(pool: NodePoolSettings) -> gcp.container.NodePoolNodeConfigContainerdConfigArgsDict | None:
    """Where the nodes ask for images first: by digest, so that a mirror cannot make another image of one.

    A mirror that may tell tags has the other capability too; without any named it would have all, pushing included
    (GKE API, HostConfig). What none of them has comes from the registry itself (containerd, "Registry Host Namespace").
    """
    hosts: list[gcp.container.NodePoolNodeConfigContainerdConfigRegistryHostArgsDict] = [
        {
            "server": server,
            "hosts": [
                {
                    "host": mirror.host,
                    "capabilities": ["HOST_CAPABILITY_PULL", *(["HOST_CAPABILITY_RESOLVE"] if mirror.tags else [])],
                    "override_path": mirror.has_path or None,
                }
                for mirror in mirrors
            ],
        }
        for server, mirrors in sorted(pool.registry_mirrors.items())
    ]
    return {"registry_hosts": hosts} if hosts else None


def _local_ssds(
    pool: NodePoolSettings,
) -> gcp.container.NodePoolNodeConfigEphemeralStorageLocalSsdConfigArgsDict | None:
    # Those that a machine type always comes with are used without being asked for; to ask would replace the pool.
    count = image_disk.asked(pool)
    return {"local_ssd_count": count} if count else None


def _sharing(pool: NodePoolSettings) -> gcp.container.NodePoolNodeConfigGuestAcceleratorGpuSharingConfigArgsDict | None:
    if pool.sharing is None:
        return None
    return {
        "gpu_sharing_strategy": pool.sharing.strategy,
        "max_shared_clients_per_gpu": pool.sharing.max_clients,
    }


def _initial_nodes(pool: NodePoolSettings) -> int:
    """Nodes in each zone to begin with: as many of the minimum as every zone can have; the autoscaler adds the rest.

    Without zones their number is the cluster's, which is not known here, and the pool begins with none.
    """
    if pool.per_zone:
        return pool.min_nodes
    return pool.min_nodes // len(pool.zones) if pool.zones else 0


def _autoscaling(made: StackPool) -> gcp.container.NodePoolAutoscalingArgs:
    pool = made.settings
    anywhere = pool.spot or made.on_request or pool.reservation is not None
    # ANY takes capacity, and reservations, where they are; BALANCED waits for a zone that has none.
    counts: dict[str, Any] = (
        {"min_node_count": pool.min_nodes, "max_node_count": pool.max_nodes}
        if pool.per_zone
        else {"total_min_node_count": pool.min_nodes, "total_max_node_count": pool.max_nodes}
    )
    return gcp.container.NodePoolAutoscalingArgs(location_policy="ANY" if anywhere else "BALANCED", **counts)


def _reservation(made: StackPool) -> gcp.container.NodePoolNodeConfigReservationAffinityArgsDict | None:
    if made.settings.reservation:
        return {
            "consume_reservation_type": "SPECIFIC_RESERVATION",
            "key": _RESERVATION_KEY,
            "values": [made.settings.reservation],
        }
    if made.on_request:
        return {"consume_reservation_type": "NO_RESERVATION"}
    return None
