"""Node-warm cache: a DaemonSet that has a pool's nodes hold a model's images before the model's pod comes."""

# Annotations stay text: pulumi_kubernetes loads a group's classes when one is first named.
from __future__ import annotations

from collections.abc import Sequence
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


def prepull(
    model: StackModel,
    namespace: pulumi.Input[str],
    reference: pulumi.Output[ImageReference],
    loras: Sequence[ServedAdapter],
    opts: pulumi.ResourceOptions,
    *,
    cache: ServedCache | None = None,
) -> k8s.apps.v1.DaemonSet:
    """Pull a model's images and the server's, by digest, on each new node of the model's pool.

    The pods ask for no GPU and next to no CPU, so they neither start nodes nor keep them; while they run, the kubelet's
    image collection leaves both images alone. A new digest is on the nodes before the model's pods are replaced, since
    the serving resource depends on this DaemonSet, which Pulumi awaits. The kubelet pulls: the pods themselves reach
    nothing and nobody reaches them.

    Where the cluster is known to mount images as volumes the weights are one here as well, and nothing of their image
    runs. On another a modelcar's image runs its shell, which on these nodes it does in the model's own pods too.
    """
    name, scheduling = model.name, model.scheduling
    tiny = {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "50m", "memory": "64Mi"}}
    hold: dict[str, Any] = {
        "command": ["/bin/sh", "-c", _HOLD],
        "resources": tiny,
        "securityContext": {**vllm.SECURITY_CONTEXT, "readOnlyRootFilesystem": True},
    }
    server: dict[str, Any] = {"name": "server-image", "image": model.server_image, **hold}
    containers: list[dict[str, Any]] = [server]
    volumes, mounted = adapters.volumes(loras), adapters.mounts(loras)
    if _mounts_images(model):
        image = {"reference": reference.apply(str), "pullPolicy": "IfNotPresent"}
        volumes = [{"name": "weights", "image": image}, *volumes]
        mounted = [{"name": "weights", "mountPath": "/weights", "readOnly": True}, *mounted]
    else:
        containers.append({"name": "model-image", "image": reference.apply(str), **hold})
    beside: list[Any] = list(volumes)
    if cache:
        beside, mounted = [*volumes, compile_cache.volume(cache)], [*mounted, compile_cache.mount()]
    if mounted:
        server["volumeMounts"] = mounted
    labels = {"app.kubernetes.io/name": f"{name}-prepull"}
    closed = objects.network_policy(f"{name}-prepull", name, namespace, labels, opts, ingress=[], egress=[])
    # Plain Kubernetes keys, as in the custom resources; the SDK types only its own spelling.
    spec: Any = {
        "selector": {"matchLabels": labels},
        # Nodes whose pull has begun are left to finish it: a rollout replaces all of them at once.
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "100%"}},
        "template": {
            "metadata": {"labels": {**objects.MANAGED_BY, **labels}},
            "spec": {
                "automountServiceAccountToken": False,
                "serviceAccountName": name,
                "terminationGracePeriodSeconds": 5,
                "nodeSelector": dict(scheduling.node_selector),
                **scheduling.on(),
                "tolerations": [dict(toleration) for toleration in scheduling.tolerations],
                "containers": containers,
                "volumes": beside,
            },
        },
    }
    return k8s.apps.v1.DaemonSet(
        f"{name}-prepull",
        metadata=objects.metadata(
            f"{name}-prepull",
            namespace,
            model=name,
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
