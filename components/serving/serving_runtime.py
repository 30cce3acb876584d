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
    made = of_engine(server.image)
    (container,) = made["containers"]
    # Where another server writes is not known here.
    container["securityContext"] = vllm.SECURITY_CONTEXT
    container["volumeMounts"].remove(vllm.WRITABLE_MOUNT)
    made["volumes"].remove(vllm.WRITABLE)
    container["args"] = list(server.args)
    container["ports"] = [{"containerPort": server.port, "name": "http1", "protocol": "TCP"}]
    del container["command"]
    if command:
        container["command"] = command
    made["supportedModelFormats"] = [{"name": model_format(model), "version": "1", "autoSelect": False}]
    return made


def of_engine(image: str) -> dict[str, Any]:
    """The server on the mounted weights; what differs from model to model is in the InferenceService."""
    return {
        "supportedModelFormats": [{"name": MODEL_FORMAT, "version": "1", "autoSelect": False}],
        "protocolVersions": ["v2"],
        "multiModel": False,
        "containers": [
            {
                "name": KSERVE.container,
                "image": image,
                "command": vllm.COMMAND,
                "args": vllm.ARGS,
                "env": vllm.env({}),
                "ports": [{"containerPort": vllm.PORT, "name": "http1", "protocol": "TCP"}],
                "securityContext": {**vllm.SECURITY_CONTEXT, "readOnlyRootFilesystem": True},
                "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
                "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, vllm.WRITABLE_MOUNT],  # noqa: S108 - the container's own
            }
        ],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}}, vllm.WRITABLE],
    }
