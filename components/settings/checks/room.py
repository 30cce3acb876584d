"""Whether all pods of a pool find nodes: what they ask for together, and piece by piece, against what it may have."""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress

from components.google import bins, gpu_sharing
from components.google.accelerators import AcceleratorError
from components.serving.scheduling import most_replicas
from components.settings.checks import placement
from components.settings.checks.unread import Problem, touches
from components.settings.models import StackModel
from components.settings.places import StackPool
from components.settings.stack import Settings
from components.settings.types import GIB, Target

_MANY = 4000
"""Pods up to which they are placed one by one; beyond, sums decide."""


def problems(settings: Settings, unread: Collection[str] = ()) -> Iterator[Problem]:
    """What surely stays pending."""
    if settings.target is Target.LOCAL:
        return
    for key, pool in settings.node_pools.items():
        if not touches(f"nodePools.{key}", unread) and pool.most_nodes is not None:
            yield from _minimum(pool, pool.most_nodes, _on(settings, key, unread))
    for model in settings.models.values():
        pools = [pool for pool in (model.pool, *model.fallbacks) if pool]
        if len(pools) > 1 and _counts(settings, model, unread) and not _refused(pools, unread):
            yield from _over_pools(settings, model, pools, unread)


def warnings(settings: Settings) -> Iterator[Problem]:
    """What may stay pending, at times or always."""
    if settings.target is Target.LOCAL:
        return
    for key, pool in settings.node_pools.items():
        if pool.most_nodes is not None:
            yield from _fragments(pool, pool.most_nodes, _on(settings, key))
            yield from _maximum(pool, pool.most_nodes, _on(settings, key))


def _on(settings: Settings, pool: str, unread: Collection[str] = ()) -> list[StackModel]:
    """The models that run on a pool alone, and whose pods a node can hold."""
    return [
        model
        for model in settings.models.values()
        if model.pool and model.pool.key == pool and not model.fallbacks and _counts(settings, model, unread)
    ]


def _counts(settings: Settings, model: StackModel, unread: Collection[str]) -> bool:
    """Whether nodes of its pools can hold its pods, and it is known how many there are."""
    below = f"models.{model.key}"
    return (
        all(0 < model.gpus <= pool.gpu_slots for pool in (model.pool, *model.fallbacks) if pool)
        and not {f"{below}.replicas.min", f"{below}.gpus", f"{below}.replicas"} & set(unread)
        and not any(sure for _, _, sure in placement.resources(settings, model))
    )


def _refused(pools: Sequence[StackPool], unread: Collection[str]) -> bool:
    return any(touches(f"nodePools.{pool.key}", unread) for pool in pools)


