"""What an InferenceService says of a model's pods: the server, scaling, rollout, pause. Pure.

KServe copies the annotations onto the pods: they are the same whatever the number of pods and however long `pulumi up`
waits, so that no change of scale replaces a pod.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.serving import adapters, compile_cache, rollout, serving_runtime, streaming, vllm
from components.serving.adapters import ServedAdapter
from components.serving.compile_cache import ServedCache
from components.serving.objects import SERVING_ANNOTATIONS
from components.serving.unservable import UnservableError
from components.settings.models import StackModel
from components.settings.serving import KServeSettings
from modelimage.cache_key import CacheKey
from modelimage.traits import Traits
from oci_model_serving.delivery import KSERVE_STOP, STREAM_ANNOTATION

# How many pods there are and how they come (KServe v0.20.0, ComponentExtensionSpec); the rest makes the pod itself.
NOT_OF_THE_POD = frozenset(
    {"minReplicas", "maxReplicas", "deploymentStrategy", "scaleMetric", "scaleTarget", "autoScaling"}
)


def spec(
    model: StackModel,
    platform: KServeSettings,
    storage_uri: pulumi.Input[str],
    traits: pulumi.Output[Traits],
    loras: Sequence[ServedAdapter] = (),
    *,
    cache: ServedCache | None = None,
) -> dict[str, Any]:
    """The predictor: how many pods, of what and where."""
    settings, scheduling, replicas = model.settings, model.scheduling, model.settings.replicas
    predictor: dict[str, Any] = {
        "minReplicas": replicas.min,
        "maxReplicas": max(replicas.max or replicas.min, 1),
        "serviceAccountName": model.name,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": vllm.grace(model.drain_timeout, _settle(platform)),
        "model": _server(model, platform, storage_uri, traits, loras, cache=cache),
    }
    predictor["volumes"] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": model.shm}},
        # The runtime's own as well, by whose name they are merged.
        *([] if settings.server else [vllm.WRITABLE]),
        *adapters.volumes(loras),
        *([compile_cache.volume(cache)] if cache else []),
    ]
    if model.delivery.streamed:
        predictor["initContainers"] = [streaming.container(model, storage_uri)]
        predictor["volumes"] += streaming.volumes(model)
        if model.stream_login:
            predictor["securityContext"] = streaming.pod_security()
    if platform.deployment_mode == "Standard":
        predictor["deploymentStrategy"] = _strategy(model)
        predictor.update(_scaling(model, platform))
    return {**predictor, **scheduling.on(), **_placement(model)}


def _placement(model: StackModel) -> dict[str, Any]:
    """What the settings say of the pods' priority and spread."""
    settings, kind = model.settings, model.delivery.platform
    placed: dict[str, Any] = {}
    if settings.priority_class:
        placed["priorityClassName"] = settings.priority_class
    if settings.topology_spread:
        own = {"matchLabels": {kind.pod_label: model.name}}
        placed["topologySpreadConstraints"] = [
            {
                "topologyKey": spread.topology_key,
                "maxSkew": spread.max_skew,
                "whenUnsatisfiable": spread.when_unsatisfiable,
                "labelSelector": own,
            }
            for spread in settings.topology_spread
        ]
    return placed


def annotations(
    model: StackModel, platform: KServeSettings, storage_uri: pulumi.Input[str]
) -> dict[str, pulumi.Input[str]]:
    """The InferenceService's annotations: mode, autoscaler, pause, what is streamed, and what `pulumi up` waits for."""
    settings, kind = model.settings, model.delivery.platform
    knative = platform.deployment_mode == "Knative"
    # KServe's webhook would add the mode: written here, it is no drift.
    made: dict[str, pulumi.Input[str]] = {"serving.kserve.io/deploymentMode": platform.deployment_mode}
    if knative:
        made["serving.knative.dev/progress-deadline"] = f"{settings.startup_timeout}s"
    else:
        made["serving.kserve.io/autoscalerClass"] = _autoscaler(model, platform)
    if model.delivery.streamed:
        made[STREAM_ANNOTATION] = storage_uri
    switch = kind.stopped if settings.paused else kind.running
    return {**made, **switch["metadata"]["annotations"], **SERVING_ANNOTATIONS}


def revision(
    model: StackModel,
    predictor: Mapping[str, Any],
    annotations: Mapping[str, pulumi.Input[str]],
    platform: KServeSettings,
) -> pulumi.Output[str]:
    """The name of what makes the pods; the number of replicas and a pause do not."""
    pod = {key: part for key, part in predictor.items() if key not in NOT_OF_THE_POD}
    copied = {key: value for key, value in annotations.items() if key != KSERVE_STOP}
    own = serving_runtime.of_model(model, platform)
    labels = {"labels": dict(model.settings.labels)} if model.settings.labels else {}
    return rollout.revision({"runtime": own, "annotations": copied, **labels, **pod})


