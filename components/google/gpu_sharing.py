"""Several pods on one GPU: MIG partitions and time-sharing, what a pod gets of it and where. Pure.

Sources: GKE's own partitioner (`partition_gpu.go` of container-engine-accelerators, 2026) for the sizes of partitions
and their number on a GPU; "Multi-instance GPUs", "About GPU sharing strategies" and "Share GPUs with multiple workloads
using GPU time-sharing" for labels and bounds. Every partition is a `nvidia.com/gpu` of its own, and so is each share; a
pod that asks for several shares is refused by the node (`gpusharing.go`, ValidateRequest).
"""

import math
from collections.abc import Iterator, Mapping

from components.google.accelerators import Machine
from components.settings.google import NodePoolSettings

_STRATEGY_LABEL = "cloud.google.com/gke-gpu-sharing-strategy"
_CLIENTS_LABEL = "cloud.google.com/gke-max-shared-clients-per-gpu"
_PARTITION_LABEL = "cloud.google.com/gke-gpu-partition-size"
UTILIZATION = 0.9
"""The part of a GPU's memory that all servers on it may take together: each process has a CUDA context beside that."""

_A100_80 = {"1g.10gb": 7, "2g.20gb": 3, "3g.40gb": 2, "4g.40gb": 1, "7g.80gb": 1}
PARTITIONS: Mapping[str, Mapping[str, int]] = {
    "nvidia-tesla-a100": {"1g.5gb": 7, "2g.10gb": 3, "3g.20gb": 2, "4g.20gb": 1, "7g.40gb": 1},
    "nvidia-a100-80gb": _A100_80,
    "nvidia-h100-80gb": {**_A100_80, "1g.20gb": 4},
    "nvidia-h100-mega-80gb": {**_A100_80, "1g.20gb": 4},
    "nvidia-h200-141gb": {"1g.18gb": 7, "1g.35gb": 4, "2g.35gb": 3, "3g.71gb": 2, "4g.71gb": 1, "7g.141gb": 1},
    "nvidia-b200": {"1g.23gb": 7, "1g.45gb": 4, "2g.45gb": 3, "3g.90gb": 2, "4g.90gb": 1, "7g.180gb": 1},
    "nvidia-rtx-pro-6000": {"1g.24gb": 4, "2g.48gb": 2, "4g.96gb": 1},
}
"""Accelerator -> size of a partition -> how many of it one GPU has."""


def shared(pool: NodePoolSettings) -> bool:
    """Whether a pod gets a part of a GPU, and no more than one part."""
    return pool.sharing is not None or pool.gpu_partition_size is not None


def slots(pool: NodePoolSettings) -> int:
    """How many `nvidia.com/gpu` a node of the pool offers."""
    return pool.count * _partitions(pool) * clients(pool)


def default_gpus(pool: NodePoolSettings) -> int:
    """What a pod gets that asks for no number: the node's GPUs, or one part of a GPU."""
    return 1 if shared(pool) else pool.count


def clients(pool: NodePoolSettings) -> int:
    """How many pods share the memory of one GPU, or of one partition of it."""
    return pool.sharing.max_clients if pool.sharing else 1


def memory_gb(pool: NodePoolSettings, machine: Machine) -> float:
    """The memory in GB of what a server sees as one GPU; those that share a GPU in time all see the whole of it."""
    size = pool.gpu_partition_size
    return float(size.partition(".")[2].removesuffix("gb")) if size else float(machine.gpu_memory_gb)


def utilization(pool: NodePoolSettings) -> float:
    """The part of that memory which a server may take, so that as many fit as may share it."""
    return math.floor(UTILIZATION * 100 / clients(pool)) / 100


def labels(pool: NodePoolSettings) -> dict[str, str]:
    """The labels that GKE puts on such nodes, and by which pods ask for them."""
    partition = {_PARTITION_LABEL: pool.gpu_partition_size} if pool.gpu_partition_size else {}
    if pool.sharing is None:
        return partition
    strategy = pool.sharing.strategy.lower().replace("_", "-")
    return {**partition, _STRATEGY_LABEL: strategy, _CLIENTS_LABEL: str(pool.sharing.max_clients)}


def problems(pool: NodePoolSettings) -> Iterator[tuple[str, str]]:
    """What is wrong with how a pool's GPUs are shared, by the key that says it."""
    size, offered = pool.gpu_partition_size, PARTITIONS.get(pool.accelerator, {})
    if size and not offered:
        yield (
            "gpuPartitionSize",
            f"is {size}, but {pool.accelerator} cannot be partitioned: remove it, or write sharing: {{maxClients: 2}}, "
            f"or an accelerator of {', '.join(PARTITIONS)}",
        )
    elif size and size not in offered:
        yield "gpuPartitionSize", f"is {size}, which {pool.accelerator} has not: write {', '.join(offered)}"
    if pool.sharing and pool.sharing.strategy == "MPS":
        yield (
            "sharing.strategy",
            "is MPS, whose pods must run in the node's IPC namespace (hostIPC), which the models' namespaces forbid: "
            "write TIME_SHARING, or gpuPartitionSize where the GPU can be partitioned",
        )
    if pool.sharing and pool.queued_provisioning:
        yield "sharing", "is not for queuedProvisioning, whose requests are for whole GPUs: remove one of the two"


def _partitions(pool: NodePoolSettings) -> int:
    size = pool.gpu_partition_size
    return PARTITIONS.get(pool.accelerator, {}).get(size, 1) if size else 1
