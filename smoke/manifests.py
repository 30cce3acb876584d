"""The objects that `smoke` sends to the API server: for dry runs, and for the scratch namespace."""

from collections.abc import Mapping
from typing import Any

from components.serving.vllm import LAST_WORDS
from oci_model_serving.delivery import KSERVE, KUBEAI, STREAM_ANNOTATION, STREAM_CONTAINER, STREAM_SCHEME
from oci_model_serving.outputs import ModelOutput
from watch.containers import SOURCE_ANNOTATION

JSON = dict[str, Any]

RUNTIME_API = "serving.kserve.io/v1alpha1"
DEPLOYMENT_MODE = {"serving.kserve.io/deploymentMode": "Standard"}
RUNTIME_NAME = "vllm"
MODEL_FORMAT = "vLLM"
LABELS = {"app.kubernetes.io/part-of": "oci-model-serving", "app.kubernetes.io/managed-by": "smoke"}

_PROBE_IMAGE = "registry.invalid/never-pulled@sha256:" + "0" * 64
SMALL_RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}
# What Pod Security `restricted` asks for, so that only what KServe adds can be refused.
_POD_SECURITY = {"runAsNonRoot": True, "runAsUser": 1010, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def predictor_pod(model: ModelOutput, name: str) -> JSON:
    """Return a pod as KServe's controller makes it, before KServe's Pod webhook has seen it.

    The webhook selects pods by the label and reads the annotation, and wants a container of that name (KServe v0.19
    and v0.20, pkg/webhook/admission/pod: needMutate, InjectModelcar).
    """
    # The model's own image stands for the server's: the cluster takes no other than the stack's (`allow_list`).
    spec = {"securityContext": _POD_SECURITY, "containers": [_container(KSERVE.container, model.image)]}
    if model.serving.streamed:
        pod = sidecar_pod(name, model.image, model.storage_uri)
    else:
        pod = _object("v1", "Pod", name, spec, annotations={SOURCE_ANNOTATION: model.storage_uri})
    pod["metadata"]["labels"] = {**LABELS, KSERVE.pod_label: name}
    return pod


def sidecar_pod(name: str, image: str, uri: str) -> JSON:
    """Return a pod of an image whose sidecar, of the same image, streams `uri`."""
    spec = {"containers": [_container(KSERVE.container, image)], "initContainers": [_sidecar(image, uri)]}
    return _object("v1", "Pod", name, {"securityContext": _POD_SECURITY, **spec}, annotations={STREAM_ANNOTATION: uri})


def _sidecar(image: str, uri: str) -> JSON:
    return {**_container(STREAM_CONTAINER, image), "args": [uri], "restartPolicy": "Always"}


def image_pod(name: str, image: str) -> JSON:
    """Return a pod that runs an image."""
    spec = {"securityContext": _POD_SECURITY, "containers": [_container("server", image)]}
    return _object("v1", "Pod", name, spec)


def image_volume_pod(
    name: str, reference: str, *, image: str = _PROBE_IMAGE, command: list[str] | None = None, mount: str = KUBEAI.mount
) -> JSON:
    """Return a pod that mounts an image's root read-only, as KubeAI does."""
    given = {"command": command} if command else {}
    mounts = [{"name": "model", "mountPath": mount, "readOnly": True}]
    spec = {
        "securityContext": _POD_SECURITY,
        "containers": [_container(KUBEAI.container, image, volumeMounts=mounts, **given)],
        "volumes": [{"name": "model", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}],
    }
    return _object("v1", "Pod", name, spec)


def inference_service(name: str, storage_uri: str, *, runtime: str = RUNTIME_NAME, resources: Any = None) -> JSON:
    """Return an InferenceService with the fields that this project's own use."""
    model = {
        "modelFormat": {"name": MODEL_FORMAT},
        "runtime": runtime,
        "storageUri": storage_uri,
        "resources": resources or SMALL_RESOURCES,
    }
    predictor: JSON = {"minReplicas": 1, "maxReplicas": 1, "model": model}
    if storage_uri.startswith(STREAM_SCHEME):
        del model["storageUri"]
        predictor["initContainers"] = [_sidecar(storage_uri.removeprefix(STREAM_SCHEME), storage_uri)]
    spec = {"predictor": predictor}
    return _object(KSERVE.api_version, KSERVE.kind, name, spec, annotations=DEPLOYMENT_MODE)


def scratch_runtime(image: str) -> JSON:
    """Return a ServingRuntime that serves nothing and is ready as soon as the mount holds files."""
    wait = f'until [ -n "$(ls -A {KSERVE.mount}/ 2>/dev/null)" ]; do sleep 1; done; exec sleep 3600'
    probe = {"exec": {"command": ["sh", "-c", f'[ -n "$(ls -A {KSERVE.mount}/)" ]']}, "periodSeconds": 2}
    server = _container(KSERVE.container, image, command=["sh", "-c", wait], readinessProbe=probe)
    spec = {"supportedModelFormats": [{"name": MODEL_FORMAT, "autoSelect": False}], "containers": [server]}
    return _object(RUNTIME_API, "ServingRuntime", "smoke", spec)


def kubeai_model(name: str, url: str) -> JSON:
    """Return a KubeAI Model with the fields that this project's own use."""
    spec = {
        "features": ["TextGeneration"],
        "engine": "VLLM",
        "url": url,
        "minReplicas": 0,
        "maxReplicas": 1,
        "args": ["--max-model-len=2048"],
        "env": {"HF_HUB_OFFLINE": "1"},
    }
    return _object(KUBEAI.api_version, KUBEAI.kind, name, spec)


def like_deployed(deployed: Mapping[str, Any], name: str) -> JSON:
    """Return a copy of a deployed object under another name, without what the server has added."""
    metadata = deployed["metadata"]
    kept = {key: dict(metadata[key]) for key in ("labels", "annotations") if metadata.get(key)}
    return {key: deployed[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": name, **kept}}


def _object(api_version: str, kind: str, name: str, spec: JSON, **metadata: Any) -> JSON:
    metadata = {"name": name, "labels": LABELS, **metadata}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _container(name: str, image: str, **more: Any) -> JSON:
    fixed = {"name": name, "image": image, "resources": SMALL_RESOURCES, "securityContext": _CONTAINER_SECURITY}
    return {**fixed, **LAST_WORDS, **more}
