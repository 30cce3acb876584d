"""Pause and resume: the model's pods go, its GPU node goes with them, and both come back.

This changes the object in the cluster and not the stack's settings: the next `pulumi up` brings back what the
settings say. `models.NAME.paused: true` there is the lasting way.
"""

import json
from collections.abc import Mapping
from typing import Any

from oci_model_serving.delivery import KSERVE
from oci_model_serving.outputs import ModelOutput
from watch.kube import JSON, KubeApi
from watch.pods import object_path, pods_of
from watch.waiting import Tell, wait_for

BEFORE_ANNOTATION = "oci-model-serving/before-pause"


def pause(api: KubeApi, model: ModelOutput) -> None:
    """Have the model's pods removed. Nothing happens to a model that is paused already.

    Raises:
        ApiError: there is no such object, or it may not be changed.
    """
    found, platform = api.get(object_path(model)), model.serving.platform
    if is_paused(found, model):
        return
    patch = dict(platform.stopped)
    if platform is not KSERVE:
        # KServe's switch is on or off; fields that others set as well are to come back as they were.
        before = json.dumps(_values(found, platform.stopped)["spec"])
        patch["metadata"] = {"annotations": {BEFORE_ANNOTATION: before}}
    api.patch(object_path(model), patch)


def resume(api: KubeApi, model: ModelOutput) -> None:
    """Bring a paused model back, with at least one pod.

    Raises:
        ApiError: there is no such object, or it may not be changed.
    """
    found, platform = api.get(object_path(model)), model.serving.platform
    if not is_paused(found, model):
        return
    patch = _values({}, platform.stopped)
    if platform is not KSERVE:
        # Without the annotation it was the stack that paused the model; what it had before is known to nobody.
        recorded = (found["metadata"].get("annotations") or {}).get(BEFORE_ANNOTATION)
        before = json.loads(recorded) if recorded else {"minReplicas": 1}
        # A minimum of 0 is KubeAI's own scale to zero, and stays.
        replicas = max(before.get("minReplicas") or 0, before.get("replicas") or 0, 1)
        patch["spec"] |= {**before, "replicas": replicas}
        patch["metadata"] = {"annotations": {BEFORE_ANNOTATION: None}}
    api.patch(object_path(model), patch)


def scale_of(found: JSON, model: ModelOutput) -> JSON:
    """All that pause and resume change of a model's object, as the patch that puts it back."""
    annotations = (found["metadata"].get("annotations") or {}).get(BEFORE_ANNOTATION)
    scale = _values(found, model.serving.platform.stopped)
    scale.setdefault("metadata", {}).setdefault("annotations", {})[BEFORE_ANNOTATION] = annotations
    return scale


def is_paused(found: JSON, model: ModelOutput) -> bool:
    """Whether an object of the cluster says that its model is paused."""
    stopped = model.serving.platform.stopped
    return _values(found, stopped) == stopped


def wait_for_no_pods(api: KubeApi, model: ModelOutput, *, timeout: float, tell: Tell) -> None:
    """Wait until a paused model's pods are gone, those that are terminating included.

    Raises:
        NotHeldError: some are still there after `timeout` seconds.
    """
    wait_for(
        lambda: not pods_of(api, model, going=True),
        timeout=timeout,
        tell=tell,
        what=f"{model.name}: waiting for zero pods",
        remedy="see what keeps them (`kubectl describe pod`): a finalizer, or a controller that does not run",
    )


def _values(found: Mapping[str, Any], shape: Mapping[str, Any]) -> JSON:
    """What an object has in the fields of `shape`; None where it has none, as a merge patch removes them."""
    return {
        key: _values(found.get(key) or {}, part) if isinstance(part, Mapping) else found.get(key)
        for key, part in shape.items()
    }
