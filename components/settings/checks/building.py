"""What the keys of where an image is packed say about its source and the stack."""

from collections.abc import Collection, Iterator

from components.settings.building import OWN_VARIABLES, in_secret_manager
from components.settings.checks.unread import Problem, touches
from components.settings.images import StackImage
from components.settings.stack import Settings
from components.settings.types import Target
from modelimage import image_address
from modelimage.origins import Origin
from modelimage.variables import SECRET_VARIABLES

_SEEN_BY_PODS = {Origin.HUB, Origin.BUCKET}


def problems(settings: Settings, made: StackImage, unread: Collection[str]) -> Iterator[Problem]:
    """Check the builder of one image that has a source; nothing is concluded from keys that were refused already."""
    builder, local = made.settings.builder, made.target is Target.LOCAL
    if builder == "cloudbuild":
        yield from _cloud_build(made, local=local)
    elif builder == "cluster":
        yield from _cluster(settings, made, unread)
    elif builder == "docker" and local and made.registry.layouts:
        yield ".builder", "docker pushes to a registry: set oci-model-serving:registry {url: …}, or write direct"


def _cloud_build(made: StackImage, *, local: bool) -> Iterator[Problem]:
    if local:
        yield ".builder", "cloudbuild needs Google: write direct"
    elif made.settings.origin not in _SEEN_BY_PODS and not (made.settings.source or "").startswith(
        image_address.SCHEME
    ):
        yield (
            ".builder",
            "cloudbuild cannot see a folder of this machine: write direct, or an hf://, gs:// or oci:// source",
        )
    token = made.hub_token.get_secret_value() if made.hub_token else None
    if token and not in_secret_manager(token):
        yield (
            ".builder",
            "cloudbuild reads hubToken from Secret Manager only: write hubToken: projects/P/secrets/S/versions/V, or "
            "builder: direct",
        )


def _cluster(settings: Settings, made: StackImage, unread: Collection[str]) -> Iterator[Problem]:
    place = made.cluster_build
    if made.settings.origin is Origin.IMAGE:
        yield ".builder", "cluster: each pod would read the whole image: write builder direct or cloudbuild"
    elif made.settings.origin not in _SEEN_BY_PODS:
        yield (
            ".builder",
            "cluster: pods cannot see a folder of this machine: upload it to a bucket and write gs://bucket/prefix, or "
            "builder: direct",
        )
    if made.registry.layouts and not touches("registry", unread):
        yield ".builder", "cluster: pods push to a registry: set oci-model-serving:registry {url: …}, or write direct"
    if not settings.cluster.exists and not touches("cluster", unread):
        yield (
            ".builder",
            "cluster needs a cluster, and the stack has none: set oci-model-serving:cluster {kubeconfig: …}, or write "
            "direct",
        )
    if made.settings.files.convert:
        yield ".files.convert", "reads all of a model, which pods share: write builder direct or cloudbuild"
    if made.base.startswith("oci:"):
        yield ".base", "is a folder of this machine, which pods cannot see: write an image by digest, or builder direct"
    token = made.hub_token.get_secret_value() if made.hub_token else ""
    if in_secret_manager(token) and not place.hub_token_secret:
        yield (
            ".builder",
            "cluster cannot read hubToken from Secret Manager: write clusterBuild.hubTokenSecret, the name of a "
            "Kubernetes Secret with the key HF_TOKEN, or set the token itself as hubToken",
        )


def shared(settings: Settings) -> Iterator[Problem]:
    """Check `clusterBuild`, whose keys hold for all models."""
    place = settings.sections.cluster_build
    if place.shares is not None and place.shares < place.pods:
        yield (
            "clusterBuild.shares",
            f"is {place.shares}, fewer than the {place.pods} pods, of which some would have nothing to do: write at "
            "least as many, or lower clusterBuild.pods",
        )
    for name in sorted(SECRET_VARIABLES & place.env.keys()):
        yield (
            f"clusterBuild.env.{name}",
            "is a secret, and would stand in the Job: write hubToken, clusterBuild.hubTokenSecret or "
            "clusterBuild.registrySecret instead",
        )
    for name in sorted(OWN_VARIABLES & place.env.keys()):
        yield f"clusterBuild.env.{name}", "is set by the build itself: remove it"
