"""The platforms that models use, and each model on its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.google.cluster import Cluster
from components.model_image import ModelImage
from components.serving.inference_service import InferenceService
from components.serving.kserve import KServe
from components.serving.kubeai import KubeAI
from components.serving.kubeai_model import KubeAIModel
from components.settings.models import StackModel
from components.settings.serving import KServeSettings
from components.settings.stack import Settings
from oci_model_serving.delivery import KSERVE, KUBEAI
from oci_model_serving.reference import ImageReference


def install(settings: Settings, cluster: Cluster) -> dict[str, KServe | KubeAI]:
    """Install the platforms that models use, by name."""
    made: dict[str, KServe | KubeAI] = {}
    if KSERVE in settings.platforms:
        # The Gateway's load balancer is Google's, and is removed for sure only when the Gateway is.
        outlives = settings.kserve.gateway != "none"
        made[KSERVE.name] = KServe(KSERVE.name, settings, cluster.inside(outlives=outlives))
    if KUBEAI in settings.platforms and settings.kubeai:
        made[KUBEAI.name] = KubeAI(KUBEAI.name, settings.kubeai, settings, cluster.inside())
    return made


def serve(
    model: StackModel,
    image: ModelImage,
    admitted: pulumi.Output[ImageReference],
    platforms: Mapping[str, pulumi.Resource],
    cluster: Cluster,
    *,
    after: Sequence[pulumi.Resource],
) -> InferenceService | KubeAIModel:
    """Serve a model on its platform, after its image.

    Args:
        model: the model.
        image: its image.
        admitted: the same, once it may be served.
        platforms: what `install` made.
        cluster: where.
        after: what else must be there before.
    """
    kubeconfig = cluster.kubeconfig if cluster.settings.exists else None
    known: dict[str, Any] = {"reference": admitted, "size_bytes": image.size_bytes, "kubeconfig": kubeconfig}
    opts = cluster.inside(image, platforms[model.delivery.platform.name], *after)
    if isinstance(model.platform, KServeSettings):
        return InferenceService(model.key, model, model.platform, **known, opts=opts)
    return KubeAIModel(model.key, model, **known, opts=opts)
