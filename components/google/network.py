"""The network of a created cluster: one subnetwork for nodes, pods and services, and the way out."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.google import replacement
from components.google import sdk as gcp
from components.settings.google import ClusterCreate, NewNetwork
from components.settings.places import StackCluster

PODS = "pods"
SERVICES = "services"


@dataclass(frozen=True)
class Network:
    """Where a cluster is: the network, its subnetwork and the names of that one's secondary ranges (none: GKE's)."""

    network: pulumi.Input[str]
    subnetwork: pulumi.Input[str]
    pods_range: str | None
    services_range: str | None
    before: tuple[pulumi.Resource, ...] = ()
    """What must exist before nodes do."""


def given(create: ClusterCreate) -> Network | None:
    """The existing network that the settings name, or None."""
    if not (create.network and create.subnetwork):
        return None
    return Network(create.network, create.subnetwork, create.pods_range, create.services_range)


def create_network(name: str, cluster: StackCluster, create: ClusterCreate, opts: pulumi.ResourceOptions) -> Network:
    """Create a network for a cluster, with the subnetwork that the proxies of GKE's regional gateways need.

    Args:
        name: the component's name, with which the resources' names begin.
        cluster: the cluster.
        create: its settings.
        opts: parent and what comes before.
    """
    project, region = cluster.project, cluster.region
    ranges = create.new_network
    opts = pulumi.ResourceOptions.merge(opts, replacement.OLD_FIRST)
    network = gcp.compute.Network(
        name,
        name=create.name,
        project=project,
        auto_create_subnetworks=False,
        routing_mode="REGIONAL",
        description=f"GKE cluster {create.name}",
        opts=opts,
    )
    nodes = gcp.compute.Subnetwork(
        f"{name}-nodes",
        name=f"{create.name}-nodes",
        project=project,
        region=region,
        network=network.id,
        ip_cidr_range=ranges.nodes_cidr,
        # Nodes have no public address; this is how they reach Artifact Registry without NAT.
        private_ip_google_access=True,
        secondary_ip_ranges=[
            {"range_name": PODS, "ip_cidr_range": ranges.pods_cidr},
            {"range_name": SERVICES, "ip_cidr_range": ranges.services_cidr},
        ],
        log_config=_flow_logs(ranges),
        opts=opts,
    )
    before: list[pulumi.Resource] = []
    if cluster.needs_gateway:
        before.append(
            gcp.compute.Subnetwork(
                f"{name}-proxy-only",
                name=f"{create.name}-proxy-only",
                project=project,
                region=region,
                network=network.id,
                ip_cidr_range=ranges.proxy_only_cidr,
                purpose="REGIONAL_MANAGED_PROXY",
                role="ACTIVE",
                opts=opts,
            )
        )
    if ranges.nat:
        before.append(_nat(name, cluster, network, opts))
    return Network(network.id, nodes.id, PODS, SERVICES, tuple(before))


def _flow_logs(ranges: NewNetwork) -> gcp.compute.SubnetworkLogConfigArgsDict | None:
    if ranges.flow_logs is None:
        return None
    return {
        "aggregation_interval": "INTERVAL_5_SEC",
        "flow_sampling": ranges.flow_logs,
        "metadata": "INCLUDE_ALL_METADATA",
    }


def _nat(
    name: str, cluster: StackCluster, network: gcp.compute.Network, opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    project, region = cluster.project, cluster.region
    router = gcp.compute.Router(name, name=cluster.name, project=project, region=region, network=network.id, opts=opts)
    return gcp.compute.RouterNat(
        name,
        name=cluster.name,
        project=project,
        region=region,
        router=router.name,
        nat_ip_allocate_option="AUTO_ONLY",
        source_subnetwork_ip_ranges_to_nat="ALL_SUBNETWORKS_ALL_IP_RANGES",
        log_config={"enable": True, "filter": "ERRORS_ONLY"},
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(deleted_with=router)),
    )
