"""LoRA adapters of a model: images of their own, which its pods mount beside the model's, by digest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.serving import vllm
from components.serving.unservable import UnservableError
from modelimage.traits import Traits
from oci_model_serving.delivery import ADAPTER_VOLUME, ADAPTERS_MOUNT, IMAGE_ROOT
from oci_model_serving.reference import ImageReference


@dataclass(frozen=True)
class ServedAdapter:
    """An adapter, and its image once that may be served; `label` is what requests call it."""

    label: str
    reference: pulumi.Output[ImageReference]
    size_bytes: pulumi.Output[int]
    traits: pulumi.Output[Traits]


def volumes(adapters: Sequence[ServedAdapter]) -> list[dict[str, Any]]:
    """The pod's volumes, whatever brings the model itself: the node pulls them, with the pod's credentials."""
    return [volume(adapter.label, adapter.reference.apply(str)) for adapter in adapters]


def volume(label: str, reference: pulumi.Input[str]) -> dict[str, Any]:
    """The volume of one adapter."""
    image = {"reference": reference, "pullPolicy": "IfNotPresent"}
    return {"name": f"{ADAPTER_VOLUME}{label}", "image": image}


def mounts(adapters: Sequence[ServedAdapter]) -> list[dict[str, Any]]:
    """Where the server's container finds them."""
    return [mount(adapter.label) for adapter in adapters]


def mount(label: str) -> dict[str, Any]:
    """Where it finds one."""
    where = f"{ADAPTERS_MOUNT}/{label}"
    return {"name": f"{ADAPTER_VOLUME}{label}", "mountPath": where, "subPath": IMAGE_ROOT, "readOnly": True}


def ranks(adapters: Sequence[ServedAdapter]) -> pulumi.Output[dict[str, int]]:
    """The rank of each, by its label; 0 where nothing has told it.

    Raises:
        UnservableError: when it is resolved and the server does not take one of them.
    """
    labels = [adapter.label for adapter in adapters]

    def judged(known: Sequence[Traits]) -> dict[str, int]:
        found = {label: traits.lora_rank for label, traits in zip(labels, known, strict=True)}
        problems = [f"{label}: {problem}" for label, rank in found.items() if (problem := vllm.too_high(rank))]
        if problems:
            raise UnservableError("\n".join(problems))
        return found

    return pulumi.Output.all(*(adapter.traits for adapter in adapters)).apply(judged)
