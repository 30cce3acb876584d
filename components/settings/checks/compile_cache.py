"""What a compile cache needs of its model's platform, pool, server and arguments."""

from collections.abc import Iterator

from components.serving import compile_cache
from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.stack import Settings
from oci_model_serving.delivery import Delivery
from oci_model_serving.reference import ImageReference, is_by_digest

_KEY = ".compileCache"


def problems(settings: Settings, made: StackModel) -> Iterator[Problem]:
    """Check a model's compile cache; whether it is of this model and server, the run tells."""
    cache = made.compile_cache
    if cache is None:
        return
    if refusal := cache.registry.refusal(ImageReference.parse(cache.settings.digest or "")):
        yield f"{_KEY}.digest", refusal
    yield from obstacles(settings, made)


def obstacles(settings: Settings, made: StackModel) -> Iterator[Problem]:
    """Why a model can have no compile cache, whether it names one or not."""
    if made.delivery is Delivery.KUBEAI:
        # KubeAI 0.22.1 and commit 0d7de291: a Model has no further volumes, and its server's command is KubeAI's own.
        yield (
            _KEY,
            "is for KServe: a Model of KubeAI takes neither a further volume nor a command: write delivery: native or "
            "modelcar, or remove it",
        )
    elif made.delivery.streamed:
        # vLLM v0.23.0, ModelConfig.compute_hash: `model` and `model_weights`, a bucket and a folder made for it.
        yield (
            _KEY,
            "is found by nothing with delivery stream: vLLM takes where a model lies into its hash, and a cache is "
            "made with it mounted: remove it, or write delivery: native or modelcar",
        )
    elif settings.kserve.deployment_mode == "Knative":
        # Knative serving, fieldmask.go, VolumeSourceMask: an image is none of the volumes of a Revision.
        yield (
            _KEY,
            "needs image volumes, which Knative takes from nobody: set platforms.kserve.deploymentMode to Standard, "
            "or remove it",
        )
    elif made.settings.server:
        yield _KEY, "is vLLM's: remove it, and have your own server keep what it compiles by its own arguments"
    elif made.settings.node_pool is None:
        # What Inductor makes for a CPU has its maker's instructions (torch/_inductor/cpu_vec_isa.py).
        yield _KEY, "is for GPUs: what is compiled for a CPU may not run on another one: name a nodePool, or remove it"
    elif not is_by_digest(made.server_image):
        yield (
            _KEY,
            "is of one server's image, and platforms.kserve.server.image names a tag, which can move: write "
            "host/path@sha256:… there (`oms pin` does, and tells it of a default)",
        )
    in_secrets = [name for name, value in made.settings.env.items() if not isinstance(value, str)]
    for name in compile_cache.hidden([*in_secrets, *made.settings.secret_env]):
        yield (
            _KEY,
            f"is found by nothing that is secret, and vLLM takes {name} into its hash: have the gateway ask for keys, "
            "write another value as text into env, or remove compileCache",
        )
    if made.args.is_on("--enforce-eager"):
        yield _KEY, "is of no use with --enforce-eager in args, which compiles nothing: remove one of the two"
    for name in compile_cache.PLACES:
        value = made.settings.env.get(name, "/")
        if not (isinstance(value, str) and value.startswith("/")):
            yield (
                f".env.{name}",
                "is where the compile cache is copied to: write a path that begins with /, or remove it",
            )
    if made.settings.env.get("VLLM_DISABLE_COMPILE_CACHE", "0") != "0":
        yield _KEY, "is of no use with VLLM_DISABLE_COMPILE_CACHE in env: remove one of the two"
