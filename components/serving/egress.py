"""What a model's pods may reach: DNS, and, where they read the image themselves, its registry.

A NetworkPolicy knows addresses and ports, no names, and holds for a whole pod: what the sidecar reaches, the server
beside it reaches as well, for their network is one.
"""

# Annotations stay text: pulumi_kubernetes loads a group's classes when one is first named.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.serving import objects
from components.serving.objects import within
from components.settings.models import StackModel
from components.settings.serving import KServeSettings
from components.settings.types import Target
from oci_model_serving.reference import ImageReference, is_google

VIRTUAL = {"private": "199.36.153.8/30", "restricted": "199.36.153.4/30"}
"""The addresses of private. and restricted.googleapis.com (VPC, "Configure Private Google Access")."""
_PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
_HTTPS = 443


def deny(
    name: str,
    namespace: pulumi.Input[str],
    pods: Mapping[str, str],
    opts: pulumi.ResourceOptions,
    *,
    more: pulumi.Input[Sequence[Any]] = (),
) -> k8s.networking.v1.NetworkPolicy:
    """Cut model pods off from everything but DNS: the weights are in the image, nothing is to be fetched.

    Answers to the gateway's and the kubelet's requests are not egress. The two link-local addresses are NodeLocal
    DNSCache's and Cloud DNS for GKE's (GKE documentation, "NodeLocal DNSCache" and "Cloud DNS for GKE"). `more` are the
    rules of pods that read their image themselves (`to_registry`).
    """
    names = {"key": "k8s-app", "operator": "In", "values": ["kube-dns", "node-local-dns", "coredns"]}
    resolvers: list[Any] = [
        {**within("kube-system"), "podSelector": {"matchExpressions": [names]}},
        {"ipBlock": {"cidr": "169.254.20.10/32"}},
        {"ipBlock": {"cidr": "169.254.169.254/32"}},
    ]
    dns: list[Any] = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    first = {"to": resolvers, "ports": dns}
    allowed: Any = [first] if more == () else pulumi.Output.from_input(more).apply(lambda rules: [first, *rules])
    return objects.network_policy(name, name, namespace, pods, opts, egress=allowed)


def to_registry(model: StackModel, reference: pulumi.Output[ImageReference]) -> pulumi.Input[Sequence[Any]]:
    """The rules by which a model's pods get at their image themselves; none where a node's runtime brings it."""
    return reference.apply(lambda image: _rules(model, image)) if model.delivery.pulled_by_pod else ()


def _rules(model: StackModel, image: ImageReference) -> list[Any]:
    """The registry's port, at the addresses that the settings name; and Google's tokens, where they are asked for."""
    port = {"port": int(image.host.partition(":")[2] or _HTTPS), "protocol": "TCP"}
    platform = model.platform
    if not (model.delivery.streamed and isinstance(platform, KServeSettings)):
        return [{"ports": [port]}]
    stream = platform.stream
    made: list[Any] = []
    if stream.reach in VIRTUAL or stream.cidrs:
        ranges = [VIRTUAL[stream.reach]] if stream.reach in VIRTUAL else stream.cidrs
        made.append({"to": [{"ipBlock": {"cidr": cidr}} for cidr in ranges], "ports": [port]})
    elif stream.reach == "port":
        made.append({"ports": [port]})
    return made + (_metadata() if asks_google(model, image.host) else [])


def asks_google(model: StackModel, host: str) -> bool:
    """Whether the sidecar has Google's token for its pod's own account: by Workload Identity, with no login of ours."""
    return model.delivery.streamed and model.target is Target.GKE and not model.stream_login and is_google(host)


def _metadata() -> list[Any]:
    """The ways to GKE's metadata server, which gives a pod tokens of its own account alone.

    Dataplane V2 has it at the address that is asked, other data planes see what that becomes (GKE, "Workload Identity
    Federation", network policies); on some nodes that is the node's own address (gke-labs/kube-agents #676).
    """

    def at(port: int, *ranges: str) -> dict[str, Any]:
        peers = [{"ipBlock": {"cidr": cidr}} for cidr in ranges]
        return {"to": peers, "ports": [{"port": port, "protocol": "TCP"}]}

    return [at(80, "169.254.169.254/32"), at(988, "169.254.169.252/32", *_PRIVATE)]


def by_name(
    model: StackModel,
    reference: pulumi.Output[ImageReference],
    pods: Mapping[str, str],
    opts: pulumi.ResourceOptions,
) -> list[pulumi.Resource]:
    """GKE's policy that opens the registry by its host's name, where the settings ask for it (Dataplane V2).

    It adds to the NetworkPolicy of the same pods (GKE, "Control Pod egress traffic using FQDN network policies").
    """
    platform = model.platform
    if not (model.delivery.streamed and isinstance(platform, KServeSettings) and platform.stream.reach == "fqdn"):
        return []
    further = platform.stream.hosts

    def spec(image: ImageReference) -> dict[str, Any]:
        host, _, port = image.host.partition(":")
        ports = [{"protocol": "TCP", "port": int(port or _HTTPS)}]
        return {
            "podSelector": {"matchLabels": dict(pods)},
            "egress": [{"matches": [{"name": name} for name in (host, *further)], "ports": ports}],
        }

    return [
        k8s.apiextensions.CustomResource(
            f"{model.name}-registry",
            api_version="networking.gke.io/v1alpha1",
            kind="FQDNNetworkPolicy",
            metadata=objects.metadata(f"{model.name}-registry", model.namespace, model=model.name),
            spec=reference.apply(spec),
            opts=opts,
        )
    ]
