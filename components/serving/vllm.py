"""How vLLM is started on the mounted weights, for KServe's runtime. Pure."""

from typing import Any

from oci_model_serving.delivery import KSERVE

PORT = 8080
OFFLINE_ENV = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
"""Stops huggingface_hub and transformers from asking the hub for anything (their documentation, "Offline mode")."""
QUIET_ENV = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
"""vLLM documentation, "Usage stats collection": nothing is to leave the pod."""
HOME_ENV = {"HOME": "/tmp", "USER": "vllm"}  # noqa: S108 - the container's own
"""The uid has no entry in the image's passwd file: caches go to /tmp, and PyTorch asks for a user's name."""
UID = 1010
"""The uid that KServe's modelcar forces on the server (kserve-resources v0.20.0, `uidModelcar`)."""

_MOUNT = KSERVE.mount
_WAIT_SECONDS = 300

# modelcar links /mnt/models only when its own container runs, which is after the server's has started; and a
# container runtime without image volumes leaves an empty folder there. Neither may look like a broken model.
_START = f"""\
i=0
until [ -n "$(ls -A {_MOUNT}/ 2>/dev/null)" ]; do
  i=$((i+1))
  if [ "$i" -gt {_WAIT_SECONDS * 5} ]; then
    echo "{_MOUNT} is empty after {_WAIT_SECONDS} s: no modelcar link, or a container runtime without image volumes" >&2
    exit 1
  fi
  sleep 0.2
done
exec python3 -m vllm.entrypoints.openai.api_server "$@"
"""

COMMAND = ["/bin/sh", "-c", _START, "vllm"]
"""Waits for the weights, then becomes the server; arguments follow."""
ARGS = [f"--model={_MOUNT}", f"--port={PORT}"]


def parallel(gpus: int) -> list[str]:
    """The argument that spreads a model over several GPUs."""
    return [f"--tensor-parallel-size={gpus}"] if gpus > 1 else []


def env(extra: dict[str, str]) -> list[dict[str, str]]:
    """The engine's environment: offline whatever else is asked for."""
    merged = {**HOME_ENV, **QUIET_ENV, **extra, **OFFLINE_ENV}
    return [{"name": name, "value": value} for name, value in merged.items()]


SETTLE_SECONDS = 5
"""How long a cluster's own proxies may go on sending requests to a pod that is being deleted."""
_EXIT_SECONDS = 10

# vLLM aborts what it is answering on SIGTERM, unless it is new enough for --shutdown-timeout and was told (vLLM
# #36666): so the signal waits until it answers nothing. Its metrics say how much that is, of every version.
_DRAIN = """\
import http.client, re, sys, time
port, settle, patience = map(int, sys.argv[1:])
end = time.monotonic() + settle + patience
time.sleep(settle)
while time.monotonic() < end:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/metrics")
        said = connection.getresponse().read().decode()
    except ConnectionError:
        break
    except (OSError, http.client.HTTPException):
        said = "vllm:num_requests_running 1"  # too busy to tell
    if not any(map(float, re.findall(r"^vllm:num_requests_(?:running|waiting)(?:{.*})? (\\S+)", said, re.M))):
        break
    time.sleep(1)
"""


def drain(patience: int, settle: int = SETTLE_SECONDS, port: int = PORT) -> dict[str, Any]:
    """The container's `lifecycle`: a pod that has to go finishes its answers first, for `patience` seconds at most."""
    return {"preStop": {"exec": {"command": ["python3", "-c", _DRAIN, str(port), str(settle), str(patience)]}}}


def grace(patience: int, settle: int = SETTLE_SECONDS) -> int:
    """`terminationGracePeriodSeconds` that leave the drain its time, and the server some to exit."""
    return settle + patience + _EXIT_SECONDS


def probes(startup_seconds: int) -> dict[str, Any]:
    """Probes that leave a slow start alone for `startup_seconds`, then watch closely."""
    health = {"httpGet": {"path": "/health", "port": PORT}}
    return {
        "startupProbe": {**health, "periodSeconds": 5, "failureThreshold": max(1, startup_seconds // 5)},
        "readinessProbe": {**health, "periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {**health, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
    }


SECURITY_CONTEXT: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": UID,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What Pod Security `restricted` asks of a container (Kubernetes documentation, "Pod Security Standards")."""
