"""`oms image`: what `modelimage` does, on the command line."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from oci_model_serving.delivery import Delivery
from oms.convention import interruptible, json_option, print_json

_LEFT = (
    "no manifest and no tag was written; run the same command again to go on: layers that are there already are not "
    "sent again"
)


@click.group(
    epilog="Registries' credentials: MODELIMAGE_USERNAME and MODELIMAGE_PASSWORD, the logins of docker, "
    "podman and skopeo (REGISTRY_AUTH_FILE names a file of them) with their credential helpers, or Google application "
    "default credentials for Google's registries."
)
def image() -> None:
    """Make and handle images of weights, without a daemon.

    The digest that is printed is the image's name.
    """


def _answers(function: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """A command of a function that gives its result."""

    @wraps(function)
    def run(*, as_json: bool, **given: Any) -> None:
        with interruptible(_LEFT):
            result = function(**given)
        try:
            print_json(result) if as_json else _show(result)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except (OSError, UnicodeEncodeError) as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            done = result.get("reference") or result.get("context") or result.get("folder") or "the command"
            raise OSError(f"the result cannot be written to stdout ({error}); this is done: {done}") from error

    return json_option(run)


def _reported(run: Callable[..., Any], *arguments: Any, **settings: Any) -> dict[str, Any]:
    from modelimage.progress import reporting

    with reporting() as reporter:
        result: dict[str, Any] = run(*arguments, reporter=reporter, **settings).as_json()
        return result


def _show(result: dict[str, Any]) -> None:
    from modelimage.progress import readable
    from oci_model_serving.foreign import shown

    for key, value in result.items():
        if key == "files":
            if not value:
                continue
            print(f"files: {len(value)}")
            for file in value:
                print(f"  {readable(file['size_bytes']):>10}  {shown(file['path'])}")
        elif key == "layers":
            print(f"layers: {len(value)}")
            for layer in value:
                moved = ", uploaded" if layer["uploaded"] else ""
                print(f"  {layer['digest']}  {readable(layer['size_bytes'])}{moved}")
        elif key == "referrers":
            for one in value:
                tag = f", as the tag {one['tag']}" if one["tag"] else ""
                print(f"attached: {one['digest']}  {shown(one['artifact_type'] or 'of no type')}{tag}")
        elif key == "size_bytes":
            print(f"size: {readable(value)} ({value} bytes)")
        else:
            _show_plain(key, value)


def _show_plain(key: str, value: Any) -> None:
    from oci_model_serving.foreign import shown

    if isinstance(value, dict):
        print(f"{key}:")
        for name, entry in value.items():
            print(shown(f"  {name}: {entry if isinstance(entry, str) else json.dumps(entry)}"))
    elif isinstance(value, list | tuple):
        for entry in value:
            print(shown(f"{key.replace('_', ' ')}: {entry}"))
    else:
        print(shown(f"{key.replace('_', ' ')}: {str(value).lower() if isinstance(value, bool) else value}"))


def _option(name: str, text: str, **more: Any) -> Callable[..., Any]:
    return click.option(name, help=text, show_default=True, **more)


_base = _option(
    "--base",
    "Image to build upon, by digest: HOST/REPO@sha256:… or oci:FOLDER@sha256:… . KServe's modelcar needs one with sh, "
    "ln and sleep, such as busybox; image volumes need none.",
    default="scratch",
    metavar="REF|scratch",
)


def _usual_jobs() -> int:
    from modelimage.writing import DEFAULT_JOBS

    return DEFAULT_JOBS


_jobs = click.option(
    "--jobs",
    help="Layers under way at once  [default: 8, and as many as there are cores up to 16].",
    type=int,
    default=_usual_jobs,
    show_default=False,
    metavar="N",
)
_platform = _option(
    "--platform",
    "What it runs on; of a base for several platforms that one is taken.",
    type=click.Choice(["linux/amd64", "linux/arm64"]),
    default="linux/amd64",
)
_wanted_platform = _option(
    "--platform",
    "What it must be for  [default: any; linux/amd64 with --for].",
    type=click.Choice(["linux/amd64", "linux/arm64"]),
)
_modelpack = _option(
    "--modelpack",
    "Write a ModelPack artifact over the same layers as well: no byte of weights more, and a tag that ends in "
    "-modelpack.",
    is_flag=True,
)
_cache = _option(
    "--cache",
    "Where digests are remembered  [default: oci-model-serving in the XDG cache folder].",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
)
_allow = _option("--allow", "Take only files that match; may be given several times.", multiple=True, metavar="GLOB")
_ignore = _option("--ignore", "Leave out files that match; may be given several times.", multiple=True, metavar="GLOB")
_adapter = _option("--adapter", "The source is a LoRA adapter, to be served on its base model.", is_flag=True)
_shard_gb = _option(
    "--shard-gb",
    "Size in GB above which weights are split: `auto` splits what fits into no layer, and a single file above 5 GB; "
    "`keep` leaves files as published where they fit.",
    default="auto",
    metavar="GB|auto|keep",
    callback=lambda _, __, text: _size(text),
)
_convert = _option(
    "--convert",
    "Convert a model that is published as pickles only.",
    type=click.Choice(["safetensors"]),
    callback=lambda _, __, form: form is not None,
)
_pickle = _option(
    "--pickle",
    "Weights that run code when they are loaded.",
    type=click.Choice(["refuse", "allow"]),
    default="refuse",
    callback=lambda _, __, said: said == "allow",
)


_fresh = _option(
    "--fresh",
    "Read all anew: neither remembered digests nor the keys of images at DEST count. In shares it is each one's own; "
    "the records of others count as they are.",
    is_flag=True,
)


def _size(text: str) -> float | str:
    try:
        return text if text in {"auto", "keep"} else float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: write a number of GB, auto or keep") from None


def _choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose a source's files and their form."""
    for option in reversed((_allow, _ignore, _shard_gb, _convert, _pickle, _adapter)):
        command = option(command)
    return command


