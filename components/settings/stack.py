"""Everything a stack says, resolved once: components take its parts as they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from pydantic import SecretStr

from components.google import gpu_sharing, pool_origin
from components.google.pool_origin import NodeOrigin
from components.serving.scheduling import Scheduling, most_replicas
from components.settings.deliveries import DeliveryChoice
from components.settings.google import NodePoolSettings
from components.settings.image_settings import AdapterSettings, ImageSettings, adapter_key
from components.settings.images import StackAdapter, StackCompileCache, StackImage
from components.settings.models import StackModel
from components.settings.places import StackCluster, StackPool, StackRegistry
from components.settings.sections import Sections
from components.settings.serving import KServeSettings, KubeAISettings, ModelSettings, PullSecret
from components.settings.types import Target
from modelimage.architecture import Task
from modelimage.dimensions import Dimensions
from modelimage.forecast import Forecast
from modelimage.machines import PLATFORM
from modelimage.origins import Origin
from modelimage.traits import Traits
from oci_model_serving.delivery import KSERVE, KUBEAI, Delivery, Platform


@dataclass(frozen=True)
class Settings:
    """A stack's settings.

    `project` and `region` are Google's (empty for the local target); `image_sizes_gb` and `forecasts` hold, by the keys
    of `images`, the sizes of images in GB and what sources will become, where that is known before a build; `choices`
    what `delivery: auto` has become, by model; `warnings` what is hardly meant, each with its key path.
    """

    stack: str = ""
    target: Target = Target.LOCAL
    project: str = ""
    region: str = ""
    sections: Sections = field(default_factory=Sections)
    image_sizes_gb: Mapping[str, float] = field(default_factory=dict)
    forecasts: Mapping[str, Forecast] = field(default_factory=dict)
    choices: Mapping[str, DeliveryChoice] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @cached_property
    def registry(self) -> StackRegistry:
        """Where the images live."""
        models = self.sections.models.values()
        images = [image for model in models for image in (model, *model.adapters.values())]
        shared = any(image.source and image.builder == "cluster" for image in images)
        return StackRegistry(
            self.sections.registry, self.project, self.region, shared=shared, borrowed=frozenset(self._given)
        )

    @cached_property
    def cluster(self) -> StackCluster:
        """Where everything else goes."""
        settings, models = self.sections.cluster, self.sections.models.values()
        create, monitoring = settings.create, self.sections.platforms.monitoring
        return StackCluster(
            settings,
            project=settings.project or self.project,
            location=(create.location if create else settings.location) or self.region,
            needs_image_volume=any(model.needs_image_volume for model in models),
            needs_subpath=any(model.needs_subpath for model in models),
            needs_gateway=self.kserve.gateway == "gke" and any(model.delivery.platform is KSERVE for model in models),
            needs_names=self.kserve.stream.reach == "fqdn" and any(model.delivery.streamed for model in models),
            runs_models=any(model.node_pool is None for model in models),
            serves=self.serves,
            tells_of_pods=monitoring.collector == "managed" and monitoring.alerts,
            given=self._given,
            mounting=frozenset(model.node_pool for model in models if model.needs_image_volume and model.node_pool),
        )

    @property
    def serves(self) -> bool:
        """Whether models are served: on GKE, where a cluster is named; their images alone are made otherwise."""
        cluster = self.sections.cluster
        return self.target is Target.LOCAL or bool(cluster.create or cluster.name)

    @property
    def _given(self) -> dict[str, NodePoolSettings]:
        """The pools of nodes that this stack does not make."""
        autopilot = self.sections.cluster.autopilot
        pools = self.sections.node_pools.items()
        return {key: pool for key, pool in pools if pool_origin.of(pool, autopilot=autopilot) is not NodeOrigin.MADE}

    @cached_property
    def node_pools(self) -> Mapping[str, StackPool]:
        """The pools of GPU nodes."""
        return {
            key: StackPool(
                key,
                pool,
                self.cluster,
                {image: self.image_sizes_gb.get(image) for name in self._on(key) for image in self._images_of(name)},
            )
            for key, pool in self.sections.node_pools.items()
        }

    @cached_property
    def models(self) -> Mapping[str, StackModel]:
        """The models."""
        return {key: self._model(key, model) for key, model in self.sections.models.items()}

    @property
    def images(self) -> dict[str, StackImage]:
        """The images that pods need, by the keys that name their resources: models', adapters' and compile caches."""
        beside = (image for model in self.models.values() for image in model.beside)
        return {**self.models, **{image.key: image for image in beside}}

    @cached_property
    def kserve(self) -> KServeSettings:
        """KServe's settings, with the gateway's default of the target filled in."""
        kserve = self.sections.platforms.kserve
        if kserve.gateway is None:
            return kserve.model_copy(update={"gateway": "gke" if self.target is Target.GKE else "none"})
        return kserve

    @property
    def kubeai(self) -> KubeAISettings | None:
        """KubeAI's settings, which models that it serves need."""
        return self.sections.platforms.kubeai

    @property
    def pull_secrets(self) -> Mapping[str, PullSecret]:
        """Credentials of registries that the nodes cannot read by themselves."""
        return self.sections.pull_secrets

    @cached_property
    def kubeai_drain_timeout(self) -> int:
        """Seconds that KubeAI's pods may take to finish their answers: its chart has one number for all of them."""
        models = self.sections.models.values()
        return max((model.drain_timeout for model in models if model.delivery is Delivery.KUBEAI), default=0)

    def models_of(self, platform: Platform) -> list[StackModel]:
        """The models that a platform serves."""
        if not self.serves:
            return []
        return [model for model in self.models.values() if model.delivery.platform is platform]

    def namespace_of(self, platform: Platform) -> str:
        """Where the models of a platform that is used are."""
        return self.models_of(platform)[0].namespace

    @property
    def platforms(self) -> list[Platform]:
        """The platforms that models use."""
        return [platform for platform in (KSERVE, KUBEAI) if self.models_of(platform)]

    @property
    def resource_profiles(self) -> dict[str, Scheduling]:
        """KubeAI's resource profiles, and what one unit of each gets: a GPU's share of a node, or a whole CPU pod."""
        profiles: dict[str, Scheduling] = {}
        for model in self.models_of(KUBEAI):
            profiles.setdefault(model.profile, model.profile_unit)
        return profiles

    def _model(self, key: str, model: ModelSettings) -> StackModel:
        pool = self.node_pools.get(model.node_pool or "")
        on_kubeai, create = model.delivery is Delivery.KUBEAI, self.sections.cluster.create
        listed = self.sections.cluster.allow_list
        others = [other for name, other in self._on(model.node_pool).items() if name != key] if pool else []
        return StackModel(
            key,
            model,
            target=self.target,
            registry=self.registry,
            platform=(on_kubeai and self.kubeai) or self.kserve,
            pool=pool,
            fallbacks=tuple(self.node_pools[other] for other in model.fallback_pools if other in self.node_pools),
            size_gb=self.image_sizes_gb.get(key),
            traits=self._traits(key, model) or _presumed(model),
            credentials={key: secret.server for key, secret in self.pull_secrets.items()},
            # Knative's own may have any image.
            sidecars=listed.images if listed.enforce and self.kserve.deployment_mode == "Standard" else None,
            hub_token=self._hub_token(model),
            cloud_build=self.sections.cloud_build,
            cluster_build=self.sections.cluster_build,
            drain_timeout=self.kubeai_drain_timeout if on_kubeai else model.drain_timeout,
            gpus_of_others=sum(
                (gpu_sharing.default_gpus(pool.settings) if other.gpus is None else other.gpus) * most_replicas(other)
                for other in others
                if pool
            ),
            adapters=tuple(self._adapter(key, label, adapter) for label, adapter in model.adapters.items()),
            compile_cache=StackCompileCache.of(key, model.compile_cache, model.platform, self.target, self.registry),
            dimensions=self._dimensions(key, model),
            ingress=self.sections.platforms.ingress,
            monitoring=self.sections.platforms.monitoring,
            proxies=create.new_network.proxy_only_cidr if create and not create.network else None,
        )

    def _dimensions(self, key: str, model: ModelSettings) -> Dimensions:
        """What decides on a model's memory. No resource follows from it, so the hub's word counts as well."""
        told = self.forecasts.get(key)
        if told is None:
            return Dimensions()
        pools = (model.task or Task(told.traits.task)).pools
        # What reads a text once keeps nothing of it, or little.
        return replace(told.dimensions, full_layers=0, local_layers=0) if pools else told.dimensions

    def _adapter(self, model: str, label: str, settings: AdapterSettings) -> StackAdapter:
        key = adapter_key(model, label)
        return StackAdapter(
            key,
            settings,
            self.target,
            self.registry,
            label,
            model,
            size_gb=self.image_sizes_gb.get(key),
            traits=self._traits(key, settings),
            hub_token=self._hub_token(settings),
            cloud_build=self.sections.cloud_build,
            cluster_build=self.sections.cluster_build,
            beside=self.sections.models[model].platform or PLATFORM,
        )

    def _traits(self, key: str, image: ImageSettings) -> Traits | None:
        """What a folder's files say. The hub may be out of reach: what it says may not change what a plan shows."""
        told = self.forecasts.get(key)
        return told.traits if told and image.origin is Origin.FOLDER else None

    def _hub_token(self, image: ImageSettings) -> SecretStr | None:
        return self.sections.hub_token if image.origin is Origin.HUB else None

    def _images_of(self, model: str) -> list[str]:
        """What a node's disk holds of a model's images: all but one that is streamed past it."""
        settings = self.sections.models[model]
        held = [] if settings.delivery.streamed else [model]
        return [*held, *(adapter_key(model, label) for label in settings.adapters)]

    def _on(self, pool: str | None) -> dict[str, ModelSettings]:
        """The models that may run on a pool."""
        return {
            key: model
            for key, model in self.sections.models.items()
            if model.node_pool == pool or pool in model.fallback_pools
        }


def _presumed(model: ModelSettings) -> Traits | None:
    """What a plan takes an image's files to say where only the build can tell: nothing, unless a GGUF is hinted at."""
    return None if "gguf" in (model.source or "").lower() else Traits(streams=True)
