"""Metrics that are asked for and that nobody would collect."""

from collections.abc import Collection, Iterator

from components.settings.checks.unread import Problem, touches
from components.settings.stack import Settings
from components.settings.types import Target

_KEY = "platforms.monitoring"
_OF_A_COLLECTOR = {"interval", "alerts", "labels"}
_MANAGED = ("gmp-system", "gke-gmp-system")
"""Where the collectors of Google's managed Prometheus are: of GKE Standard the one, of Autopilot the other."""


def problems(settings: Settings, unread: Collection[str]) -> Iterator[Problem]:
    """What has no effect without a collector, and a collector that the pods' policy keeps out."""
    if touches("platforms", unread):
        return
    platforms = settings.sections.platforms
    monitoring, ingress = platforms.monitoring, platforms.ingress
    if not monitoring.collects:
        for field in sorted(_OF_A_COLLECTOR & monitoring.model_fields_set):
            yield (
                f"{_KEY}.{field}",
                f"has no effect without a collector: write {_KEY}.collector: managed or operator, or remove it",
            )
        return
    limited = settings.target is Target.GKE if ingress.limit is None else ingress.limit
    reaching = {*ingress.monitoring, *ingress.namespaces}
    if limited and monitoring.collector == "managed" and not reaching.intersection(_MANAGED):
        yield (
            "platforms.ingress.monitoring",
            f"keeps the collectors of managed Prometheus out: add {' and '.join(_MANAGED)}, or remove it",
        )
    if limited and monitoring.collector == "operator" and not reaching:
        yield "platforms.ingress.monitoring", "keeps every collector out: add the namespace of your Prometheus"
