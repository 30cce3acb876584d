"""The models of a stack, with all that its other settings say of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from components.google import cold_start, gpu_memory, gpu_sharing
from components.google.accelerators import AcceleratorError
from components.google.cold_start import PredictedStart, Served, Stage
from components.google.pool_origin import NodeOrigin
from components.serving import engine_args, parallel
from components.serving.engine_args import EngineArgs
from components.serving.memory import UTILISATION, Fit, Memory
from components.serving.parallel import Parallel
from components.serving.scheduling import NEEDED_BY_KSERVE, Scheduling, any_of, away_from, schedule
from components.settings.images import StackAdapter, StackCompileCache, StackImage
from components.settings.places import StackPool
from components.settings.pods import Ingress
from components.settings.pulling import PULL_SECRET, of_hosts
from components.settings.serving import BUSYBOX, KServeSettings, KubeAISettings, ModelSettings
from components.settings.types import Target
from modelimage.architecture import Task
from modelimage.dimensions import Dimensions
from modelimage.traits import Traits
from oci_model_serving.delivery import Delivery
from oci_model_serving.reference import host_of

CPU_PROFILE = "cpu"
"""KubeAI's profile of models without a node pool (chart 0.22.1, resourceProfiles)."""


@dataclass(frozen=True)
class StackModel(StackImage):
    """A model of a stack.

    Attributes:
        settings: what they say of it.
        platform: settings of what serves it.
        pool: the node pool that it runs on; None on CPU.
        fallbacks: the pools that it runs on where that one is full, in this order.
        credentials: the registries that nodes cannot read by themselves, by the keys of `pullSecrets`.
        sidecars: images that others put into its pods; None where they may put any there.
        gpus_of_others: what the pool's other models take of it at most.
        drain_timeout: seconds that its pods may take to finish their answers; on KubeAI the longest of all its models.
        adapters: its LoRA adapters.
        compile_cache: what its server has compiled before.
        dimensions: what decides on its memory, as far as that is known before a build.
        ingress: who may reach its pods.
        proxies: the range of the gateway's proxies, where this stack makes their subnetwork.
    """

    settings: ModelSettings
    platform: KServeSettings | KubeAISettings
    pool: StackPool | None = None
    fallbacks: tuple[StackPool, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict)
    sidecars: tuple[str, ...] | None = None
    gpus_of_others: int = 0
    drain_timeout: int = 600
    adapters: tuple[StackAdapter, ...] = ()
    compile_cache: StackCompileCache | None = None
    dimensions: Dimensions = field(default_factory=Dimensions)
    ingress: Ingress = field(default_factory=Ingress)
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
    def beside(self) -> tuple[StackImage, ...]:
        """The images that its pods mount beside its own."""
        return (*self.adapters, *([self.compile_cache] if self.compile_cache else []))

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
        """The inference server's image: its own server's, or the platform's for GPUs or for CPU."""
        if self.settings.server:
            return self.settings.server.image
        return self.platform.server.image if self.pool else self.platform.server.cpu_image

    @property
    def pull_secrets(self) -> tuple[str, ...]:
        """Names of the secrets with which its pods pull.

        Those for the registries of the images that its pods can have, where the cluster takes no others.
        """
        if self.delivery is Delivery.KUBEAI or self.delivery.pulled_by_pod:
            return (PULL_SECRET,) if self.credentials else ()
        if self.settings.pull_secrets is not None:
            return self.settings.pull_secrets
        weights = [image.image_host for image in (self, *self.adapters)]
        if self.sidecars is None or not all(weights):
            return tuple(self.credentials)
        return of_hosts(self.credentials, [*weights, *map(host_of, (self.server_image, *self.sidecars))])

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
    def gpus(self) -> int:
        """GPUs of one pod: none without a node pool."""
        if self.pool is None:
            return 0
        return gpu_sharing.default_gpus(self.pool.settings) if self.settings.gpus is None else self.settings.gpus

    @cached_property
    def args(self) -> EngineArgs:
        """What its settings tell the server beside what the program does."""
        return engine_args.read(self.settings.args)

    @property
    def spread(self) -> Parallel:
        """How its engine spreads over its GPUs."""
        return parallel.parallel(self.args, self.gpus)

    @property
    def in_memory(self) -> Memory:
        """It in the memory of its GPUs, or of a pod without.

        Raises:
            AcceleratorError: no machine type fits its pool.
        """
        gpu_gb = gpu_memory.cuda_gb(self.pool.machine.accelerator, self.pool.gpu_memory_gb) if self.pool else 0.0
        return Memory(
            args=self.args,
            spread=self.spread,
            gpu_gb=gpu_gb,
            size_gb=self.size_gb,
            dimensions=self.dimensions,
            adapters_gb=sum(adapter.size_gb or 0.0 for adapter in self.adapters),
            share=self.pool.gpu_utilization if self.pool and gpu_sharing.shared(self.pool.settings) else UTILISATION,
        )

    def served(self, image_bytes: float) -> Served:
        """What a node starts of it, with an image of that size."""
        return Served(
            image_bytes,
            streamed=self.args.value("--load-format") == "runai_streamer",
            eager=self.args.is_on("--enforce-eager"),
            preloaded=bool(self.pool and self.pool.settings.secondary_boot_disks),
        )

    def predicted_start(self, image_bytes: float) -> PredictedStart | None:
        """Its cold start on a new node of its pool; None where nothing is known of the disk that holds the images."""
        pool = self.pool
        if self.target is not Target.GKE or pool is None or not pool.disk_known:
            return None
        try:
            if not (pool.image_disk.is_local or pool.image_disk.kind in pool.machine.disk_types):
                return None  # the pool says that no node of it boots from such a disk
            return cold_start.predict(cold_start.node_of(pool.image_disk, pool.machine), self.served(image_bytes))
        except AcceleratorError:
            return None

    def predicted_stages(self, image_bytes: float) -> tuple[Stage, ...]:
        """The stages of its start that can be predicted: on CPU, where nothing is known of the node, vLLM's own."""
        known = self.predicted_start(image_bytes)
        if known:
            return known.stages
        return () if self.pool or self.settings.server else (cold_start.engine("cpu"),)

    @property
    def machines_known(self) -> bool:
        """Whether the nodes of all its pools are of machine types that there are; a pool says so where not."""
        try:
            return all(pool.machine for pool in (self.pool, *self.fallbacks) if pool)
        except AcceleratorError:
            return False

    @cached_property
    def fit(self) -> Fit | None:
        """Whether vLLM fits with it into its GPUs; None on CPU, by another server, and on a machine type unknown."""
        if self.pool is None or not self.gpus or self.settings.server:
            return None
        try:
            return self.in_memory.fit()
        except AcceleratorError:
            return None

    @cached_property
    def scheduling(self) -> Scheduling:
        """Where its pods run and what they get."""
        return self._schedule(self.settings)

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

    def _schedule(self, settings: ModelSettings) -> Scheduling:
        if self.pool is None:
            made, platform = schedule(settings), self.platform
            # Knative takes an affinity by a feature of its own only ("Kubernetes affinity"), and of KubeAI it would be
            # in the chart's values, whose change rolls out a second time.
            if isinstance(platform, KServeSettings) and platform.deployment_mode == "Standard":
                return replace(made, affinity=away_from([platform.namespace, *NEEDED_BY_KSERVE]))
            return made
        ranked = [
            schedule(
                settings,
                pool.settings,
                pool.selector,
                gpus_of_others=self.gpus_of_others,
                unbounded=pool.origin is NodeOrigin.ON_DEMAND,
            )
            for pool in (self.pool, *self.fallbacks)
        ]
        return any_of(ranked) if self.fallbacks else ranked[0]
