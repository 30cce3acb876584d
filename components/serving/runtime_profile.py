"""The runtime profile: what a server on GPUs is told so that it starts faster and surely, and why. Pure.

Each choice stands before the settings' own arguments and variables, which win. Nothing is chosen that could keep a
server from starting that starts without it: the image has to be known for it, the files have to be such, and the pod's
memory has to hold it. What is not chosen is told too, with the reason.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from components.serving.engine_args import EngineArgs
from components.serving.memory import UTILISATION
from components.serving.parallel import Parallel
from components.serving.server_features import AUTO_LENGTH, STREAMER
from components.settings.types import GIB, amount
from modelimage.architecture import Task
from modelimage.traits import Traits

BUFFER = 10_000_000_000
"""Bytes that the streamer reads ahead into: it wants at least its largest tensor (requests_iterator.py), and no tensor
of an image is larger than a layer (`modelimage/layers.py`). Its own 40 GB are more than many pods have."""
ENGINE_GIB = 6
"""What vLLM's processes take of a pod with one GPU beside that: 3 to 5 GiB in public reports."""
_FEWEST, _MOST = 4, 16
"""Threads of the streamer: 16 is its default for files; 16 on two CPUs, which also served what they read, took nearly
twice as long as 4 (one run)."""
SHM, SHM_OF_SEVERAL = "2Gi", "16Gi"
_OTHER_LOADING = (
    *("--load-format", "--model-loader-extra-config", "--quantization", "--ignore-patterns", "--hf-overrides"),
    *("--model", "--speculative-config", "--spec-model", "--speculative-model", "--cpu-offload-gb"),
    *("--kv-offloading-size", "--enable-sleep-mode"),
)
"""Flags with which weights are loaded in another way, or from elsewhere, or that want the pod's memory."""
_SYMMETRIC = "VLLM_USE_NCCL_SYMM_MEM"


@dataclass(frozen=True)
class Tuning:
    """One thing that the profile decides.

    Attributes:
        what: a flag, a variable or a volume.
        value: what it becomes; "vLLM's own" where the profile leaves it.
        reason: why.
        instead: the setting that decides otherwise.
    """

    what: str
    value: str
    reason: str
    instead: str


@dataclass(frozen=True)
class Profile:
    """What a server is told beside what it must be, and each choice with its reason; nothing of `plain`."""

    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    choices: tuple[Tuning, ...] = ()

    @property
    def streams(self) -> bool:
        """Whether weights are read by several threads."""
        return any(arg.startswith("--load-format=") for arg in self.args)

    @property
    def text(self) -> str:
        """The choices as a sentence."""
        return "; ".join(f"{one.what}: {one.value} ({one.reason})" for one in self.choices)

    def data(self) -> list[dict[str, Any]]:
        """The choices, for scripts."""
        return [asdict(choice) for choice in self.choices]


@dataclass(frozen=True)
class EngineFacts:
    """What is decided by.

    Attributes:
        key: of the model, as the settings name it.
        features: what the server's image has (`server_features`).
        args: what the settings tell the server.
        env: names of the variables that they set.
        gpus: of the pod.
        spread: over them.
        cpu: of the pod's container, a Kubernetes quantity; `memory` too, and `shm`, of /dev/shm.
        shm_is_told: whether that is said to anybody: KubeAI leaves /dev/shm to the pod's memory.
        share: of a GPU's memory that the server is told to take; None where it is not told.
        streamed: its delivery is `stream`, which alone says how weights are read.
        length: the longest sequence that fits, where it is sure that the model's own does not; else None.
    """

    key: str
    features: frozenset[str]
    args: EngineArgs
    env: Collection[str]
    gpus: int
    spread: Parallel
    cpu: str
    memory: str
    shm: str
    shm_is_told: bool = True
    share: float | None = None
    length: int | None = None
    streamed: bool = False

    @property
    def told(self) -> str:
        """The setting whose arguments win."""
        return f"models.{self.key}.args"


_OWN = "vLLM's own"


def shm(gpus: int, memory: str) -> str:
    """The size of /dev/shm where nobody says: what several GPUs need to find each other, within the pod's memory.

    With less than 16 GiB NCCL was seen to hang (the runbook's author, "Cold start": known good is 16Gi together with
    NCCL_CUMEM_ENABLE=0). What is written there counts against the container's memory, of which half stays free.
    """
    if gpus < 2:
        return SHM
    half = int(amount(memory) / 2 / GIB)
    return SHM_OF_SEVERAL if half >= amount(SHM_OF_SEVERAL) / GIB else f"{max(half, 2)}Gi"


def choose(it: EngineFacts, task: Task | None, traits: Traits | None) -> Profile:
    """Decide.

    Args:
        it: what the settings say.
        task: what the model is asked for; None where that is not known yet.
        traits: what its files say; None where that is not known yet.
    """
    if not it.gpus:
        return Profile()
    loads, loading = _loading(it, task, traits)
    length, long = _length(it, task)
    env, collective = _collective(it)
    share = Tuning(
        "--gpu-memory-utilization",
        f"{_OWN}, {UTILISATION:g}" if it.share is None else f"{it.share:g}",
        "as of v0.23.0" if it.share is None else "the GPU's memory is shared, or args say so",
        f"{it.told}: [--gpu-memory-utilization=0.9]",
    )
    return Profile((*loads, *length), env, (loading, long, share, *collective))


