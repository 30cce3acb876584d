"""What KServe's manager does with an InferenceService in Standard mode, as v0.20.0 was seen to and its source says.

Sources: KServe v0.20, pkg/controller/v1beta1/inferenceservice (components/predictor.go, reconcilers/{raw,deployment,
hpa,service,ingress}) and pkg/apis/serving/v1beta1/inference_service_status.go. The pods are left to its webhook.
"""

import copy
from datetime import datetime, timezone
from typing import Any

import httpx

from tests.integration.webhook import ANNOTATION, LABEL

JSON = dict[str, Any]
API = "/apis/serving.kserve.io"
MANAGER = "manager"
"""The field manager of the chart's manager: a client's default name is its binary's."""
STOP = "serving.kserve.io/stop"
CLASS = "serving.kserve.io/autoscalerClass"
FINALIZER = "inferenceservice.finalizers"
_NOT_COPIED = {
    *("autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/max-scale", ANNOTATION),
    *("kubectl.kubernetes.io/last-applied-configuration", "modelFormat"),
}
"""Annotations that do not reach the pods (pkg/constants, ServiceAnnotationDisallowedList)."""
_MERGE_KEYS = {"env": "name", "volumes": "name", "volumeMounts": "mountPath", "ports": "containerPort"}
_NOT_OF_THE_CONTAINER = {"modelFormat", "runtime", "storageUri", "storage", "protocolVersion", "name", "args"}
# Fields of the predictor that are KServe's own, not a PodSpec's (ComponentExtensionSpec).
_NOT_OF_THE_POD = {
    *("model", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "autoScaling"),
    *("deploymentStrategy", "labels", "annotations"),
}
# What MergePodSpec takes of a runtime.
_OF_THE_RUNTIME = ("nodeSelector", "affinity", "tolerations", "volumes", "imagePullSecrets", "schedulerName")
_DOMAIN = "example.com"
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
_WRITES = {"fieldManager": MANAGER}


class ReconcileError(Exception):
    """The predictor cannot be made; `reason` is that of the model's failure."""

    def __init__(self, reason: str, message: str, error: str) -> None:
        super().__init__(error)
        self.reason, self.message = reason, message


def reconcile(api: httpx.Client, service: JSON) -> float:
    """Bring what belongs to an InferenceService, and its status, to what it says."""
    meta, path = service["metadata"], _path(service)
    found = meta.get("finalizers") or []
    if meta.get("deletionTimestamp"):
        if FINALIZER in found:
            finalizers(api, service, [one for one in found if one != FINALIZER])
        return 0
    if FINALIZER not in found:
        finalizers(api, service, [*found, FINALIZER])
    status = copy.deepcopy(service.get("status") or {})
    if not status.get("conditions"):
        for kind in ("PredictorReady", "IngressReady"):
            _set(status, kind, "Unknown")
    status["deploymentMode"] = "Standard"
    try:
        runtime = _runtime(api, service)
        _check(service, runtime)
    except ReconcileError as error:
        model = status.setdefault("modelStatus", {"copies": {"failedCopies": 0}})
        model["transitionStatus"] = "InvalidSpec"
        model.setdefault("states", {})["targetModelState"] = "FailedToLoad"
        model["lastFailureInfo"] = {"reason": error.reason, "message": error.message}
        if _report(api, path, service, status):
            _warn(api, service, str(error))
        return 0
    status["servingRuntimeName"] = service["spec"]["predictor"]["model"]["runtime"]
    made = _objects(api, service, runtime)
    if is_stopped(service):
        if _condition(status, "PredictorReady").get("reason") != "Stopped":
            status = {"deploymentMode": "Standard"}
            _set(status, "PredictorReady", "False", "Stopped")
        _set(status, "Stopped", "True")
        _set(status, "IngressReady", "False", "Stopped")
    else:
        pods = _pods(api, service)
        _predictor_status(status, service, made)
        _model_status(status, pods)
        _set(status, "Stopped", "False")
        name, namespace = meta["name"], meta["namespace"]
        status["url"] = f"http://{name}-{namespace}.{_DOMAIN}"
        status["address"] = {"url": f"http://{name}-predictor.{namespace}.svc.cluster.local"}
        _set(status, "IngressReady", "True")
    _report(api, path, service, status)
    return 0


def is_stopped(service: JSON) -> bool:
    """Whether the stop annotation says so, in whichever case."""
    return str((service["metadata"].get("annotations") or {}).get(STOP)).lower() == "true"


