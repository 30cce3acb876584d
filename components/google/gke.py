"""A cluster as GKE gets it, with the small pool that runs the platforms."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

import pulumi

from components.google import hardening, network, pool_names, replacement
from components.google import sdk as gcp
from components.settings.google import ClusterCreate
from components.settings.places import StackCluster

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
"""The scope of nodes, whose account's roles are what restricts them (GKE, "Access scopes in GKE")."""
NODE_METADATA = {"disable-legacy-endpoints": "true"}
"""GKE puts it on every node; said here so that the provider sees no difference."""


def cluster(
    name: str,
    settings: StackCluster,
    create: ClusterCreate,
    net: network.Network,
    *,
    account: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> gcp.container.Cluster:
    """Create the cluster; `account` is the email of its nodes' service account."""
    private: gcp.container.ClusterPrivateClusterConfigArgsDict = {
        "enable_private_nodes": True,
        "enable_private_endpoint": create.private_endpoint,
        "master_ipv4_cidr_block": create.master_cidr,
    }
    # Of the first pool, which is gone; a difference there would replace the cluster, and so would one in `masterAuth`.
    ignored = ["initialNodeCount", "nodeConfig", "masterAuth", *replacement.unasked_of_cluster(private)]
    options = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=ignored))
    return gcp.container.Cluster(
        name,
        name=create.name,
        project=settings.project,
        location=settings.location,
        node_locations=list(create.zones) or None,
        resource_labels=create.labels,
        deletion_protection=create.deletion_protection,
        # Versions. An alpha cluster takes no part in a release channel.
        min_master_version=create.version,
        release_channel={"channel": "UNSPECIFIED" if create.alpha else create.channel},
        enable_kubernetes_alpha=create.alpha,
        maintenance_policy={
            "recurring_window": {
                "start_time": create.maintenance.start_time,
                "end_time": create.maintenance.end_time,
                "recurrence": create.maintenance.recurrence,
            },
            "maintenance_exclusions": _exclusions(create) or None,
        },
        # Network.
        network=net.network,
        subnetwork=net.subnetwork,
        networking_mode="VPC_NATIVE",
        ip_allocation_policy={
            "cluster_secondary_range_name": net.pods_range,
            "services_secondary_range_name": net.services_range,
        },
        datapath_provider="ADVANCED_DATAPATH",
        enable_fqdn_network_policy=settings.needs_names or None,
        gateway_api_config={"channel": "CHANNEL_STANDARD" if create.gateway_api else "CHANNEL_DISABLED"},
        private_cluster_config=private,
        control_plane_endpoints_config={"dns_endpoint_config": {"allow_external_traffic": create.dns_endpoint}},
        master_authorized_networks_config=_authorized_networks(create),
        # Identity and hardening.
        workload_identity_config={"workload_pool": f"{settings.project}.svc.id.goog"},
        database_encryption=_database_encryption(create),
        enable_shielded_nodes=True,
        enable_legacy_abac=False,
        **hardening.arguments(create),
        # What it tells about itself.
        logging_config={"enable_components": ["SYSTEM_COMPONENTS", "WORKLOADS", *hardening.logs(create)]},
        monitoring_config={
            "enable_components": ["SYSTEM_COMPONENTS", "DCGM", *(["POD"] if settings.tells_of_pods else [])],
            "managed_prometheus": {"enabled": True},
        },
        cost_management_config={"enabled": True},
        cluster_autoscaling={"enabled": False, "autoscaling_profile": "OPTIMIZE_UTILIZATION"},
        # The API insists on a first pool. It exists for minutes and is not the Compute Engine account's.
        remove_default_node_pool=True,
        initial_node_count=1,
        node_config={
            "machine_type": create.system_pool.machine_type,
            "service_account": account,
            "oauth_scopes": [CLOUD_PLATFORM],
            "metadata": NODE_METADATA,
            "shielded_instance_config": {"enable_secure_boot": True, "enable_integrity_monitoring": True},
            "workload_metadata_config": {"mode": "GKE_METADATA"},
            "boot_disk_kms_key": create.system_pool.kms_key,
        },
        opts=pulumi.ResourceOptions.merge(options, replacement.OLD_FIRST),
    )


def system_pool(
    name: str,
    create: ClusterCreate,
    cluster: gcp.container.Cluster,
    *,
    account: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> gcp.container.NodePool:
    """Create the pool without GPUs, which lets every GPU pool go to zero."""
    system = create.system_pool
    account_id = pool_names.account_id(create.name, pool_names.SYSTEM)
    nodes: gcp.container.NodePoolNodeConfigArgsDict = {
        "machine_type": system.machine_type,
        "image_type": "COS_CONTAINERD",
        "boot_disk": {"size_gb": system.disk_size_gb, "disk_type": "pd-balanced"},
        "boot_disk_kms_key": system.kms_key,
        "service_account": account,
        "oauth_scopes": [CLOUD_PLATFORM],
        "metadata": NODE_METADATA,
        "gvnic": {"enabled": True},
        "shielded_instance_config": {"enable_secure_boot": True, "enable_integrity_monitoring": True},
        "workload_metadata_config": {"mode": "GKE_METADATA"},
        "kubelet_config": {"insecure_kubelet_readonly_port_enabled": "FALSE"},
        "confidential_nodes": hardening.confidential(system.confidential),
    }
    ignored = [*replacement.UPGRADED, *replacement.unasked_of_pool({}, nodes)]
    options = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=ignored))
    return gcp.container.NodePool(
        name,
        name=pool_names.pool_name(
            pool_names.SYSTEM,
            {"serviceAccount": account_id, **({"bootDiskKmsKey": system.kms_key} if system.kms_key else {})},
        ),
        cluster=cluster.name,
        location=cluster.location,
        project=cluster.project,
        version=cluster.master_version,
        initial_node_count=1,
        autoscaling={
            "total_min_node_count": system.min_nodes,
            "total_max_node_count": system.max_nodes,
            "location_policy": "BALANCED",
        },
        management={"auto_repair": not create.alpha, "auto_upgrade": not create.alpha},
        upgrade_settings={"strategy": "SURGE", "max_surge": 1, "max_unavailable": 0},
        node_config=nodes,
        opts=pulumi.ResourceOptions.merge(options, replacement.SUCCESSOR_FIRST),
    )


def _exclusions(create: ClusterCreate) -> list[gcp.container.ClusterMaintenancePolicyMaintenanceExclusionArgsDict]:
    return [
        {
            "exclusion_name": one.name,
            "start_time": one.start_time,
            "end_time": one.end_time,
            "exclusion_options": {"scope": one.scope, "end_time_behavior": one.end_time_behavior},
        }
        for one in create.maintenance.exclusions
    ]


def _database_encryption(create: ClusterCreate) -> gcp.container.ClusterDatabaseEncryptionArgsDict | None:
    key = create.database_encryption_key
    return {"state": "ENCRYPTED", "key_name": key} if key else None


def _authorized_networks(create: ClusterCreate) -> gcp.container.ClusterMasterAuthorizedNetworksConfigArgsDict | None:
    """Who may reach the API server's public address: those named; nobody else where the DNS endpoint serves.

    Without names and without the DNS endpoint the list is left off, since it would shut out everybody.
    """
    if not (create.authorized_networks or create.dns_endpoint):
        return None
    return {
        "cidr_blocks": [
            {"display_name": name, "cidr_block": cidr} for name, cidr in sorted(create.authorized_networks.items())
        ]
        or None,
        "gcp_public_cidrs_access_enabled": False,
    }
