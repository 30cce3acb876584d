"""The models of a stack, with all that its other settings say of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from components.serving.scheduling import Scheduling
from components.settings.pods import Ingress, Monitoring
from components.settings.pulling import PULL_SECRET, of_hosts
from components.settings.serving import BUSYBOX, KServeSettings, KubeAISettings
from components.settings.starts import StackStart
from components.settings.types import Target
from oci_model_serving.delivery import Delivery
from oci_model_serving.reference import host_of

CPU_PROFILE = "cpu"
"""KubeAI's profile of models without a node pool (chart 0.22.1, resourceProfiles)."""


@dataclass(frozen=True)
class StackModel(StackStart):
    """A model of a stack, with the engine that serves it.

    Attributes:
        credentials: the registries that nodes cannot read by themselves, by the keys of `pullSecrets`.
        sidecars: images that others put into its pods; None where they may put any there.
        drain_timeout: seconds that its pods may take to finish their answers; on KubeAI the longest of all its models.
        ingress: who may reach its pods.
        monitoring: what collects its metrics.
        proxies: the range of the gateway's proxies, where this stack makes their subnetwork.
    """

    credentials: Mapping[str, str] = field(default_factory=dict)
    sidecars: tuple[str, ...] | None = None
    drain_timeout: int = 600
    ingress: Ingress = field(default_factory=Ingress)
    monitoring: Monitoring = field(default_factory=Monitoring)
    proxies: str | None = None

    @property
    def delivery(self) -> Delivery:
        """How the weights reach the server."""
        return self.settings.delivery

    @property
    def meant_for(self) -> str:
        """What an image that exists is held against."""
        return self.delivery.value

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
    def pull_secrets(self) -> tuple[str, ...]:
        """Names of the secrets with which its pods pull.

        Those for the registries of the images that its pods can have, where the cluster takes no others.
        """
        if self.delivery in {Delivery.KUBEAI, Delivery.FETCH}:
            return (PULL_SECRET,) if self.credentials else ()
        if self.settings.pull_secrets is not None:
            return self.settings.pull_secrets
        weights = [image.image_host for image in (self, *self.beside)]
        if self.sidecars is None or not all(weights):
            return tuple(self.credentials)
        return of_hosts(self.credentials, [*weights, *map(host_of, (*self.own_images, *self.sidecars))])

    @property
    def stream_login(self) -> str | None:
        """The Secret with which the sidecar of delivery `stream` reads the image; None where it needs none of ours.

        It has one file: where several credentials may be for the registry, the one Secret of all.
        """
        if not self.delivery.streamed:
            return None
        host, named = self.image_host, self.settings.pull_secrets
        offered = {key: server for key, server in self.credentials.items() if named is None or key in named}
        keys = of_hosts(offered, [host]) if host else tuple(offered)
        return (keys[0] if len(keys) == 1 else PULL_SECRET) if keys else None

    @property
    def pulls_with_all(self) -> bool:
        """Whether its pods themselves pull with the one Secret of all credentials."""
        return self.delivery is Delivery.FETCH or self.stream_login == PULL_SECRET

    @property
    def stream_image(self) -> str:
        """The image of that sidecar: the server's own, unless the settings name another."""
        given = self.platform.stream.image if isinstance(self.platform, KServeSettings) else None
        return given or self.server_image

    @property
    def own_images(self) -> tuple[str, ...]:
        """The images that containers of its pods run, but for those of its weights."""
        sidecar = (self.stream_image,) if self.delivery.streamed else ()
        return tuple(dict.fromkeys((self.server_image, *sidecar)))

    @property
    def secret_name(self) -> str | None:
        """The Secret that its `secretEnv` becomes, in its namespace; None without any."""
        return f"{self.name}-env" if self.settings.secret_env else None

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
    def profile(self) -> str:
        """KubeAI's resource profile: the pool's, which is for one GPU with its share of the node, or the CPU's.

        A model with its own CPU, memory or choice of pools has one of its own, since KubeAI takes these from the
        profile. Its name says
        what is in it: under the same name a change would roll out twice, with the chart and then with the Model, and
        KubeAI counts the first rollout's pods that still drain as ready, so that the second leaves none.
        """
        pools = [pool.key for pool in (self.pool, *self.fallbacks) if pool]
        if self.settings.resources.cpu or self.settings.resources.memory or self.fallbacks:
            return "-".join([self.name, *self.scheduling.amounts.values(), *pools])
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
