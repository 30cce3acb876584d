"""Delivery `stream`: a sidecar hands ranges of the image's layers to the server's streaming loader. Pure.

The sidecar is a native one, an init container with `restartPolicy: Always` (Kubernetes 1.29): it has read the manifest
by its digest before the server starts, is ready only when nothing is left unverified, and ends after the server. The
server finds its files behind it as a bucket of S3's on the pod's loopback, and no disk of the node ever has them.

KServe v0.18 and later refuse the variable PYTHONPATH in every container of an InferenceService (pkg/validation,
env_policy.go): so the archive of the code is itself what Python runs.
"""

import base64
import hashlib
import json
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from components.serving import parallel, sidecar, vllm
from components.serving.runtime_profile import BUFFER, ENGINE_GIB
from components.serving.sidecar import Sidecar
from components.settings.models import StackModel
from components.settings.types import GIB, amount
from oci_model_serving.delivery import STREAM_CONTAINER, STREAM_DOOR_PORT, STREAM_HEALTH_PORT, STREAM_KEY

JSON = dict[str, Any]

ARCHIVE = "sidecar.zip"
LOGIN = "config.json"
BUCKET = "models"
"""The bucket that the door shows; the model's Kubernetes name is the folder in it."""
_CODE, _LOGINS = "/oms/code", "/oms/logins"
_CODE_VOLUME, _LOGINS_VOLUME = "stream-code", "stream-logins"
_DOOR = f"http://127.0.0.1:{STREAM_DOOR_PORT}"
SERVER_ENV = {
    "AWS_ENDPOINT_URL": _DOOR,
    "RUNAI_STREAMER_S3_ENDPOINT": _DOOR,
    "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",
    "AWS_ACCESS_KEY_ID": STREAM_KEY,
    "AWS_SECRET_ACCESS_KEY": STREAM_KEY,
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    # Without a byte for 5 s the client asks again, six times, and gives up: the door has retries of its own, which are
    # told (measured with runai-model-streamer-s3 0.17.1).
    "RUNAI_STREAMER_S3_REQUEST_TIMEOUT_MS": "60000",
}
"""With which the server's loaders (libstreamer's and boto3's client) ask the door and nobody else. Clients of S3 want a
key; this is none, and the door asks nobody for it."""
NO_GGUF = (
    "is stream, and the weights are a GGUF, which the streaming loader does not read: write delivery: native or "
    "modelcar"
)
_START_SECONDS = 120
_PACKAGES = ("runai_model_streamer", "runai_model_streamer_s3")
# Python is up in a tenth of a second, where the server's own imports take half a minute to say the same.
_CHECK = (
    "import importlib.util as u, sys; "
    f"lacks = [name for name in {_PACKAGES!r} if u.find_spec(name) is None]; "
    "lacks and sys.exit('stream: the image of the server has no ' + ' and no '.join(lacks))"
)


def server_command() -> list[str]:
    """What starts vLLM where nothing is mounted, once its image is seen to have the streamer; arguments follow."""
    return vllm.command_without_mount(f'python3 -c "{_CHECK}" || exit 1\n')


def arguments(model: StackModel) -> list[str]:
    """What tells the server where its weights are and how they are read, before the settings' own arguments."""
    made = [f"--model=s3://{BUCKET}/{model.name}", "--load-format=runai_streamer"]
    known = {key: value for key, (variable, value) in _loading(model).items() if variable not in _set(model)}
    if known and not model.args.names(parallel.LOADER_EXTRA):
        made.append(f"{parallel.LOADER_EXTRA}={json.dumps(known, separators=(',', ':'))}")
    return made


def server_env(model: StackModel) -> dict[str, str]:
    """With what the server's loaders find the door, and how they read where the settings' arguments say it in part.

    Of several `--model-loader-extra-config` vLLM takes the last alone: what that leaves out stands in variables.
    """
    if not model.args.names(parallel.LOADER_EXTRA):
        return SERVER_ENV
    left = {name: str(value) for name, value in _loading(model).values() if name not in _set(model)}
    return {**SERVER_ENV, **left}


def _loading(model: StackModel) -> dict[str, tuple[str, int]]:
    return loading(model.scheduling.cpu, model.scheduling.memory, model.shm, ranks=max(model.spread.gpus, 1))


