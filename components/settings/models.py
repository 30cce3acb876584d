"""A model of a stack, with all that the stack's other settings say of it."""

from dataclasses import dataclass
from functools import cached_property

from components.google import pool_names
from components.serving.scheduling import Scheduling, schedule
from components.settings.places import LOCAL, StackPool, StackRegistry
from components.settings.serving import BUSYBOX, KServeSettings, KubeAISettings, ModelSettings
from components.settings.types import Target, kubernetes_name
from oci_model_serving.delivery import Delivery

CPU_PROFILE = "cpu"
"""KubeAI's profile of models without a node pool (chart 0.22.1, resourceProfiles)."""


@dataclass(frozen=True)
class StackModel:
    """A model of a stack.

    Attributes:
        key: as in the settings.
        settings: what they say of it.
        target: where the stack lives.
        registry: where its image goes.
        platform: settings of what serves it.
        pool: the node pool that it runs on; None on CPU.
        size_gb: size of its image in GB, where it is known before a build.
        pull_secrets: names of the secrets with which its pods pull.
        drain_timeout: seconds that its pods may take to finish their answers; on KubeAI the longest of all its models.
        gpus_of_others: what the pool's other models take of it at most.
    """

    key: str
    settings: ModelSettings
    target: Target
    registry: StackRegistry
    platform: KServeSettings | KubeAISettings
    pool: StackPool | None = None
    size_gb: float | None = None
    pull_secrets: tuple[str, ...] = ()
    gpus_of_others: int = 0
    drain_timeout: int = 600

    @property
    def name(self) -> str:
        """Its name in Kubernetes and below the registry's URL."""
        return kubernetes_name(self.key)

    @property
    def delivery(self) -> Delivery:
        """How the weights reach the server."""
        return self.settings.delivery

    @property
    def namespace(self) -> str:
        """Of its objects."""
        return self.platform.namespace if isinstance(self.platform, KubeAISettings) else self.platform.model_namespace

    @property
    def base(self) -> str:
        """Base of an image that is built here: `scratch`, `oci:FOLDER` or a reference by digest."""
        return self.settings.base or (BUSYBOX if self.target is Target.GKE else "scratch")

    @property
    def image_host(self) -> str:
        """Host of the registry that its image is pulled from; empty where another stack decides on it, or none."""
        settings = self.settings
        if settings.digest:
            return settings.digest.split("/")[0]
        return "" if settings.from_stack and not settings.copy_image else self.registry.host

    @property
    def layout(self) -> str | None:
        """Folder of the OCI image layout that is built where there is no registry."""
        return f"{LOCAL}/images/{self.name}" if self.registry.layouts else None

    @property
    def context(self) -> str:
        """Folder of its Docker context."""
        return f"{LOCAL}/contexts/{self.name}"

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
