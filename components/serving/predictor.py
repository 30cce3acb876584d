"""What an InferenceService says of a model's pods: the server, scaling, rollout, pause. Pure."""

from collections.abc import Mapping
from typing import Any

import pulumi

from components.serving import disruption, kserve, vllm
from components.settings.models import StackModel
from components.settings.serving import KServeSettings


def spec(model: StackModel, platform: KServeSettings, storage_uri: pulumi.Input[str]) -> dict[str, Any]:
    """The predictor: how many pods, of what and where."""
    settings, scheduling, replicas = model.settings, model.scheduling, model.settings.replicas
    predictor: dict[str, Any] = {
        "minReplicas": replicas.min,
        "maxReplicas": max(replicas.max or replicas.min, 1),
        "serviceAccountName": model.name,
        "automountServiceAccountToken": False,
        "model": _server(model, storage_uri),
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.resources.shm}}],
    }
    if platform.deployment_mode == "Standard":
        predictor["deploymentStrategy"] = _strategy(model)
        predictor.update(_scaling(model, platform))
    if scheduling.node_selector:
        predictor["nodeSelector"] = dict(scheduling.node_selector)
    if scheduling.tolerations:
        predictor["tolerations"] = [dict(toleration) for toleration in scheduling.tolerations]
    return predictor


def annotations(model: StackModel, platform: KServeSettings) -> dict[str, str]:
    """The InferenceService's annotations: mode, autoscaler, pause, and what `pulumi up` waits for."""
    settings, stopped = model.settings, model.delivery.platform.stopped["metadata"]["annotations"]
    knative = platform.deployment_mode == "Knative"
    # KServe's webhook would add the mode: written here, it is no drift.
    made: dict[str, str] = {"serving.kserve.io/deploymentMode": platform.deployment_mode}
    if knative:
        made["serving.knative.dev/progress-deadline"] = f"{settings.startup_timeout}s"
    else:
        made["serving.kserve.io/autoscalerClass"] = _autoscaler(model, platform)
    if settings.paused:
        made.update(stopped)
    if model.awaited and settings.paused:
        made["pulumi.com/waitFor"] = "condition=Stopped"
    else:
        # The budget waits instead (`disruption`). KServe copies these onto the pods, so what differed here from
        # run to run would replace them.
        made["pulumi.com/skipAwait"] = "true"
    return made


def revision(predictor: Mapping[str, Any], platform: KServeSettings) -> pulumi.Output[str]:
    """The name of what makes the pods; the number of replicas does not."""
    made_of = ("model", "volumes", "nodeSelector", "tolerations")
    return disruption.revision({"runtime": platform.server.image, **{key: predictor.get(key) for key in made_of}})


def _autoscaler(model: StackModel, platform: KServeSettings) -> str:
    """Say which autoscaler owns the replicas.

    With `hpa`, KServe makes an HPA on CPU utilization, which says nothing where the number is fixed.
    """
    replicas = model.settings.replicas
    if model.settings.scaling.query and platform.keda:
        return "keda"
    return "hpa" if (replicas.max or replicas.min) > replicas.min else "none"


def _strategy(model: StackModel) -> dict[str, Any]:
    """Start the new pod first where the pool has room for it, else make room.

    One pod of which one may be missing would count as available without any, so that the InferenceService said
    Ready before its image is pulled: then all go first.
    """
    if model.scheduling.surge:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    if model.settings.replicas.min > 1:
        return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    return {"type": "Recreate"}


def _scaling(model: StackModel, platform: KServeSettings) -> dict[str, Any]:
    scaling, autoscaler = model.settings.scaling, _autoscaler(model, platform)
    if autoscaler == "hpa":
        return {"scaleMetric": "cpu", "scaleTarget": scaling.target}
    if autoscaler != "keda":
        return {}
    metric = {"backend": "prometheus", "serverAddress": platform.prometheus, "query": scaling.query}
    external = {"metric": metric, "target": {"type": "Value", "value": str(scaling.target)}}
    return {"autoScaling": {"metrics": [{"type": "External", "external": external}]}}


def _server(model: StackModel, storage_uri: pulumi.Input[str]) -> dict[str, Any]:
    settings, scheduling = model.settings, model.scheduling
    amounts = scheduling.amounts
    made: dict[str, Any] = {
        "modelFormat": {"name": kserve.MODEL_FORMAT},
        "runtime": kserve.RUNTIME,
        "storageUri": storage_uri,
        "args": [f"--served-model-name={model.served_name}", *vllm.parallel(scheduling.gpus), *settings.args],
        "env": vllm.env(dict(settings.env)),
        # Both, for both: KServe fills what is left out with 1 CPU and 2 GiB.
        "resources": {"requests": amounts, "limits": amounts},
        **vllm.probes(settings.startup_timeout),
    }
    if not scheduling.gpus:
        made["image"] = model.server_image
    return made
