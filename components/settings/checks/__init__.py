"""What one key of the configuration says about another: pure rules, each giving key path and remedy."""

from collections.abc import Collection, Iterator

from components.settings.checks import (
    allow_list,
    arguments,
    building,
    fit,
    google,
    licences,
    models,
    monitoring,
    placement,
    pods,
    pulls,
    room,
    serving,
    sharing,
    startup,
    stream,
    system_pool,
    tags,
    warm_nodes,
)
from components.settings.checks.unread import Problem, touches
from components.settings.models import StackModel
from components.settings.stack import Settings
from components.settings.types import Target


def problems(settings: Settings, *, unread: Collection[str] = ()) -> Iterator[Problem]:
    """Every contradiction of a stack's settings.

    Args:
        settings: what could be read.
        unread: key paths that were refused already; nothing is concluded from their absence.
    """
    yield from google.problems(settings, unread)
    for key, pool in settings.node_pools.items():
        for path, problem in google.pool_problems(settings, pool):
            yield f"nodePools.{key}{path}", problem
        yield from sharing.problems(settings, pool)
    for key, model in settings.models.items():
        below = f"models.{key}"
        own = {path[len(below) :] for path in unread if path.startswith(f"{below}.")}
        for path, problem in models.problems(settings, model, own, unread):
            yield f"{below}{path}", problem
        if settings.target is Target.LOCAL or settings.serves:
            for path, problem in (*_of_vllm(model), *placement.problems(settings, model), *startup.problems(model)):
                yield f"{below}{path}", problem
    yield from room.problems(settings, unread)
    yield from warm_nodes.problems(settings, unread)
    yield from system_pool.problems(settings, unread)
    yield from building.shared(settings)
    yield from serving.platforms(settings)
    yield from serving.names(settings)
    if not ("platforms" in unread or touches("registry", unread)):
        yield from tags.problems(settings)
    yield from pods.hosts(settings)
    yield from allow_list.problems(settings)
    yield from licences.problems(settings, unread)
    yield from monitoring.problems(settings, unread)


def warnings(settings: Settings) -> Iterator[Problem]:
    """What is not refused, for a plan cannot be sure of it or it only costs: read when there are no problems."""
    if not settings.serves:
        return
    for key, model in settings.models.items():
        of_vllm = (*arguments.warnings(model), *fit.warnings(model)) if model.settings.server is None else ()
        for path, warning in (
            *of_vllm,
            *pods.warnings(model),
            *stream.warnings(settings, model),
            *placement.warnings(settings, model),
            *startup.warnings(model),
        ):
            yield f"models.{key}{path}", warning
    yield from room.warnings(settings)
    yield from warm_nodes.warnings(settings)
    yield from system_pool.warnings(settings)
    yield from pulls.warnings(settings)
    yield from serving.features(settings)
    yield from allow_list.warnings(settings)


def _of_vllm(model: StackModel) -> Iterator[Problem]:
    """What is known of vLLM: its arguments, and the memory that it takes."""
    if model.settings.server is None:
        yield from arguments.problems(model)
        yield from fit.problems(model)
