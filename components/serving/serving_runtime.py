"""KServe's ServingRuntimes: the engine's, and one of each model that names another server."""

from typing import Any

from components.serving import vllm
from components.settings.models import StackModel
from components.settings.serving import KServeSettings
from oci_model_serving.delivery import KSERVE, Delivery

RUNTIME = "vllm"
MODEL_FORMAT = "vLLM"


def name(model: StackModel) -> str:
    """The ServingRuntime that starts a model: ours, or, of a server of its own, one that is the model's."""
    return f"{model.name}-server" if model.settings.server else RUNTIME


def model_format(model: StackModel) -> str:
    """The format that the model's ServingRuntime takes."""
    return name(model) if model.settings.server else MODEL_FORMAT


def of_model(model: StackModel, platform: KServeSettings) -> dict[str, Any]:
    """What the model's ServingRuntime says."""
    server = model.settings.server
    if server is None:
        return of_engine(platform.server.image)
    command = list(server.command)
    if model.delivery is Delivery.MODELCAR:
        command = vllm.waiting(command)
    made, container = _runtime(server.image, model_format(model))
    container["args"] = list(server.args)
    container["ports"] = _ports(server.port)
    if command:
        container["command"] = command
    return made


def of_engine(image: str) -> dict[str, Any]:
    """The server on the mounted weights; what differs from model to model is in the InferenceService."""
    made, container = _runtime(image, MODEL_FORMAT)
    container["command"] = vllm.OF_RUNTIME
    container["args"] = vllm.ARGS
    container["ports"] = _ports(vllm.PORT)
    # Of another server it is not known where it writes.
    container["securityContext"] = {**vllm.SECURITY_CONTEXT, "readOnlyRootFilesystem": True}
    container["volumeMounts"].append(vllm.WRITABLE_MOUNT)
    made["volumes"].append(vllm.WRITABLE)
    return made


def _runtime(image: str, of_format: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the ServingRuntimes of all servers have, and the server's container in it."""
    container: dict[str, Any] = {
        "name": KSERVE.container,
        "image": image,
        "env": vllm.env({}),
        "securityContext": vllm.SECURITY_CONTEXT,
        "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108 - the container's own
    }
    made = {
        "supportedModelFormats": [{"name": of_format, "version": "1", "autoSelect": False}],
        "protocolVersions": ["v2"],
        "multiModel": False,
        "containers": [container],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}],
    }
    return made, container


def _ports(port: int) -> list[dict[str, Any]]:
    return [{"containerPort": port, "name": "http1", "protocol": "TCP"}]
