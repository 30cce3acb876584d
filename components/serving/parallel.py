"""How an engine spreads a model over the GPUs of its pod. Pure."""

import json
from dataclasses import dataclass

from components.serving.engine_args import EngineArgs

LOADER_EXTRA = "--model-loader-extra-config"
"""What vLLM's loader is told, as JSON."""


@dataclass(frozen=True)
class Parallel:
    """How many GPUs an engine spreads over, and in which ways: by tensors, by layers, and whole copies."""

    tensor: int = 1
    pipeline: int = 1
    data: int = 1

    @property
    def shards(self) -> int:
        """GPUs that hold one copy of the weights."""
        return self.tensor * self.pipeline

    @property
    def gpus(self) -> int:
        """GPUs of all copies."""
        return self.shards * self.data


def parallel(args: EngineArgs, gpus: int) -> Parallel:
    """How an engine spreads over the GPUs of its pod.

    Where nobody says by how many tensors, it is by as many as the other ways leave; where these do not divide the GPUs,
    and where pods serve together, by all of them.
    """
    context = args.count("--prefill-context-parallel-size") or 1
    pipeline = (args.count("--pipeline-parallel-size") or 1) * context
    data = args.count("--data-parallel-size-local") or args.count("--data-parallel-size") or 1
    left, over = divmod(max(gpus, 1), pipeline * data)
    tensor = max(gpus, 1) if over or args.names("--nnodes") else left
    return Parallel(tensor=args.count("--tensor-parallel-size") or tensor, pipeline=pipeline, data=data)


def default_tensor(args: EngineArgs, gpus: int) -> int:
    """The `--tensor-parallel-size` that the program says before the settings' own arguments, which then count."""
    return max(gpus, 1) if args.count("--tensor-parallel-size") else parallel(args, gpus).tensor


def loads_together(args: EngineArgs) -> bool:
    """Whether arguments tell the server's ranks to read the weights together: `distributed`, which must be true."""
    found = [flag.value.lower() for flag in args.all(LOADER_EXTRA) if flag.key == "distributed"]
    try:
        said = json.loads(args.value(LOADER_EXTRA) or "{}")
    except (ValueError, RecursionError):
        said = {}
    return found[-1] == "true" if found else isinstance(said, dict) and said.get("distributed") is True
