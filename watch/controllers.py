"""What is said of a model while it has no pod: by the object that serves it, by what makes its pods, by a controller.

KServe writes into `status.modelStatus` and the condition `PredictorReady` (v0.20.0,
pkg/apis/serving/v1beta1/inference_service_status.go), and warns in events of the object. A ReplicaSet that may not make
pods warns in events of its own, and is the Deployment's condition `ReplicaFailure`, which goes when it may; Knative's
Deployments have names of their own, and there the events are all. KubeAI writes the number of replicas only
(internal/modelcontroller/model_controller.go, 0.23.2): its refusals are in its log alone, whose lines of errors end in
a JSON object with the model's name (kubeai-project/kubeai#236).
"""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import httpx

from oci_model_serving.delivery import KSERVE, KUBEAI
from oci_model_serving.foreign import read_json
from oci_model_serving.outputs import ModelOutput
from watch.causes import short
from watch.complaints import told_at
from watch.kube import JSON, ApiError, KubeApi, namespaced
from watch.pods import is_paused, object_path

CONTROLLERS = {KSERVE.name: "kserve-controller-manager", KUBEAI.name: "kubeai"}
"""The Deployment of each platform's controller: fixed in KServe's chart, the release's name in KubeAI's."""
_FAILED = {"InvalidSpec", "BlockedByFailedLoad"}
# A Deployment without a pod says the first from its first moment on; the others say that it has taken long, not why.
_USUAL = {"MinimumReplicasUnavailable", "ProgressDeadlineExceeded", "RevisionMissing", ""}
# A controller is told so by the API server every now and then, and does it again.
_AGAIN = re.compile(r"the object has been modified|already exists")
_LOG = {"tailLines": "500", "limitBytes": str(1 << 18)}


def complaint_of(api: KubeApi, model: ModelOutput, events: list[JSON]) -> str:
    """What the serving object or its Deployment says against there being pods; "" where they say nothing.

    Args:
        api: the cluster.
        model: what the stack says.
        events: those about the model's objects, the oldest first.
    """
    found = api.find(object_path(model))
    platform = model.serving.platform
    if found is None:
        return f"there is no {platform.plural}/{model.name} in {model.namespace}"
    if is_paused(found, model):
        return f"{platform.kind} {model.name} is paused"
    said = _of_object(found, events) or _of_sets(events)
    if said:
        return said
    if platform is KUBEAI:
        return _of_log(api, model, _changed(found))
    return _of_deployment(api.find(namespaced("apps/v1", model.namespace, "deployments", f"{model.name}-predictor")))


def controller_of(api: KubeApi, model: ModelOutput, namespace: str = "") -> str:
    """Who makes the model's pods, and whether it runs, in a few words; `namespace` is the platform's, if known."""
    name = CONTROLLERS[model.platform]
    where = namespace or (model.namespace if model.serving.platform is KUBEAI else "")
    try:
        found = controllers(api, model.platform, where)
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return f"{name}, which may not be looked at"
    if not found:
        return f"there is no Deployment {name}{f' in {where}' if where else ''}"
    for deployment in found:
        place = f"{deployment['metadata']['namespace']}/{name}"
        if not is_available(deployment):
            return f"Deployment {place} is not available{_why_not(deployment)}"
    return f"Deployment {place} runs: its log says why (`kubectl -n {place.partition('/')[0]} logs deploy/{name}`)"


def controllers(api: KubeApi, platform: str, namespace: str = "") -> list[JSON]:
    """The Deployments of a platform's controller: in this namespace, or anywhere."""
    name = CONTROLLERS[platform]
    if namespace:
        found = api.find(namespaced("apps/v1", namespace, "deployments", name))
        return [found] if found else []
    return api.items("/apis/apps/v1/deployments", fieldSelector=f"metadata.name={name}")


def is_available(deployment: JSON) -> bool:
    """Whether a Deployment has a pod that works; one that was scaled to none calls itself available."""
    return bool((deployment.get("status") or {}).get("availableReplicas"))


