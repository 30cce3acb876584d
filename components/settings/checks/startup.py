"""Whether a model can be ready within its `startupTimeout`, as far as its image's size is known."""

import math
from collections.abc import Iterator

from components.google import cold_start
from components.google.accelerators import AcceleratorError
from components.google.cold_start import PredictedStart, span
from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.serving import LONGEST_STARTUP
from components.settings.types import GB, Target

_SURELY = 2
"""How much faster than predicted no node is: what takes longer even so is refused, what may is a warning."""


def problems(model: StackModel) -> Iterator[Problem]:
    """What surely is not ready in time, by paths relative to the model."""
    cold = _predicted(model)
    if cold and model.settings.warm == "none" and model.settings.startup_timeout * _SURELY < _of_weights(cold):
        yield ".startupTimeout", _said(model, cold)


def warnings(model: StackModel) -> Iterator[Problem]:
    """What probably is not ready in time on a new node."""
    cold = _predicted(model)
    if cold and model.settings.startup_timeout < cold.total[0]:
        yield ".startupTimeout", _said(model, cold)


def _predicted(model: StackModel) -> PredictedStart | None:
    pool = model.pool
    if model.target is not Target.GKE or pool is None or not pool.disk_known or model.size_gb is None:
        return None
    try:
        if not (pool.image_disk.is_local or pool.image_disk.kind in pool.machine.disk_types):
            return None  # the pool says that no node of it boots from such a disk
        return cold_start.predict(cold_start.node_of(pool.image_disk, pool.machine), model.served(model.size_gb * GB))
    except AcceleratorError:
        return None


def _of_weights(cold: PredictedStart) -> float:
    """Seconds for the weights alone: a node that was there before may have the server's image."""
    return cold.stage("image_pull").seconds + cold.stage("load").seconds


def _said(model: StackModel, cold: PredictedStart) -> str:
    needed, longest = math.ceil(cold.total[1] / 60) * 60, cold.limiting
    faster = f"a faster nodePools.{model.settings.node_pool}.bootDisk or localSsd"
    remedy = f"at least {needed}, or {faster}" if needed <= LONGEST_STARTUP else faster
    return (
        f"is {model.settings.startup_timeout} s, and {model.size_gb:.3g} GB are predicted to be ready on a new node in "
        f"{span(cold.total[0])} to {span(cold.total[1])} ({longest.name.replace('_', ' ')} {span(longest.seconds)}, "
        f"bound by {longest.bound}): write {remedy}"
    )
