"""GpuNodePool: the GPU nodes of a kind, their identity, and a disk that holds the images."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_gcp as gcp

from components import accelerators, disk, google_apis, node_accounts, pool_names, schema
from components.cluster import CLOUD_PLATFORM, NODE_METADATA, Cluster
from components.scheduling import EFFECTS

POOL_LABEL = "oci-model-serving/pool"
"""Selects the nodes of a pool by its key, which outlives a replacement (GKE's own label holds the pool's name)."""
ACCELERATOR_LABEL = "cloud.google.com/gke-accelerator"
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
"""GKE puts it on GPU nodes by itself (GKE, "Run GPUs in Standard node pools"), so it is not among the pool's taints."""
_RESERVATION_KEY = "compute.googleapis.com/reservation-name"


class NodePoolError(pulumi.RunError):
    """The pool cannot hold its images; the message has the size that would do."""


@dataclass(frozen=True)
class GpuNodePoolArgs:
    """What a pool is made of.

    Attributes:
        key: the pool's key.
        pool: its settings.
        cluster: the cluster that gets the nodes. They start with its version; the release channel upgrades them.
        image_sizes_gb: model -> size of its image in GB, of the models that may land on a node; an Output where it is
            known after the build, None where it is not known at all.
    """

    key: str
    pool: schema.NodePool
    cluster: Cluster
    image_sizes_gb: Mapping[str, pulumi.Input[float] | None] = field(default_factory=dict)


