"""What a GKE node offers to pods: its machine's CPU and memory without what GKE and the system's own pods take. Pure.

Sources: GKE, "Plan GKE Standard node sizes", memory and CPU reservations: 255 MiB of less than 1 GiB, else 25 % of the
first 4 GiB, 20 % of the next 4, 10 % of the next 8, 6 % of the next 112 and 2 % of the rest; 6 % of the first core, 1 %
of the second, 0.5 % of the next two and 0.25 % of the rest; 100 MiB for eviction. From 1.37 on the memory is at most
15 MiB for each pod that a node may have, and a fixed part; which of the two holds is not known before the cluster is
there, since its channel upgrades it: what to count on is of the earlier rule, what there is at most of the later one.
"""

import re
from dataclasses import dataclass

_MEMORY = ((4.0, 0.25), (4.0, 0.20), (8.0, 0.10), (112.0, 0.06), (float("inf"), 0.02))
_CPU = ((1.0, 0.06), (1.0, 0.01), (2.0, 0.005), (float("inf"), 0.0025))
_EVICTION_GIB = 100 / 1024
_POD_GIB = 15 / 1024

SYSTEM_PODS_CPU = 0.85
SYSTEM_PODS_MEMORY_GIB = 0.6
"""What the DaemonSets of a GKE Standard node ask for (logging, metrics, network, storage, GPU plugin). From public
measurements of clusters with Dataplane and managed Prometheus on: Google documents no sum."""

_FAMILIES = {  # GiB of a vCPU, by type (Compute Engine, "General-purpose machine family")
    "standard": {"n1": 3.75, "c3": 4.0, "c3d": 4.0, "c4": 3.75, "c4d": 3.875, "default": 4.0},
    "highmem": {"n1": 6.5, "c4": 7.75, "c4d": 7.875, "default": 8.0},
    "highcpu": {"n1": 0.9, "c3": 2.0, "c3d": 2.0, "c4": 2.0, "c4d": 1.875, "n4": 2.0, "default": 1.0},
}
_GENERAL = re.compile(r"(e2|n1|n2|n2d|n4|c3|c3d|c4|c4d|t2d)-(standard|highmem|highcpu)-(\d+)")


@dataclass(frozen=True)
class NodeRoom:
    """What one node has for pods of ours.

    Attributes:
        cpu: cores to count on, and `memory_gib` GiB.
        most_cpu: cores that it has at the very most, and `most_memory_gib` GiB: more is never to be had.
    """

    cpu: float
    memory_gib: float
    most_cpu: float
    most_memory_gib: float


def _taken(amount: float, steps: tuple[tuple[float, float], ...]) -> float:
    taken = 0.0
    for size, share in steps:
        part = min(amount, size)
        taken += part * share
        amount -= part
    return taken


def room(vcpus: float, memory_gib: float, pods: int) -> NodeRoom:
    """What a machine offers.

    Args:
        vcpus: of the machine.
        memory_gib: of the machine.
        pods: that may be on a node (`maxPodsPerNode`).
    """
    reserved = _taken(memory_gib, _MEMORY) if memory_gib >= 1 else 255 / 1024
    cpu = vcpus - _taken(vcpus, _CPU)
    return NodeRoom(
        cpu=max(cpu - SYSTEM_PODS_CPU, 0),
        memory_gib=max(memory_gib - reserved - _EVICTION_GIB - SYSTEM_PODS_MEMORY_GIB, 0),
        most_cpu=cpu,
        most_memory_gib=memory_gib - min(reserved, _POD_GIB * pods) - _EVICTION_GIB,
    )


def general_purpose(machine_type: str) -> tuple[int, float] | None:
    """The vCPUs and GiB of a machine type without GPUs; None of one that is not known here."""
    found = _GENERAL.fullmatch(machine_type)
    if not found:
        return None
    family, kind, vcpus = found.groups()
    by_family = _FAMILIES[kind]
    return int(vcpus), int(vcpus) * by_family.get(family, by_family["default"])
