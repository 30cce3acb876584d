"""What the keys of one model say about each other, its pool and the registry."""

import re
from collections.abc import Collection, Iterator

from components.google import gpu_sharing
from components.serving import vllm
from components.serving.features import FEATURES, NO_FEATURE
from components.settings.checks import adapters, building, compile_cache, pods, pulls, serving, sharing, stream
from components.settings.checks.unread import Problem, touches
from components.settings.images import StackImage
from components.settings.models import StackModel
from components.settings.stack import Settings
from components.settings.types import NAMESPACE
from modelimage import hub_address, image_address
from modelimage.architecture import Task
from modelimage.machines import PLATFORM
from modelimage.origins import FORMS, Origin
from oci_model_serving.delivery import Delivery
from oci_model_serving.reference import ImageReference

_STACK = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_A = {"model": "a model", "adapter": "an adapter"}


def problems(settings: Settings, made: StackModel, own: Collection[str], unread: Collection[str]) -> Iterator[Problem]:
    """Check one model; `own` are its key paths that were refused already, relative to it as those returned."""
    model = made.settings
    yield from _image(settings, made, own, unread)
    for adapter in made.adapters:
        below = f".adapters.{adapter.label}"
        inside = {path[len(below) :] for path in own if path.startswith(f"{below}.")}
        for path, problem in _image(settings, adapter, inside, unread):
            yield f"{below}{path}", problem
    if not (settings.serves or touches("cluster", unread)):
        return
    if ".delivery" not in own:
        yield from serving.delivery(settings, made, unread)
        yield from pulls.problems(settings, made, unread)
        yield from adapters.problems(settings, made)
        yield from compile_cache.problems(settings, made)
        yield from stream.problems(settings, made)
        yield from _task(made)
        yield from pods.problems(settings, made)
    yield from _scheduling(settings, made, unread)
    if ".delivery" not in own:
        yield from serving.replicas(settings, made)
        yield from serving.scaling(settings, made)
    for name in vllm.OFFLINE_ENV:
        if name in model.env:
            yield ".env", f"has {name}, which is always 1: remove it, weights come from the image only"
    if "PYTHONPATH" in model.env and model.delivery is not Delivery.KUBEAI:
        yield ".env", "has PYTHONPATH, which KServe's webhook refuses: put what the server needs into its image"


def _task(made: StackModel) -> Iterator[Problem]:
    """A task that the platform has no path for, where it is known before a build."""
    task = made.settings.task or (Task(made.traits.task) if made.traits else None)
    if made.delivery is Delivery.KUBEAI and task and task not in FEATURES:
        yield ".task", f"is {task.value}: {NO_FEATURE.format(task=task.value)}"


def _image(settings: Settings, made: StackImage, own: Collection[str], unread: Collection[str]) -> Iterator[Problem]:
    model = made.settings
    origins = {"source": model.source, "digest": model.digest, "fromStack": model.from_stack}
    given = [name for name, value in origins.items() if value or f".{name}" in own]
    if len(given) != 1:
        said = f"has {' and '.join(given)}" if given else "has no image"
        yield "", f"{said}: write exactly one of source, digest and fromStack"
    yield from _from_stack(settings, made)
    if model.digest and (refusal := made.registry.refusal(ImageReference.parse(model.digest))):
        yield ".digest", refusal
    if model.copy_image and model.source:
        yield ".copy", "is for digest and fromStack: remove it, a source is built into this stack's registry"
    if model.copy_image and made.registry.layouts:
        yield ".copy", "needs a registry to copy into: set oci-model-serving:registry"
    if model.source:
        yield from _source(made, model.source)
        yield from building.problems(settings, made, unread)
        if isinstance(made, StackModel) and not {".delivery", ".base"} & set(own):
            yield from _base(made)
    for name in ("builder", "base", "files", "modelpack"):
        if given != ["source"] and not model.source and name in model.model_fields_set:
            yield f".{name}", "is for source: remove it, this image exists already"


