"""What the keys of one model say about each other, its pool and the registry."""

import re
from collections.abc import Collection, Iterator

from components.serving import vllm
from components.serving.features import FEATURES, NO_FEATURE
from components.settings.building import in_secret_manager
from components.settings.checks import adapters, serving
from components.settings.checks.unread import Problem, touches
from components.settings.models import StackImage, StackModel
from components.settings.stack import Settings
from components.settings.types import NAMESPACE, Target
from modelimage import hub_address
from modelimage.architecture import Task
from modelimage.origins import Origin
from oci_model_serving.delivery import Delivery

_SERVER_ARGS = ("--model", "--served-model-name", "--host", "--port")
_LORA_ARGS = ("--enable-lora", "--lora-modules")
_STACK = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_A = {"model": "a model", "adapter": "an adapter"}


def problems(settings: Settings, made: StackModel, own: Collection[str], unread: Collection[str]) -> Iterator[Problem]:
    """Check one model; `own` are its key paths that were refused already, relative to it as those returned."""
    model = made.settings
    yield from _image(settings, made, own)
    for adapter in made.adapters:
        below = f".adapters.{adapter.label}"
        inside = {path[len(below) :] for path in own if path.startswith(f"{below}.")}
        for path, problem in _image(settings, adapter, inside):
            yield f"{below}{path}", problem
    if ".delivery" not in own:
        yield from serving.delivery(settings, made, unread)
        yield from adapters.problems(settings, made)
        yield from _task(made)
    yield from _scheduling(settings, made, unread)
    if ".delivery" not in own:
        yield from serving.replicas(settings, made)
        yield from serving.scaling(settings, made)
    for argument in model.args:
        name = argument.partition("=")[0]
        if name in _SERVER_ARGS or (made.adapters and name in _LORA_ARGS):
            yield ".args", f"has {name}, which the program sets itself: remove it"
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


def _image(settings: Settings, made: StackImage, own: Collection[str]) -> Iterator[Problem]:
    model = made.settings
    origins = {"source": model.source, "digest": model.digest, "fromStack": model.from_stack}
    given = [name for name, value in origins.items() if value or f".{name}" in own]
    if len(given) != 1:
        said = f"has {' and '.join(given)}" if given else "has no image"
        yield "", f"{said}: write exactly one of source, digest and fromStack"
    for name in ("model", "adapter"):
        if getattr(model, name, None) and not model.from_stack:
            yield f".{name}", f"names {_A[name]} of another stack: write fromStack as well, or remove it"
    if model.from_stack and not _STACK.fullmatch(model.from_stack):
        yield ".fromStack", f"is {model.from_stack!r}: write organization/project/stack"
    if model.from_stack and model.from_stack.split("/")[1:] == [NAMESPACE, settings.stack]:
        yield ".fromStack", "is this stack itself: name the stack to promote from"
    if model.copy_image and model.source:
        yield ".copy", "is for digest and fromStack: remove it, a source is built into this stack's registry"
    if model.copy_image and made.registry.layouts:
        yield ".copy", "needs a registry to copy into: set oci-model-serving:registry"
    if model.source:
        yield from _source(made, model.source)
        if isinstance(made, StackModel) and not {".delivery", ".base"} & set(own):
            yield from _base(made)
    for name in ("builder", "base", "files"):
        if given != ["source"] and not model.source and name in model.model_fields_set:
            yield f".{name}", "is for source: remove it, this image exists already"


def _source(made: StackImage, source: str) -> Iterator[Problem]:
    builder, local, origin = made.settings.builder, made.target is Target.LOCAL, made.settings.origin
    named = hub_address.read(source) if origin is not Origin.FOLDER else None
    if (origin is Origin.HUB or named) and not hub_address.is_pinned(source):
        form = "hf://organization/name@<40 hexadecimal digits of a commit>: a branch or tag moves"
        yield ".source", f"is {source!r}: {hub_address.mistake(source) if named else f'write {form}'}"
    elif origin is Origin.BUCKET and not re.fullmatch(r"gs://[a-z0-9._-]{3,222}(/\S*)?", source):
        yield ".source", f"is {source!r}: write gs://bucket/prefix"
    elif origin is None:
        yield ".source", f"is {source!r}: write a folder, hf://organization/name@<commit> or gs://bucket/prefix"
    if builder == "cloudbuild" and local:
        yield ".builder", "cloudbuild needs Google: write direct"
    elif builder == "cloudbuild" and origin not in {Origin.HUB, Origin.BUCKET}:
        yield ".builder", "cloudbuild cannot see a folder of this machine: write direct, or an hf:// or gs:// source"
    token = made.hub_token.get_secret_value() if made.hub_token else None
    if builder == "cloudbuild" and token and not in_secret_manager(token):
        yield (
            ".builder",
            "cloudbuild reads hubToken from Secret Manager only: write hubToken: projects/P/secrets/S/versions/V, or "
            "builder: direct",
        )
    if builder == "docker" and local and made.registry.layouts:
        yield ".builder", "docker pushes to a registry: set oci-model-serving:registry {url: …}, or write direct"


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
    if gpus > pool.count:
        yield ".gpus", f"is {gpus}, but a node of pool {model.node_pool!r} has {pool.count}: lower it, or another pool"
    if gpus == 0:
        yield ".gpus", "is 0 on a GPU pool, whose nodes would idle: write at least 1, or remove nodePool"
    if model.warm == "disk" and not pool.secondary_boot_disks:
        yield (
            ".warm",
            f"is disk, but nodePools.{model.node_pool}.secondaryBootDisks is empty: name the disk image there",
        )
    if model.needs_image_volume and pool.sandbox == "gvisor":
        yield ".nodePool", f"{model.node_pool!r} is sandboxed by gVisor, which has no image volumes: another pool"
