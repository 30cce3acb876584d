"""KServe's and KubeAI's controllers as far as this project's objects go, played against the test cluster.

They make what the real ones make, from the objects that this project applied: for an InferenceService the Deployment
and Service of Standard mode, with runtime and model merged (KServe v0.20: `MergeRuntimeContainers`, the Pod itself is
left to the webhook); for a Model the Pods of KubeAI's vLLM engine. Both take up changes and report their status.

Not played: KubeAI's proxy. Its Service leads to the model's pods, whose server takes the prefix `/openai` itself.
"""

import contextlib
import copy
import hashlib
import json
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.integration.cluster import client

JSON = dict[str, Any]
KSERVE = "/apis/serving.kserve.io"
_POLL_SECONDS = 0.5
_MERGE_KEYS = {"env": "name", "volumes": "name", "volumeMounts": "mountPath", "ports": "containerPort"}
_NOT_OF_THE_CONTAINER = {"modelFormat", "runtime", "storageUri", "storage", "protocolVersion", "name", "args"}
# Fields of the predictor that are KServe's own, not a PodSpec's (KServe v0.20, ComponentExtensionSpec).
_NOT_OF_THE_POD = {
    *("model", "minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "autoScaling"),
    *("deploymentStrategy", "labels", "annotations"),
}
_KUBEAI_PORT = 8000
_HASH = "pod-hash"
_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def playing(kubeconfig: Path, *, kserve: str = "", kubeai: str = "") -> Iterator[None]:
    """Play KServe's controller in the namespace `kserve` and KubeAI's in `kubeai` until the context ends."""
    stopped = threading.Event()
    thread = threading.Thread(target=_run, args=(kubeconfig, kserve, kubeai, stopped), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _run(kubeconfig: Path, kserve: str, kubeai: str, stopped: threading.Event) -> None:
    with client(kubeconfig) as api:
        while not stopped.wait(_POLL_SECONDS):
            if kserve:
                _reconcile(api, f"{KSERVE}/v1beta1/namespaces/{kserve}/inferenceservices", _reconcile_service)
            if kubeai:
                _reconcile(api, f"/apis/kubeai.org/v1/namespaces/{kubeai}/models", _reconcile_model)


def _reconcile(api: httpx.Client, path: str, one: Callable[[httpx.Client, JSON], None]) -> None:
    """Reconcile all objects of a kind. They change and go meanwhile: as a real controller, this one tries again."""
    with _told():
        for found in _items(api, path):
            with _told():
                one(api, found)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPError as error:
        answer = error.response.json() if isinstance(error, httpx.HTTPStatusError) else {}
        _LOG.warning("%s", answer.get("message", error))


def _items(api: httpx.Client, path: str, **params: str) -> list[JSON]:
    return list(api.get(path, params=params).raise_for_status().json()["items"])


def _apply(api: httpx.Client, path: str, body: JSON) -> None:
    body = {**body, "metadata": {"name": path.rpartition("/")[2]}}
    api.patch(
        path,
        params={"fieldManager": "controller", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(body),
    ).raise_for_status()


def _report(api: httpx.Client, path: str, status: JSON) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    api.patch(f"{path}/status", json={"status": status}, headers=headers).raise_for_status()


# KServe


def _reconcile_service(api: httpx.Client, service: JSON) -> None:
    metadata = service["metadata"]
    namespace, name = metadata["namespace"], f"{metadata['name']}-predictor"
    own = f"{KSERVE}/v1beta1/namespaces/{namespace}/inferenceservices/{metadata['name']}"
    deployment = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    endpoint = f"/api/v1/namespaces/{namespace}/services/{name}"
    if (metadata.get("annotations") or {}).get("serving.kserve.io/stop") == "true":
        for path in (deployment, endpoint):
            api.delete(path, params={"propagationPolicy": "Background"})
        _report(api, own, _conditions(Stopped=True, Ready=False))
        return
    runtime_name = service["spec"]["predictor"]["model"]["runtime"]
    runtime = api.get(f"{KSERVE}/v1alpha1/namespaces/{namespace}/servingruntimes/{runtime_name}")
    _apply(api, deployment, _deployment(service, name, runtime.raise_for_status().json()["spec"]))
    selector = {"app": f"isvc.{name}"}
    ports = [{"name": name, "port": 80, "protocol": "TCP", "targetPort": 8080}]
    body = {"apiVersion": "v1", "kind": "Service", "spec": {"selector": selector, "ports": ports}}
    _apply(api, endpoint, body)
    found = api.get(deployment).raise_for_status().json()
    wanted, status = found["spec"]["replicas"], found["status"]
    ready = status.get("observedGeneration") == found["metadata"]["generation"] and (
        status.get("updatedReplicas", 0) == status.get("availableReplicas", 0) == wanted
    )
    _report(api, own, _conditions(PredictorReady=ready, IngressReady=ready, Ready=ready, Stopped=False))


def _conditions(**conditions: bool) -> JSON:
    return {"conditions": [{"type": kind, "status": str(status)} for kind, status in conditions.items()]}


def _deployment(service: JSON, name: str, runtime: JSON) -> JSON:
    predictor, model = service["spec"]["predictor"], service["spec"]["predictor"]["model"]
    labels = {
        **predictor.get("labels", {}),
        "app": f"isvc.{name}",
        "component": "predictor",
        "serving.kserve.io/inferenceservice": service["metadata"]["name"],
    }
    container = runtime["containers"][0]
    own = {key: value for key, value in model.items() if key not in _NOT_OF_THE_CONTAINER}
    args = [*container.get("args", []), *model.get("args", [])]
    pod = _merged(
        {key: value for key, value in runtime.items() if key == "volumes"},
        {key: value for key, value in predictor.items() if key not in _NOT_OF_THE_POD},
    )
    annotations = {
        **predictor.get("annotations", {}),
        "internal.serving.kserve.io/storage-initializer-sourceuri": model["storageUri"],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": predictor["minReplicas"],
            "strategy": predictor["deploymentStrategy"],
            "selector": {"matchLabels": {"app": labels["app"]}},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {**pod, "containers": [{**_merged(container, own), "args": args}]},
            },
        },
    }


def _merged(base: JSON, over: JSON) -> JSON:
    """Merge as a strategic merge patch does: maps by key, lists of these names by their elements' key."""
    result = copy.deepcopy(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        elif key in _MERGE_KEYS and result.get(key):
            by = _MERGE_KEYS[key]
            elements = {element[by]: element for element in result[key]}
            for element in value:
                elements[element[by]] = {**elements.get(element[by], {}), **element}
            result[key] = list(elements.values())
        else:
            result[key] = copy.deepcopy(value)
    return result


# KubeAI


def _reconcile_model(api: httpx.Client, model: JSON) -> None:
    spec, metadata = model["spec"], model["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    labels = {"app": "model", "model": name, "app.kubernetes.io/managed-by": "kubeai"}
    body = {"selector": {"app": "model"}, "ports": [{"name": "http", "port": 80, "targetPort": _KUBEAI_PORT}]}
    service = {"apiVersion": "v1", "kind": "Service", "spec": body}
    _apply(api, f"/api/v1/namespaces/{namespace}/services/kubeai", service)
    wanted = spec["replicas"] if spec.get("replicas") is not None else spec.get("minReplicas", 0)
    pod = _model_pod(name, spec)
    digest = hashlib.sha256(json.dumps(pod, sort_keys=True).encode()).hexdigest()[:8]
    path = f"/api/v1/namespaces/{namespace}/pods"
    pods = [one for one in _items(api, path, labelSelector=f"model={name}") if not _is_leaving(one)]
    current = [one for one in pods if one["metadata"]["labels"].get(_HASH) == digest]
    outdated = [one for one in pods if one not in current]
    ready = sum(map(_is_ready, current))
    for _ in range(wanted - len(current)):
        made = {"name": f"model-{name}-{digest}-{secrets.token_hex(3)}", "labels": {**labels, _HASH: digest}}
        api.post(path, json={"metadata": made, "spec": pod}).raise_for_status()
    # Old pods go once the new ones serve, and what is too many at once.
    leaving = current[wanted:] + (outdated if ready >= wanted else [])
    for one in leaving:
        api.delete(f"{path}/{one['metadata']['name']}").raise_for_status()
    own = f"/apis/kubeai.org/v1/namespaces/{namespace}/models/{name}"
    _report(api, own, {"replicas": {"all": len(pods), "ready": ready}})


def _model_pod(name: str, spec: JSON) -> JSON:
    """Return the Pod of the vLLM engine (KubeAI, internal/modelcontroller/engine_vllm.go) for an image's URL."""
    health = {"httpGet": {"path": "/health", "port": "http"}, "timeoutSeconds": 2, "periodSeconds": 2}
    return {
        "containers": [
            {
                "name": "server",
                "image": spec["image"],
                "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
                "args": ["--model=/model", f"--served-model-name={name}", *spec.get("args", [])],
                "env": [{"name": key, "value": value} for key, value in sorted(spec.get("env", {}).items())],
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                # A resource profile of the platform's own settings.
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "ports": [{"containerPort": _KUBEAI_PORT, "name": "http", "protocol": "TCP"}],
                "startupProbe": {**health, "failureThreshold": 5400},
                "readinessProbe": {**health, "failureThreshold": 3},
                "livenessProbe": {**health, "failureThreshold": 3, "periodSeconds": 30},
                "volumeMounts": [
                    {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108 - the container's own
                    {"name": "model", "mountPath": "/model", "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "dshm", "emptyDir": {"medium": "Memory"}},
            {"name": "model", "image": {"reference": spec["url"].removeprefix("oci://"), "pullPolicy": "IfNotPresent"}},
        ],
    }


def _is_leaving(pod: JSON) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _is_ready(pod: JSON) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
