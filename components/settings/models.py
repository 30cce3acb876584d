"""The models of a stack and their images, with all that the stack's other settings say of them."""

from dataclasses import dataclass, field
from functools import cached_property

from pydantic import SecretStr

from components.google import pool_names
from components.serving.scheduling import Scheduling, schedule
from components.settings.building import CloudBuildSettings, in_secret_manager
from components.settings.places import LOCAL, StackPool, StackRegistry
from components.settings.serving import (
    BUSYBOX,
    AdapterSettings,
    ImageSettings,
    KServeSettings,
    KubeAISettings,
    ModelSettings,
)
from components.settings.types import Target, kubernetes_name
from modelimage.architecture import Task
from modelimage.traits import Traits
from oci_model_serving.delivery import Delivery

CPU_PROFILE = "cpu"
"""KubeAI's profile of models without a node pool (chart 0.22.1, resourceProfiles)."""


@dataclass(frozen=True)
class StackImage:
    """An image of a stack.

    Attributes:
        key: names its resources.
        settings: where it comes from.
        target: where the stack lives.
        registry: where it goes.
        size_gb: its size in GB, where it is known before a build.
        traits: what its files say to a server, as far as that is known before a build; None where nothing is.
        hub_token: the stack's, of a source on the hub.
        cloud_build: where builder cloudbuild packs.
    """

    key: str
    settings: ImageSettings
    target: Target
    registry: StackRegistry
    size_gb: float | None = field(default=None, kw_only=True)
    traits: Traits | None = field(default=None, kw_only=True)
    hub_token: SecretStr | None = field(default=None, kw_only=True)
    cloud_build: CloudBuildSettings = field(default_factory=CloudBuildSettings, kw_only=True)

    @property
    def name(self) -> str:
        """Its name in Kubernetes and below the registry's URL."""
        return kubernetes_name(self.key)

    @property
    def base(self) -> str:
        """Base of an image that is built here: `scratch`, `oci:FOLDER` or a reference by digest."""
        return "scratch"

    @property
    def image_host(self) -> str:
        """Host of the registry that it is pulled from; empty where another stack decides on it, or none."""
        settings = self.settings
        if settings.digest:
            return settings.digest.split("/")[0]
        return "" if settings.from_stack and not settings.copy_image else self.registry.host

    @property
    def token(self) -> SecretStr | None:
        """The token with which this machine asks the hub for its source; None where another machine does, or nobody."""
        named = self.hub_token is not None and in_secret_manager(self.hub_token.get_secret_value())
        return None if named or self.settings.builder == "cloudbuild" else self.hub_token

    @property
    def layout(self) -> str | None:
        """Folder of the OCI image layout that is built where there is no registry."""
        return f"{LOCAL}/images/{self.name}" if self.registry.layouts else None

    @property
    def context(self) -> str:
        """Folder of its Docker context."""
        return f"{LOCAL}/contexts/{self.name}"

    @property
    def meant_for(self) -> str:
        """What an image that exists is held against: a delivery, or `adapter`."""
        return "adapter"

    @property
    def by_digest_tag(self) -> bool:
        """Whether it is pulled by the tag that spells its digest."""
        return False

    @property
    def promoted(self) -> tuple[str, str | None]:
        """The model, and the adapter of it if it is one, that it is in the stack which it comes from."""
        return self.settings.model or self.key, None


@dataclass(frozen=True)
class StackAdapter(StackImage):
    """A LoRA adapter: `label` is what requests call it, `of` the key of its model."""

    settings: AdapterSettings
    label: str
    of: str

    @property
    def promoted(self) -> tuple[str, str | None]:
        """The model, and the adapter of it if it is one, that it is in the stack which it comes from."""
        return self.settings.model or self.of, self.settings.adapter or self.label