def _over_pools(
    settings: Settings, model: StackModel, pools: Sequence[StackPool], unread: Collection[str]
) -> Iterator[Problem]:
    """Replicas for which a preferred pool and its fallbacks have no room, beside models that run on these alone."""
    nodes = [pool.most_nodes for pool in pools]
    known = [number for number in nodes if number is not None]
    if len(known) < len(nodes):
        return
    keys = {pool.key for pool in pools}
    others = sum(
        other.live_replicas * other.gpus
        for other in settings.models.values()
        if other is not model
        and other.pool
        and {other.pool.key, *(pool.key for pool in other.fallbacks)} <= keys
        and _counts(settings, other, unread)
    )
    alone = sum(number * (pool.gpu_slots // model.gpus) for pool, number in zip(pools, known, strict=True))
    left = sum(number * pool.gpu_slots for pool, number in zip(pools, known, strict=True)) - others
    room = min(alone, left // model.gpus)
    if model.live_replicas <= room:
        return
    first, more = pools[0], math.ceil((model.live_replicas - room) / (pools[0].gpu_slots // model.gpus))
    beside = f" beside {_parts(first, others)} of other models" if others else ""
    fewer = f", or replicas.min: {room}" if room > 0 else ""
    yield (
        f"models.{model.key}.replicas.min",
        f"is {model.live_replicas}, and pools {', '.join(pool.key for pool in pools)} together have room for "
        f"{max(room, 0)} pods of {_parts(first, model.gpus)}{beside}: the others are never ready; write nodePools."
        f"{first.key}.maxNodes: {_nodes_to_write(first, known[0], known[0] + more)}{fewer}",
    )


def _minimum(pool: StackPool, nodes: int, models: Sequence[StackModel]) -> Iterator[Problem]:
    """Replicas that are there at all times and find no room, whatever node each is placed on."""
    slots, alone = pool.gpu_slots, True
    for model in models:
        most = nodes * (slots // model.gpus)
        if model.live_replicas > most:
            alone = False
            needed = math.ceil(model.live_replicas / (slots // model.gpus))
            yield (
                f"models.{model.key}.replicas.min",
                f"is {model.live_replicas}, and pool {pool.key!r} has room for {most} pods of "
                f"{_parts(pool, model.gpus)} ({_nodes(pool, nodes)}): the others are never ready; write "
                f"nodePools.{pool.key}.maxNodes: {_nodes_to_write(pool, nodes, needed)}, or replicas.min: {most}",
            )
    never = next(_too_large(pool, models), None)
    if never:
        yield never
        return
    needed, short = max(
        ((bins.at_least(asked, most), kind) for kind, asked, most in _dimensions(pool, models)), key=lambda one: one[0]
    )
    if alone and needed > nodes:
        enough = max(_enough(pool, models) or needed, needed)
        of_kind, less = (f" for their {short}", f", less resources.{short} for each") if short else ("", "")
        yield (
            f"nodePools.{pool.key}.maxNodes",
            f"gives {_nodes(pool, nodes)}, and its models ({_listed(models)}) need {needed} at the least{of_kind}: "
            f"pods would stay pending for ever; write {_nodes_to_write(pool, nodes, enough)}{less}, or a lower "
            "replicas.min",
        )


def _fragments(pool: StackPool, nodes: int, models: Sequence[StackModel]) -> Iterator[Problem]:
    """Minimal replicas that fit by their sums, and by the way in which they would be placed do not."""
    enough = _enough(pool, models)
    if enough is not None and enough > nodes:
        yield (
            f"nodePools.{pool.key}.maxNodes",
            f"gives {_nodes(pool, nodes)}, on which its models ({_listed(models)}) may not all find room beside each "
            f"other: write {_nodes_to_write(pool, nodes, enough)}",
        )


def _maximum(pool: StackPool, nodes: int, models: Sequence[StackModel]) -> Iterator[Problem]:
    """Replicas that scaling asks for and the pool has no room for."""
    grown = [model for model in models if most_replicas(model.settings) > model.live_replicas]
    for model in grown:
        most = nodes * (pool.gpu_slots // model.gpus)
        if most_replicas(model.settings) > most:
            yield (
                f"models.{model.key}.replicas.max",
                f"is {most_replicas(model.settings)}, and pool {pool.key!r} has room for {most} pods of "
                f"{_parts(pool, model.gpus)} ({_nodes(pool, nodes)}): pods beyond stay pending",
            )
            return
    sizes = [float(model.gpus) for model in models for _ in range(min(most_replicas(model.settings), _MANY))]
    if grown and sizes and len(sizes) <= _MANY and bins.at_least(sizes, pool.gpu_slots) > nodes:
        names = ", ".join(f"{model.key} up to {most_replicas(model.settings)}" for model in models)
        yield (
            f"nodePools.{pool.key}.maxNodes",
            f"gives {_nodes(pool, nodes)}, and its models may ask for {bins.at_least(sizes, pool.gpu_slots)} "
            f"({names}): what scales last stays pending",
        )


def _too_large(pool: StackPool, models: Sequence[StackModel]) -> Iterator[Problem]:
    """The first pod whose default of CPUs no node of the machine type has: more nodes do not help it."""
    with suppress(AcceleratorError):
        for model in models:
            if model.live_replicas and model.scheduling.pod_cpu > pool.room.most_cpu:
                yield (
                    f"models.{model.key}.resources.cpu",
                    f"is missing, and the default of {model.scheduling.cpu} is more than the "
                    f"{pool.room.most_cpu:.2g} that a {pool.machine.name} offers: write {pool.room.cpu * 1000:.0f}m, "
                    f"or nodePools.{pool.key}.machineType with more CPUs",
                )


def _dimensions(pool: StackPool, models: Sequence[StackModel]) -> Iterator[tuple[str, list[float], float]]:
    """By kind, what every pod that is there at all times asks for, and what a node has of it at the very most."""
    asked = list(zip(*each(models), strict=True)) or [(), (), ()]
    yield "", list(asked[0]), float(pool.gpu_slots)
    with suppress(AcceleratorError):
        yield "cpu", list(asked[1]), pool.room.most_cpu
        yield "memory", list(asked[2]), pool.room.most_memory_gib * GIB


def each(models: Sequence[StackModel]) -> list[tuple[float, float, float]]:
    """GPUs, CPUs and bytes of every pod that is there at all times, as far as they can be placed one by one."""
    live = [(float(one.gpus), one.scheduling, one.live_replicas) for one in models if one.live_replicas]
    if sum(replicas for _, _, replicas in live) > _MANY:
        return []
    return [(gpus, it.pod_cpu, it.pod_memory) for gpus, it, replicas in live for _ in range(replicas)]


def _enough(pool: StackPool, models: Sequence[StackModel]) -> int | None:
    """Nodes on which the minimal replicas find room; None where that cannot be told."""
    try:
        room = pool.room
    except AcceleratorError:
        return None
    pods = each(models)
    return bins.enough(pods, (float(pool.gpu_slots), room.cpu, room.memory_gib * GIB)) if pods else None


def _nodes(pool: StackPool, nodes: int) -> str:
    return f"{nodes} node{'s' if nodes != 1 else ''} of {_parts(pool, pool.gpu_slots)}"


def _parts(pool: StackPool, number: int) -> str:
    """GPUs, or the parts of them that pods get."""
    part = "share" if gpu_sharing.shared(pool.settings) else "GPU"
    return f"{number} {part}{'s' if number != 1 else ''}"


def _nodes_to_write(pool: StackPool, nodes: int, needed: int) -> int:
    """`maxNodes` for so many nodes: for each zone, where it counts for one."""
    zones = max(nodes // pool.settings.max_nodes, 1)
    return math.ceil(needed / zones)


def _listed(models: Sequence[StackModel]) -> str:
    live = [model for model in models if model.live_replicas]
    return ", ".join(f"{model.key} {model.live_replicas} x {model.gpus}" for model in live)