def _why_not(deployment: JSON) -> str:
    message = _condition(deployment, "ReplicaFailure").get("message") or _condition(deployment, "Available").get(
        "message"
    )
    return f" ({short(str(message))})" if message else ""


def _of_object(found: JSON, events: list[JSON]) -> str:
    status = found.get("status") or {}
    model = status.get("modelStatus") or {}
    if model.get("transitionStatus") in _FAILED:
        info = model.get("lastFailureInfo") or {}
        runtime = ((found["spec"].get("predictor") or {}).get("model") or {}).get("runtime")
        told = ": ".join(str(info[key]) for key in ("reason", "message") if info.get(key))
        return f"{model['transitionStatus']}: {told or 'no reason given'}{f' (runtime {runtime})' if runtime else ''}"
    condition = _condition(found, "PredictorReady")
    if condition.get("status") == "False" and condition.get("reason", "") not in _USUAL:
        return f"{condition['reason']}: {condition.get('message', '')}"
    changed = _changed(found)
    warnings = [
        event
        for event in events
        if event.get("type") == "Warning"
        and event["involvedObject"].get("name") == found["metadata"]["name"]
        and event["involvedObject"].get("kind") == found["kind"]
        and told_at(event) >= changed
    ]
    return f"{warnings[-1].get('reason', '')}: {warnings[-1].get('message', '')}" if warnings else ""


def _of_sets(events: list[JSON]) -> str:
    """What ReplicaSets say against pods, where that is their last word."""
    words = [event for event in events if event["involvedObject"].get("kind") == "ReplicaSet"]
    last = {str(event["involvedObject"].get("name")): event for event in words}
    refused = [event for event in last.values() if event.get("reason") == "FailedCreate"]
    return f"FailedCreate: {refused[-1].get('message', '')}" if refused else ""


def _of_log(api: KubeApi, model: ModelOutput, since: str) -> str:
    """The last error that KubeAI's log has of a model since its object was changed; "" where it may not be read."""
    try:
        errors = list(_errors(api, model, since))
    except (ApiError, httpx.TransportError):
        return ""  # the log is a help: what stands in the way of reading it is no failure of the model
    return f"{KUBEAI.name}: {errors[-1]}" if errors and not _AGAIN.search(errors[-1]) else ""


def _errors(api: KubeApi, model: ModelOutput, since: str) -> Iterator[str]:
    of = {**_LOG, **({"sinceTime": since} if since else {})}
    for deployment in controllers(api, KUBEAI.name, model.namespace):
        labels = ((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        path = namespaced("v1", model.namespace, "pods")
        for pod in api.items(path, labelSelector=selector) if selector else ():
            container = pod["spec"]["containers"][0]["name"]
            log = api.text(f"{path}/{pod['metadata']['name']}/log", container=container, **of)
            for line in log.splitlines():
                error = _error_of(line, model.name)
                if error:
                    yield error


def _error_of(line: str, name: str) -> str:
    try:
        told = read_json(line[line.index("{") :])
    except ValueError:
        return ""
    mine = isinstance(told, dict) and told.get("name") == name
    return str(told.get("error") or "") if mine else ""


def _of_deployment(deployment: JSON | None) -> str:
    for kind, status in (("ReplicaFailure", "True"), ("Progressing", "False")):
        condition = _condition(deployment or {}, kind)
        if condition.get("status") == status and condition.get("reason") not in _USUAL:
            return f"{condition.get('reason', kind)}: {condition.get('message', '')}"
    return ""


def _condition(found: JSON, kind: str) -> dict[str, Any]:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == kind), {})


def _changed(found: JSON) -> str:
    """When somebody last changed what an object asks for; warnings of before are of something else."""
    entries = found["metadata"].get("managedFields") or ()
    return max((str(one.get("time", "")) for one in entries if one.get("subresource") != "status"), default="")
