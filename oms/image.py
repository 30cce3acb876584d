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
    from modelimage.fit import shown
    from modelimage.progress import readable

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
        elif key == "size_bytes":
            print(f"size: {readable(value)} ({value} bytes)")
        elif isinstance(value, dict):
            print(f"{key}:")
            for name, entry in value.items():
                print(f"  {name}: {entry if isinstance(entry, str) else json.dumps(entry)}")
        elif isinstance(value, list | tuple):
            for entry in value:
                print(f"{key}: {entry}")
        else:
            print(f"{key.replace('_', ' ')}: {str(value).lower() if isinstance(value, bool) else value}")


def _option(name: str, text: str, **more: Any) -> Callable[..., Any]:
    return click.option(name, help=text, show_default=True, **more)


_base = _option(
    "--base",
    "Image to build upon, by digest: HOST/REPO@sha256:… or oci:FOLDER@sha256:… . KServe's modelcar needs one with sh, "
    "ln and sleep, such as busybox; image volumes need none.",
    default="scratch",
    metavar="REF|scratch",
)
_jobs = _option("--jobs", "Layers under way at once.", type=int, default=4, metavar="N")
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


_for = click.option(
    "--for",
    "purpose",
    help="Fail unless its files are what this delivery needs, or a LoRA adapter.",
    type=click.Choice([*(delivery.value for delivery in Delivery), "adapter"]),
)


_source = click.argument("source", metavar="SRC")


@image.command()
@_answers
@_source
@click.argument("destination", metavar="DEST")
@_base
@_jobs
@_cache
@_choosing
def pack(**given: Any) -> dict[str, Any]:
    """Pack weights as an image into a registry or an image layout folder.

    \b
    SRC:  a folder, hf://org/name@<40-hex commit> or gs://bucket/prefix
    DEST: HOST/REPO:TAG, HOST/REPO or oci:FOLDER
    """
    from modelimage.packer import pack

    return _reported(pack, **given)


@image.command()
@_answers
@click.argument("reference", metavar="REF")
@_option("--require-digest-tag", "Fail unless the tag that spells the digest points to it.", is_flag=True)
@_for
@click.option("--files/--no-files", help="List its files  [default: unless --for is given].", default=None)
def inspect(*, purpose: str | None, files: bool | None, **given: Any) -> dict[str, Any]:
    """Show an image that exists: its layers, its files, and the model in it.

    REF: HOST/REPO@sha256:…, HOST/REPO:TAG or oci:FOLDER[@sha256:…]
    """
    from modelimage.transfer import inspect

    return _reported(inspect, purpose=purpose, files=purpose is None if files is None else files, **given)


@image.command()
@_answers
@click.argument("reference", metavar="REF")
@click.argument("destination", metavar="DEST")
@_option(
    "--from",
    "Folder of the model in it  [default: /models, else the root, else the only one that holds a model].",
    metavar="FOLDER",
)
@_base
@_jobs
@_cache
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
def copy(**given: Any) -> dict[str, Any]:
    """Copy an image by digest into another repository.

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
    SRC:    a folder, hf://org/name@<40-hex commit> or gs://bucket/prefix
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
@_choosing
def cloudbuild(*, source: str, destination: str, base: str, **given: Any) -> dict[str, Any]:
    """Pack in Google Cloud Build, away from this machine.

    \b
    SRC:  hf://org/name@<40-hex commit> or gs://bucket/prefix
    DEST: HOST/REPO:TAG or HOST/REPO
    """
    from modelimage.cloud_build import BuildPlace, pack_in_cloud_build

    place = BuildPlace(**{part.name: given.pop(part.name) for part in fields(BuildPlace)})
    return _reported(pack_in_cloud_build, source, destination, place, base=base, files=given)


@image.command()
@_answers
@click.argument("folder", metavar="FOLDER")
@_option("--busybox", "A static busybox for x86-64.", required=True, metavar="PATH")
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
