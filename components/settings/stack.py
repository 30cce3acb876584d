"""Everything a stack says, resolved once: components take its parts as they are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import SecretStr

from components.serving.scheduling import Scheduling, most_replicas
from components.settings.building import CloudBuildSettings
from components.settings.google import ClusterSettings, NodePoolSettings, RegistrySettings
from components.settings.models import StackAdapter, StackImage, StackModel
from components.settings.places import StackCluster, StackPool, StackRegistry
from components.settings.serving import (
    AdapterSettings,
    ImageSettings,
    KServeSettings,
    KubeAISettings,
    ModelSettings,
    Platforms,
    PullSecret,
)
from components.settings.types import Target
from modelimage.forecast import Forecast
from modelimage.origins import Origin
from modelimage.traits import Traits
from oci_model_serving.delivery import KSERVE, KUBEAI, Delivery, Platform

PULL_SECRET = "oci-pull"  # noqa: S105 - its name
"""KubeAI knows one secret for all registries."""


@dataclass(frozen=True)
class Sections:
    """What the keys of a stack hold, each by its schema."""

    registry: RegistrySettings = field(default_factory=RegistrySettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    platforms: Platforms = field(default_factory=Platforms)
    node_pools: Mapping[str, NodePoolSettings] = field(default_factory=dict)
    pull_secrets: Mapping[str, PullSecret] = field(default_factory=dict)
    hub_token: SecretStr | None = None
    cloud_build: CloudBuildSettings = field(default_factory=CloudBuildSettings)
    models: Mapping[str, ModelSettings] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """A stack's settings.

    `project` and `region` are Google's (empty for the local target); `image_sizes_gb` and `forecasts` hold, by the keys
    of `images`, the sizes of images in GB and what sources will become, where that is known before a build.
    """

    stack: str = ""
    target: Target = Target.LOCAL
    project: str = ""
    region: str = ""
    sections: Sections = field(default_factory=Sections)
    image_sizes_gb: Mapping[str, float] = field(default_factory=dict)
    forecasts: Mapping[str, Forecast] = field(default_factory=dict)

    @cached_property
    def registry(self) -> StackRegistry:
        """Where the images live."""
        return StackRegistry(self.sections.registry, self.project, self.region)

    @cached_property
    def cluster(self) -> StackCluster:
        """Where everything else goes."""
        settings, models = self.sections.cluster, self.sections.models.values()
        create = settings.create
        return StackCluster(
            settings,
            project=settings.project or self.project,
            location=(create.location if create else settings.location) or self.region,
            needs_image_volume=any(model.needs_image_volume for model in models),
            # An adapter's files are in the folder `models` of its image as well.
            needs_subpath=any(model.delivery.needs_subpath or model.adapters for model in models),
            needs_gateway=self.kserve.gateway == "gke" and any(model.delivery.platform is KSERVE for model in models),
            runs_models=any(model.node_pool is None for model in models),
        )

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
        """The images that pods need, by the keys that name their resources: those of models and of their adapters."""
        adapters = (adapter for model in self.models.values() for adapter in model.adapters)
        return {**self.models, **{adapter.key: adapter for adapter in adapters}}

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
        return [model for model in self.models.values() if model.delivery.platform is platform]

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
        on_kubeai = model.delivery is Delivery.KUBEAI
        # One secret of all credentials where only one is looked at: by KubeAI, and by the pods that pull themselves.
        secrets = (PULL_SECRET,) if on_kubeai or model.delivery.pulled_by_pod else tuple(self.pull_secrets)
        others = [other for name, other in self._on(model.node_pool).items() if name != key] if pool else []
        return StackModel(
            key,
            model,
            target=self.target,
            registry=self.registry,
            platform=(on_kubeai and self.kubeai) or self.kserve,
            pool=pool,
            size_gb=self.image_sizes_gb.get(key),
            traits=self._traits(key, model) or _presumed(model),
            pull_secrets=secrets if self.pull_secrets else (),
            hub_token=self._hub_token(model),
            cloud_build=self.sections.cloud_build,
            drain_timeout=self.kubeai_drain_timeout if on_kubeai else model.drain_timeout,
            gpus_of_others=sum(
                (pool.settings.count if other.gpus is None else other.gpus) * most_replicas(other)
                for other in others
                if pool
            ),
            adapters=tuple(self._adapter(key, label, adapter) for label, adapter in model.adapters.items()),
        )

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
        )

    def _traits(self, key: str, image: ImageSettings) -> Traits | None:
        """What a folder's files say. The hub may be out of reach: what it says may not change what a plan shows."""
        told = self.forecasts.get(key)
        return told.traits if told and image.origin is Origin.FOLDER else None

    def _hub_token(self, image: ImageSettings) -> SecretStr | None:
        return self.sections.hub_token if image.origin is Origin.HUB else None

    def _images_of(self, model: str) -> list[str]:
        return [model, *(adapter_key(model, label) for label in self.sections.models[model].adapters)]

    def _on(self, pool: str | None) -> dict[str, ModelSettings]:
        return {key: model for key, model in self.sections.models.items() if model.node_pool == pool}


def adapter_key(model: str, label: str) -> str:
    """The key that names the resources of a model's adapter, and its image below the registry's URL."""
    return f"{model}/{label}"


def _presumed(model: ModelSettings) -> Traits | None:
    """What a plan takes an image's files to say where only the build can tell: nothing, unless a GGUF is hinted at."""
    return None if "gguf" in (model.source or "").lower() else Traits()