class GpuNodePool(pulumi.ComponentResource):
    """GPU nodes with their own service account, scaled from zero, and a boot disk sized for the images.

    Deliberately gives the nodes no role on images: reading a registry is granted on the repository, by ModelRegistry.
    The pool's name carries what cannot change in place, so that a replacement is created before the old pool goes.
    """

    name: pulumi.Output[str]
    """Name of the pool in GKE."""
    service_account: pulumi.Output[str]
    """Email of the nodes' service account."""
    labels: dict[str, str]
    """Node selector for the pool's nodes."""
    taints: list[dict[str, str]]
    """Taints of the nodes, as Kubernetes spells them, GKE's own included."""
    machine_type: str
    disk_size_gb: pulumi.Output[int]
    """Boot disk in GB, once the sizes of all images are known to fit."""
    disk_needed_gb: pulumi.Output[int]
    """What the images of known size need of it, in GB."""

    def __init__(self, name: str, args: GpuNodePoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("oci-model-serving:index:GpuNodePool", name, None, opts)
        self._args = args
        self._machine = accelerators.machine_for(args.pool.accelerator, args.pool.count, args.pool.machine_type)
        place, streaming = args.cluster.place, _streams(args.pool)
        self._account_id = pool_names.account_id(place.name, args.key, args.pool)
        enabled = google_apis.enabled(
            self, name, place.project, ("containerfilesystem",) if streaming and place.enable_apis else ()
        )
        account, bindings = node_accounts.node_account(
            name,
            self._account_id,
            project=place.project,
            pool=args.key,
            streaming=streaming,
            opts=pulumi.ResourceOptions(parent=self),
        )
        pool = self._pool(name, account.email, [*bindings, *enabled])
        self.name, self.service_account = pool.name, account.email
        self.labels = {POOL_LABEL: args.key, ACCELERATOR_LABEL: self._machine.accelerator}
        self.taints = [
            GPU_TAINT,
            *({"key": taint.key, "value": taint.value, "effect": EFFECTS[taint.effect]} for taint in args.pool.taints),
        ]
        self.machine_type = self._machine.name
        known: dict[str, Any] = {key: size for key, size in args.image_sizes_gb.items() if size is not None}
        sizes = pulumi.Output.from_input(known)
        self.disk_needed_gb = sizes.apply(self._fitting)
        self.disk_size_gb = self.disk_needed_gb.apply(lambda _: args.pool.boot_disk.size_gb)
        self.register_outputs(
            {
                "name": self.name,
                "service_account": self.service_account,
                "labels": self.labels,
                "taints": self.taints,
                "machine_type": self.machine_type,
                "disk_size_gb": self.disk_size_gb,
                "disk_needed_gb": self.disk_needed_gb,
            }
        )

    def _fitting(self, sizes: Mapping[str, float]) -> int:
        """What the images need, said in the plan.

        Raises:
            NodePoolError: the disk is smaller.
        """
        pool = self._args.pool
        threshold = pool.image_gc_high_threshold_percent
        problem = disk.too_small(pool.boot_disk.size_gb, sizes, gc_high_percent=threshold)
        if problem:
            raise NodePoolError(f"nodePools.{self._args.key}.bootDisk: {problem}")
        used = disk.used_gb(sizes.values(), gc_high_percent=threshold)
        pulumi.log.info(
            f"nodePools.{self._args.key}: boot disk {pool.boot_disk.size_gb} GB, for {len(sizes)} images of known size "
            f"{used} GB are needed, headroom {pool.boot_disk.size_gb - used} GB",
            resource=self,
        )
        return used

    def _pool(self, name: str, account: pulumi.Input[str], before: list[pulumi.Resource]) -> gcp.container.NodePool:
        args, pool, cluster = self._args, self._args.pool, self._args.cluster
        repaired = not (cluster.place.alpha or _on_request(pool))
        return gcp.container.NodePool(
            name,
            name=pool_names.pool_name(args.key, pool_names.replacing(pool, self._machine, self._account_id)),
            cluster=cluster.name,
            location=cluster.location,
            project=cluster.project,
            version=cluster.version,
            node_locations=list(pool.zones) or None,
            max_pods_per_node=pool.max_pods_per_node,
            initial_node_count=_initial_nodes(pool),
            autoscaling=_autoscaling(pool),
            management=gcp.container.NodePoolManagementArgs(auto_repair=repaired, auto_upgrade=not cluster.place.alpha),
            # A scarce GPU cannot be had twice: the node goes before its successor comes. Nodes that are made on request
            # are upgraded in a way of their own, which GKE chooses.
            upgrade_settings=None
            if _on_request(pool)
            else gcp.container.NodePoolUpgradeSettingsArgs(strategy="SURGE", max_surge=0, max_unavailable=1),
            queued_provisioning=gcp.container.NodePoolQueuedProvisioningArgs(enabled=True)
            if pool.queued_provisioning
            else None,
            node_config=self._node_config(account),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=before,
                deleted_with=cluster.resource,
                # The channel upgrades the nodes; the settings only say what they start with.
                ignore_changes=["version", "initialNodeCount"],
            ),
        )

    def _node_config(self, account: pulumi.Input[str]) -> gcp.container.NodePoolNodeConfigArgs:
        pool, machine = self._args.pool, self._machine
        return gcp.container.NodePoolNodeConfigArgs(
            machine_type=machine.name,
            image_type="COS_CONTAINERD",
            guest_accelerators=[
                gcp.container.NodePoolNodeConfigGuestAcceleratorArgs(
                    type=machine.accelerator,
                    count=machine.count,
                    gpu_driver_installation_config=(
                        gcp.container.NodePoolNodeConfigGuestAcceleratorGpuDriverInstallationConfigArgs(
                            gpu_driver_version=pool.driver_version
                        )
                    ),
                )
            ],
            boot_disk=gcp.container.NodePoolNodeConfigBootDiskArgs(
                size_gb=pool.boot_disk.size_gb,
                disk_type=disk.type_of(pool.boot_disk, machine),
                provisioned_iops=pool.boot_disk.provisioned_iops,
                provisioned_throughput=pool.boot_disk.provisioned_throughput,
            ),
            secondary_boot_disks=[
                gcp.container.NodePoolNodeConfigSecondaryBootDiskArgs(disk_image=image, mode="CONTAINER_IMAGE_CACHE")
                for image in pool.secondary_boot_disks
            ]
            or None,
            gcfs_config=gcp.container.NodePoolNodeConfigGcfsConfigArgs(enabled=True) if _streams(pool) else None,
            spot=pool.spot,
            flex_start=pool.flex_start or None,
            max_run_duration=f"{pool.max_run_duration}s" if pool.max_run_duration else None,
            reservation_affinity=_reservation(pool),
            service_account=account,
            oauth_scopes=[CLOUD_PLATFORM],
            metadata=NODE_METADATA,
            labels={**pool.labels, POOL_LABEL: self._args.key},
            resource_labels={"managed-by": "pulumi", "part-of": "oci-model-serving", "node-pool": self._args.key},
            taints=[
                gcp.container.NodePoolNodeConfigTaintArgs(key=taint.key, value=taint.value, effect=taint.effect)
                for taint in pool.taints
            ],
            sandbox_config=gcp.container.NodePoolNodeConfigSandboxConfigArgs(type=pool.sandbox.upper())
            if pool.sandbox
            else None,
            gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=True),
            shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
                enable_integrity_monitoring=True,
                # GKE installs signed drivers; what others install is not signed, and would not load.
                enable_secure_boot=pool.driver_version != "INSTALLATION_DISABLED",
            ),
            workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
            kubelet_config=gcp.container.NodePoolNodeConfigKubeletConfigArgs(
                max_parallel_image_pulls=pool.max_parallel_image_pulls,
                image_gc_high_threshold_percent=pool.image_gc_high_threshold_percent,
                image_gc_low_threshold_percent=pool.image_gc_low_threshold_percent,
                insecure_kubelet_readonly_port_enabled="FALSE",
            ),
        )


