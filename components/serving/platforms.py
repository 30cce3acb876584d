"""The platforms that models use, and each model on its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.google.cluster import Cluster
from components.model_image import ModelImage
from components.serving import adapters as loras
from components.serving import allow_list, compile_cache, monitoring, predictor
from components.serving.adapters import ServedAdapter
from components.serving.compile_cache import ServedCache
from components.serving.inference_service import InferenceService
from components.serving.kserve import KServe
from components.serving.kubeai import KubeAI
from components.serving.kubeai_model import KubeAIModel
from components.serving.unserved import Unserved
from components.settings.models import StackModel
from components.settings.serving import KServeSettings
from components.settings.stack import Settings
from oci_model_serving.delivery import KSERVE, KUBEAI
from oci_model_serving.reference import ImageReference


def install(
    settings: Settings, cluster: Cluster, admitted: Mapping[str, pulumi.Output[ImageReference]]
) -> dict[str, KServe | KubeAI]:
    """Install the platforms that models use, by name; `admitted` has the stack's images, by their keys."""
    made: dict[str, KServe | KubeAI] = {}
    if KSERVE in settings.platforms:
        # The Gateway's load balancer is Google's, and is removed for sure only when the Gateway is.
        outlives = settings.kserve.gateway != "none"
        listed = allow_list.whole(KSERVE, settings, admitted)
        made[KSERVE.name] = KServe(KSERVE.name, settings, cluster.inside(outlives=outlives), listed=listed)
    if KUBEAI in settings.platforms and settings.kubeai:
        listed = allow_list.whole(KUBEAI, settings, admitted)
        made[KUBEAI.name] = KubeAI(KUBEAI.name, settings.kubeai, settings, cluster.inside(), listed=listed)
    for platform in settings.platforms:
        monitoring.of_platform(platform, settings, cluster.inside(made[platform.name]))
    return made


def serve(
    model: StackModel,
    images: Mapping[str, ModelImage],
    admitted: Mapping[str, pulumi.Output[ImageReference]],
    platforms: Mapping[str, pulumi.Resource],
    cluster: Cluster,
    *,
    after: Sequence[pulumi.Resource],
) -> InferenceService | KubeAIModel | Unserved:
    """Serve a model on its platform, after its images; without a cluster there is nothing but these.

    Args:
        model: the model.
        images: the stack's images, its own and its adapters' among them.
        admitted: the same, once they may be served.
        platforms: what `install` made.
        cluster: where.
        after: what else must be there before.
    """
    kubeconfig = cluster.kubeconfig if cluster.settings.exists else None
    image = images[model.key]
    known: dict[str, Any] = {
        "reference": admitted[model.key],
        "size_bytes": image.size_bytes,
        "traits": image.traits,
        "kubeconfig": kubeconfig,
        "enforced": cluster.settings.allows_by_patch,
    }
    if not cluster.settings.serves:
        return Unserved(model, images, admitted)
    beside = [images[one.key] for one in model.beside]
    opts = cluster.inside(image, platforms[model.delivery.platform.name], *beside, *after)
    if isinstance(model.platform, KServeSettings):
        adapters = [
            ServedAdapter(adapter.label, admitted[adapter.key], mounted.size_bytes, mounted.traits)
            for adapter, mounted in zip(model.adapters, beside, strict=False)
        ]
        cache = _cache(model, images, admitted, adapters)
        served: InferenceService | KubeAIModel = InferenceService(
            model.key, model, model.platform, **known, adapters=adapters, cache=cache, opts=opts
        )
    else:
        served = KubeAIModel(model.key, model, **known, opts=opts)
    platform = platforms[model.delivery.platform.name]
    monitoring.of_model(model, pulumi.ResourceOptions(parent=served, depends_on=[platform]))
    return served


def _cache(
    model: StackModel,
    images: Mapping[str, ModelImage],
    admitted: Mapping[str, pulumi.Output[ImageReference]],
    adapters: Sequence[ServedAdapter],
) -> ServedCache | None:
    if model.compile_cache is None:
        return None
    key = model.compile_cache.key
    known = pulumi.Output.all(admitted[model.key], images[model.key].traits, loras.ranks(adapters))
    served = known.apply(lambda of: predictor.cache_key(model, of[0].digest, of[1], of[2]))
    used = compile_cache.is_used(model, admitted[key], images[key].annotations, served)
    return ServedCache(admitted[key], images[key].size_bytes, used)
