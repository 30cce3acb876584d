"""What one key of the configuration says about another: pure rules, each giving key path and remedy."""

from collections.abc import Collection, Iterator

from components.settings.checks import google, models, serving
from components.settings.checks.unread import Problem
from components.settings.stack import Settings


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
    for key, model in settings.models.items():
        below = f"models.{key}"
        own = {path[len(below) :] for path in unread if path.startswith(f"{below}.")}
        for path, problem in models.problems(settings, model, own, unread):
            yield f"{below}{path}", problem
    yield from serving.platforms(settings)
    yield from serving.names(settings)
