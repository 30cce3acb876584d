"""Where a model's pods run and what they get: from the node pool and the model's settings. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from components.google import accelerators, gpu_sharing, node_room, pool_names
from components.serving.sidecar import Sidecar
from components.settings.google import NodePoolSettings
from components.settings.serving import ModelSettings
from components.settings.types import GIB, amount

CPU_ONLY = ("2", "4Gi")
"""CPU and memory of a model without a pool: enough for models of half a billion parameters on vLLM's CPU image."""
NEEDED_BY_KSERVE = ("cert-manager", "envoy-gateway-system")
"""The namespaces of the controllers that KServe needs, where they are at all."""
_MEMORY_SHARE = 0.75


@dataclass(frozen=True)
class Scheduling:
    """Node selector or affinity, tolerations, GPUs, CPU and memory (Kubernetes quantities) of one pod.

    `surge` says whether the pool has room for one pod more than the model's replicas, so that a rollout may start the
    new pod before the old one goes; without that room it would wait for ever. CPU and memory are the server's; a
    `sidecar` has its own beside them.
    """

    gpus: int = 0
    cpu: str = CPU_ONLY[0]
    memory: str = CPU_ONLY[1]
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, str]] = ()
    surge: bool = True
    affinity: Mapping[str, Any] = field(default_factory=dict)
    sidecar: Sidecar | None = None

    def on(self) -> dict[str, Any]:
        """The part of a pod's spec that says which nodes it runs on; what is not asked for is not in it."""
        found = {
            "nodeSelector": dict(self.node_selector),
            "affinity": dict(self.affinity),
            "tolerations": [dict(toleration) for toleration in self.tolerations],
        }
        return {key: value for key, value in found.items() if value}

    @property
    def amounts(self) -> dict[str, str]:
        """Requests and limits of the server's container."""
        gpus = {"nvidia.com/gpu": str(self.gpus)} if self.gpus else {}
        return {"cpu": self.cpu, "memory": self.memory, **gpus}

    @property
    def pod_cpu(self) -> float:
        """CPUs that the pod asks for, its sidecar's among them."""
        return amount(self.cpu) + (amount(self.sidecar.cpu) if self.sidecar else 0.0)

    @property
    def pod_memory(self) -> float:
        """Bytes that the pod asks for, its sidecar's among them."""
        return amount(self.memory) + (amount(self.sidecar.memory) if self.sidecar else 0.0)


def schedule(
    model: ModelSettings,
    pool: NodePoolSettings | None = None,
    node_labels: Mapping[str, str] | None = None,
    *,
    gpus_of_others: int = 0,
    unbounded: bool = False,
    sidecar: Sidecar | None = None,
) -> Scheduling:
    """Place a model: on a pool, or on CPU nodes.

    Args:
        model: the model's settings.
        pool: its node pool's settings.
        node_labels: labels that select that pool's nodes.
        gpus_of_others: what the pool's other models take of it at most.
        unbounded: nodes are made for the pods, as many as they need.
        sidecar: what the pod has beside the server; by default the server has the share that it leaves.

    Raises:
        AcceleratorError: the pool's machine type is unknown.
    """
    if pool is None:
        cpu, memory = model.resources.cpu or CPU_ONLY[0], model.resources.memory or CPU_ONLY[1]
        return Scheduling(cpu=cpu, memory=memory, sidecar=sidecar)
    machine = accelerators.machine_for(pool.accelerator, pool.count, pool.machine_type)
    slots = gpu_sharing.slots(pool)
    gpus = gpu_sharing.default_gpus(pool) if model.gpus is None else model.gpus
    share = gpus / slots
    room = node_room.room(machine.vcpus, machine.memory_gib, pool.max_pods_per_node)
    fine = gpu_sharing.shared(pool)
    beside = (amount(sidecar.cpu), amount(sidecar.memory) / GIB) if sidecar else (0.0, 0.0)
    cpu = model.resources.cpu or _cores(min(machine.vcpus - 1, room.cpu) * share - beside[0], fine=fine)
    # Of memory no more than three quarters: what is left holds the page cache that weights are read through.
    memory_gib = min(machine.memory_gib * _MEMORY_SHARE, room.memory_gib)
    memory = model.resources.memory or _gib(memory_gib * share - beside[1], fine=fine)
    nodes = pool.max_nodes * (len(pool.zones) or 1 if pool.per_zone else 1)
    free = nodes * slots - gpus_of_others
    return Scheduling(
        gpus=gpus,
        cpu=cpu,
        memory=memory,
        node_selector=dict(node_labels or {}),
        tolerations=[_toleration(**taint) for taint in pool_names.taints(pool)],
        # By node as well: GPUs left over on several nodes are no room for one pod.
        sidecar=sidecar,
        surge=unbounded or min(free // gpus, nodes * (slots // gpus)) > most_replicas(model),
    )


def _cores(share: float, *, fine: bool) -> str:
    """CPUs, rounded down; less than one where many pods share a GPU, who would not all find room with one each."""
    return f"{int(share * 1000)}m" if fine and 0 < share < 1 else str(max(1, int(share)))


def _gib(share: float, *, fine: bool) -> str:
    """Memory, rounded down, as `_cores`."""
    return f"{int(share * 1024)}Mi" if fine and 0 < share < 1 else f"{max(1, int(share))}Gi"


def any_of(ranked: Sequence[Scheduling]) -> Scheduling:
    """Place a model on the first of several pools that has room: what it asks for fits a node of each.

    Args:
        ranked: the placement on each pool alone, the preferred first.
    """
    first = ranked[0]
    terms = [_term(one.node_selector) for one in ranked]
    count = len(terms)
    preferred = [{"weight": 100 * (count - at) // count, "preference": term} for at, term in enumerate(terms[:-1])]
    cpu = min((one.cpu for one in ranked), key=amount)
    memory = min((one.memory for one in ranked), key=amount)
    tolerations = {tuple(sorted(taint.items())): taint for one in ranked for taint in one.tolerations}
    return replace(
        first,
        cpu=cpu,
        memory=memory,
        node_selector={},
        affinity={
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
                "preferredDuringSchedulingIgnoredDuringExecution": preferred,
            }
        },
        tolerations=list(tolerations.values()),
        surge=any(one.surge for one in ranked),
    )


def away_from(namespaces: Sequence[str]) -> dict[str, Any]:
    """The affinity of pods that take a node without the pods of these namespaces, where one has room."""
    beside = {"labelSelector": {}, "namespaces": list(namespaces), "topologyKey": "kubernetes.io/hostname"}
    preferred = [{"weight": 100, "podAffinityTerm": beside}]
    return {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}


def _term(labels: Mapping[str, str]) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]}


def _toleration(key: str, value: str, effect: str) -> dict[str, str]:
    matched = {"operator": "Equal", "value": value} if value else {"operator": "Exists"}
    return {"key": key, **matched, "effect": effect}


def most_replicas(model: ModelSettings) -> int:
    """How many pods of a model there may be at once, a rollout's surplus aside."""
    return 0 if model.paused else model.replicas.max or max(model.replicas.min, 1)
