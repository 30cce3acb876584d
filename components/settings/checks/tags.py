"""Whether the tag by which KubeAI pulls can move under a model: what the settings alone tell of its registry."""

from collections.abc import Iterator

from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.stack import Settings
from oci_model_serving.delivery import KUBEAI
from oci_model_serving.reference import is_google

_WHY = "KubeAI pulls by the tag that spells the digest, not by the digest"
_ACCEPT = "or say with registry.mutableTags: accept that nobody else writes there"


def problems(settings: Settings) -> Iterator[Problem]:
    """Models on KubeAI from a registry not known to keep its tags.

    Of an adopted Artifact Registry repository, and of another stack's image, the run tells (`digest_tags`).
    """
    registry = settings.registry.settings
    if registry.mutable_tags == "accept" or settings.registry.layouts:
        return
    inside = False
    for model in settings.models_of(KUBEAI):
        if in_own_registry(model):
            inside = True
        elif model.settings.digest and not is_google(model.image_host):
            yield (
                f"models.{model.key}.digest",
                f"is in {model.image_host}, whose tags may move, and {_WHY}: write copy: true, which takes it into the "
                f"stack's registry, or delivery: native, {_ACCEPT}",
            )
    if not inside:
        return
    if registry.create and not registry.create.immutable_tags:
        yield "registry.create.immutableTags", f"is false, and {_WHY}: write true, {_ACCEPT}"
    elif registry.url and not is_google(settings.registry.host):
        yield (
            "registry.mutableTags",
            f"is refuse, tags in {registry.url} may move, and {_WHY}: serve from an Artifact Registry repository with "
            f"immutable tags, write delivery: native, {_ACCEPT}",
        )


def in_own_registry(model: StackModel) -> bool:
    """Whether the image is built or copied into the stack's registry."""
    return bool(model.settings.source or model.settings.copy_image)
