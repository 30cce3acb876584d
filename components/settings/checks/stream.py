"""Which models can be loaded by delivery `stream`, and what of the platform, the server and its arguments keeps them.

`obstacles` is what surely does not work, of a model whether it asks for that delivery or not: who chooses among
deliveries asks it too. `doubts` is what may not.
"""

import json
import re
from collections.abc import Iterator

from components.google.accelerators import AcceleratorError
from components.serving import server_features, streaming
from components.serving.engine_args import EngineArgs, Flag
from components.serving.server_features import STREAMER
from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.stack import Settings
from components.settings.types import Target, amount
from modelimage.traits import Traits
from oci_model_serving.delivery import KSERVE, Delivery
from oci_model_serving.reference import is_google

_SIDECARS_SINCE = (1, 29)
"""Kubernetes has native sidecars on by default since then (Kubernetes, "Sidecar Containers")."""
_LOADERS = frozenset({"auto", "runai_streamer", "runai_streamer_sharded"})
"""`--load-format` of what lies in a bucket (vLLM v0.23.0, config/vllm.py; `auto` becomes the streamer)."""
_DRAFTS = ("--speculative-config", "--spec-model", "--speculative-model", "--spec-method")
_WITHOUT_WEIGHTS = frozenset({"ngram", "ngram_gpu", "suffix"})
_NO_DRAFTS_UP_TO = (0, 23)
"""The newest release that was seen to look for a draft's weights on the disk where the model's are in a bucket: MTP and
EAGLE end with "Cannot find any safetensors" (vllm#42060; with the repair of #42079 still, v0.23.0)."""
_OTHERWISE = "write delivery: native or modelcar"


def problems(settings: Settings, made: StackModel) -> Iterator[Problem]:
    """Check a model of delivery `stream`, and its keys."""
    if not made.delivery.streamed:
        return
    yield from obstacles(settings, made)
    for name in sorted(streaming.SERVER_ENV.keys() & {*made.settings.env, *made.settings.secret_env}):
        where = "env" if name in made.settings.env else "secretEnv"
        yield f".{where}.{name}", "leads the server to the sidecar's door and is set by delivery stream: remove it"
    if made.settings.warm == "disk":
        yield ".warm", "is disk, and weights are streamed past the disk: write prepull, for the server's image, or none"
    yield from _of_memory(made)
    stream, local = settings.kserve.stream, settings.target is Target.LOCAL
    if local and is_google(made.image_host) and not made.stream_login:
        yield (
            ".delivery",
            f"is stream, and its sidecar reads {made.image_host} with a login of its own outside of Google's cloud: "
            f"add {made.image_host} to pullSecrets, or {_OTHERWISE}",
        )
    if stream.cidrs and stream.reach != "port":
        yield ".delivery", f"{_KEY}.cidrs is of reach: port, and reach is {stream.reach}: remove one of the two"
    if stream.hosts and stream.reach != "fqdn":
        yield ".delivery", f"{_KEY}.hosts is of reach: fqdn, and reach is {stream.reach}: remove one of the two"
    if stream.reach != "port" and local:
        yield ".delivery", f"{_KEY}.reach is {stream.reach}, which is Google's: write port, and the registry's cidrs"
    if stream.reach in {"private", "restricted"} and made.image_host and not is_google(made.image_host):
        yield (
            ".delivery",
            f"{_KEY}.reach is {stream.reach}, Google's own addresses, and the image is in {made.image_host}: write "
            "reach: port with its cidrs, or fqdn",
        )


def _of_memory(made: StackModel) -> Iterator[Problem]:
    """Whether the sidecar would be ended for want of memory before the server has its weights."""
    try:
        sidecar = made.streaming_sidecar
    except AcceleratorError:
        return  # told where the pool is looked at
    if sidecar.given and amount(sidecar.given) < sidecar.least_mib << 20:
        yield (
            ".delivery",
            f"{_KEY}.memory is {sidecar.given}, and its {sidecar.processes} processes need {sidecar.least_mib}Mi: "
            f"write that or more, or fewer processes",
        )


_KEY = "is stream, and platforms.kserve.stream"


def obstacles(settings: Settings, made: StackModel) -> Iterator[Problem]:
    """Why a model cannot be streamed, whether it asks for that or not; by paths relative to it."""
    if made.delivery is Delivery.KUBEAI:
        # KubeAI 0.22.1 and commit 0d7de291: a Model has no further container, and its chart's patches of pods
        # (modelServerPods.jsonPatches) are the same for every model.
        yield ".delivery", "is kubeai, whose Model takes no sidecar, which stream is"
        return
    kserve, create = settings.kserve, settings.cluster.settings.create
    if kserve.deployment_mode == "Knative":
        # Knative serving, fieldmask.go: init containers are behind a flag that is off, and never restarted.
        yield (
            ".delivery",
            "is stream, a sidecar, which Knative takes from nobody: set platforms.kserve.deploymentMode to Standard, "
            "or write delivery: modelcar",
        )
    if create and (version := _minor(create.version)) and version < _SIDECARS_SINCE:
        yield (
            ".delivery",
            f"is stream, a native sidecar, which Kubernetes has from 1.29 on: raise cluster.create.version, or "
            f"{_OTHERWISE}",
        )
    if made.settings.server:
        yield (
            ".delivery",
            "is stream, which vLLM's streaming loader reads, and server names another server, of which nobody knows "
            f"whether it has one: remove server, or {_OTHERWISE}",
        )
        return
    yield from _of_image(made)
    yield from _of_files(settings, made)
    yield from _of_arguments(made)
    if made.settings.compile_cache and not made.delivery.streamed:
        yield ".compileCache", "is of no use with delivery stream, whose servers look for another"


