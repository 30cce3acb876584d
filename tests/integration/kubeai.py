"""What KubeAI's manager does with a Model of the engine vLLM, as its source says and its calls were seen to.

Sources: KubeAI 0.23.2, internal/modelcontroller (model_controller.go, pod_plan.go, engine_vllm.go) and the chart's
values; the image volume is that of the commit that added `oci://` (0d7de291).
"""

import copy
import hashlib
import json
import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import httpx

JSON = dict[str, Any]
API = "/apis/kubeai.org/v1"
MANAGER = "kubeai-manager"
HASH = "pod-hash"
_FEATURE = "features.kubeai.org/"
_PORT = 8000
_SETTLE_SECONDS = 3.0
"""After pods were made or deleted, the real one waits for its caches."""
_SECURITY = {
    "runAsUser": 0,
    "readOnlyRootFilesystem": False,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}
"""`modelServerPods.securityContext` of the chart's values."""
_WRITES = {"fieldManager": MANAGER}
_LOG = logging.getLogger(__name__)


class Controller:
    """KubeAI's model controller, set up as its chart's values say.

    Args:
        values: of the chart, as they are at each reconcile; its defaults hold where they say nothing.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def reconcile(self, api: httpx.Client, model: JSON) -> float:
        """Bring a Model's pods to what it says; how many seconds the controller then rests."""
        meta = model["metadata"]
        namespace, name = meta["namespace"], meta["name"]
        own, pods = f"{API}/namespaces/{namespace}/models/{name}", f"/api/v1/namespaces/{namespace}/pods"
        if not meta.get("deletionTimestamp"):
            _proxy(api, namespace, model)
        wanted = updated(model)
        if wanted != model:
            model = api.put(own, params=_WRITES, json=wanted).raise_for_status().json()
        found = api.get(pods, params={"labelSelector": f"model={name}"}).raise_for_status().json()["items"]
        if meta.get("deletionTimestamp"):
            return 0
        made = self.pod(model)
        replicas = {"all": len(found), "ready": sum(map(_is_ready, found))}
        if model.get("status", {}).get("replicas") != replicas:
            status = {**model, "status": {**model.get("status", {}), "replicas": replicas}}
            api.put(f"{own}/status", params=_WRITES, json=status).raise_for_status()
        surge = int(self._values.get("modelRollouts", {}).get("surge", 1))
        more, fewer = plan(found, model["spec"].get("replicas") or 0, made["metadata"]["labels"][HASH], surge)
        if more or fewer:
            _LOG.info("%s: pods %s: making %d, deleting %s", name, _told(found, made), more, _told(fewer, made))
        for one in fewer:
            gone = api.delete(f"{pods}/{one['metadata']['name']}")
            if gone.status_code != 404:
                gone.raise_for_status()
        for _ in range(more):
            api.post(pods, params=_WRITES, json=made).raise_for_status()
        return _SETTLE_SECONDS if more or fewer else 0

    def pod(self, model: JSON) -> JSON:
        """Return the Pod that a Model is served by (`vLLMPodForModel`), its spec's hash in name and label."""
        spec, name = model["spec"], model["metadata"]["name"]
        profile, _, count = spec["resourceProfile"].partition(":")
        resources = self._values.get("resourceProfiles", {}).get(profile)
        if resources is None:
            raise LookupError(f'{name}: getting model profile: resource profile not found: "{profile}"')
        pods = self._values.get("modelServerPods", {})
        health = {"httpGet": {"path": "/health", "port": "http"}, "successThreshold": 1, "timeoutSeconds": 2}
        volume = {"reference": spec["url"].removeprefix("oci://"), "pullPolicy": "IfNotPresent"}
        server = {
            "name": "server",
            "image": spec["image"],
            "command": ["python3", "-m", "vllm.entrypoints.openai.api_server"],
            "args": ["--model=/model", f"--served-model-name={name}", *(spec.get("args") or [])],
            "env": [{"name": key, "value": value} for key, value in sorted((spec.get("env") or {}).items())],
            "securityContext": {**_SECURITY, **pods.get("securityContext", {})},  # Helm merges maps
            "resources": {
                side: {key: _times(amount, int(count)) for key, amount in resources.get(side, {}).items()}
                for side in ("requests", "limits")
            },
            "ports": [{"containerPort": _PORT, "name": "http", "protocol": "TCP"}],
            "startupProbe": {**health, "periodSeconds": 2, "failureThreshold": 5400},
            "readinessProbe": {**health, "periodSeconds": 10, "failureThreshold": 3},
            "livenessProbe": {**health, "periodSeconds": 30, "failureThreshold": 3, "timeoutSeconds": 3},
            "volumeMounts": [
                {"name": "dshm", "mountPath": "/dev/shm"},  # noqa: S108 - the container's own
                {"name": "model", "mountPath": "/model", "readOnly": True},
            ],
        }
        pod: JSON = {
            "metadata": {
                "labels": {
                    "app": "model",
                    "model": name,
                    "app.kubernetes.io/name": "vllm",
                    "app.kubernetes.io/instance": f"vllm-{name}",
                    "app.kubernetes.io/managed-by": "kubeai",
                },
                "annotations": {"model-pod-port": str(_PORT)},
            },
            "spec": {
                "containers": [server],
                "volumes": [
                    {"name": "dshm", "emptyDir": {"medium": "Memory"}},
                    {"name": "model", "image": volume},
                ],
                **({"securityContext": pods["podSecurityContext"]} if "podSecurityContext" in pods else {}),
                **{
                    key: resources[key]
                    for key in ("nodeSelector", "affinity", "tolerations", "schedulerName", "runtimeClassName")
                    if resources.get(key)
                },
            },
        }
        pod = patched(pod, pods.get("jsonPatches") or [])
        digest = hashlib.sha256(json.dumps(pod["spec"], sort_keys=True).encode()).hexdigest()[:10]
        pod["metadata"]["generateName"] = f"model-{name}-{digest}-"
        pod["metadata"]["labels"][HASH] = digest
        pod["metadata"]["ownerReferences"] = [_owner(model)]
        return pod


