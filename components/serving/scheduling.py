"""Where a model's pods run and what they get: from the node pool and the model's settings. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from components.google import accelerators, pool_names
from components.settings.google import NodePoolSettings
from components.settings.serving import ModelSettings

CPU_ONLY = ("2", "4Gi")
"""CPU and memory of a model without a pool: enough for models of half a billion parameters on vLLM's CPU image."""


@dataclass(frozen=True)
class Scheduling:
    """Node selector, tolerations, GPUs, CPU and memory (Kubernetes quantities) of one pod.

    `surge` says whether the pool has room for one pod more than the model's replicas, so that a rollout may start the
    new pod before the old one goes; without that room it would wait for ever.
    """

    gpus: int = 0
    cpu: str = CPU_ONLY[0]
    memory: str = CPU_ONLY[1]
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, str]] = ()
    surge: bool = True

    @property
    def amounts(self) -> dict[str, str]:
        """Requests and limits of the server's container."""
        gpus = {"nvidia.com/gpu": str(self.gpus)} if self.gpus else {}
        return {"cpu": self.cpu, "memory": self.memory, **gpus}


def schedule(
    model: ModelSettings,
    pool: NodePoolSettings | None = None,
    node_labels: Mapping[str, str] | None = None,
    *,
    gpus_of_others: int = 0,
) -> Scheduling:
    """Place a model: on a pool, or on CPU nodes.

    Args:
        model: the model's settings.
        pool: its node pool's settings.
        node_labels: labels that select that pool's nodes.
        gpus_of_others: what the pool's other models take of it at most.

    Raises:
        AcceleratorError: the pool's machine type is unknown.
    """
    if pool is None:
        return Scheduling(cpu=model.resources.cpu or CPU_ONLY[0], memory=model.resources.memory or CPU_ONLY[1])
    machine = accelerators.machine_for(pool.accelerator, pool.count, pool.machine_type)
    gpus = pool.count if model.gpus is None else model.gpus
    share = gpus / pool.count
    # GKE keeps up to a tenth of large nodes and a quarter of small ones for itself (GKE documentation, "Node
    # allocatable resources"), and the system's DaemonSets want about a core.
    cpu = model.resources.cpu or str(max(1, int((machine.vcpus - 1) * share)))
    memory = model.resources.memory or f"{max(1, int(machine.memory_gib * 0.75 * share))}Gi"
    nodes = pool.max_nodes * (len(pool.zones) or 1 if pool.per_zone else 1)
    free = nodes * pool.count - gpus_of_others
    return Scheduling(
        gpus=gpus,
        cpu=cpu,
        memory=memory,
        node_selector=dict(node_labels or {}),
        tolerations=[_toleration(**taint) for taint in pool_names.taints(pool)],
        # By node as well: GPUs left over on several nodes are no room for one pod.
        surge=min(free // gpus, nodes * (pool.count // gpus)) > most_replicas(model),
    )


def _toleration(key: str, value: str, effect: str) -> dict[str, str]:
    matched = {"operator": "Equal", "value": value} if value else {"operator": "Exists"}
    return {"key": key, **matched, "effect": effect}


def most_replicas(model: ModelSettings) -> int:
    """How many pods of a model there may be at once, a rollout's surplus aside."""
    return 0 if model.paused else model.replicas.max or max(model.replicas.min, 1)
