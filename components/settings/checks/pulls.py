"""Whether nodes and pods get at the registries that their images are in."""

from collections.abc import Collection, Iterator

from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.stack import Settings
from oci_model_serving.delivery import Delivery
from oci_model_serving.reference import host_of, is_google

_MIRROR = "mirror.gcr.io"
"""Google's cache of Docker Hub, within reach as gcr.io itself is."""


def problems(settings: Settings, made: StackModel, unread: Collection[str]) -> Iterator[Problem]:
    """Whether the credentials that the model names are there, and are its pods' own."""
    named, model = made.settings.pull_secrets, made.settings
    if named is None:
        return
    if model.delivery in {Delivery.KUBEAI, Delivery.FETCH}:
        yield (
            ".pullSecrets",
            f"is for pods that have their own: remove it, all of delivery {model.delivery.value} pull with one secret",
        )
    unknown = [key for key in named if key not in settings.pull_secrets]
    if unknown and "pullSecrets" not in unread:
        yield ".pullSecrets", f"names {', '.join(unknown)}, which pullSecrets has not: add it there, or remove it"


def warnings(settings: Settings) -> Iterator[Problem]:
    """Images of servers outside of Google's registries, on a new network without NAT."""
    create = settings.cluster.settings.create
    if create is None or create.network or create.new_network.nat:
        return
    outside = dict.fromkeys(
        model.server_image for model in settings.models.values() if not _within(host_of(model.server_image))
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
