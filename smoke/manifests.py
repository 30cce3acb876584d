"""The objects that `smoke` sends to the API server: for dry runs, and for the scratch namespace."""

from collections.abc import Mapping
from typing import Any

from components.outputs import ModelOutput
from smoke.diagnosis import SOURCE_ANNOTATION

JSON = dict[str, Any]

KSERVE_API = "serving.kserve.io/v1beta1"
RUNTIME_API = "serving.kserve.io/v1alpha1"
KUBEAI_API = "kubeai.org/v1"
ISVC_LABEL = "serving.kserve.io/inferenceservice"
DEPLOYMENT_MODE = {"serving.kserve.io/deploymentMode": "Standard"}
RUNTIME_NAME = "vllm"
MODEL_FORMAT = "vLLM"
LABELS = {"app.kubernetes.io/part-of": "oci-model-serving", "app.kubernetes.io/managed-by": "smoke"}
KUBEAI_MOUNT = "/model"
KSERVE_MOUNT = "/mnt/models"

_PROBE_IMAGE = "registry.invalid/never-pulled@sha256:" + "0" * 64
SMALL_RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}
# What Pod Security `restricted` asks for, so that only what KServe adds can be refused.
_POD_SECURITY = {"runAsNonRoot": True, "runAsUser": 1010, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def mount_path(model: ModelOutput) -> str:
    """Return where the server's container finds the weights."""
    return KUBEAI_MOUNT if model.delivery == "kubeai" else KSERVE_MOUNT


def server_container(model: ModelOutput) -> str:
    """Return the name of the server's container in the model's pods."""
    return "server" if model.platform == "kubeai" else "kserve-container"


def pod_selector(model: ModelOutput) -> str:
    """Return the label selector of the model's pods."""
    return f"model={model.name}" if model.platform == "kubeai" else f"{ISVC_LABEL}={model.name}"


def resource(model: ModelOutput) -> tuple[str, str]:
    """Return API group with version and plural of the object that serves the model."""
    return (KUBEAI_API, "models") if model.platform == "kubeai" else (KSERVE_API, "inferenceservices")


def predictor_pod(model: ModelOutput, name: str) -> JSON:
    """Return a pod as KServe's controller makes it, before KServe's Pod webhook has seen it.

    The webhook selects pods by the label and reads the annotation, and wants a container of that name (KServe v0.19
    and v0.20, pkg/webhook/admission/pod: needMutate, InjectModelcar).
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {**LABELS, ISVC_LABEL: name},
            "annotations": {SOURCE_ANNOTATION: model.storage_uri},
        },
        "spec": {
            "securityContext": _POD_SECURITY,
            "containers": [
                {
                    "name": "kserve-container",
                    "image": _PROBE_IMAGE,
                    "resources": SMALL_RESOURCES,
                    "securityContext": _CONTAINER_SECURITY,
                }
            ],
        },
    }


def image_volume_pod(
    name: str, reference: str, *, image: str = _PROBE_IMAGE, command: list[str] | None = None, mount: str = KUBEAI_MOUNT
) -> JSON:
    """Return a pod that mounts an image's root read-only, as KubeAI does."""
    container: JSON = {
        "name": "server",
        "image": image,
        "resources": SMALL_RESOURCES,
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": [{"name": "model", "mountPath": mount, "readOnly": True}],
    }
    if command:
        container["command"] = command
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {
            "securityContext": _POD_SECURITY,
            "containers": [container],
            "volumes": [{"name": "model", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}],
        },
    }


def inference_service(name: str, storage_uri: str, *, runtime: str = RUNTIME_NAME, resources: Any = None) -> JSON:
    """Return an InferenceService with the fields that this project's own use."""
    return {
        "apiVersion": KSERVE_API,
        "kind": "InferenceService",
        "metadata": {"name": name, "labels": LABELS, "annotations": DEPLOYMENT_MODE},
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 1,
                "model": {
                    "modelFormat": {"name": MODEL_FORMAT},
                    "runtime": runtime,
                    "storageUri": storage_uri,
                    "resources": resources or SMALL_RESOURCES,
                },
            }
        },
    }


def scratch_runtime(image: str) -> JSON:
    """Return a ServingRuntime that serves nothing and is ready as soon as the mount holds files."""
    wait = f'until [ -n "$(ls -A {KSERVE_MOUNT}/ 2>/dev/null)" ]; do sleep 1; done; exec sleep 3600'
    return {
        "apiVersion": RUNTIME_API,
        "kind": "ServingRuntime",
        "metadata": {"name": "smoke", "labels": LABELS},
        "spec": {
            "supportedModelFormats": [{"name": MODEL_FORMAT, "autoSelect": False}],
            "containers": [
                {
                    "name": "kserve-container",
                    "image": image,
                    "command": ["sh", "-c", wait],
                    "resources": SMALL_RESOURCES,
                    "securityContext": _CONTAINER_SECURITY,
                    "readinessProbe": {
                        "exec": {"command": ["sh", "-c", f'[ -n "$(ls -A {KSERVE_MOUNT}/)" ]']},
                        "periodSeconds": 2,
                    },
                }
            ],
        },
    }


def kubeai_model(name: str, url: str) -> JSON:
    """Return a KubeAI Model with the fields that this project's own use."""
    return {
        "apiVersion": KUBEAI_API,
        "kind": "Model",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {
            "features": ["TextGeneration"],
            "engine": "VLLM",
            "url": url,
            "minReplicas": 0,
            "maxReplicas": 1,
            "args": ["--max-model-len=2048"],
            "env": {"HF_HUB_OFFLINE": "1"},
        },
    }


def like_deployed(deployed: Mapping[str, Any], name: str) -> JSON:
    """Return a copy of a deployed object under another name, without what the server has added."""
    metadata = deployed["metadata"]
    kept = {key: dict(metadata[key]) for key in ("labels", "annotations") if metadata.get(key)}
    return {
        "apiVersion": deployed["apiVersion"],
        "kind": deployed["kind"],
        "metadata": {"name": name, **kept},
        "spec": deployed["spec"],
    }
