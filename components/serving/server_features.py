"""What an image of a server has beside the server: told by the settings, or known of vLLM's own images. Pure."""

import re

from oci_model_serving.reference import split

STREAMER = "runai-streamer"
AUTO_LENGTH = "max-model-len-auto"
_OFFICIAL = frozenset({"vllm/vllm-openai", "docker.io/vllm/vllm-openai", "index.docker.io/vllm/vllm-openai"})
_RELEASE = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-[\w.-]+)?")
_SINCE = {
    # docker/Dockerfile installs runai-model-streamer for every backend since vllm#26464 (October 2025, after v0.11.0),
    # and still did at v0.23.0 (RUNAI_MODEL_STREAMER_VERSION); Google's page on the streamer names vLLM's own image too.
    STREAMER: (0, 12),
    # vllm#29431; v0.14.0 is the first release that has it (vllm-ascend#6181).
    AUTO_LENGTH: (0, 14),
}


_CPU = re.compile(r"public\.ecr\.aws/q9t5s3a7/vllm-cpu-release-repo|(?:docker\.io/)?vllm/vllm-openai-cpu")
"""vLLM's own images for CPUs: docker/Dockerfile.cpu installs no streamer."""


def release(image: str) -> tuple[int, int] | None:
    """The release of vLLM that the tag of one of its own images names; None of any other image."""
    name, tag, digest = split(image)
    found = _RELEASE.fullmatch(tag)
    if digest or not found or not (name in _OFFICIAL or _CPU.fullmatch(name)):
        return None
    return int(found[1]), int(found[2])


def told(image: str) -> frozenset[str] | None:
    """The features of an image as far as its name tells them; None where it tells nothing."""
    return known(image) if release(image) else None


def known(image: str) -> frozenset[str]:
    """The features of one of vLLM's own images for GPUs, by the release that its tag names; none of any other image.

    A digest names no release, and a copy in another registry may be somebody's own build: of both the settings tell.
    """
    version = release(image)
    if version is None or split(image)[0] not in _OFFICIAL:
        return frozenset()
    return frozenset(feature for feature, since in _SINCE.items() if version >= since)
