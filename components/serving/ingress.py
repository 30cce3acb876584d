"""Who reaches a model's pods: the rules of its NetworkPolicy.

The kubelet's probes, port-forwarding and `exec` come from the pod's own node, which no policy keeps out (Kubernetes
documentation, "Network Policies").
"""

from collections.abc import Mapping
from typing import Any

import pulumi

from components.serving import objects, vllm
from components.serving.objects import within
from components.settings.models import StackModel
from components.settings.serving import KubeAISettings
from components.settings.types import Target
from oci_model_serving.delivery import STREAM_HEALTH_PORT

_HEALTH_CHECKS = ("35.191.0.0/16", "130.211.0.0/22")
"""Where Google's health checks come from (Cloud Load Balancing, "Health checks overview", probe IP ranges)."""
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_KUBEAI = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "kubeai"}}}
"""KubeAI's proxy and autoscaler, in the models' own namespace (chart 0.22.1, selectorLabels)."""
_CONTROL_PLANE = {**within("kube-system"), "podSelector": {"matchLabels": {"k8s-app": "konnectivity-agent"}}}
"""The way of requests by the API server's proxy, as those of `oms check`, on GKE."""


def limited(model: StackModel, pods: Mapping[str, str], opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """Make the policy of a model's pods, where there are rules."""
    allowed = rules(model)
    if allowed is None:
        return []
    name = f"{model.name}-ingress"
    return [objects.network_policy(name, model.name, model.namespace, pods, opts, ingress=allowed)]


def rules(model: StackModel) -> list[dict[str, Any]] | None:
    """The rules; None where the pods' side is left open: by the settings, or since nobody has told who asks them.

    That is on clusters that are not GKE's, where the API server may come from anywhere; of KServe without a gateway, as
    long as no namespaces are named; and of Knative, whose own parts stand between.
    """
    ingress, platform = model.ingress, model.platform
    if ingress.limit is False or (ingress.limit is None and model.target is Target.LOCAL):
        return None
    callers: list[dict[str, Any]] = [_CONTROL_PLANE]
    port, monitoring, ranges = vllm.KUBEAI_PORT, [*ingress.monitoring], [*ingress.cidrs]
    if isinstance(platform, KubeAISettings):
        callers.append(_KUBEAI)
    elif platform.deployment_mode == "Knative":
        return None
    else:
        _, port = vllm.health(model)
        monitoring += _namespace_of(platform.prometheus)
        if platform.gateway == "none" and not (ingress.limit or ingress.namespaces or ingress.cidrs):
            return None
        if platform.gateway == "envoy":
            callers.append(within("envoy-gateway-system"))
        if platform.gateway == "gke":
            ranges += [*_HEALTH_CHECKS, *((model.proxies,) if model.proxies else () if ingress.cidrs else _PRIVATE)]
    callers += [{"ipBlock": {"cidr": cidr}} for cidr in ranges]
    callers += [within(namespace) for namespace in dict.fromkeys((*ingress.namespaces, *monitoring))]
    made: list[dict[str, Any]] = [{"from": callers, "ports": [{"port": port, "protocol": "TCP"}]}]
    if model.delivery.streamed:
        # How the sidecar is, for `oms check` and for what collects metrics; its files are on loopback alone.
        asking = [_CONTROL_PLANE, *map(within, dict.fromkeys(monitoring))]
        made.append({"from": asking, "ports": [{"port": STREAM_HEALTH_PORT, "protocol": "TCP"}]})
    return made


def _namespace_of(address: str | None) -> list[str]:
    """The namespace of a Service's address in the cluster, as http://prometheus.monitoring.svc:9090."""
    host = (address or "").partition("://")[2].partition("/")[0].partition(":")[0]
    _, *rest = host.split(".")
    return rest[:1] if len(rest) == 1 or rest[1:2] == ["svc"] else []
