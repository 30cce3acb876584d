"""What LoRA adapters need of the delivery, and their names of the model's."""

import re
from collections.abc import Iterator

from components.serving import vllm
from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.stack import Settings
from oci_model_serving.delivery import ADAPTER_VOLUME, Delivery

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LENGTH = 63 - len(ADAPTER_VOLUME)  # a volume's name is a DNS label


def problems(settings: Settings, made: StackModel) -> Iterator[Problem]:
    """Check a model's adapters, but for where their images come from."""
    if not made.adapters:
        return
    if made.delivery is Delivery.KUBEAI:
        # KubeAI 0.22.1 and commit 0d7de291: `adapters[].url` begins with hf://, s3://, gs:// or oss://, and its pods
        # take no further volumes.
        yield (
            ".adapters",
            "is for KServe: KubeAI takes adapters by download only, never an image: write delivery: native or "
            "modelcar, or remove it",
        )
    elif settings.kserve.deployment_mode == "Knative":
        # Knative serving, fieldmask.go, VolumeSourceMask: an image is none of the volumes of a Revision.
        yield (
            ".adapters",
            "needs image volumes, which Knative takes from nobody: set platforms.kserve.deploymentMode to Standard, "
            "or remove it",
        )
    for adapter in made.adapters:
        path, label = f".adapters.{adapter.label}", adapter.label
        if not _LABEL.fullmatch(label) or len(label) > _LENGTH:
            yield (
                path,
                f"is called {label!r}: write at most {_LENGTH} lower case letters, digits and '-', beginning and "
                "ending with a letter or digit",
            )
        if label == made.served_name:
            yield path, "has the name by which the model itself is served: rename one of the two"
        if adapter.traits and (problem := vllm.too_high(adapter.traits.lora_rank)):
            yield f"{path}.source", problem
