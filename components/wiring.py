"""From settings to the components' arguments: which component needs what of the others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi

from components import pool_names
from components.checks import CPU_PROFILE
from components.cluster import Cluster, ClusterArgs
from components.inference_service import InferenceService, InferenceServiceArgs
from components.kserve import GATEWAY, KServe, KServeArgs
from components.kubeai import PULL_SECRET, KubeAI, KubeAIArgs
from components.kubeai_model import KubeAIModel, KubeAIModelArgs
from components.model_image import ModelImage, ModelImageArgs
from components.node_pool import POOL_LABEL, GpuNodePool, GpuNodePoolArgs
from components.registry import ModelRegistry, ModelRegistryArgs
from components.scheduling import Scheduling, most_replicas, schedule
from components.schema import Delivery, Model, Settings, Target, kubernetes_name

LOCAL = Path(".local")
"""What the local stack leaves: images, manifests, the tiny model."""


def cluster(settings: Settings) -> ClusterArgs:
    """The cluster's arguments."""
    return ClusterArgs(
        cluster=settings.cluster,
        project=settings.project,
        region=settings.region,
        needs_image_volume=settings.needs_image_volume,
        needs_subpath=settings.needs_subpath,
        needs_gateway=bool(settings.models_of("kserve")) and settings.kserve.gateway == "gke",
        manifests=(LOCAL / "manifests").as_posix(),
    )


def node_pool(settings: Settings, key: str, made: Cluster) -> GpuNodePoolArgs:
    """A node pool's arguments."""
    return GpuNodePoolArgs(
        key=key,
        pool=settings.node_pools[key],
        cluster=made,
        image_sizes_gb={model: settings.image_sizes_gb.get(model) for model in settings.models_on(key)},
    )


def registry(settings: Settings, cluster: Cluster, pools: Mapping[str, GpuNodePool]) -> ModelRegistryArgs:
    """The registry's arguments: the nodes of every pool read it, and those that run models on CPU."""
    readers = {key: pool.service_account for key, pool in pools.items()}
    if cluster.system_account is not None and any(model.node_pool is None for model in settings.models.values()):
        readers[pool_names.SYSTEM] = cluster.system_account
    return ModelRegistryArgs(
        registry=settings.registry,
        project=settings.project,
        region=settings.region,
        readers=readers,
    )


def image(settings: Settings, key: str, made: ModelRegistry) -> ModelImageArgs:
    """An image's arguments."""
    model = settings.models[key]
    local = settings.target is Target.LOCAL and not settings.registry.url
    return ModelImageArgs(
        key=key,
        model=model,
        registry_url=made.url,
        base=settings.base_of(model),
        layout=(LOCAL / "images" / kubernetes_name(key)).as_posix() if local else None,
        google_project=settings.project,
        google_region=settings.region,
        enable_apis=settings.registry.create.enable_apis if settings.registry.create else True,
    )


def inside(cluster: Cluster, *others: pulumi.Resource, outlives: bool = False) -> pulumi.ResourceOptions:
    """Options of what goes into the cluster, after it and `others`.

    It goes with the cluster, unless it `outlives` it: has something outside that only its own deletion removes.
    """
    return pulumi.ResourceOptions(
        providers=[cluster.provider],
        depends_on=[cluster, *others],
        deleted_with=None if outlives else cluster.resource,
    )


def platforms(settings: Settings, cluster: Cluster) -> dict[str, pulumi.Resource]:
    """Install the platforms that models use."""
    made: dict[str, pulumi.Resource] = {}
    kserve_models = settings.models_of("kserve")
    if kserve_models:
        native = all(model.delivery is Delivery.NATIVE for model in kserve_models.values())
        args = KServeArgs(settings.kserve, "restricted" if native else "baseline", settings.pull_secrets)
        # The Gateway's load balancer is Google's, and is removed for sure only when the Gateway is.
        made["kserve"] = KServe("kserve", args, inside(cluster, outlives=settings.kserve.gateway != "none"))
    if settings.models_of("kubeai") and settings.platforms.kubeai:
        profiles = {name: unit for name, (unit, _) in _profiles(settings).items()}
        surge = all(_schedule(settings, key).surge for key in settings.models_of("kubeai"))
        kubeai = KubeAIArgs(settings.platforms.kubeai, profiles, settings.pull_secrets, surge)
        made["kubeai"] = KubeAI("kubeai", kubeai, inside(cluster))
    return made


