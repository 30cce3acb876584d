"""Whether one pod of each model finds a node, and an update of it room: what it asks for against what a node offers."""

import math
from collections.abc import Iterator

from components.google.accelerators import AcceleratorError
from components.google.node_room import NodeRoom
from components.google.pool_origin import NodeOrigin
from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.places import StackPool
from components.settings.stack import Settings
from components.settings.types import GIB, Target, amount
from oci_model_serving.delivery import Delivery


def problems(settings: Settings, model: StackModel) -> Iterator[Problem]:
    """What surely stays pending, by paths relative to the model."""
    if settings.target is Target.LOCAL:
        return
    if model.pool and _is_queued(model.pool):
        yield ".nodePool", _queued(model.pool)
    for path, problem, sure in resources(settings, model):
        if sure:
            yield path, problem


def warnings(settings: Settings, model: StackModel) -> Iterator[Problem]:
    """What may stay pending, or is not what it seems."""
    if settings.target is Target.LOCAL:
        return
    for path, problem, sure in resources(settings, model):
        if not sure:
            yield path, problem
    yield from _shared_memory(model)
    yield from _update(settings, model)


def _is_queued(pool: StackPool) -> bool:
    return pool.settings.queued_provisioning and not (pool.settings.spot or pool.settings.reservation)


def _queued(pool: StackPool) -> str:
    return (
        f"{pool.key!r} is a queued pool (queuedProvisioning): it needs a ProvisioningRequest, which is not made, so "
        f"that no node ever comes; set nodePools.{pool.key}.flexStart to true and remove queuedProvisioning, or take "
        "another pool"
    )


def resources(settings: Settings, model: StackModel) -> Iterator[tuple[str, str, bool]]:
    """CPU and memory above what a node offers: True of what none has, False of what the system's pods leave no room."""
    if model.pool and model.pool.origin is NodeOrigin.ON_DEMAND:
        return  # GKE makes nodes as large as the pods ask for
    try:
        room = model.pool.room if model.pool else settings.cluster.system_room
    except AcceleratorError:
        return
    if room is None:
        return
    sidecar = ", and the pod's sidecar" if model.sidecar else ""
    where, other = f"the system pool ({_system_machine(settings)}), which runs models without a nodePool,", ""
    if model.pool:
        where = f"pool {model.pool.key!r} ({model.pool.machine.name})"
    else:
        other = ", or larger machines in cluster.create.systemPool.machineType"
    for path, asked, most, offered, unit in _asked(model, room):
        suffix = "Gi" if unit == "Gi" else ""
        if asked > offered:
            yield (
                path,
                f"is {_shown(asked)}{unit}, and a node of {where} offers {_shown(offered)}{unit} beside "
                f"what GKE and its own pods take{sidecar}: write at most {_whole(offered)}{suffix}{other}",
                asked > most,
            )


def _asked(model: StackModel, room: NodeRoom) -> Iterator[tuple[str, float, float, float, str]]:
    """Each amount that does not follow from the node: path, what is asked, what there is at most and for sure, unit."""
    given, beside = model.settings.resources, model.sidecar
    taken_cpu, taken = (amount(beside.cpu), amount(beside.memory) / GIB) if beside else (0.0, 0.0)
    fixed = model.scheduling if model.pool is None else None
    cpu, memory = given.cpu or (fixed and fixed.cpu), given.memory or (fixed and fixed.memory)
    if cpu:
        yield ".resources.cpu", amount(cpu), room.most_cpu - taken_cpu, room.cpu - taken_cpu, " CPUs"
    if memory:
        most, offered = room.most_memory_gib - taken, room.memory_gib - taken
        yield ".resources.memory", amount(memory) / GIB, most, offered, "Gi"


def _system_machine(settings: Settings) -> str:
    create = settings.cluster.settings.create
    return create.system_pool.machine_type if create else ""


def _shown(number: float) -> str:
    return f"{math.floor(number * 10) / 10:g}"


def _whole(number: float) -> str:
    return str(math.floor(number)) if number >= 1 else _shown(number)


def _shared_memory(model: StackModel) -> Iterator[Problem]:
    """A memory-backed volume counts against its container's limit (Kubernetes, "Volumes", emptyDir)."""
    shm = model.shm
    if model.delivery is Delivery.KUBEAI:
        return  # which leaves /dev/shm to the pod's memory
    if amount(shm) > amount(model.scheduling.memory):
        yield (
            ".resources.shm",
            f"is {shm}, and it counts against the pod's memory, which is {model.scheduling.memory}: lower it, or raise "
            "resources.memory",
        )


def _update(settings: Settings, model: StackModel) -> Iterator[Problem]:
    """Knative makes the new revision's pods before the old ones' go, and has no other way."""
    if (
        settings.kserve.deployment_mode == "Knative"
        and model in settings.models_of(model.delivery.platform)
        and model.namespace == settings.kserve.model_namespace
        and model.pool
        and model.live_replicas
        and not model.scheduling.surge
    ):
        yield (
            ".nodePool",
            f"pool {model.pool.key!r} has no room for one pod more, which Knative needs for every update: raise "
            f"nodePools.{model.pool.key}.maxNodes, or set platforms.kserve.deploymentMode to Standard",
        )