def updated(model: JSON) -> JSON:
    """Return the whole Model as the manager writes it back: a label for each feature, the replicas in their bounds."""
    made = copy.deepcopy(model)
    spec = made["spec"]
    features = {f"{_FEATURE}{feature}": "true" for feature in spec.get("features") or []}
    labels = made["metadata"].get("labels") or {}
    others = {key: value for key, value in labels.items() if not key.startswith(_FEATURE)}
    if {**others, **features} != labels:
        made["metadata"]["labels"] = {**others, **features}
    if not spec.get("autoscalingDisabled"):
        least, most = spec.get("minReplicas") or 0, spec.get("maxReplicas")
        if spec.get("replicas") is None or spec["replicas"] < least:
            spec["replicas"] = least
        elif most is not None and spec["replicas"] > most:
            spec["replicas"] = most
    return made


def plan(pods: list[JSON], replicas: int, current: str, surge: int) -> tuple[int, list[JSON]]:
    """Say how many pods to make and which to delete (`calculatePodPlan`); pods that are going are counted too."""
    pods = sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp")), reverse=True)
    pods.sort(key=lambda pod: (_is_ready(pod), bool(pod["spec"].get("nodeName")), _hash(pod) == current))
    outdated = [pod for pod in pods if _hash(pod) != current]
    wanted = replicas + (surge if outdated else 0)
    missing = wanted - len(pods)
    fewer = pods[: max(-missing, 0)]
    more, recreated = max(missing, 0), 0
    ready = sum(map(_is_ready, pods))
    for pod in outdated:
        if _is_ready(pod) and ready != wanted:
            continue
        fewer = [*fewer, pod]
        # The surge's own pod is not made again once the rollout is over.
        if recreated < len(outdated) - surge:
            recreated += 1
        if _is_ready(pod):
            break
    return more + recreated, fewer


def patched(document: JSON, patches: list[JSON]) -> JSON:
    """Apply JSON patches (RFC 6902) of the operations add, replace and remove."""
    document = copy.deepcopy(document)
    for patch in patches:
        *way, last = [part.replace("~1", "/").replace("~0", "~") for part in patch["path"].split("/")[1:]]
        at: Any = document
        for part in way:
            at = at[int(part)] if isinstance(at, list) else at[part]
        if patch["op"] not in {"add", "replace", "remove"}:
            raise NotImplementedError(f"a JSON patch of the operation {patch['op']}")
        if isinstance(at, list):
            place = len(at) if last == "-" else int(last)
            at[place : place + (patch["op"] != "add")] = [] if patch["op"] == "remove" else [patch["value"]]
        elif patch["op"] == "remove":
            del at[last]
        else:
            at[last] = patch["value"]
    return document


def _proxy(api: httpx.Client, namespace: str, model: JSON) -> None:
    """Make the Service that the chart makes, and one of the model's own: in place of the proxy, they lead to pods."""
    name, path = model["metadata"]["name"], f"/api/v1/namespaces/{namespace}/services"
    for service, selector in {"kubeai": {"app": "model"}, f"model-{name}": {"model": name}}.items():
        meta: JSON = {"name": service}
        if service != "kubeai":
            meta["ownerReferences"] = [_owner(model)]
        spec = {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": _PORT}]}
        if api.get(f"{path}/{service}").status_code == 404:
            api.post(path, json={"metadata": meta, "spec": spec}).raise_for_status()


def _owner(model: JSON) -> JSON:
    meta = model["metadata"]
    named = {"apiVersion": "kubeai.org/v1", "kind": "Model", "name": meta["name"], "uid": meta["uid"]}
    return {**named, "controller": True, "blockOwnerDeletion": True}


def _times(amount: object, count: int) -> str:
    digits = str(amount).rstrip("KMGTPEikmun")
    return f"{Decimal(digits) * count}{str(amount)[len(digits) :]}"


def _told(pods: list[JSON], made: JSON) -> list[str]:
    current = _hash(made)
    return [
        f"{pod['metadata']['name'][-5:]}{' ready' * _is_ready(pod)}{' outdated' * (_hash(pod) != current)}"
        f"{' going' * ('deletionTimestamp' in pod['metadata'])}"
        for pod in pods
    ]


def _hash(pod: JSON) -> str:
    return str((pod["metadata"].get("labels") or {}).get(HASH, ""))


def _is_ready(pod: JSON) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
