"""Whether nodes without public addresses reach the registries that their images are in."""

from collections.abc import Iterator

from components.settings.checks.unread import Problem
from components.settings.stack import Settings
from oci_model_serving.reference import is_google

_MIRROR = "mirror.gcr.io"
"""Google's cache of Docker Hub, within reach as gcr.io itself is."""


def warnings(settings: Settings) -> Iterator[Problem]:
    """Images of servers outside of Google's registries, on a new network without NAT."""
    create = settings.cluster.settings.create
    if create is None or create.network or create.new_network.nat:
        return
    outside = dict.fromkeys(
        model.server_image for model in settings.models.values() if not _within(_host(model.server_image))
    )
    if outside:
        yield (
            "cluster.create.newNetwork.nat",
            f"is false, and nodes have no public addresses, by which they would reach {', '.join(outside)} (and the "
            "platforms' own images): write true, or name copies of the images in Artifact Registry",
        )


def _within(host: str) -> bool:
    """Whether Private Google Access leads there."""
    return host == _MIRROR or is_google(host)


def _host(image: str) -> str:
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"
