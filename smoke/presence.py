"""Whether a model has pods to look at now, and why not: what every step asks before it looks.

Read are the object that serves the model, its pods, and KServe's Deployment.
"""

from oci_model_serving.delivery import KUBEAI
from oci_model_serving.outputs import ModelOutput
from smoke.checks import NotRunError
from watch.kube import JSON, KubeApi, namespaced
from watch.pods import is_paused, object_path, pods_of


def check_not_paused(api: KubeApi, model: ModelOutput) -> JSON | None:
    """The object that serves the model, None where there is none.

    Raises:
        NotRunError: the model is paused.
    """
    found = api.find(object_path(model))
    if model.paused and (found is None or is_paused(found, model)):
        raise NotRunError("the model is paused in the settings: `models.NAME.paused: false`, or `oms resume`")
    if found is not None and is_paused(found, model):
        raise NotRunError("the model is paused by command: `oms resume`, or a `pulumi up`, which follows the settings")
    return found


def pods_to_check(api: KubeApi, model: ModelOutput) -> list[JSON]:
    """The model's pods; none where it should have some and has not.

    Raises:
        NotRunError: it is paused, or scaled to zero.
    """
    found = check_not_paused(api, model)
    pods = pods_of(api, model)
    if not pods and found is not None and _is_at_zero(api, found, model):
        raise NotRunError("the model is scaled to zero: the first request brings a pod (`oms coldstart` measures it)")
    return pods


def _is_at_zero(api: KubeApi, found: JSON, model: ModelOutput) -> bool:
    if model.serving.platform is KUBEAI:
        spec = found["spec"]
        return not spec.get("minReplicas") and not spec.get("replicas")
    # KServe's own status stays Ready: the number is the Deployment's, which an autoscaler sets.
    deployment = api.find(namespaced("apps/v1", model.namespace, "deployments", f"{model.name}-predictor"))
    return deployment is not None and deployment["spec"].get("replicas") == 0