def _autoscaler(model: StackModel, platform: KServeSettings) -> str:
    """Say which autoscaler owns the replicas, the same for a fixed number: an HPA keeps its bounds without a metric."""
    return "keda" if model.settings.scaling.query and platform.keda else "hpa"


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
    scaling = model.settings.scaling
    if _autoscaler(model, platform) == "hpa":
        return {"scaleMetric": "cpu", "scaleTarget": scaling.target}
    metric = {"backend": "prometheus", "serverAddress": platform.prometheus, "query": scaling.query}
    external = {"metric": metric, "target": {"type": "Value", "value": str(scaling.target)}}
    return {"autoScaling": {"metrics": [{"type": "External", "external": external}]}}


def _server(
    model: StackModel,
    platform: KServeSettings,
    storage_uri: pulumi.Input[str],
    traits: pulumi.Output[Traits],
    loras: Sequence[ServedAdapter],
    *,
    cache: ServedCache | None,
) -> dict[str, Any]:
    settings, scheduling = model.settings, model.scheduling
    amounts = scheduling.amounts
    made: dict[str, Any] = {
        "modelFormat": {"name": serving_runtime.model_format(model)},
        "runtime": serving_runtime.name(model),
        # KServe would bring what this names, as well as the sidecar.
        **({} if model.delivery.streamed else {"storageUri": storage_uri}),
        "args": pulumi.Output.all(traits, adapters.ranks(loras)).apply(lambda known: arguments(model, *known)),
        "env": variables(model),
        # Both, for both: KServe fills what is left out with 1 CPU and 2 GiB.
        "resources": {"requests": amounts, "limits": amounts},
        **vllm.probes(settings.startup_timeout, *vllm.health(model)),
        "lifecycle": vllm.drain(model.drain_timeout, _settle(platform)),
        **vllm.LAST_WORDS,
        # The runtime has it too. Here it changes together with all else, once the cluster accepts it and nodes have it:
        # what only the runtime says KServe has in the pods at once, and replaces them again for the rest.
        "image": model.server_image,
    }
    if settings.server:
        made["args"] = list(settings.args)
        made["lifecycle"] = vllm.settle_only(_settle(platform))
    else:
        made["command"] = _command(model, cache)
    if mounts := [*adapters.mounts(loras), *([compile_cache.mount()] if cache else [])]:
        made["volumeMounts"] = mounts  # beside the runtime's own: they are merged by their paths
    return made


def _command(model: StackModel, cache: ServedCache | None) -> list[str]:
    if model.delivery.streamed:
        return streaming.server_command()
    return compile_cache.command() if cache else vllm.COMMAND


def arguments(model: StackModel, traits: Traits, ranks: Mapping[str, int]) -> list[str]:
    """What vLLM is told beside the runtime's own arguments; `ranks` are of the model's adapters.

    Raises:
        UnservableError: the image turned out to hold what its delivery cannot load.
    """
    if model.delivery.streamed and traits.weights_file:
        raise UnservableError(f"models.{model.key}.delivery {streaming.NO_GGUF}")
    name = f"--served-model-name={model.served_name}"
    streamed = streaming.arguments(model) if model.delivery.streamed else []
    return [name, *streamed, *vllm.told(model, traits), *vllm.lora(ranks), *model.settings.args]


def variables(model: StackModel) -> list[dict[str, Any]]:
    """The environment of its server's container."""
    return vllm.env(_env(model))


def cache_key(model: StackModel, digest: str, traits: Traits, ranks: Mapping[str, int]) -> CacheKey:
    """What its server compiles for, with an image of that digest."""
    args = [*vllm.ARGS, *arguments(model, traits, ranks)]
    return compile_cache.key_of(model, digest, args, variables(model))


def _env(model: StackModel) -> dict[str, str | Mapping[str, Any]]:
    """The profile's environment and the settings': texts, and where Kubernetes takes the others from."""
    given: dict[str, str | Mapping[str, Any]] = {}
    for name, value in model.settings.env.items():
        if isinstance(value, str):
            given[name] = value
        else:
            given[name] = {"secretKeyRef": {"name": value.secret_key_ref.name, "key": value.secret_key_ref.key}}
    secret = {name: {"secretKeyRef": {"name": model.secret_name, "key": name}} for name in model.settings.secret_env}
    door = streaming.server_env(model) if model.delivery.streamed else {}
    return {**model.tuned(model.traits).env, **given, **secret, **door}


def _settle(platform: KServeSettings) -> int:
    """Seconds until nobody sends a pod requests that is being deleted: Google's load balancer is told last."""
    return 20 if platform.gateway == "gke" else vllm.SETTLE_SECONDS
