"""A model's compile cache: an image beside the weights', whose files vLLM finds where it would have written them.

The image is mounted read-only and copied before the server starts, since vLLM writes there as well. It is used only
where all that the cache was made of is what is served. vLLM's own hashes tell another version, model, argument and
variable (v0.23.0, VllmConfig.compute_hash, envs.compile_factors), but no other GPU: nothing of it is in the name under
which it looks for what was compiled ahead (compilation/caching.py, aot_compile_hash_factors; vllm #24274).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components import image_traits
from components.serving import engine_args, vllm
from components.settings.models import StackModel
from modelimage.cache_key import CacheKey, key_in
from oci_model_serving.delivery import IMAGE_ROOT
from oci_model_serving.errors import InputError
from oci_model_serving.reference import ImageReference, split

MOUNT = "/compile-cache"
VOLUME = "compile-cache"
PLACES = ("VLLM_CACHE_ROOT", "XDG_CACHE_HOME")
"""Variables that say where vLLM keeps its cache, the first that is given; else it is below HOME (envs.py)."""

_ROOT = '"${VLLM_CACHE_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/vllm}"'
# It is there whole or not at all: what is cut short might be loaded. A server that starts again in its pod has it, and
# what it has added. Whatever goes wrong, the server starts, and compiles.
_FILL = f"""\
cache={_ROOT}
if [ -n "$(ls -A {MOUNT} 2>/dev/null)" ] && [ -z "$(ls -A "$cache" 2>/dev/null)" ]; then
  rm -rf "$cache.part"
  if mkdir -p "$cache.part" && cp -R {MOUNT}/. "$cache.part/" \\
    && {{ rmdir "$cache" 2>/dev/null || [ ! -e "$cache" ]; }} && mv "$cache.part" "$cache"; then
    echo "compile cache: {MOUNT} was copied to $cache" >&2
  else
    rm -rf "$cache.part"
    echo "warning: compile cache: {MOUNT} cannot be copied to $cache: the server compiles" >&2
  fi
