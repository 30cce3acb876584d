"""The keys of a platform's inference server: types, defaults and what each means."""

from typing import Annotated, Literal

from pydantic import Field

from components.settings.types import Section

VLLM_IMAGE = "docker.io/vllm/vllm-openai:v0.23.0"
"""The runbook's engine. A tag, for want of a registry to resolve it against: set the digest in your own stack."""
VLLM_CPU_IMAGE = "public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:v0.23.0"
"""vLLM's pre-built CPU image (vLLM documentation, "CPU", pre-built images), of the same version."""


class Server(Section):
    """The inference server that our ServingRuntime starts, and how it is started on GPUs."""

    image: Annotated[
        str, Field(description="for models on a node pool; a digest is best, a version's tag is warned of")
    ] = VLLM_IMAGE
    cpu_image: Annotated[str, Field(description="for models without a node pool")] = VLLM_CPU_IMAGE
    profile: Annotated[
        Literal["auto", "plain"] | None,
        Field(description="auto: tuned by image, files and GPUs, as the plan shows; default: auto, on KubeAI plain"),
    ] = None
    features: Annotated[
        tuple[Literal["runai-streamer", "max-model-len-auto"], ...] | None,
        Field(
            strict=False, description="what the image has; default: what vLLM's own images of that tag are known for"
        ),
    ] = None
