"""What `delivery: auto` becomes: by what the settings say of a model's nodes and server, and by nothing else.

Both ways serve the same image. Where nodes keep what they have pulled, an image volume is there at once for the next
pod; where each pod comes to a new node, the pull is in every start, and a stream spares it. How long each takes is
predicted and told, but it does not decide: what a hub says of a model, a size that is known after a build or a better
constant would move a model that runs, and all its pods with it. Nor does what may not be known on another machine.
"""

from dataclasses import replace

from components.google import image_volume
from components.settings import deliveries
from components.settings.checks import stream
from components.settings.deliveries import AskedDelivery, DeliveryChoice
from components.settings.models import StackModel
from components.settings.serving import ModelSettings
from components.settings.stack import Settings
from modelimage.architecture import Task
from modelimage.origins import Origin
from modelimage.traits import Traits
from oci_model_serving.delivery import Delivery


def chosen(settings: Settings) -> Settings:
    """The settings with a delivery in place of each `auto`, and what decided."""
    asked = [key for key, model in settings.sections.models.items() if model.asked is AskedDelivery.AUTO]
    if not asked:
        return settings
    mounted = _mounted(settings)
    volumes = _with(settings, dict.fromkeys(asked, mounted))
    streams = _with(_sure(settings), dict.fromkeys(asked, Delivery.STREAM))
    choices = {key: _choice(streams, volumes.models[key], mounted) for key in asked}
    made = _with(settings, {key: choice.delivery for key, choice in choices.items()})
    return replace(made, choices=choices)


def _with(settings: Settings, deliveries: dict[str, Delivery]) -> Settings:
    def asking(model: ModelSettings, delivery: Delivery) -> ModelSettings:
        return model.model_copy(update={"asked": AskedDelivery(delivery.value)})

    models = settings.sections.models
    made = {key: asking(model, deliveries[key]) if key in deliveries else model for key, model in models.items()}
    return replace(settings, sections=replace(settings.sections, models=made))


def _sure(settings: Settings) -> Settings:
    """The settings without what a hub or a registry says of a source: a plan may have to do without."""
    images = {key: image.origin for key, image in settings.sections.models.items()}
    known = {key: told for key, told in settings.forecasts.items() if images.get(key) is Origin.FOLDER}
    return replace(settings, forecasts=known)


def _mounted(settings: Settings) -> Delivery:
    """How an image is mounted without a stream: as a volume, where KServe and the cluster are known to be able to."""
    create, kserve = settings.sections.cluster.create, settings.kserve
    old = create is not None and not (create.alpha or image_volume.is_on(create.version))
    able = deliveries.knows(kserve.version, Delivery.NATIVE) and kserve.deployment_mode == "Standard"
    return Delivery.NATIVE if able and not old else Delivery.MODELCAR


def _choice(streams: Settings, mounted: StackModel, otherwise: Delivery) -> DeliveryChoice:
    streamed = streams.models[mounted.key]
    problems = stream.problems(streams, streamed)
    # What is wrong, without what to write instead: nothing has to be written.
    told = (f"models.{mounted.key}{path} {text.partition(': ')[0]}" for path, text in problems)
    obstacle = next(told, "")
    cold, why = _cold(mounted)
    if obstacle:
        return DeliveryChoice(otherwise, f"not stream: {obstacle}" if cold else why)
    if cold and (doubt := _doubt(streamed)):
        return DeliveryChoice(otherwise, f"not stream unless you say so: {doubt}", Delivery.STREAM)
    return DeliveryChoice(Delivery.STREAM, why, otherwise) if cold else DeliveryChoice(otherwise, why, Delivery.STREAM)


def _doubt(model: StackModel) -> str:
    """What is not known to work, or is known to be slow: nobody has asked for it."""
    key = f"models.{model.key}"
    if stream.features(model) is None:
        return f"the server's image {model.server_image} is not known for the streaming loader (server.features)"
    if model.readers > 1:
        return f"each of {model.readers} GPUs' processes would read all of the weights"
    if stream.drafts(model.args):
        return f"{key}.args loads a draft model beside it"
    task = model.task_of(model.traits or Traits())
    if task is not Task.GENERATION:
        return f"the model is for {task.value}, and none such was tried"
    if model.settings.files.pickle == "allow" or model.traits is None or not model.traits.streams:
        return f"the files of {key} are not known to be one set of safetensors"
    return ""


def _cold(model: StackModel) -> tuple[bool, str]:
    """Whether the next pod comes to a node that has nothing of the image, as a rule, and by which setting."""
    pool = model.pool
    if pool is None:
        return False, "nothing is known of the nodes without a nodePool"
    said, path = pool.settings, f"nodePools.{pool.key}"
    kept = {
        f"models.{model.key}.warm: {model.settings.warm}": model.settings.warm != "none",
        f"{path}.minNodes: {said.min_nodes}": said.min_nodes > 0,
        f"{path}.warmNodes: {said.warm_nodes}": said.warm_nodes > 0,
        f"{path}.secondaryBootDisks": bool(said.secondary_boot_disks),
    }
    if found := next((name for name, on in kept.items() if on), ""):
        return False, f"nodes have the image before the pod ({found})"
    short = {
        f"{path}.spot": said.spot,
        f"{path}.flexStart": said.flex_start,
        f"{path}.queuedProvisioning": said.queued_provisioning,
        f"models.{model.key}.replicas.min: 0": model.settings.replicas.min == 0,
    }
    if found := next((name for name, on in short.items() if on), ""):
        return True, f"pods come to new nodes, which do not last ({found})"
    return False, "nodes last as long as the pods on them, and keep the image"
