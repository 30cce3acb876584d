"""Pause and resume: the model's pods go, its GPU node goes with them, and both come back.

This changes the object in the cluster and not the stack's settings, in exactly the fields that the program writes too
(`Platform.stopped` and `running`): so the next `pulumi up` that knows of it brings back what the settings say.
`models.NAME.paused: true` there is the lasting way.
"""

from collections.abc import Mapping
from typing import Any

from oci_model_serving.delivery import KUBEAI
from oci_model_serving.outputs import ModelOutput
from watch.kube import JSON, KubeApi
from watch.pods import is_paused, object_path


def pause(api: KubeApi, model: ModelOutput) -> None:
    """Have the model's pods removed. Nothing happens to a model that is paused already.

    Raises:
        ApiError: there is no such object, or it may not be changed.
    """
    if not is_paused(api.get(object_path(model)), model):
        api.patch(object_path(model), model.serving.platform.stopped)


def resume(api: KubeApi, model: ModelOutput) -> None:
    """Bring a paused model back, with at least one pod.

    Raises:
        ApiError: there is no such object, or it may not be changed.
    """
    found, platform = api.get(object_path(model)), model.serving.platform
    if not is_paused(found, model):
        return
    patch = dict(platform.running)
    if platform is KUBEAI:
        # A minimum of 0 is KubeAI's own scale to zero: it stays, and its manager would leave the model without a pod.
        patch["spec"] = {**patch["spec"], "replicas": max(1, found["spec"].get("minReplicas") or 0)}
    api.patch(object_path(model), patch)


def scale_of(found: JSON, model: ModelOutput) -> JSON:
    """All that pause and resume change of a model's object, as the patch that puts it back."""
    return _values(found, model.serving.platform.stopped)


def _values(found: Mapping[str, Any], shape: Mapping[str, Any]) -> JSON:
    """What an object has in the fields of `shape`; None where it has none, as a merge patch removes them."""
    return {
        key: _values(found.get(key) or {}, part) if isinstance(part, Mapping) else found.get(key)
        for key, part in shape.items()
    }