def _loading(it: EngineFacts, task: Task | None, traits: Traits | None) -> tuple[tuple[str, ...], Tuning]:
    if it.streamed:
        said = "its delivery is stream: a sidecar hands on the image's layers"
        return (), Tuning("--load-format", "runai_streamer", said, f"models.{it.key}.delivery: native")
    why_not = _why_not(it, task, traits)
    if why_not:
        return (), Tuning("--load-format", _OWN, why_not, f"{it.told}: [--load-format=runai_streamer]")
    threads = min(max(int(amount(it.cpu)), _FEWEST), _MOST)
    known = {"concurrency": ("RUNAI_STREAMER_CONCURRENCY", threads)}
    known["memory_limit"] = ("RUNAI_STREAMER_MEMORY_LIMIT", BUFFER)
    extra = {key: value for key, (variable, value) in known.items() if variable not in it.env}
    args = ["--load-format=runai_streamer"]
    if extra:
        args.append(f"--model-loader-extra-config={json.dumps(extra, separators=(',', ':'))}")
    said = f"the image has the streamer, weights are one set of safetensors, and {it.memory} hold its buffers"
    shown = f"runai_streamer, {threads} threads" if "concurrency" in extra else "runai_streamer"
    return tuple(args), Tuning("--load-format", shown, said, f"{it.told}: [--load-format=auto]")


def _why_not(it: EngineFacts, task: Task | None, traits: Traits | None) -> str:
    """Why the streamer is left out; empty where nothing speaks against it."""
    others = [name for name in _OTHER_LOADING if it.args.names(name)]
    said, kind = traits or Traits(), task or Task.GENERATION
    needed = BUFFER / GIB + amount(it.shm) / GIB + ENGINE_GIB
    reasons = (
        (bool(others), f"args have {', '.join(others)}"),
        (STREAMER not in it.features, f"the image is not known for the streamer; server.features may say {STREAMER}"),
        (traits is None or task is None, "known when the image is there"),
        (bool(said.weights_file), "the weights are a GGUF"),
        (kind is not Task.GENERATION, f"the model is for {kind.value}"),
        (not said.streams, "its safetensors are not known to be one set that the streamer loads whole"),
        # Its mode for several GPUs made models answer nothing (vllm#41749, v0.20.1).
        (it.spread.gpus > 1, f"each of {it.spread.gpus} GPUs would read all of the weights"),
        (
            amount(it.memory) / GIB < needed,
            f"its buffers, /dev/shm and the server may need {needed:.0f} GiB, and the pod has {it.memory}",
        ),
    )
    return next((reason for holds, reason in reasons if holds), "")


def _length(it: EngineFacts, task: Task | None) -> tuple[tuple[str, ...], Tuning]:
    name, instead = "--max-model-len", f"{it.told}: [--max-model-len=8192]"
    given = it.args.value(name)
    if given is not None:
        return (), Tuning(name, given, "args say so", instead)
    if it.length is not None and AUTO_LENGTH not in it.features:
        said = "one sequence of the model's own length does not fit beside the weights"
        return (f"{name}={it.length}",), Tuning(name, f"{it.length:,}", said, instead)
    if AUTO_LENGTH not in it.features:
        said = f"the image is not known to find it; server.features may say {AUTO_LENGTH}"
        return (), Tuning(name, "the model's own", said, instead)
    if it.spread.data > 1:
        return (), Tuning(name, "the model's own", f"each of {it.spread.data} copies would find its own", instead)
    if task is not Task.GENERATION:
        return (), Tuning(name, "the model's own", "the model does not generate, as far as is known", instead)
    said = "the model's own length where it fits, else the longest that does"
    return (f"{name}=auto",), Tuning(name, "auto", said, instead)


def _collective(it: EngineFacts) -> tuple[dict[str, str], tuple[Tuning, ...]]:
    """What several GPUs need to find each other."""
    if it.gpus < 2:
        return {}, ()
    named = Tuning(
        "/dev/shm",  # noqa: S108 - the container's own
        it.shm,
        f"several GPUs talk through it; it counts against the pod's {it.memory}",
        f"models.{it.key}.resources.shm",
    )
    room = (named,) if it.shm_is_told else ()
    name, instead = "NCCL_CUMEM_ENABLE", f"models.{it.key}.env"
    if name in it.env:
        return {}, (*room, Tuning(name, "as env says", "env says so", instead))
    if _SYMMETRIC in it.env:
        return {}, (*room, Tuning(name, _OWN, f"{_SYMMETRIC} needs it", instead))
    # vLLM itself set it until NCCL 2.22.3 (vllm#24141), for the memory of CUDA graphs; the hang is the runbook's own.
    said = "with it NCCL was seen to hang at the start (the runbook's author, with 16Gi of /dev/shm)"
    return {name: "0"}, (*room, Tuning(name, "0", said, instead))