def serve(
    settings: Settings,
    key: str,
    made: ModelImage,
    cluster: Cluster,
    opts: pulumi.ResourceOptions,
) -> InferenceService | KubeAIModel:
    """Serve one model on its platform."""
    model = settings.models[key]
    pool = settings.node_pools.get(model.node_pool or "")
    common: dict[str, Any] = {
        "key": key,
        "model": model,
        "reference": made.reference,
        "size_bytes": made.size_bytes,
        "scheduling": _schedule(settings, key),
        "disk_size_gb": pool.boot_disk.size_gb if pool else None,
        "await_ready": settings.awaits(model),
        "kubeconfig": cluster.kubeconfig if settings.target is Target.GKE or settings.cluster.kubeconfig else None,
    }
    if model.delivery is not Delivery.KUBEAI or settings.platforms.kubeai is None:
        args = InferenceServiceArgs(platform=settings.kserve, pull_secrets=tuple(settings.pull_secrets), **common)
        return InferenceService(key, args, opts)
    profile = next(name for name, (_, keys) in _profiles(settings).items() if key in keys)
    units = settings.gpus_of(model) if profile == model.node_pool else 1
    return KubeAIModel(
        key,
        KubeAIModelArgs(
            platform=settings.platforms.kubeai,
            resource_profile=f"{profile}:{units}",
            pull_secrets=(PULL_SECRET,) if settings.pull_secrets else (),
            **common,
        ),
        opts,
    )


def _schedule(settings: Settings, key: str, model: Model | None = None) -> Scheduling:
    """Place a model of the stack, or one that takes its place."""
    own = settings.models[key]
    if own.node_pool is None:
        return schedule(model or own)
    others = sum(
        settings.gpus_of(other) * most_replicas(other)
        for name, other in settings.models_on(own.node_pool).items()
        if name != key
    )
    pool = settings.node_pools[own.node_pool]
    return schedule(model or own, pool, {POOL_LABEL: own.node_pool}, gpus_of_others=others)


def _profiles(settings: Settings) -> dict[str, tuple[Scheduling, list[str]]]:
    """KubeAI's resource profiles and the models that use each: a pool's is for one GPU, with its share of the node.

    A model with its own CPU or memory gets a profile of its own, since KubeAI takes both from the profile.
    """
    profiles: dict[str, tuple[Scheduling, list[str]]] = {}
    for key, model in settings.models_of("kubeai").items():
        own = bool(model.resources.cpu or model.resources.memory)
        if own:
            name, unit = kubernetes_name(key), model
        elif model.node_pool:
            name, unit = model.node_pool, model.model_copy(update={"gpus": 1})
        else:
            name, unit = CPU_PROFILE, model
        profiles.setdefault(name, (_schedule(settings, key, unit), []))[1].append(key)
    return profiles


def outputs(
    settings: Settings,
    *,
    cluster: Cluster,
    registry: ModelRegistry,
    pools: Mapping[str, GpuNodePool],
    models: Mapping[str, InferenceService | KubeAIModel],
) -> dict[str, Any]:
    """The stack's outputs, less their version."""
    return {
        "registry_url": registry.url,
        "node_service_accounts": {key: pool.service_account for key, pool in pools.items()},
        "cluster": {"name": cluster.name, "location": cluster.location, "version": cluster.version},
        "node_pools": {key: _node_pool_output(settings, key, pool) for key, pool in pools.items()},
        "platforms": _platform_outputs(settings),
        "models": {key: model.described for key, model in models.items()},
        "kubeconfig": cluster.kubeconfig,
    }


def _node_pool_output(settings: Settings, key: str, made: GpuNodePool) -> dict[str, Any]:
    pool = settings.node_pools[key]
    return {
        "accelerator": pool.accelerator,
        "count": pool.count,
        "machine_type": made.machine_type,
        "disk_size_gb": made.disk_size_gb,
        "labels": made.labels,
        "taints": made.taints,
        "min_nodes": pool.min_nodes,
        "max_nodes": pool.max_nodes,
        "spot": pool.spot,
    }


def _platform_outputs(settings: Settings) -> dict[str, Any]:
    used: dict[str, Any] = {}
    if settings.models_of("kserve"):
        kserve = settings.kserve
        gateway = {"gateway_name": GATEWAY, "gateway_namespace": kserve.namespace} if kserve.gateway != "none" else {}
        used["kserve"] = {
            "version": kserve.version,
            "namespace": kserve.namespace,
            "gateway": kserve.gateway,
            "domain": kserve.domain,
            **gateway,
        }
    if settings.models_of("kubeai") and settings.platforms.kubeai:
        kubeai = settings.platforms.kubeai
        used["kubeai"] = {"version": kubeai.version, "namespace": kubeai.namespace}
    return used