def deployment(service: JSON, runtime: JSON) -> JSON:
    """The predictor's Deployment, with runtime and model merged (`MergeRuntimeContainers`)."""
    predictor, model = service["spec"]["predictor"], service["spec"]["predictor"]["model"]
    meta = _metadata(service, runtime)
    own = {key: value for key, value in model.items() if key not in _NOT_OF_THE_CONTAINER}
    container, *others = (copy.deepcopy(one) for one in runtime["containers"])
    container = _merged(container, own)
    container["args"] = [*(runtime["containers"][0].get("args") or []), *(model.get("args") or [])]
    pod = _merged(
        {key: runtime[key] for key in _OF_THE_RUNTIME if key in runtime},
        {key: value for key, value in predictor.items() if key not in _NOT_OF_THE_POD},
    )
    containers = [container, *others]
    for one in containers:
        one.setdefault("env", []).append({"name": "INFERENCE_SERVICE_NAME", "value": service["metadata"]["name"]})
        one.setdefault("imagePullPolicy", "IfNotPresent")
    container.setdefault("readinessProbe", {"tcpSocket": {"port": _port(runtime)}})
    spec: JSON = {
        "selector": {"matchLabels": {"app": meta["labels"]["app"]}},
        "template": {
            "metadata": {key: meta[key] for key in ("name", "namespace", "labels", "annotations")},
            "spec": {**pod, "containers": containers},
        },
    }
    if predictor.get("deploymentStrategy"):
        spec["strategy"] = predictor["deploymentStrategy"]
    # Any other class leaves them to its scaler; the API server then starts with one.
    if meta["annotations"].get(CLASS) == "none" and "minReplicas" in predictor:
        spec["replicas"] = predictor["minReplicas"]
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def autoscaler(service: JSON, runtime: JSON) -> JSON:
    """The HorizontalPodAutoscaler of the class `hpa`."""
    predictor, meta = service["spec"]["predictor"], _metadata(service, runtime)
    least = max(predictor.get("minReplicas") or 0, 1)
    target = {"type": "Utilization", "averageUtilization": predictor.get("scaleTarget") or 80}
    resource = {"name": predictor.get("scaleMetric") or "cpu", "target": target}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": meta,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": meta["name"]},
            "minReplicas": least,
            "maxReplicas": max(predictor.get("maxReplicas") or 0, least),
            "metrics": [{"type": "Resource", "resource": resource}],
        },
    }