def _making(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of how this machine makes an image."""
    for option in reversed((_base, _platform, _modelpack, _jobs, _cache, _fresh)):
        command = option(command)
    return command


_for = click.option(
    "--for",
    "purpose",
    help="Fail unless its files are what this delivery needs, a LoRA adapter, or a server's compile cache.",
    type=click.Choice([*(delivery.value for delivery in Delivery), "adapter", "compile-cache"]),
)


_source = click.argument("source", metavar="SRC")


@image.command()
@_answers
@_source
@click.argument("destination", metavar="DEST")
@_making
@_choosing
@_option(
    "--share",
    "Pack one of several shares of its layers, of which each machine packs another, as 2/8; the last makes the image.",
    metavar="NUMBER/OF",
)
def pack(*, share: str | None, **given: Any) -> dict[str, Any]:
    """Pack weights as an image into a registry or an image layout folder.

    \b
    SRC:  a folder, hf://org/name@<40-hex commit>, gs://bucket/prefix,
          or an image or artifact: oci://HOST/REPO@sha256:…, oci:FOLDER@sha256:…
    DEST: HOST/REPO:TAG, HOST/REPO or oci:FOLDER
    """
    from modelimage.packer import pack
    from modelimage.shares import pack_share

    if share is None:
        return _reported(pack, **given)
    return _reported(pack_share, given.pop("source"), given.pop("destination"), share, **given)


@image.command()
@_answers
@click.argument("reference", metavar="REF")
@_option("--require-digest-tag", "Fail unless the tag that spells the digest points to it.", is_flag=True)
@_for
@_wanted_platform
@click.option("--files/--no-files", help="List its files  [default: unless --for is given].", default=None)
def inspect(*, purpose: str | None, files: bool | None, **given: Any) -> dict[str, Any]:
    """Show an image that exists: its layers, its files, the model in it, and what is attached to it.

    REF: HOST/REPO@sha256:…, HOST/REPO:TAG or oci:FOLDER[@sha256:…]
    """
    from modelimage.transfer import inspect

    shown = purpose is None if files is None else files
    return _reported(inspect, purpose=purpose, files=shown, referrers=purpose is None, **given)


@image.command()
@_answers
@click.argument("reference", metavar="REF")
@click.argument("destination", metavar="DEST")
@_option(
    "--from",
    "Folder of the model in it  [default: /models, else the root, else the only one that holds a model].",
    metavar="FOLDER",
)
@_making
@_allow
@_ignore
@_pickle
def repack(**given: Any) -> dict[str, Any]:
    """Pack the model of an image or a model artifact in the layout that all deliveries take.

    The weights' bytes stay as they are. Each layer is compared with its digest while it is read.

    \b
    REF:  HOST/REPO@sha256:…, HOST/REPO:TAG or oci:FOLDER[@sha256:…]; artifacts: ModelPack, KitOps, ORAS
    DEST: HOST/REPO:TAG, HOST/REPO or oci:FOLDER
    """
    from modelimage.repacking import repack

    return _reported(repack, from_folder=given.pop("from"), **given)


@image.command()
@_answers
@click.argument("reference", metavar="REF")
def tag(**given: Any) -> dict[str, Any]:
    """Give an image in a registry the tag that spells its digest.

    REF: HOST/REPO@sha256:…
    """
    from modelimage.transfer import tag

    return _reported(tag, **given)


@image.command()
@_answers
@click.argument("reference", metavar="REF")
@click.argument("destination", metavar="DEST")
@_jobs
@_cache
@_for
@click.option(
    "--referrers/--no-referrers",
    help="Take along signatures, attestations and whatever else is attached to it.",
    default=True,
    show_default=True,
)
@_wanted_platform
def copy(**given: Any) -> dict[str, Any]:
    """Copy an image by digest into another repository, with what is attached to it.

    \b
    REF:  HOST/REPO@sha256:… or oci:FOLDER@sha256:…
    DEST: HOST/REPO, HOST/REPO:TAG or oci:FOLDER
    """
    from modelimage.transfer import copy

    return _reported(copy, **given)


@image.command()
@_answers
@_source
@click.argument("folder", metavar="FOLDER")
@_base
@_cache
@_choosing
def context(**given: Any) -> dict[str, Any]:
    """Prepare a Docker build context with the same layers.

    \b
    SRC:    a folder, hf://org/name@<40-hex commit>, gs://bucket/prefix
            or oci://HOST/REPO@sha256:…
    FOLDER: the context to write, on the file system of the weights
    """
    from modelimage.build_context import write_context

    return _reported(write_context, **given)


@image.command()
@_answers
@_source
@click.argument("destination", metavar="DEST")
@_option("--project", "Google Cloud project that the build runs in.", required=True)
@_option("--region", "Region that the build runs in, as us-central1.", required=True)
@_option("--service-account", "Account of the build  [default: the project's].", metavar="EMAIL")
@_option("--machine-type", "As E2_HIGHCPU_8  [default: Cloud Build's own].", metavar="TYPE")
@_option("--disk-gb", "Of the build's machine, which only --convert needs.", type=int, metavar="GB")
@click.option(
    "--timeout",
    "timeout_seconds",
    help="Longest time of the build.",
    show_default=True,
    type=int,
    default=7200,
    metavar="SECONDS",
)
@_option(
    "--step-image",
    "Image with Python >= 3.10 and pip that the step runs in, best by digest.",
    default="python:3.12-slim",
    metavar="REF",
)
@_option(
    "--hf-token-secret",
    "Secret Manager version with a Hugging Face token: projects/P/secrets/S/versions/V.",
    metavar="VERSION",
)
@_base
@_fresh
@_platform
@_modelpack
@_choosing
def cloudbuild(*, source: str, destination: str, base: str, **given: Any) -> dict[str, Any]:
    """Pack in Google Cloud Build, away from this machine.

    \b
    SRC:  hf://org/name@<40-hex commit>, gs://bucket/prefix or oci://HOST/REPO@sha256:…
    DEST: HOST/REPO:TAG or HOST/REPO
    """
    from modelimage.cloud_build import BuildPlace, pack_in_cloud_build

    place = BuildPlace(**{part.name: given.pop(part.name) for part in fields(BuildPlace)})
    return _reported(pack_in_cloud_build, source, destination, place, base=base, files=given)


def _labels(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    from components.nodes import node_label

    return dict(map(node_label, given))


_POD_PLACE = (
    *("namespace", "pods", "shares", "service_account", "hub_token_secret", "registry_secret"),
    *("node_selector", "cpu", "memory", "env"),
)


def _pairs(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """What is given as NAME=VALUE."""
    if wrong := [text for text in given if not text.partition("=")[0] or "=" not in text]:
        raise click.BadParameter(f"{wrong[0]!r}: write NAME=VALUE")
    return {name: value for name, _, value in (text.partition("=") for text in given)}


@image.command()
@_answers
@_source
@click.argument("destination", metavar="DEST")
@_option(
    "--kubeconfig",
    "Of the cluster  [default: the text in OMS_KUBECONFIG, KUBECONFIG, ~/.kube/config].",
    type=click.Path(path_type=Path),
    metavar="FILE",
)
@_option("--context", "Of the kubeconfig  [default: its current one].", metavar="NAME")
@_option("--namespace", "Of the pods; it must be there.", default="default", metavar="NAME")
@_option("--pods", "How many run at once.", type=int, default=4, metavar="N")
@_option("--shares", "In how many shares the layers are divided  [default: as many as pods].", type=int, metavar="N")
@_option(
    "--step-image",
    "Image with Python >= 3.10 that the pods run, and with pip or the packer's libraries, best by digest.",
    default="python:3.12-slim",
    metavar="REF",
)
@_option("--service-account", "Kubernetes service account of the pods.", metavar="NAME")
@_option(
    "--hub-token-secret",
    "Secret whose key HF_TOKEN is the hub's token  [default: one of this environment's HF_TOKEN].",
    metavar="NAME",
)
@_option(
    "--registry-secret",
    "Secret of the type kubernetes.io/dockerconfigjson to push with  [default: one of MODELIMAGE_USERNAME and "
    "MODELIMAGE_PASSWORD, or the service account].",
    metavar="NAME",
)
@_option(
    "--node-selector",
    "Label of the nodes; may be given several times.",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_labels,
)
@_option(
    "--toleration",
    "Taint that the pods tolerate; may be given several times.",
    multiple=True,
    metavar="KEY[=VALUE][:EFFECT]",
)
@_option("--cpu", "What each pod requests.", default="1", metavar="QUANTITY")
@_option("--memory", "What each pod gets.", default="2Gi", metavar="QUANTITY")
@_option("--timeout", "Longest time of all of it.", type=int, default=21600, metavar="SECONDS")
@_option(
    "--env",
    "Variable of the pods that is no secret; may be given several times.",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_pairs,
)
@_base
@_platform
@_modelpack
@_fresh
@_choosing
def clusterbuild(*, source: str, destination: str, base: str, **given: Any) -> dict[str, Any]:
    """Pack by pods of a Kubernetes cluster, each of which packs a share of the layers.

    \b
    SRC:  hf://org/name@<40-hex commit> or gs://bucket/prefix
    DEST: HOST/REPO:TAG or HOST/REPO
    """
    from watch.cluster_build import pack_in_cluster
    from watch.pack_job import PodPlace

    place = PodPlace(
        image=given.pop("step_image"),
        timeout_seconds=given.pop("timeout"),
        tolerations=given.pop("toleration"),
        **{name: given.pop(name) for name in _POD_PLACE},
    )
    where = {name: given.pop(name) for name in ("kubeconfig", "context")}
    return _reported(pack_in_cluster, source, destination, place, base=base, files=given, **where)


@image.command()
@_answers
@click.argument("folder", metavar="FOLDER")
@_option("--busybox", "A static busybox, for x86-64 or arm64.", required=True, metavar="PATH")
def base(**given: Any) -> dict[str, Any]:
    """Make a minimal base image for modelcars from a static busybox.

    FOLDER: the image layout folder to write
    """
    from modelimage.busybox import write_base

    return _reported(write_base, **given)


@image.command()
@_answers
@click.argument("folder", metavar="FOLDER")
@_option("--shards", "Safetensors files.", type=int, default=2, metavar="N")
@_option("--seed", "Of the random weights.", type=int, default=0, metavar="N")
def tiny(*, folder: str, shards: int, seed: int) -> dict[str, Any]:
    """Write a small valid Qwen2 model folder with random weights.

    FOLDER: the folder to write, new or empty
    """
    from modelimage.tiny import write_tiny_model

    written = write_tiny_model(folder, shards=shards, seed=seed)
    return {"folder": str(written), "size_bytes": sum(file.stat().st_size for file in written.iterdir())}


class _ForBuilder(click.Command):
    """A command that hands on what follows `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the builder's arguments aside."""
        at = args.index("--") if "--" in args else len(args)
        ctx.obj = args[at + 1 :]
        return super().parse_args(ctx, args[:at])


@image.command(cls=_ForBuilder)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@_option("--project", "Google project of the cluster.", required=True)
@_option("--zone", "Zone of the builder's VM.", required=True)
@_option("--logs", "gs://bucket/prefix for the builder's logs and scripts.", required=True)
@_option("--disk-size-gb", "Of the builder's disks  [default: by the images' sizes].", type=int)
@_option("--dry-run", "Print the builder's command line, and do nothing.", is_flag=True)
@json_option
@click.pass_obj
def disk(extra: list[str], /, *, as_json: bool, dry_run: bool, **given: Any) -> None:
    """Make a secondary boot disk's image with Google's builder.

    \b
    IMAGE: host/path@sha256:… (`pulumi stack output models`)
    What follows -- goes to the builder: --network, --subnet, --service-account, --machine-type …
    """
    import shlex

    from oms.disk_image import Disk

    wanted = Disk.of(**given, extra=extra)
    with interruptible("the builder's VM may still run: look for it with `gcloud compute instances list`"):
        if dry_run:
            line = wanted.command()
            print_json({"command": line}) if as_json else print(shlex.join(line))
            return
        name = wanted.make()
    print_json({"image": name}) if as_json else print(name)


@image.command()
@click.argument("model", metavar="MODEL")
@_choosing
@json_option
def resolve(*, as_json: bool, **given: Any) -> None:
    """Look up a model of the hub: its pinned form, licence and architecture, and what would be packed of it.

    \b
    MODEL: hf://org/name[@revision], org/name or the address of its page
    A private model, and the files of a gated one, need HF_TOKEN.
    """
    from modelimage.resolve import resolve

    with interruptible("nothing was changed"):
        found = resolve(**given)
    if as_json:
        print_json(found.as_json())
    else:
        print("\n".join(found.lines()))
