"""Pause and resume: the model's pods go, its GPU node goes with them, and both come back.

This changes the object in the cluster and not the stack's settings: the next `pulumi up` brings back what the
settings say. `paused: true` there is the lasting way.
"""

import json
import time
from collections.abc import Callable

from components.outputs import ModelOutput
from smoke import manifests
from smoke.checks import NotHeldError
from smoke.kube import JSON, KubeApi, namespaced
from smoke.pods import pods_of

STOP_ANNOTATION = "serving.kserve.io/stop"
"""KServe deletes the predictor's Deployment while it is "true" (KServe v0.20, pkg/constants StopAnnotationKey)."""
BEFORE_ANNOTATION = "oci-model-serving/before-pause"
_KUBEAI_STOPPED = {"minReplicas": 0, "replicas": 0, "autoscalingDisabled": True}
_POLL_SECONDS = 1.0

Tell = Callable[[str], None]


def pause(api: KubeApi, model: ModelOutput) -> None:
    """Have the model's pods removed. Nothing happens to a model that is paused already.

    Raises:
        ApiError: there is no such object, or it may not be changed.
    """
    found = api.get(_path(model))
    if is_paused(found, model):
        return
    if model.platform == "kserve":
        api.patch(_path(model), {"metadata": {"annotations": {STOP_ANNOTATION: "true"}}})
        return
    # KubeAI has no stop switch: no replicas, and no autoscaler that would bring them back on a request.
    before = {field: found["spec"].get(field) for field in _KUBEAI_STOPPED}
    api.patch(
        _path(model),
        {"metadata": {"annotations": {BEFORE_ANNOTATION: json.dumps(before)}}, "spec": dict(_KUBEAI_STOPPED)},
    )


def resume(api: KubeApi, model: ModelOutput) -> None:
    """Bring a paused model back, with at least one pod.

    Raises:
        ApiError: there is no such object, or it may not be changed.
    """
    found = api.get(_path(model))
    if model.platform == "kserve":
        if is_paused(found, model):
            api.patch(_path(model), {"metadata": {"annotations": {STOP_ANNOTATION: None}}})
        return
    if not is_paused(found, model):
        return
    before = json.loads((found["metadata"].get("annotations") or {}).get(BEFORE_ANNOTATION, "{}"))
    minimum = before.get("minReplicas") or 1
    replicas = {"minReplicas": minimum, "replicas": max(minimum, before.get("replicas") or 1)}
    api.patch(
        _path(model),
        {
            "metadata": {"annotations": {BEFORE_ANNOTATION: None}},
            "spec": {**replicas, "autoscalingDisabled": before.get("autoscalingDisabled")},
        },
    )


def is_paused(found: JSON, model: ModelOutput) -> bool:
    """Tell whether an object of the cluster says that its model is paused."""
    if model.platform == "kserve":
        return bool((found["metadata"].get("annotations") or {}).get(STOP_ANNOTATION) == "true")
    return all(found["spec"].get(field) == value for field, value in _KUBEAI_STOPPED.items())


def read_paused(api: KubeApi, model: ModelOutput) -> bool:
    """Ask the cluster whether a model is paused.

    Raises:
        ApiError: there is no such object.
    """
    return is_paused(api.get(_path(model)), model)


def wait_for_no_pods(api: KubeApi, model: ModelOutput, *, timeout: float, tell: Tell) -> None:
    """Wait until a paused model's pods are gone, those that are terminating included.

    Raises:
        NotHeldError: some are still there after `timeout` seconds.
    """
    path = namespaced("v1", model.namespace, "pods")
    wait(
        lambda: not api.items(path, labelSelector=manifests.pod_selector(model)),
        timeout=timeout,
        tell=tell,
        what=f"{model.name}: waiting for zero pods",
        remedy="see what keeps them (`kubectl describe pod`): a finalizer, or a controller that does not run",
    )


def wait_for_ready_pod(api: KubeApi, model: ModelOutput, *, timeout: float, tell: Tell) -> JSON:
    """Wait until one of the model's pods is ready, and return it.

    Raises:
        NotHeldError: none is after `timeout` seconds.
    """
    ready: list[JSON] = []

    def look() -> bool:
        ready[:] = [pod for pod in pods_of(api, model) if is_ready(pod)]
        return bool(ready)

    wait(
        look,
        timeout=timeout,
        tell=tell,
        what=f"{model.name}: waiting for a ready pod",
        remedy="run `python -m smoke --only deployed` for the cause, or give a larger --timeout",
    )
    return ready[0]


def is_ready(pod: JSON) -> bool:
    """Tell whether a pod is ready to serve."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def wait(condition: Callable[[], bool], *, timeout: float, tell: Tell, what: str, remedy: str) -> None:
    """Poll `condition` until it holds, telling how long it has been.

    Raises:
        NotHeldError: it does not hold after `timeout` seconds.
    """
    start = time.monotonic()
    while not condition():
        waited = time.monotonic() - start
        if waited > timeout:
            raise NotHeldError(f"{what}: not within {timeout:.0f} s", remedy)
        tell(f"{what} ({waited:.0f} s)")
        time.sleep(_POLL_SECONDS)


def _path(model: ModelOutput) -> str:
    group, plural = manifests.resource(model)
    return namespaced(group, model.namespace, plural, model.name)