def endpoint(service: JSON, runtime: JSON) -> JSON:
    """The predictor's Service."""
    meta = _metadata(service, runtime)
    port = {"name": meta["name"], "port": 80, "protocol": "TCP", "targetPort": _port(runtime)}
    if runtime["containers"][0].get("ports"):
        port["name"] = runtime["containers"][0]["ports"][0].get("name", "")
    spec = {"selector": {"app": meta["labels"]["app"]}, "ports": [{k: v for k, v in port.items() if v}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def _metadata(service: JSON, runtime: JSON) -> JSON:
    """What Deployment, Service and autoscaler have in common, and the pods: the InferenceService's own, copied."""
    meta, predictor = service["metadata"], service["spec"]["predictor"]
    name = f"{meta['name']}-predictor"
    of_the_service = {k: v for k, v in (meta.get("annotations") or {}).items() if k not in _NOT_COPIED}
    if predictor["model"].get("storageUri"):
        of_the_service[ANNOTATION] = predictor["model"]["storageUri"]
    owner = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "name": meta["name"],
        "uid": meta.get("uid", ""),
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": name,
        "namespace": meta["namespace"],
        "labels": {
            **(runtime.get("labels") or {}),
            **(meta.get("labels") or {}),
            **(predictor.get("labels") or {}),
            LABEL: meta["name"],
            "component": "predictor",
            "app": f"isvc.{name}",
        },
        "annotations": {
            **(runtime.get("annotations") or {}),
            **of_the_service,
            **(predictor.get("annotations") or {}),
        },
        "ownerReferences": [owner],
    }


def _port(runtime: JSON) -> int:
    ports = runtime["containers"][0].get("ports") or [{"containerPort": 8080}]
    return int(ports[0]["containerPort"])


def _merged(base: JSON, over: JSON) -> JSON:
    """Merge as a strategic merge patch does: maps by key, lists of these names by their elements' key."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        elif key in _MERGE_KEYS and result.get(key):
            by = _MERGE_KEYS[key]
            elements = {element[by]: element for element in value}
            kept = [_merged(element, elements.pop(element[by], {})) for element in result[key]]
            # The patch's new elements come first (k8s.io/apimachinery, strategicpatch, mergeSortedSlice).
            result[key] = [*copy.deepcopy(list(elements.values())), *kept]
        else:
            result[key] = copy.deepcopy(value)
    return result


# What is written


def _objects(api: httpx.Client, service: JSON, runtime: JSON) -> JSON:
    """Make, change or remove Service, Deployment and autoscaler; the Deployment as it is now, or nothing."""
    namespace, name = service["metadata"]["namespace"], f"{service['metadata']['name']}-predictor"
    paths = {
        "Service": f"/api/v1/namespaces/{namespace}/services",
        "Deployment": f"/apis/apps/v1/namespaces/{namespace}/deployments",
        "Autoscaler": f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers",
    }
    scaled = (service["metadata"].get("annotations") or {}).get(CLASS, "hpa") == "hpa"
    stopped = is_stopped(service)
    for kind, path in paths.items():
        if stopped or (kind == "Autoscaler" and not scaled):
            gone = api.delete(f"{path}/{name}", params={"propagationPolicy": "Background"})
            if gone.status_code != 404:
                gone.raise_for_status()
    if stopped:
        return {}
    _make(api, paths["Service"], endpoint(service, runtime))
    made = _make(api, paths["Deployment"], deployment(service, runtime))
    if scaled:
        _make(api, paths["Autoscaler"], autoscaler(service, runtime))
    return made


def _make(api: httpx.Client, path: str, wanted: JSON) -> JSON:
    """Create an object, or replace it where the API server's dry run shows that its spec would change."""
    own = f"{path}/{wanted['metadata']['name']}"
    answer = api.get(own)
    if answer.status_code == 404:
        return dict(api.post(path, params=_WRITES, json=wanted).raise_for_status().json())
    found = answer.raise_for_status().json()
    if wanted["kind"] == "Deployment" and wanted["metadata"]["annotations"].get(CLASS) != "none":
        wanted["spec"]["replicas"] = found["spec"]["replicas"]
    would = api.put(own, params={**_WRITES, "dryRun": "All"}, json=wanted).raise_for_status().json()
    if would["spec"] == found["spec"]:
        return dict(found)
    return dict(api.put(own, params=_WRITES, json=wanted).raise_for_status().json())


def finalizers(api: httpx.Client, service: JSON, names: list[str]) -> None:
    """Set an InferenceService's finalizers."""
    body = {"metadata": {"finalizers": names}}
    api.patch(_path(service), params=_WRITES, json=body, headers=_MERGE_PATCH).raise_for_status()


def _path(service: JSON) -> str:
    meta = service["metadata"]
    return f"{API}/v1beta1/namespaces/{meta['namespace']}/inferenceservices/{meta['name']}"


def _runtime(api: httpx.Client, service: JSON) -> JSON:
    """The runtime's spec, of the namespace or else of the cluster."""
    name = service["spec"]["predictor"]["model"]["runtime"]
    for path in (f"namespaces/{service['metadata']['namespace']}/servingruntimes", "clusterservingruntimes"):
        found = api.get(f"{API}/v1alpha1/{path}/{name}")
        if found.is_success:
            return dict(found.json()["spec"])
    raise ReconcileError(
        "RuntimeNotRecognized",
        "Waiting for runtime to become available",
        f"No ServingRuntimes or ClusterServingRuntimes with the name: {name}",
    )


def _check(service: JSON, runtime: JSON) -> None:
    model = service["spec"]["predictor"]["model"]
    if runtime.get("disabled"):
        said = f"specified runtime {model['runtime']} is disabled"
        raise ReconcileError("RuntimeDisabled", "Specified runtime is disabled", said)
    formats = {one["name"] for one in runtime.get("supportedModelFormats") or []}
    if model["modelFormat"]["name"] not in formats:
        said = "does not support specified framework/version"
        raise ReconcileError(
            "NoSupportingRuntime", f"Specified runtime {said}", f"specified runtime {model['runtime']} {said}"
        )


# What is told


def _predictor_status(status: JSON, service: JSON, made: JSON) -> None:
    """Tell of the predictor what its Deployment's conditions say (`PropagateRawStatus`)."""
    said = {one["type"]: one for one in made.get("status", {}).get("conditions") or []}
    available, progressing = said.get("Available", {}), said.get("Progressing", {})
    result: tuple[str, JSON] = ("False", {})
    if available.get("status") == "True":
        result = ("True", available)
    if progressing.get("status") == "False":
        if progressing.get("message"):
            result = ("False", progressing)
    elif progressing.get("status") == "True":
        if progressing["reason"] == "NewReplicaSetAvailable":
            result = ("True", progressing)
        elif available.get("status") != "True":
            result = ("Unknown", progressing)
    if available.get("status") == "False":
        result = ("False", available)
    if said.get("ReplicaFailure", {}).get("status") == "True":
        result = ("False", said["ReplicaFailure"])
    value, why = result
    predictor = status.setdefault("components", {}).setdefault("predictor", {})
    if value == "True":
        meta = service["metadata"]
        predictor["url"] = f"http://{meta['name']}-predictor-{meta['namespace']}.{_DOMAIN}"
    _set(status, "PredictorReady", value, why.get("reason", ""), why.get("message", ""))
    if made.get("status", {}).get("observedGeneration"):
        status["observedGeneration"] = made["status"]["observedGeneration"]


def _model_status(status: JSON, pods: list[JSON]) -> None:
    """Tell of the model what its pods show (`PropagateModelStatus`)."""
    model = status.setdefault("modelStatus", {})
    model["copies"] = {"failedCopies": 0, "totalCopies": sum(map(_is_running, pods))}
    if not model["copies"]["totalCopies"]:
        del model["copies"]["totalCopies"]
    if not pods:
        _state(model, "Pending")
    elif _condition(status, "Ready").get("status") == "True":
        _state(model, "Loaded")
    else:
        for one in pods[0]["status"].get("containerStatuses") or []:
            if one["name"] != "kserve-container":
                continue
            ended = one["state"].get("terminated") or {}
            if (one["state"].get("waiting") or {}).get("reason") == "CrashLoopBackOff":
                ended = one["lastState"].get("terminated") or {}
            elif ended.get("reason") != "Error":
                _state(model, "Pending")
                continue
            _state(model, "FailedToLoad")
            told = {"message": ended.get("message"), "exitCode": ended.get("exitCode")}
            model["lastFailureInfo"] = {"reason": "ModelLoadFailed", **{k: v for k, v in told.items() if v}}


def _state(model: JSON, state: str) -> None:
    states = model.setdefault("states", {})
    states["targetModelState"] = state
    if state == "Loaded":
        states["activeModelState"] = state
    told = {"Pending": "InProgress", "Loaded": "UpToDate", "FailedToLoad": "BlockedByFailedLoad"}
    model["transitionStatus"] = told[state]


def _is_running(pod: JSON) -> bool:
    conditions = pod["status"].get("conditions") or []
    return pod["status"].get("phase") == "Running" and any(
        one["type"] == "Ready" and one["status"] == "True" for one in conditions
    )


def _pods(api: httpx.Client, service: JSON) -> list[JSON]:
    meta = service["metadata"]
    selector = f"app=isvc.{meta['name']}-predictor"
    path = f"/api/v1/namespaces/{meta['namespace']}/pods"
    return list(api.get(path, params={"labelSelector": selector}).raise_for_status().json()["items"])


def _condition(status: JSON, kind: str) -> JSON:
    return next((one for one in status.get("conditions") or [] if one["type"] == kind), {})


def _set(status: JSON, kind: str, value: str, reason: str = "", message: str = "") -> None:
    """Set a condition, and with it Ready, which holds while those of predictor and ingress do."""
    told = {"status": value, **({"reason": reason} if reason else {}), **({"message": message} if message else {})}
    if kind == "Stopped":
        told["severity"] = "Info"
    _put(status, kind, told)
    if kind in {"PredictorReady", "IngressReady"}:
        parts = [_condition(status, one) for one in ("PredictorReady", "IngressReady")]
        unhappy = [one for value in ("False", "Unknown") for one in parts if one.get("status") == value]
        missing = not all(parts)
        why: JSON = (
            {key: unhappy[0][key] for key in ("status", "reason", "message") if key in unhappy[0]} if unhappy else {}
        )
        _put(status, "Ready", why or {"status": "Unknown" if missing else "True"})


def _put(status: JSON, kind: str, told: JSON) -> None:
    conditions = status.setdefault("conditions", [])
    before = _condition(status, kind)
    if {key: value for key, value in before.items() if key not in {"type", "lastTransitionTime"}} == told:
        return
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    others = [one for one in conditions if one["type"] != kind]
    status["conditions"] = sorted(
        [*others, {"type": kind, "lastTransitionTime": now, **told}], key=lambda one: str(one["type"])
    )


def _report(api: httpx.Client, path: str, service: JSON, status: JSON) -> bool:
    """Replace the status where it changed, as a client that has read the object just now; whether it did."""
    if status == (service.get("status") or {}):
        return False
    current = api.get(path).raise_for_status().json()
    api.put(f"{path}/status", params=_WRITES, json={**current, "status": status}).raise_for_status()
    return True


def _warn(api: httpx.Client, service: JSON, message: str) -> None:
    meta, now = service["metadata"], datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    involved = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        **{key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion")},
    }
    event = {
        "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]},
        "involvedObject": involved,
        "type": "Warning",
        "reason": "InternalError",
        "message": message,
        "source": {"component": "v1beta1Controllers"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    api.post(f"/api/v1/namespaces/{meta['namespace']}/events", params=_WRITES, json=event).raise_for_status()