def _set(model: StackModel) -> Collection[str]:
    return {*model.settings.env, *model.settings.secret_env}


def loading(cpu: str, memory: str, shm: str, *, ranks: int = 1) -> dict[str, tuple[str, int]]:
    """How the streamer reads: by its own names, the variable that says the same, and the value.

    Each of the server's ranks has buffers of its own. Where the pod has no memory for large ones, they are as large as
    the largest tensor, which always suffices (0; runai-model-streamer 0.17.0, requests_iterator.py).

    Args:
        cpu: of the server's container, a Kubernetes quantity.
        memory: of it, likewise.
        shm: of /dev/shm, likewise.
        ranks: processes of the server that load.
    """
    each = (amount(memory) - amount(shm) - ENGINE_GIB * GIB) / ranks
    return {
        "concurrency": ("RUNAI_STREAMER_CONCURRENCY", sidecar.reads(cpu)),
        "memory_limit": ("RUNAI_STREAMER_MEMORY_LIMIT", BUFFER if each >= BUFFER else 0),
    }


@cache
def code() -> tuple[str, str]:
    """What the sidecar runs: a name that is of its code, and the archive of it in Base64.

    The name is not of the archive: two machines may compress the same code to other bytes, and pods are replaced for
    another name.
    """
    from modelimage import bundle  # noqa: PLC0415 - the packer is loaded by builds and streams alone

    made_of = hashlib.sha256()
    for name, content in bundle.stream_code().items():
        made_of.update(f"{name}\n{len(content)}\n".encode() + content)
    return f"stream-{made_of.hexdigest()[:10]}", base64.b64encode(bundle.stream_archive()).decode()


def container(model: StackModel, uri: Any) -> JSON:
    """The sidecar; `uri` is `Delivery.uri` of the image, known after a build."""
    made = model.scheduling.sidecar or Sidecar()
    options = ["--prefix", f"{BUCKET}/{model.name}", "--port", str(STREAM_DOOR_PORT)]
    options += ["--health-port", str(STREAM_HEALTH_PORT), *made.options]
    mounts: list[JSON] = [{"name": _CODE_VOLUME, "mountPath": _CODE, "readOnly": True}]
    env = {"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}  # noqa: S108 - the container's own, which it cannot write
    if model.stream_login:
        mounts.append({"name": _LOGINS_VOLUME, "mountPath": _LOGINS, "readOnly": True})
        env["DOCKER_CONFIG"] = _LOGINS
    return {
        "name": STREAM_CONTAINER,
        "image": model.stream_image,
        "restartPolicy": "Always",
        "command": ["python3", f"{_CODE}/{ARCHIVE}"],
        "args": [uri, *options],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "ports": [{"containerPort": STREAM_HEALTH_PORT, "name": "stream-health", "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": made.cpu, "memory": made.memory},
            "limits": {"cpu": made.most_cpu, "memory": made.memory},
        },
        "securityContext": {**vllm.SECURITY_CONTEXT, "readOnlyRootFilesystem": True},
        "startupProbe": {**_asked("/started"), "periodSeconds": 1, "failureThreshold": _START_SECONDS},
        "readinessProbe": {**_asked("/ready"), "periodSeconds": 5, "timeoutSeconds": 5},
        "volumeMounts": mounts,
        **vllm.LAST_WORDS,
    }


def _asked(path: str) -> JSON:
    return {"httpGet": {"path": path, "port": STREAM_HEALTH_PORT}}


def volumes(model: StackModel) -> list[JSON]:
    """What the sidecar has: its code, and the login for the registry where there is one."""
    name, _ = code()
    made: list[JSON] = [{"name": _CODE_VOLUME, "configMap": {"name": f"{model.name}-{name}"}}]
    if model.stream_login:
        items = [{"key": ".dockerconfigjson", "path": LOGIN}]
        secret = {"secretName": model.stream_login, "defaultMode": 0o440, "items": items}
        made.append({"name": _LOGINS_VOLUME, "secret": secret})
    return made


def pod_security() -> Mapping[str, Any]:
    """By which the sidecar's user may read its login, a file of root's and of this group's."""
    return {"fsGroup": vllm.UID}
