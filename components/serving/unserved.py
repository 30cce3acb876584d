"""What is told of a model whose image is made and which is not served."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pulumi

from components.model_image import ModelImage
from components.settings.models import StackModel
from oci_model_serving import outputs
from oci_model_serving.reference import ImageReference


class Unserved:
    """A model of a stack without a cluster: its image, and nothing that serves it."""

    described: dict[str, Any]
    """The model as the stack's outputs show it (`oci_model_serving.outputs.ModelOutput`)."""

    def __init__(
        self,
        model: StackModel,
        images: Mapping[str, ModelImage],
        admitted: Mapping[str, pulumi.Output[ImageReference]],
    ) -> None:
        def image(key: str) -> dict[str, Any]:
            made = images[key]
            return outputs.describe_image(admitted[key], made.size_bytes, made.traits.apply(asdict))

        self.described = outputs.describe_unserved(
            image(model.key),
            model.delivery,
            name=model.name,
            served_name=model.served_name,
            storage_uri=admitted[model.key].apply(model.delivery.uri),
            task=images[model.key].traits.apply(lambda known: model.task_of(known).value),
            adapters={adapter.label: image(adapter.key) for adapter in model.adapters},
        )