def _minor(version: str | None) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)", version or "")
    return (int(found[1]), int(found[2])) if found else None


def _of_image(made: StackModel) -> Iterator[Problem]:
    """Whether the server's image surely lacks the streamer: an image of vLLM's own that is known for it, or not."""
    if features(made) is not None and STREAMER not in (features(made) or ()):
        key = "image" if made.pool else "cpuImage"
        yield (
            ".delivery",
            f"is stream, and the server's image {made.server_image} has no streaming loader: name one with "
            f"runai-model-streamer[s3] in platforms.kserve.server.{key} (vLLM's own for GPUs has it from v0.12 on) "
            f"and say so in server.features: [{STREAMER}], or {_OTHERWISE}",
        )


def features(made: StackModel) -> frozenset[str] | None:
    """What the server's image has; None where nobody tells."""
    given = made.platform.server.features
    return frozenset(given) if given is not None else server_features.told(made.server_image)


def _of_files(settings: Settings, made: StackModel) -> Iterator[Problem]:
    """Weights that are no safetensors, or in a form that only its own loader reads, as far as the source tells."""
    told = settings.forecasts.get(made.key)
    traits = told.traits if told else made.traits
    if traits and traits.weights_file:
        yield ".delivery", streaming.NO_GGUF
    elif told and told.format not in {"safetensors", ""}:
        yield (
            ".delivery",
            f"is stream, and the weights are {told.format}, of which the streaming loader reads none: convert them "
            f"(files.convert: safetensors), or {_OTHERWISE}",
        )


def _of_arguments(made: StackModel) -> Iterator[Problem]:
    args = made.args
    loader = args.value("--load-format")
    if loader is not None and loader not in _LOADERS:
        yield (
            ".args",
            f"has --load-format={loader}, and delivery stream is loaded by runai_streamer: remove it, or write "
            "delivery: native or modelcar",
        )
    if args.value("--quantization") == "bitsandbytes":
        # vLLM v0.23.0, engine/arg_utils.py: it then takes the loader of that name, which reads no bucket.
        yield ".args", f"has --quantization=bitsandbytes, which has a loader of its own: {_OTHERWISE}"
    for flag in args.flags:
        if any(value == KSERVE.mount or f"{KSERVE.mount}/" in value for value in flag.values):
            yield (
                ".args",
                f"has {flag.written} with a path below {KSERVE.mount}, where delivery stream mounts nothing: remove it "
                f"(the server finds config, tokenizer and chat template of the image by itself), or {_OTHERWISE}",
            )
    release = server_features.release(made.server_image)
    if drafts(args) and release and release <= _NO_DRAFTS_UP_TO:
        yield ".args", f"has {_told(made)}: {_OTHERWISE}, or a newer server that loads drafts from a bucket"


def drafts(args: EngineArgs) -> list[Flag]:
    """The flags by which a draft model is loaded beside the model."""
    found = [flag for name in _DRAFTS for flag in args.all(name)]
    return [flag for flag in found if not _is_without_weights(flag)]


def _is_without_weights(flag: Flag) -> bool:
    if flag.key:
        return flag.key != "method" or flag.value in _WITHOUT_WEIGHTS
    if flag.name == "--spec-method":
        return flag.value in _WITHOUT_WEIGHTS
    try:
        said = json.loads(flag.value)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("method") in _WITHOUT_WEIGHTS


def _told(made: StackModel) -> str:
    named = ", ".join(dict.fromkeys(flag.written for flag in drafts(made.args)))
    return f"{named}, whose draft vLLM looks for on the disk while the model is streamed (vllm#42060)"


def warnings(settings: Settings, made: StackModel) -> Iterator[Problem]:
    """What may keep a streamed model from its weights, or makes it slow."""
    if not made.delivery.streamed or made.settings.server:
        return
    if features(made) is None:
        yield (
            ".delivery",
            f"is stream, and the image {made.server_image} is not known for the streaming loader: see that it has "
            f"runai-model-streamer[s3], and say so in platforms.kserve.server.features: [{STREAMER}]",
        )
    ranks = made.readers
    if ranks > 1:
        yield (
            ".delivery",
            f"is stream, and each of {ranks} GPUs' processes reads all of the weights through the sidecar, which reads "
            f"the registry once for all where they keep step: the image passes through it {ranks} times; {_OTHERWISE} "
            "unless that is quick enough",
        )
    if drafts(made.args) and server_features.release(made.server_image) is None:
        yield ".args", f"has {_told(made)}, at least up to v0.23.0"
    if _is_mixed(settings, made):
        yield (
            ".delivery",
            "is stream, and the files are not known to be one set of safetensors, all of which the loader reads: leave "
            "others out (files.ignore), or see that the server starts",
        )


def _is_mixed(settings: Settings, made: StackModel) -> bool:
    told = settings.forecasts.get(made.key)
    known: Traits | None = told.traits if told else None
    return bool(known and not known.streams and not known.weights_file)
