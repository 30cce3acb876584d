"""Node-warm cache: DaemonSets that have a pool's nodes hold a model's images before the model's pod comes.

A GPU node offers its GPUs only once the driver is installed and the device plugin has registered them, minutes after it
has joined; the model's pod is bound then. These pods ask for no GPU and put up with the taints of a node that is still
being set up, so that the pull begins as soon as the node has a network. One pulls the server's image and the other the
weights: of one pod the kubelet pulls one image after the other (v1.35, kuberuntime `SyncPod`), of two pods as many at a
time as `maxParallelImagePulls` says.
"""

# Annotations stay text: pulumi_kubernetes loads a group's classes when one is first named.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.google import image_volume
from components.serving import adapters, compile_cache, objects, vllm
from components.serving.adapters import ServedAdapter
from components.serving.compile_cache import ServedCache
from components.settings.models import StackModel
from oci_model_serving.reference import ImageReference

_HOLD = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"
_OF_SERVER = "-prepull-s"
"""Short, for a label has 63 characters and a model's name up to 53 (`settings/checks/serving.py`)."""
_STARTING = (
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/network-unavailable",
    "node.cloudprovider.kubernetes.io/uninitialized",
    "node.cilium.io/agent-not-ready",
)
"""Taints of a node that is being set up, besides the GPU's own, which a pool's taints have (Kubernetes, "Well-Known
Labels, Annotations and Taints"; the cloud controller's; Cilium's, of which Dataplane V2 is made). They go by themselves
in the first minute. A DaemonSet's controller tolerates only some of them, and those for pods that run already."""


def prepull(
    model: StackModel,
    namespace: pulumi.Input[str],
    reference: pulumi.Output[ImageReference],
    loras: Sequence[ServedAdapter],
    opts: pulumi.ResourceOptions,
    *,
    cache: ServedCache | None = None,
) -> list[pulumi.Resource]:
    """Pull a model's images and the server's, by digest, on each new node of the model's pool.

    Of a model that is streamed there is the server's, and those that lie beside the weights' own.

    The pods ask for no GPU and next to no CPU, so they neither start nodes nor keep them; while they run, the kubelet's
    image collection leaves the images alone. A new digest is on the nodes before the model's pods are replaced, since
    the serving resource depends on these DaemonSets, which Pulumi awaits. The kubelet pulls: the pods themselves reach
    nothing and nobody reaches them.

    Where the cluster is known to mount images as volumes the weights are one here as well, and nothing of their image
    runs. On another a modelcar's image runs its shell, which on these nodes it does in the model's own pods too.
    """
    server: dict[str, Any] = {"name": "server-image", "image": model.server_image, **hold()}
    volumes: list[Any] = list(adapters.volumes(loras))
    mounted = adapters.mounts(loras)
    if cache:
        volumes.append(compile_cache.volume(cache))
        mounted = [*mounted, compile_cache.mount()]
    weights, streamed = dict(server), model.delivery.streamed
    if not streamed and _mounts_images(model):
        image = {"reference": reference.apply(str), "pullPolicy": "IfNotPresent"}
        volumes = [{"name": "weights", "image": image}, *volumes]
        mounted = [{"name": "weights", "mountPath": "/weights", "readOnly": True}, *mounted]
    elif not streamed:
        weights = {"name": "model-image", "image": reference.apply(str), **hold()}
    if mounted:
        weights["volumeMounts"] = mounted
    made: list[pulumi.Resource] = [
        _on_every_node(model, f"{model.name}{_OF_SERVER}", namespace, server, volumes=[], opts=opts)
    ]
    if mounted or not streamed:
        made.append(_on_every_node(model, f"{model.name}-prepull", namespace, weights, volumes=volumes, opts=opts))
    return made


def hold() -> dict[str, Any]:
    """What a container is that does nothing but hold its image."""
    tiny = {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "50m", "memory": "64Mi"}}
    return {
        "command": ["/bin/sh", "-c", _HOLD],
        "resources": tiny,
        "securityContext": {**vllm.SECURITY_CONTEXT, "readOnlyRootFilesystem": True},
        **vllm.LAST_WORDS,
    }


def _on_every_node(
    model: StackModel,
    name: str,
    namespace: pulumi.Input[str],
    container: Mapping[str, Any],
    *,
    volumes: Sequence[pulumi.Input[Mapping[str, Any]]],
    opts: pulumi.ResourceOptions,
) -> k8s.apps.v1.DaemonSet:
    """Run a container on each node of the model's pool, cut off from everything."""
    labels = {"app.kubernetes.io/name": name}
    closed = objects.network_policy(name, model.name, namespace, labels, opts, ingress=[], egress=[])
    scheduling = model.scheduling
    starting = [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in _STARTING]
    # Plain Kubernetes keys, as in the custom resources; the SDK types only its own spelling.
    spec: Any = {
        "selector": {"matchLabels": labels},
        # Nodes whose pull has begun are left to finish it: a rollout replaces all of them at once.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": {
            "metadata": {"labels": {**objects.MANAGED_BY, **labels}},
            "spec": {
                "automountServiceAccountToken": False,
                "serviceAccountName": model.name,
                "terminationGracePeriodSeconds": 5,
                "nodeSelector": dict(scheduling.node_selector),
                **scheduling.on(),
                "tolerations": [*(dict(toleration) for toleration in scheduling.tolerations), *starting],
                "containers": [dict(container)],
                "volumes": list(volumes),
            },
        },
    }
    return k8s.apps.v1.DaemonSet(
        name,
        metadata=objects.metadata(
            name,
            namespace,
            model=model.name,
            annotations={"pulumi.com/timeoutSeconds": str(model.settings.startup_timeout)},
        ),
        spec=spec,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[closed])),
    )


def _mounts_images(model: StackModel) -> bool:
    """Whether it is known before the cluster is there that its pods mount images as volumes."""
    cluster = model.pool.cluster if model.pool else None
    create = cluster.settings.create if cluster else None
    return bool((cluster and cluster.needs_image_volume) or (create and image_volume.is_on(create.version)))
