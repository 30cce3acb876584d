"""Nodes that a pool keeps beside those in use (`nodePools.NAME.warmNodes`), and how many these are."""

from components.google import bins
from components.serving.scheduling import most_replicas
from components.settings.models import StackModel
from components.settings.places import StackPool
from components.settings.stack import Settings


def in_use(settings: Settings, pool: StackPool) -> int:
    """Nodes that the pods which are there at all times need at the least, unless they are on another pool's."""
    on_it = (model for model in settings.models.values() if model.pool is pool)
    pods = [float(model.gpus) for model in on_it for _ in range(model.live_replicas)]
    return bins.at_least(pods, pool.gpu_slots) if pods else 0


def kept(settings: Settings, pool: StackPool) -> int:
    """Nodes that are kept beside them: none while all models of the pool are paused, since nobody would use them."""
    return pool.settings.warm_nodes if any(most_replicas(one.settings) for one in _on(settings, pool)) else 0


def keeper(settings: Settings, pool: StackPool) -> StackModel | None:
    """The model in whose namespace and with whose server's image the nodes are kept; None where none is on the pool."""
    # Of another server it is not known whether its image has a shell.
    return min(_on(settings, pool), key=lambda model: model.settings.server is not None, default=None)


def _on(settings: Settings, pool: StackPool) -> list[StackModel]:
    """The models whose next pod may come to the pool, those first that prefer it."""
    models = [model for model in settings.models.values() if pool in (model.pool, *model.fallbacks)]
    return sorted(models, key=lambda model: model.pool is not pool)
