"""What an existing GKE cluster must have before models are served there, and how it is reached."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

from dataclasses import dataclass

from components.google import admission_policies, image_volume, kubeconfig
from components.google import sdk as gcp
from components.settings.places import StackCluster


@dataclass(frozen=True)
class Reported:
    """What GKE reports of a cluster.

    Attributes:
        version: of the control plane.
        alpha: an alpha cluster.
        autopilot: an Autopilot cluster, which takes no node pools.
        workload_pool: the Workload Identity pool, empty when it is off.
        gateway_channel: the Gateway API's release channel, empty when it is off.
        network_policies: whether NetworkPolicies are enforced (Dataplane V2 or Calico).
        names: whether FQDNNetworkPolicies are.
    """

    version: str
    alpha: bool = False
    autopilot: bool = False
    workload_pool: str = ""
    gateway_channel: str = ""
    network_policies: bool = True
    names: bool = False


def reported(result: gcp.container.GetClusterResult) -> Reported:
    """What of a look-up's result matters here."""
    policies = result.network_policies or []
    return Reported(
        version=result.master_version,
        alpha=bool(result.enable_kubernetes_alpha),
        autopilot=bool(result.enable_autopilot),
        workload_pool=next((config.workload_pool for config in result.workload_identity_configs or []), ""),
        gateway_channel=next((config.channel for config in result.gateway_api_configs or []), ""),
        network_policies=result.datapath_provider == "ADVANCED_DATAPATH" or any(policy.enabled for policy in policies),
        names=bool(result.enable_fqdn_network_policy),
    )


def config(result: gcp.container.GetClusterResult) -> str:
    """The kubeconfig, by the DNS endpoint where it answers from outside."""
    endpoints = [
        dns.endpoint
        for config in result.control_plane_endpoints_configs or []
        for dns in config.dns_endpoint_configs
        if dns.allow_external_traffic
    ]
    certificates = [auth.cluster_ca_certificate for auth in result.master_auths or []]
    return kubeconfig.for_gke(
        result.name,
        dns_endpoint=next(iter(endpoints), None),
        address=result.endpoint,
        ca_certificate=next(iter(certificates), None),
    )


def problems(reported: Reported, wanted: StackCluster) -> list[str]:
    """Why the stack cannot use the cluster, each with the remedy."""
    name, found = wanted.name, list[str]()
    if reported.autopilot and not wanted.settings.autopilot:
        found.append(
            f"cluster {name} is an Autopilot cluster, which takes no node pools: write cluster.autopilot: true, and "
            "the pools as requests to GKE (docs/gke.md)"
        )
    if wanted.settings.autopilot and not reported.autopilot:
        found.append(f"cluster {name} is no Autopilot cluster: remove cluster.autopilot")
    if not reported.workload_pool:
        found.append(
            f"cluster {name} has no Workload Identity, without which pods would act as the node: "
            f"gcloud container clusters update {name} --workload-pool=PROJECT.svc.id.goog"
        )
    if wanted.needs_gateway and reported.gateway_channel != "CHANNEL_STANDARD":
        found.append(
            f"cluster {name} has no Gateway API, which platforms.kserve.gateway gke needs: "
            f"gcloud container clusters update {name} --gateway-api=standard, or take another gateway"
        )
    if wanted.needs_names and not reported.names:
        found.append(
            f"cluster {name} has no FQDN network policies, which platforms.kserve.stream.reach fqdn needs: "
            f"gcloud container clusters update {name} --enable-fqdn-network-policy (of Dataplane V2), or write "
            "reach: port"
        )
    if wanted.settings.allow_list.enforce:
        problem = admission_policies.problem(reported.version)
        if problem:
            found.append(f"cluster {name}: {problem}")
    if wanted.needs_image_volume:
        problem = image_volume.problem(
            reported.version, alpha=reported.alpha, sandbox=False, subpath=wanted.needs_subpath
        )
        if problem:
            found.append(f"cluster {name}: {problem}")
    return found


def warnings(reported: Reported, *, name: str) -> list[str]:
    """What is worth knowing and not in the way."""
    if reported.network_policies:
        return []
    return [
        f"cluster {name} enforces no NetworkPolicies (neither Dataplane V2 nor Calico): the models' egress rules are "
        "written but have no effect"
    ]
