"""KServe's InferenceService controller as far as one model's pods go, played against the test cluster's API server.

It makes the Deployment and the Service that KServe makes in Standard mode (names, labels, the internal annotation that
its webhook reads, port 80), takes them away while the stop annotation is set, and reports readiness in the status.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.integration.cluster import client
from tests.integration.webhook import ANNOTATION, LABEL

_STOP = "serving.kserve.io/stop"
_POLL_SECONDS = 0.3
JSON = dict[str, Any]


@contextlib.contextmanager
def kserve(kubeconfig: Path, selector: str) -> Iterator[None]:
    """Play the controller for InferenceServices with these labels, in any namespace, until the context ends."""
    stopped = threading.Event()
    thread = threading.Thread(target=_run, args=(kubeconfig, selector, stopped), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _run(kubeconfig: Path, selector: str, stopped: threading.Event) -> None:
    with client(kubeconfig) as api:
        while not stopped.wait(_POLL_SECONDS):
            listed = api.get("/apis/serving.kserve.io/v1beta1/inferenceservices", params={"labelSelector": selector})
            for service in listed.json()["items"]:
                # A namespace that is being deleted refuses all writes; there is nothing left to do for it.
                with contextlib.suppress(httpx.HTTPStatusError):
                    _reconcile(api, service)


def _reconcile(api: httpx.Client, service: JSON) -> None:
    namespace, name = service["metadata"]["namespace"], f"{service['metadata']['name']}-predictor"
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    services = f"/api/v1/namespaces/{namespace}/services"
    found = api.get(f"{deployments}/{name}")
    if (service["metadata"].get("annotations") or {}).get(_STOP) == "true":
        for path in (f"{deployments}/{name}", f"{services}/{name}"):
            api.delete(path, params={"propagationPolicy": "Background"})
        _report(api, service, {"Stopped": "True", "Ready": "False"})
        return
    if found.status_code == 404:
        runtime = service["spec"]["predictor"]["model"]["runtime"]
        of_runtime = api.get(f"/apis/serving.kserve.io/v1alpha1/namespaces/{namespace}/servingruntimes/{runtime}")
        container = of_runtime.raise_for_status().json()["spec"]["containers"][0]
        api.post(deployments, json=_deployment(service, name, container)).raise_for_status()
        labels = {LABEL: service["metadata"]["name"]}
        ports = [{"name": "http", "port": 80, "targetPort": 8080}]
        body = {"metadata": {"name": name}, "spec": {"selector": labels, "ports": ports}}
        api.post(services, json=body).raise_for_status()
        return
    ready = bool(found.raise_for_status().json()["status"].get("availableReplicas"))
    _report(api, service, {"PredictorReady": str(ready), "Ready": str(ready)})


def _deployment(service: JSON, name: str, container: JSON) -> JSON:
    labels = {LABEL: service["metadata"]["name"], "app": name}
    source = service["spec"]["predictor"]["model"]["storageUri"]
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {ANNOTATION: source}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }


def _report(api: httpx.Client, service: JSON, conditions: dict[str, str]) -> None:
    meta = service["metadata"]
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{meta['namespace']}/inferenceservices/{meta['name']}/status"
    status = {"conditions": [{"type": kind, "status": value} for kind, value in conditions.items()]}
    api.patch(path, json={"status": status}, headers={"Content-Type": "application/merge-patch+json"})
