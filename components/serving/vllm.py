"""How vLLM is started on the mounted weights, for KServe's runtime. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from components.google import gpu_sharing
from components.serving import parallel
from components.settings.models import StackModel
from modelimage.architecture import Task
from modelimage.traits import Traits
from oci_model_serving.delivery import ADAPTERS_MOUNT, KSERVE

PORT = 8080
KUBEAI_PORT = 8000
"""Of the server in KubeAI's pods (KubeAI, internal/modelcontroller/engine_vllm.go)."""
HEALTH = "/health"
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
_WAIT = f"""\
i=0
until [ -n "$(ls -A {_MOUNT}/ 2>/dev/null)" ]; do
  i=$((i+1))
  if [ "$i" -gt {_WAIT_SECONDS * 5} ]; then
    echo "{_MOUNT} is empty after {_WAIT_SECONDS} s: no modelcar link, or a container runtime without image volumes" >&2
    exit 1
  fi
  sleep 0.2
done
"""
_ENDED = "trap 'exit 143' TERM\n"
_START = 'exec python3 -m vllm.entrypoints.openai.api_server "$@"\n'


def command(before: str = "") -> list[str]:
    """Waits for the weights, then becomes the server; arguments follow. `before` is what the shell does in between."""
    return ["/bin/sh", "-c", f"{_ENDED}{_WAIT}{before}{_START}", "vllm"]


def command_without_mount(before: str) -> list[str]:
    """Becomes the server, whose weights are not mounted; arguments follow. `before` is what the shell does first."""
    return ["/bin/sh", "-c", f"{_ENDED}{before}{_START}", "vllm"]


COMMAND = command()
"""What starts the server where a model needs nothing else."""
OF_RUNTIME = ["/bin/sh", "-c", f"{_WAIT}{_START}", "vllm"]
"""What the runtime says, which models' own commands replace. KServe replaces the pods of all its models when it changes
(v0.19, v0.20: servingRuntimeFunc), before those have brought what they need, and once more for what changes in them."""
ARGS = [f"--model={_MOUNT}", f"--port={PORT}"]


def waiting(command: Sequence[str]) -> list[str]:
    """A command of another server that waits for the weights first; its image must have `sh`, `ls` and `sleep`."""
    return ["/bin/sh", "-c", f'{_ENDED}{_WAIT}exec "$@"\n', "server", *command]


def spread(gpus: int) -> list[str]:
    """The argument that splits a model's tensors over several GPUs."""
    return [f"--tensor-parallel-size={gpus}"] if gpus > 1 else []


LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` may be (vLLM v0.23.0, vllm/config/lora.py, MaxLoRARanks)."""
_DEFAULT_RANK = 16


def runner(task: Task, *, asked: bool) -> list[str]:
    """The argument that says whether the model generates.

    The server finds that out by itself, but for some classes without a head (MistralModel), which it takes for
    generating ones (v0.23.0, ModelConfig._get_default_runner_type); and it cannot know what the settings ask for.

    Args:
        task: what the model is for.
        asked: whether the settings say so, and not its files.
    """
    if task.pools:
        return ["--runner=pooling"]
    return ["--runner=generate"] if asked and task is Task.GENERATION else []


def told(model: StackModel, traits: Traits) -> list[str]:
    """The arguments that follow from a model, its files and its GPUs on every platform, before the settings' own."""
    asked = model.settings.task is not None
    task, mount = model.task_of(traits), model.delivery.platform.mount
    return [
        *spread(parallel.default_tensor(model.args, model.scheduling.gpus)),
        *share(model),
        *runner(task, asked=asked),
        *weights(traits, mount),
        *model.tuned(traits).args,
    ]


def share(model: StackModel) -> list[str]:
    """The argument that leaves memory to the other servers of a GPU, which by default each take nearly all of it."""
    if model.pool is None or gpu_sharing.clients(model.pool.settings) == 1:
        return []
    return [f"--gpu-memory-utilization={model.pool.gpu_utilization:g}"]


def weights(traits: Traits, mount: str) -> list[str]:
    """The arguments that point the server at a GGUF, which it does not look for in a folder (kserve #5039).

    They come after an earlier `--model`, and the last one counts. A tokenizer and a configuration beside the file are
    taken, since what the server makes of the file's own is slow and knows fewer models (vLLM documentation, "GGUF").
    """
    if not traits.weights_file:
        return []
    beside = [("--tokenizer", traits.has_tokenizer), ("--hf-config-path", traits.has_config)]
    return [f"--model={mount}/{traits.weights_file}", *(f"{name}={mount}" for name, there in beside if there)]


def lora(ranks: Mapping[str, int]) -> list[str]:
    """The arguments that have the server load adapters: all at once, of their largest rank.

    Args:
        ranks: adapter -> its rank, which the server must take (`too_high`); 0 where nothing has told it.
    """
    if not ranks:
        return []
    modules = [f"{name}={ADAPTERS_MOUNT}/{name}" for name in ranks]
    known = [rank for rank in ranks.values() if rank]
    # The server takes as many words for modules as there are before the next option.
    made = ["--enable-lora", "--lora-modules", *modules, f"--max-loras={len(ranks)}"]
    if not known:
        return made
    wanted = max(known if len(known) == len(ranks) else [*known, _DEFAULT_RANK])
    return [*made, f"--max-lora-rank={next(rank for rank in LORA_RANKS if rank >= wanted)}"]


def too_high(rank: int) -> str:
    """What is wrong with an adapter of this rank; empty where the server takes it."""
    if rank <= LORA_RANKS[-1]:
        return ""
    return f"the adapter has rank {rank}, and vLLM takes {LORA_RANKS[-1]} at most: merge it into the model's weights"


def env(extra: Mapping[str, str | Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The engine's environment, offline whatever else is asked for; a map says where Kubernetes takes a value from."""
    merged = {**HOME_ENV, **QUIET_ENV, **extra, **OFFLINE_ENV}
    return [{"name": name, "value" if isinstance(value, str) else "valueFrom": value} for name, value in merged.items()]


SETTLE_SECONDS = 5
"""How long a cluster's own proxies may go on sending requests to a pod that is being deleted."""
_EXIT_SECONDS = 10
_UNWELL_SECONDS = 60

# vLLM aborts what it is answering on SIGTERM, unless it is new enough for --shutdown-timeout and was told (vLLM
# #36666): so the signal waits until it answers nothing. Its metrics say how much that is, of every version. While it is
# still importing it has no handler (v0.23.0, run_server), and the kernel keeps a signal without one from the first
# process of a container: it would be lost, and the pod stay for its whole grace. So the signal waits for that as well.
_DRAIN = """\
import http.client, re, sys, time
port, settle, patience = map(int, sys.argv[1:])
def hears():
    with open("/proc/1/status") as status:
        return int(re.search(r"SigCgt:\\s*(\\w+)", status.read())[1], 16) >> 14 & 1  # SIGTERM is 15
end = time.monotonic() + settle + patience
time.sleep(settle)
while time.monotonic() < end:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/metrics")
        said = connection.getresponse().read().decode()
    except ConnectionError:
        if hears():
            break
        said = "vllm:num_requests_waiting 1"  # not even begun
    except (OSError, http.client.HTTPException):
        said = "vllm:num_requests_running 1"  # too busy to tell
    if not any(map(float, re.findall(r"^vllm:num_requests_(?:running|waiting)(?:{.*})? (\\S+)", said, re.M))):
        break
    time.sleep(1)
"""


def drain(patience: int, settle: int = SETTLE_SECONDS, port: int = PORT) -> dict[str, Any]:
    """The container's `lifecycle`: a pod that has to go finishes its answers first, for `patience` seconds at most."""
    return {"preStop": {"exec": {"command": ["python3", "-c", _DRAIN, str(port), str(settle), str(patience)]}}}


def settle_only(settle: int = SETTLE_SECONDS) -> dict[str, Any]:
    """The `lifecycle` of a server whose requests nobody can count: it stays until nobody sends it any, then stops."""
    return {"preStop": {"sleep": {"seconds": settle}}}


def grace(patience: int, settle: int = SETTLE_SECONDS) -> int:
    """`terminationGracePeriodSeconds` that leave the drain its time, and the server some to exit."""
    return settle + patience + _EXIT_SECONDS


def health(model: StackModel) -> tuple[str, int]:
    """Path and port by which a model's server says that it is ready."""
    server = model.settings.server
    return (server.health, server.port) if server else (HEALTH, PORT)


def probes(startup_seconds: int, path: str = HEALTH, port: int = PORT) -> dict[str, Any]:
    """Probes that leave a slow start alone for `startup_seconds`, then watch closely.

    A server that has not begun has no answers to finish, and one that no longer says that it is well hardly any: they
    go in seconds, not after the pod's whole grace (Kubernetes, "Probe-level terminationGracePeriodSeconds", 1.28).
    """
    health = {"httpGet": {"path": path, "port": port}}
    unborn, unwell = ({"terminationGracePeriodSeconds": seconds} for seconds in (_EXIT_SECONDS, _UNWELL_SECONDS))
    return {
        "startupProbe": {**health, **unborn, "periodSeconds": 5, "failureThreshold": max(1, startup_seconds // 5)},
        "readinessProbe": {**health, "periodSeconds": 5, "timeoutSeconds": 5},
        "livenessProbe": {**health, **unwell, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
    }


SECURITY_CONTEXT: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": UID,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""What Pod Security `restricted` asks of a container (Kubernetes documentation, "Pod Security Standards")."""
WRITABLE = {"name": "tmp", "emptyDir": {}}
"""What a server writes, its home and caches included, where its root file system is read-only."""
WRITABLE_MOUNT = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - the container's own
LAST_WORDS = {"terminationMessagePolicy": "FallbackToLogsOnError"}
"""Of every container: where it ended with an error and wrote no message, the end of its log is one, which the pod's
status keeps after the log is gone (Kubernetes, "Determine the Reason for Pod Failure": 2,048 bytes or 80 lines)."""
