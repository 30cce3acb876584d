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


def known(image: str) -> frozenset[str]:
    """The features of one of vLLM's own images for GPUs, by the release that its tag names; none of any other image.

    A digest names no release, and a copy in another registry may be somebody's own build: of both the settings tell.
    """
    name, tag, digest = split(image)
    release = _RELEASE.fullmatch(tag)
    if name not in _OFFICIAL or digest or not release:
        return frozenset()
    version = (int(release[1]), int(release[2]))
    return frozenset(feature for feature, since in _SINCE.items() if version >= since)
