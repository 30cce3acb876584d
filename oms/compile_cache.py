"""`oms cache`: what a model's server has compiled, as an image that its next pods begin with."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oci_model_serving.errors import InputError
from oms.convention import interruptible, json_option, print_json, stack_option

if TYPE_CHECKING:
    from components.settings.stack import Settings
    from oci_model_serving.outputs import ModelOutput, StackOutputs
    from watch.cache_job import Making
    from watch.pack_job import PodPlace


@click.group()
def cache() -> None:
    """Make and look at compile caches: a server that finds one compiles nothing when it starts."""


@cache.command()
@stack_option
@click.option("--model", required=True, metavar="KEY", help="The model, which is deployed.")
@click.option(
    "--outputs",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Read the stack's outputs from this JSON file instead of asking the engine.",
)
@click.option(
    "--to", metavar="DEST", help="HOST/REPO or HOST/REPO:TAG  [default: MODEL-compile-cache in its registry]."
)
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Instead of the stack's own, else KUBECONFIG's, cluster.",
)
@click.option("--namespace", metavar="NAME", help="Of the pod, not the models'  [default: clusterBuild.namespace].")
@click.option(
    "--step-image",
    metavar="REF",
    help="Image with Python >= 3.10 that packs, as of `oms image clusterbuild`  [default: clusterBuild.image].",
)
@click.option(
    "--service-account",
    metavar="NAME",
    help="Kubernetes service account of the pod  [default: clusterBuild.serviceAccount].",
)
@click.option(
    "--registry-secret",
    metavar="NAME",
    help="Secret of the type kubernetes.io/dockerconfigjson to push with  [default: clusterBuild.registrySecret].",
)
@click.option(
    "--timeout",
    type=int,
    metavar="SECONDS",
    help="Longest time of all of it  [default: the model's startupTimeout, twice].",
)
@json_option
def make(
    *,
    stack: str,
    model: str,
    outputs: Path | None,
    kubeconfig: Path | None,
    to: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Start a model's server on a node of its pool, and pack what it compiles as an image.

    A pod has the model's and the server's image, the server's arguments and GPUs of its own until it is done: a pool
    without a free one needs `oms pause` first. The line that it prints goes into the stack's file.
    """
    from modelimage.progress import reporting
    from oms.outputs import read_outputs, usable_kubeconfig
    from smoke.stack import select
    from watch.cache_making import make_cache

    found = read_outputs(stack, outputs, deployed=True)
    served = select(found, [model])[0].output
    settings, making = _making(stack, model, found, served)
    destination = to or f"{served.reference.repository.rpartition('/')[0]}/{served.name}-compile-cache"
    cluster = kubeconfig or usable_kubeconfig(found.kubeconfig)
    with interruptible("nothing was packed"), reporting() as reporter:
        made = make_cache(making, destination, _place(settings, making, given), kubeconfig=cluster, reporter=reporter)
    line = f"compileCache: {{digest: {made.reference}}}"
    if as_json:
        print_json({"reference": made.reference, "digest": made.digest, "size_bytes": made.size_bytes, "write": line})
        return
    print(f"write in Pulumi.{stack.rpartition('/')[2]}.yaml, below models.{model}:\n  {line}")


@cache.command()
@click.argument("reference", metavar="REF")
@json_option
def show(*, reference: str, as_json: bool) -> None:
    """Show what a compile cache was made of; a server uses it where all of that is the same.

    REF: HOST/REPO@sha256:… or HOST/REPO:TAG
    """
    from modelimage.cache_key import key_in
    from modelimage.progress import readable
    from modelimage.transfer import inspect
    from oci_model_serving.foreign import shown

    with interruptible("nothing was changed"):
        image = inspect(reference)
        key = key_in(image.annotations, image.reference)
    if as_json:
        print_json({"reference": image.reference, "size_bytes": image.size_bytes, "key": key.model_dump()})
        return
    print(f"reference: {image.reference}\nsize: {readable(image.size_bytes)} ({image.size_bytes} bytes)")
    print(f"model: {key.model}\nserver: {key.server}\ngpu: {shown(key.gpu)}, {key.gpus} a pod")
    for what, values in (("argument", key.args), ("variable", key.env)):
        for name, value in values.items():
            print(shown(f"{what}: {name}{'=' if value else ''}{value}"))


def _making(stack: str, key: str, outputs: "StackOutputs", served: "ModelOutput") -> "tuple[Settings, Making]":
    """The model as the settings have it now, with the images that are deployed.

    Raises:
        InputError: it is not in the settings, or can have no cache.
    """
    from components.settings.checks.compile_cache import obstacles
    from components.settings.stack_file import find_project
    from modelimage.traits import Traits
    from offline.deployed import settings_of_deployed
    from watch.cache_job import Making

    settings = settings_of_deployed(find_project(Path.cwd()), stack.rpartition("/")[2], outputs)
    model = settings.models.get(key)
    if model is None:
        raise InputError(f"--model {key}: is deployed, and not in the stack's settings any more: name one that is")
    problems = [f"models.{key}{path} {problem}" for path, problem in obstacles(settings, model)]
    missing = [one.label for one in model.adapters if one.label not in served.adapters]
    if missing:
        problems.append(f"models.{key}.adapters: {', '.join(missing)} is not deployed yet: `pulumi up` first")
    if problems:
        raise InputError(*problems)
    adapters = {one.label: served.adapters[one.label] for one in model.adapters}
    return settings, Making(
        model,
        served.reference,
        Traits(**served.traits.model_dump()),
        {label: one.reference for label, one in adapters.items()},
        {label: one.traits.lora_rank for label, one in adapters.items()},
    )


def _place(settings: "Settings", making: "Making", given: dict[str, Any]) -> "PodPlace":
    """Where the pod is made: what is given, else where this stack builds in its cluster."""
    from modelimage.bundle import DEFAULT_STEP_IMAGE
    from watch.pack_job import PodPlace

    build = settings.sections.cluster_build
    namespace = given["namespace"] or build.namespace
    if namespace == making.model.namespace and settings.cluster.settings.allow_list.enforce:
        raise InputError(
            f"--namespace {namespace}: is the models', where the cluster takes no image of a build's step: give another"
        )
    return PodPlace(
        namespace=namespace,
        pods=1,
        image=given["step_image"] or build.image or DEFAULT_STEP_IMAGE,
        service_account=given["service_account"] or build.service_account,
        registry_secret=given["registry_secret"] or build.registry_secret,
        cpu=build.cpu,
        memory=build.memory,
        timeout_seconds=given["timeout"] or 2 * making.model.settings.startup_timeout,
        env=build.env,
    )