def _streams(pool: schema.NodePool) -> bool:
    """Whether the nodes need the Container File System: to stream images, or to read them from a secondary disk."""
    return pool.image_streaming or bool(pool.secondary_boot_disks)


def _on_request(pool: schema.NodePool) -> bool:
    """Whether nodes come from the Dynamic Workload Scheduler.

    Such nodes are not repaired, take no reservation and start at zero (GKE, "Flex-start" and "Flex-start with queued
    provisioning": --no-enable-autorepair, --reservation-affinity=none, --num-nodes=0, --location-policy=ANY).
    """
    return pool.flex_start or pool.queued_provisioning


def _initial_nodes(pool: schema.NodePool) -> int:
    """Nodes in each zone to begin with: as many of the minimum as every zone can have; the autoscaler adds the rest.

    Without zones their number is the cluster's, which is not known here, and the pool begins with none.
    """
    if pool.per_zone:
        return pool.min_nodes
    return pool.min_nodes // len(pool.zones) if pool.zones else 0


def _autoscaling(pool: schema.NodePool) -> gcp.container.NodePoolAutoscalingArgs:
    anywhere = pool.spot or _on_request(pool) or pool.reservation is not None
    # ANY takes capacity, and reservations, where they are; BALANCED waits for a zone that has none.
    counts: dict[str, Any] = (
        {"min_node_count": pool.min_nodes, "max_node_count": pool.max_nodes}
        if pool.per_zone
        else {"total_min_node_count": pool.min_nodes, "total_max_node_count": pool.max_nodes}
    )
    return gcp.container.NodePoolAutoscalingArgs(location_policy="ANY" if anywhere else "BALANCED", **counts)


def _reservation(pool: schema.NodePool) -> gcp.container.NodePoolNodeConfigReservationAffinityArgs | None:
    if pool.reservation:
        return gcp.container.NodePoolNodeConfigReservationAffinityArgs(
            consume_reservation_type="SPECIFIC_RESERVATION", key=_RESERVATION_KEY, values=[pool.reservation]
        )
    if _on_request(pool):
        return gcp.container.NodePoolNodeConfigReservationAffinityArgs(consume_reservation_type="NO_RESERVATION")
    return None