@dataclass(frozen=True)
class StackModel(StackImage):
    """A model of a stack.

    Attributes:
        settings: what they say of it.
        platform: settings of what serves it.
        pool: the node pool that it runs on; None on CPU.
        pull_secrets: names of the secrets with which its pods pull.
        gpus_of_others: what the pool's other models take of it at most.
        drain_timeout: seconds that its pods may take to finish their answers; on KubeAI the longest of all its models.
        adapters: its LoRA adapters.
    """

    settings: ModelSettings
    platform: KServeSettings | KubeAISettings
    pool: StackPool | None = None
    pull_secrets: tuple[str, ...] = ()
    gpus_of_others: int = 0
    drain_timeout: int = 600
    adapters: tuple[StackAdapter, ...] = ()

    @property
    def delivery(self) -> Delivery:
        """How the weights reach the server."""
        return self.settings.delivery

    @property
    def meant_for(self) -> str:
        """What an image that exists is held against."""
        return self.delivery.value

    def task_of(self, traits: Traits) -> Task:
        """What it is asked for: what the settings say, or else its files."""
        return self.settings.task or Task(traits.task)

    @property
    def namespace(self) -> str:
        """Of its objects."""
        return self.platform.namespace if isinstance(self.platform, KubeAISettings) else self.platform.model_namespace

    @property
    def base(self) -> str:
        """Base of an image that is built here: the one of the settings, or what modelcar needs."""
        return self.settings.base or (BUSYBOX if self.target is Target.GKE else "scratch")

    @property
    def by_digest_tag(self) -> bool:
        """Whether it is pulled by the tag that spells its digest."""
        return self.delivery is Delivery.KUBEAI

    @property
    def served_name(self) -> str:
        """What requests call it: KubeAI knows it by its Kubernetes name only."""
        return self.name if self.delivery is Delivery.KUBEAI else self.settings.served_name or self.key

    @property
    def server_image(self) -> str:
        """The inference server's image, for GPUs or for CPU."""
        return self.platform.server.image if self.pool else self.platform.server.cpu_image

    @property
    def awaited(self) -> bool:
        """Whether `pulumi up` waits until it is ready."""
        given = self.settings.await_ready
        return self.target is Target.GKE if given is None else given

    @property
    def live_replicas(self) -> int:
        """How many pods there are at least."""
        return 0 if self.settings.paused else self.settings.replicas.min

    @property
    def gpus(self) -> int:
        """GPUs of one pod: none without a node pool."""
        if self.pool is None:
            return 0
        return self.pool.settings.count if self.settings.gpus is None else self.settings.gpus

    @cached_property
    def scheduling(self) -> Scheduling:
        """Where its pods run and what they get."""
        return self._schedule(self.settings)

    @property
    def profile(self) -> str:
        """KubeAI's resource profile: the pool's, which is for one GPU with its share of the node, or the CPU's.

        A model with its own CPU or memory has one of its own, since KubeAI takes both from the profile. Its name says
        what is in it: under the same name a change would roll out twice, with the chart and then with the Model, and
        KubeAI counts the first rollout's pods that still drain as ready, so that the second leaves none.
        """
        if self.settings.resources.cpu or self.settings.resources.memory:
            return "-".join([self.name, *self.scheduling.amounts.values(), *([self.pool.key] if self.pool else [])])
        return self.pool.key if self.pool else CPU_PROFILE

    @property
    def profile_unit(self) -> Scheduling:
        """What one unit of that profile gets."""
        return self._schedule(self.settings.model_copy(update={"gpus": 1})) if self._shares else self.scheduling

    @property
    def resource_profile(self) -> str:
        """`<profile>:<count>`, as KubeAI's models name it."""
        return f"{self.profile}:{self.gpus if self._shares else 1}"

    @property
    def _shares(self) -> bool:
        return self.pool is not None and self.profile == self.pool.key

    def _schedule(self, settings: ModelSettings) -> Scheduling:
        if self.pool is None:
            return schedule(settings)
        labels = {pool_names.POOL_LABEL: self.pool.key}
        return schedule(settings, self.pool.settings, labels, gpus_of_others=self.gpus_of_others)
