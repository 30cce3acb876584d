"""Whether a model can be ready within its `startupTimeout`, as far as its image's size is known."""

import math
from collections.abc import Iterator

from components.google.cold_start import PredictedStart, span
from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.serving import LONGEST_STARTUP
from components.settings.types import GB

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
    return None if model.size_gb is None else model.predicted_start(model.size_gb * GB)


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
