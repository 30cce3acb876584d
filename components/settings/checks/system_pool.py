"""Whether models without a nodePool find room on the pool that a created cluster has for the platforms."""

from collections.abc import Collection, Iterator

from components.google import bins, disk
from components.settings.checks import placement, room
from components.settings.checks.unread import Problem, touches
from components.settings.google import SystemPool
from components.settings.models import StackModel
from components.settings.stack import Settings
from components.settings.types import GIB, Target

_PATH = "cluster.create.systemPool"
_MOST_NODES = 100
_SYSTEM_GB = 20
"""Of the system and of a server's image for CPUs, unpacked: an estimate, for warnings only."""


def problems(settings: Settings, unread: Collection[str] = ()) -> Iterator[Problem]:
    """What surely stays pending, or finds no room on the disk."""
    pool, offered = _pool(settings), settings.cluster.system_room
    if pool is None or touches("cluster", unread):
        return
    models = _on(settings, unread)
    if offered:
        each = room.each(models)
        kinds = ((1, offered.most_cpu), (2, offered.most_memory_gib * GIB))
        needed = max((bins.at_least([one[kind] for one in each], most) for kind, most in kinds if each), default=0)
        if needed > pool.max_nodes:
            enough = bins.enough(each, (1.0, offered.cpu, offered.memory_gib * GIB)) or needed
            yield f"{_PATH}.maxNodes", _said(pool, models, f"need at least {needed}", max(enough, needed))
    for model in models:
        if model.size_gb and disk.COPIES * model.size_gb > pool.disk_size_gb:
            yield f"{_PATH}.diskSizeGb", _too_small(pool, model, model.size_gb)


def warnings(settings: Settings) -> Iterator[Problem]:
    """What may stay pending beside the system's pods, or fills the disk."""
    pool, offered = _pool(settings), settings.cluster.system_room
    if pool is None:
        return
    models = _on(settings)
    each = room.each(models) if offered else []
    if offered and each:
        enough = bins.enough(each, (1.0, offered.cpu, offered.memory_gib * GIB))
        if enough is not None and enough > pool.max_nodes:
            yield f"{_PATH}.maxNodes", _said(pool, models, f"may need {enough}", enough)
    for model in models:
        if model.size_gb and _needed_gb(model.size_gb) > pool.disk_size_gb:
            yield f"{_PATH}.diskSizeGb", _too_small(pool, model, model.size_gb)


def _pool(settings: Settings) -> SystemPool | None:
    create = settings.cluster.settings.create
    return create.system_pool if create and settings.target is Target.GKE else None


def _on(settings: Settings, unread: Collection[str] = ()) -> list[StackModel]:
    """The models on CPU, of which a node can hold a pod, and whose nodes pull their images."""
    return [
        model
        for key, model in settings.models.items()
        if model.settings.node_pool is None
        and not touches(f"models.{key}", unread)
        and not model.delivery.pulled_by_pod
        and not any(sure for _, _, sure in placement.resources(settings, model))
    ]


def _said(pool: SystemPool, models: list[StackModel], need: str, enough: int) -> str:
    live = ", ".join(f"{model.key} {model.live_replicas}" for model in models if model.live_replicas)
    larger = "larger machines in machineType, or a lower replicas.min"
    nodes = f"{enough}, {larger}" if enough <= _MOST_NODES else larger
    return (
        f"is {pool.max_nodes}, and the models without a nodePool ({live}) {need} nodes of {pool.machine_type} for the "
        f"CPUs and memory that they ask for: pods would stay pending; write {nodes}"
    )


def _too_small(pool: SystemPool, model: StackModel, size_gb: float) -> str:
    return (
        f"is {pool.disk_size_gb}, and model {model.key!r}, which runs there without a nodePool, has an image of "
        f"{size_gb:.3g} GB, which takes twice as much while it is unpacked: write {_needed_gb(size_gb)} or more"
    )


def _needed_gb(size_gb: float) -> int:
    return disk.used_gb([size_gb], system_gb=_SYSTEM_GB)
