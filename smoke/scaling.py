"""Pause and resume: the model's pods go, its GPU node goes with them, and both come back.

This changes the object in the cluster and not the stack's settings: the next `pulumi up` brings back what the
settings say. `paused: true` there is the lasting way.
"""

import json
import time
from collections.abc import Callable

import httpx

from components.outputs import ModelOutput
from smoke import manifests
from smoke.checks import NotHeldError
from smoke.kube import JSON, ApiError, KubeApi, is_transient, namespaced
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
    # Without the annotation it was the stack that paused the model; what it had before is known to nobody.
    recorded = (found["metadata"].get("annotations") or {}).get(BEFORE_ANNOTATION)
    before = json.loads(recorded) if recorded else {"minReplicas": 1}
    # A minimum of 0 is KubeAI's own scale to zero, and stays.
    minimum = before.get("minReplicas")
    replicas = {"minReplicas": minimum, "replicas": max(minimum or 0, before.get("replicas") or 0, 1)}
    api.patch(
        _path(model),
        {
            "metadata": {"annotations": {BEFORE_ANNOTATION: None}},
            "spec": {**replicas, "autoscalingDisabled": before.get("autoscalingDisabled")},
        },
    )


def read_scale(api: KubeApi, model: ModelOutput) -> JSON:
    """Return all that pause and resume change of a model's object, for `put_back`.

    Raises:
        ApiError: there is no such object.
    """
    found = api.get(_path(model))
    annotation = STOP_ANNOTATION if model.platform == "kserve" else BEFORE_ANNOTATION
    scale: JSON = {
        "metadata": {"annotations": {annotation: (found["metadata"].get("annotations") or {}).get(annotation)}}
    }
    if model.platform == "kubeai":
        scale["spec"] = {field: found["spec"].get(field) for field in _KUBEAI_STOPPED}
    return scale


def put_back(api: KubeApi, model: ModelOutput, scale: JSON) -> None:
    """Make a model's object again what `read_scale` returned.

    Raises:
        ApiError: there is no such object, or it may not be changed.
    """
    api.patch(_path(model), scale)


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

    An API server that does not answer for a while (it restarts, it is being upgraded) says nothing about the
    condition: it is asked again.

    Raises:
        NotHeldError: it does not hold after `timeout` seconds.
        ApiError: the API server refuses to tell.
    """
    start = time.monotonic()
    while True:
        unanswered = ""
        try:
            if condition():
                return
        except (ApiError, httpx.TransportError) as error:
            if not is_transient(error):
                raise
            unanswered = f", {error}"
        waited = time.monotonic() - start
        if waited > timeout:
            raise NotHeldError(f"{what}: not within {timeout:.0f} s{unanswered}", remedy)
        tell(f"{what} ({waited:.0f} s{unanswered})")
        time.sleep(_POLL_SECONDS)


def _path(model: ModelOutput) -> str:
    group, plural = manifests.resource(model)
    return namespaced(group, model.namespace, plural, model.name)