def _from_stack(settings: Settings, made: StackImage) -> Iterator[Problem]:
    model = made.settings
    for name in ("model", "adapter"):
        if getattr(model, name, None) and not model.from_stack:
            yield f".{name}", f"names {_A[name]} of another stack: write fromStack as well, or remove it"
    if model.from_stack and not _STACK.fullmatch(model.from_stack):
        yield ".fromStack", f"is {model.from_stack!r}: write organization/project/stack"
    if model.from_stack and model.from_stack.split("/")[1:] == [NAMESPACE, settings.stack]:
        yield ".fromStack", "is this stack itself: name the stack to promote from"


def _source(made: StackImage, source: str) -> Iterator[Problem]:
    origin = made.settings.origin
    if made.settings.modelpack and made.settings.builder == "docker":
        yield ".modelpack", "is for the other builders, Docker writes images alone: remove one of the two"
    named = hub_address.read(source) if origin is not Origin.FOLDER else None
    if (origin is Origin.HUB or named) and not hub_address.is_pinned(source):
        form = "hf://organization/name@<40 hexadecimal digits of a commit>: a branch or tag moves"
        yield ".source", f"is {source!r}: {hub_address.mistake(source) if named else f'write {form}'}"
    elif origin is Origin.BUCKET and not re.fullmatch(r"gs://[a-z0-9._-]{3,222}(/\S*)?", source):
        yield ".source", f"is {source!r}: write gs://bucket/prefix"
    elif origin is Origin.IMAGE and (what := image_address.mistake(source)):
        yield ".source", f"is {source!r}: {what}"
    elif origin is None:
        yield ".source", f"is {source!r}: write {FORMS}"


def _base(made: StackModel) -> Iterator[Problem]:
    if made.delivery.needs_shell and made.base == "scratch":
        yield (
            ".base",
            f"is scratch, but {made.delivery.value} runs sh, ln and sleep in the image: write a busybox image by "
            "digest (or oci:FOLDER, made by `oms image base`), or delivery: native",
        )
    if made.settings.builder == "docker" and (made.settings.base or "").startswith("oci:"):
        yield ".base", "is a layout folder, which Docker cannot build on: write an image by digest, or builder: direct"


def _scheduling(settings: Settings, made: StackModel, unread: Collection[str]) -> Iterator[Problem]:
    model = made.settings
    if model.node_pool is None:
        if model.gpus:
            yield ".gpus", f"is {model.gpus}, but there is no nodePool: name one, or remove gpus to run on CPU"
        if model.warm != "none":
            yield ".warm", "warms the nodes of a pool: name a nodePool, or write none"
        return
    if touches(f"nodePools.{model.node_pool}", unread) or "nodePools" in unread:
        return
    if made.pool is None:
        names = ", ".join(settings.node_pools) or "none"
        yield ".nodePool", f"is {model.node_pool!r}, which does not exist: the stack's pools are {names}"
        return
    pool, gpus = made.pool.settings, made.gpus
    if made.runs_on != PLATFORM:
        yield ".platform", f"is {made.runs_on}, but the machines of pool {model.node_pool!r} are x86-64: remove it"
    if gpu_sharing.shared(pool):
        yield from sharing.gpus(made)
    elif gpus > made.pool.gpu_slots:
        yield (
            ".gpus",
            f"is {gpus}, but a node of pool {model.node_pool!r} has {made.pool.gpu_slots}, and one model over several "
            f"nodes is not possible yet: write at most {made.pool.gpu_slots} (with quantised weights that fit there), "
            "or another pool",
        )
    if gpus == 0:
        yield ".gpus", "is 0 on a GPU pool, whose nodes would idle: write at least 1, or remove nodePool"
    if model.warm == "disk" and not pool.secondary_boot_disks:
        yield (
            ".warm",
            f"is disk, but nodePools.{model.node_pool}.secondaryBootDisks is empty: name the disk image there",
        )
    if model.needs_image_volume and pool.sandbox == "gvisor":
        yield ".nodePool", f"{model.node_pool!r} is sandboxed by gVisor, which has no image volumes: another pool"