fi
"""

_NO_MATTER = frozenset(
    f"--{name}"
    for name in (
        # Of the HTTP server and its answers (v0.23.0, vllm/entrypoints/openai/cli_args.py).
        *("served-model-name", "host", "port", "uds", "uvicorn-log-level", "disable-uvicorn-access-log", "middleware"),
        *("disable-access-log-for-endpoints", "allow-credentials", "allowed-origins", "allowed-methods", "root-path"),
        *("allowed-headers", "api-key", "ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "enable-ssl-refresh"),
        *("ssl-cert-reqs", "ssl-ciphers", "enable-request-id-headers", "disable-fastapi-docs", "enable-offline-docs"),
        *("h11-max-incomplete-event-size", "h11-max-header-count", "chat-template", "chat-template-content-format"),
        *("trust-request-chat-template", "default-chat-template-kwargs", "response-role", "enable-auto-tool-choice"),
        *("exclude-tools-when-tool-choice-none", "tool-call-parser", "tool-parser-plugin", "tool-server"),
        *("return-tokens-as-token-ids", "log-config-file", "max-log-len", "enable-prompt-tokens-details"),
        *("enable-server-load-tracking", "enable-force-include-usage", "enable-tokenizer-info-endpoint"),
        *("enable-log-outputs", "enable-log-deltas", "enable-log-requests", "log-error-stack", "fingerprint-mode"),
        *("fingerprint-value", "disable-log-stats", "shutdown-timeout", "reasoning-parser"),
        # Of adapters their number and rank count, which have flags of their own (LoRAConfig.compute_hash).
        "lora-modules",
        # How weights are read and how much memory is taken (LoadConfig and CacheConfig.compute_hash).
        *("load-format", "model-loader-extra-config", "safetensors-load-strategy", "use-tqdm-on-load"),
        *("gpu-memory-utilization", "enable-prefix-caching", "prefix-caching-hash-algo"),
    )
)
"""Flags that nothing which is compiled depends on. Any other counts, so that none is overlooked."""
_MATTER = (
    *("VLLM_", "TORCH", "PYTORCH_", "TRITON_", "CUDA_", "NVIDIA_", "NVCC_", "FLASHINFER_", "MOONCAKE_", "XDG_", "HOME"),
    *("Q_SCALE_", "K_SCALE_", "V_SCALE_", "CMAKE_"),
)
"""What the names of variables begin with that vLLM, PyTorch and Triton read; HOME and the like are in vLLM's hash up to
v0.24 (vllm #47573), and where the cache lies stands in what is compiled."""
_NO_VARIABLE = ("VLLM_LOG", "VLLM_API_KEY", "VLLM_NO_USAGE_STATS", "VLLM_DO_NOT_TRACK", "VLLM_USAGE_", "VLLM_HTTP_")


@dataclass(frozen=True)
class ServedCache:
    """A compile cache, and whether it is for what is served."""

    reference: pulumi.Output[ImageReference]
    size_bytes: pulumi.Output[int]
    used: pulumi.Output[bool]


def command() -> list[str]:
    """What starts a server that may have a cache."""
    return vllm.command(_FILL)


def folder(env: Mapping[str, str]) -> str:
    """Where vLLM keeps its cache, with these variables."""
    root, home = (env.get(name) for name in PLACES)
    return root or f"{home or env['HOME'] + '/.cache'}/vllm"


def texts(env: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The variables of a container whose values are texts."""
    return {one["name"]: one["value"] for one in env if isinstance(one.get("value"), str)}


def key_of(model: StackModel, digest: str, args: Sequence[str], env: Sequence[Mapping[str, Any]]) -> CacheKey:
    """What a model's server compiles for.

    Args:
        model: the model, on a pool, whose server's image is by digest.
        digest: of its image.
        args: of its server, all of them.
        env: of its server's container.
    """
    pool = model.pool
    if pool is None:
        raise ValueError(f"{model.key} has no GPUs")
    return CacheKey(
        model=digest,
        server=split(model.server_image)[2],
        gpu="/".join(filter(None, [pool.settings.accelerator, pool.settings.gpu_partition_size])),
        gpus=model.gpus,
        args=_counting(args),
        env={name: value for name, value in sorted(texts(env).items()) if _counts(name)},
    )


def _counting(args: Sequence[str]) -> dict[str, str]:
    """The flags that what is compiled may depend on; the last of a name counts."""
    found: dict[str, str] = {}
    for flag in engine_args.read(args).flags:
        name = f"--{flag.name[5:]}" if flag.name.startswith("--no-") else flag.name
        if name not in _NO_MATTER:
            value = "off" if name != flag.name else " ".join(flag.values)
            found[f"{name}.{flag.key}" if flag.key else name] = value
    return dict(sorted(found.items()))


def hidden(names: Iterable[str]) -> list[str]:
    """Which of these variables, whose values are in Secrets, vLLM takes into its own hashes.

    A cache is made without them: what a hash is made of stands in the cache's own notes (`cache_key_factors.json`).
    """
    return [name for name in names if _counts(name) or name == "VLLM_API_KEY"]


def _counts(name: str) -> bool:
    return name.startswith(_MATTER) and not name.startswith(_NO_VARIABLE)


def is_used(
    model: StackModel,
    reference: pulumi.Output[ImageReference],
    annotations: pulumi.Output[dict[str, str]],
    served: pulumi.Output[CacheKey],
) -> pulumi.Output[bool]:
    """Whether the image `reference` of these annotations is for what is served; else a warning says what has changed.

    A plan that cannot know what the cache was made for takes it for fitting.
    """

    def judged(image: ImageReference, noted: Mapping[str, str], now: CacheKey) -> bool:
        try:
            reasons = key_in(noted, str(image)).differences(now)
        except InputError as error:
            reasons = [str(error)]
        if reasons:
            pulumi.log.warn(
                f"models.{model.key}.compileCache: {image} is not used, and the server compiles: "
                f"{'; '.join(reasons)}: `oms cache make --model {model.key}` makes another, or remove the key"
            )
        return not reasons

    known = pulumi.Output.all(reference, annotations, served)
    return image_traits.or_presumed(known.apply(lambda of: judged(*of)), presumed=True)


def volume(cache: ServedCache) -> pulumi.Output[dict[str, Any]]:
    """The pod's volume of the cache, which the node pulls as it does adapters; an empty one where it is not used."""
    image = {"image": {"reference": cache.reference.apply(str), "pullPolicy": "IfNotPresent"}}
    return cache.used.apply(lambda used: {"name": VOLUME, **(image if used else {"emptyDir": {}})})


def mount() -> dict[str, Any]:
    """Where the server's container finds it."""
    return {"name": VOLUME, "mountPath": MOUNT, "subPath": IMAGE_ROOT, "readOnly": True}
