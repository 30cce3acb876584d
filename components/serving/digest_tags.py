"""The tag that spells an image's digest, by which KubeAI pulls: that it cannot move, or that it has not."""

import asyncio

import pulumi
from pulumi.runtime import invoke_async

import modelimage
from components.google import sdk as gcp
from components.settings.checks.tags import in_own_registry
from components.settings.models import StackModel
from modelimage.errors import NotFoundError
from oci_model_serving.errors import OmsError
from oci_model_serving.reference import GoogleRepository, ImageReference, google_repository

_OUTPUTS = "pulumi:pulumi:readStackOutputs"


class TagError(OmsError, pulumi.RunError):
    """The tag can come to mean another image, or has; the message names the setting that helps."""


def held(model: StackModel, reference: pulumi.Output[ImageReference]) -> pulumi.Output[ImageReference]:
    """The image, once the tag that spells its digest is known not to move.

    A repository with immutable tags is enough. Where the settings accept others, each run that changes nothing of a
    deployed image asks its registry again whether the tag still spells it; a registry that does not answer is told, and
    holds up nothing, for the pods that run have their image.

    Raises:
        TagError: when an output is resolved and tags of the repository can move, or this one has moved.
    """
    registry = model.registry.settings
    own = in_own_registry(model)
    if model.registry.layouts or (own and registry.create and registry.create.immutable_tags):
        return reference
    return reference.apply(
        lambda image: _again(model, image) if registry.mutable_tags == "accept" else _immutable(model, image)
    )


def _immutable(model: StackModel, image: ImageReference) -> pulumi.Output[ImageReference]:
    repository = google_repository(image.repository)
    if repository is None:
        raise TagError(
            f"models.{model.key}: {image.repository} is a registry whose tags may move, and KubeAI pulls by tag: write "
            "copy: true, or registry.mutableTags: accept where nobody else writes there"
        )
    found = gcp.artifactregistry.get_repository_output(
        project=repository.project, location=repository.location, repository_id=repository.repository
    )
    return found.docker_configs.apply(lambda configs: _judged(model, image, repository, list(configs or ())))


def _judged(
    model: StackModel, image: ImageReference, repository: GoogleRepository, configs: list[object]
) -> ImageReference:
    if not any(getattr(config, "immutable_tags", False) for config in configs):
        raise TagError(
            f"models.{model.key}: tags of {repository.name} can move, and KubeAI pulls by tag: `gcloud artifacts "
            f"repositories update {repository.repository} --project={repository.project} "
            f"--location={repository.location} --immutable-tags`, or write registry.mutableTags: accept"
        )
    return image


def _again(model: StackModel, image: ImageReference) -> pulumi.Output[ImageReference]:
    async def looked() -> ImageReference:
        if await _deployed(model.key) == str(image):
            await asyncio.to_thread(_look, model, image)
        return image

    return pulumi.Output.from_input(looked())


def _look(model: StackModel, image: ImageReference) -> None:
    from modelimage.patience import RetryPolicy  # noqa: PLC0415 - few stacks ask

    try:
        # A preview is to go on soon where the registry does not answer.
        kept = modelimage.inspect(str(image), policy=RetryPolicy(attempts=2)).digest_tag
    except NotFoundError:
        pulumi.log.warn(f"models.{model.key}: {image} is no longer in its registry, or not for this account")
        return
    except OmsError as error:
        pulumi.log.warn(f"models.{model.key}: whether {image.digest_tag} still spells its digest is not known: {error}")
        return
    if not kept:
        raise TagError(
            f"models.{model.key}: the tag {image.digest_tag} of {image.repository} no longer means {image.digest}, and "
            f"KubeAI pulls by it: find out who has moved it; `oms image tag {image}` points it back"
        )


async def _deployed(key: str) -> str | None:
    """The image by digest that the last update has served; None before the first, and where no engine tells."""
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    try:
        models = (await invoke_async(_OUTPUTS, {"name": stack}))["outputs"].get("models")
    except Exception as error:  # noqa: BLE001 - what the engine answers with is a plain Exception
        pulumi.log.debug(f"the outputs of {stack} are not told: {error}")
        return None
    model = models.get(key) if isinstance(models, dict) else None
    image = model.get("image") if isinstance(model, dict) else None
    return image if isinstance(image, str) else None
