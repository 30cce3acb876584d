"""What models say on a pool whose GPUs are shared: one part each, and a memory that all of them share."""

from collections.abc import Iterator
from heapq import nlargest

from components.google import gpu_sharing
from components.serving.scheduling import most_replicas
from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.places import StackPool
from components.settings.stack import Settings

_FLAG = "gpu-memory-utilization"


def gpus(made: StackModel) -> Iterator[Problem]:
    """Whether a model takes one part of a GPU, by paths relative to it."""
    if made.pool and made.gpus > 1:
        part = "partition" if made.pool.settings.gpu_partition_size else "share"
        yield (
            ".gpus",
            f"is {made.gpus}, but a GPU of pool {made.pool.key!r} is shared, of which a pod gets one {part}: write 1, "
            "or another pool",
        )


def problems(settings: Settings, pool: StackPool) -> Iterator[Problem]:
    """Whether the servers that may meet on one GPU leave each other memory; by full paths."""
    clients = gpu_sharing.clients(pool.settings)
    if clients == 1:
        return
    on = {key: model for key, model in settings.models.items() if model.pool is pool}
    takes = {key: _asked(model) or pool.gpu_utilization for key, model in on.items()}
    pods = [(takes[key], key) for key, model in on.items() for _ in range(min(most_replicas(model.settings), clients))]
    together = nlargest(clients, pods)
    total = sum(part for part, _ in together)
    if total <= 1:
        return
    greedy = [key for key, model in on.items() if _asked(model) > pool.gpu_utilization]
    for key in greedy:
        yield (
            f"models.{key}.args",
            f"has --{_FLAG}={takes[key]:g}, but {clients} pods share a GPU of pool {pool.key!r} and could take "
            f"{total:.0%} of its memory together: write {pool.gpu_utilization:g}, or leave it out",
        )


def _asked(model: StackModel) -> float:
    """The part of the GPU's memory that the arguments name; 0 where they name none."""
    return model.args.share(f"--{_FLAG}") or 0.0
