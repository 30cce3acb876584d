"""What an existing GKE cluster must have before models are served there. Pure."""

from dataclasses import dataclass

from components import image_volume


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
    """

    version: str
    alpha: bool = False
    autopilot: bool = False
    workload_pool: str = ""
    gateway_channel: str = ""
    network_policies: bool = True


def problems(
    reported: Reported, *, name: str, needs_image_volume: bool, needs_subpath: bool, needs_gateway: bool
) -> list[str]:
    """Why the stack cannot use the cluster, each with the remedy."""
    found: list[str] = []
    if reported.autopilot:
        found.append(f"cluster {name} is an Autopilot cluster, which takes no node pools: name a Standard cluster")
    if not reported.workload_pool:
        found.append(
            f"cluster {name} has no Workload Identity, without which pods would act as the node: "
            f"gcloud container clusters update {name} --workload-pool=PROJECT.svc.id.goog"
        )
    if needs_gateway and reported.gateway_channel != "CHANNEL_STANDARD":
        found.append(
            f"cluster {name} has no Gateway API, which platforms.kserve.gateway gke needs: "
            f"gcloud container clusters update {name} --gateway-api=standard, or take another gateway"
        )
    if needs_image_volume:
        problem = image_volume.problem(reported.version, alpha=reported.alpha, sandbox=False, subpath=needs_subpath)
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
