"""How a model's engine is started: on which nodes, with what, and whether it fits into the memory of its GPUs."""

from dataclasses import dataclass, field, replace
from functools import cached_property

from components.google import gpu_memory, gpu_sharing, node_speed
from components.google.accelerators import AcceleratorError
from components.google.pool_origin import NodeOrigin
from components.serving import engine_args, parallel, runtime_profile, server_features, sidecar
from components.serving.engine_args import EngineArgs
from components.serving.memory import UTILISATION, Fit, Memory
from components.serving.parallel import Parallel
from components.serving.runtime_profile import Profile
from components.serving.scheduling import NEEDED_BY_KSERVE, Scheduling, any_of, away_from, schedule
from components.serving.sidecar import Sidecar
from components.settings.images import StackAdapter, StackCompileCache, StackImage
from components.settings.places import StackPool
from components.settings.serving import KServeSettings, KubeAISettings, ModelSettings
from modelimage.architecture import Task
from modelimage.dimensions import Dimensions
from modelimage.origins import Origin
from modelimage.traits import Traits


@dataclass(frozen=True)
class StackEngine(StackImage):
    """The engine that serves a model of a stack.

    Attributes:
        settings: what they say of the model.
        platform: settings of what serves it.
        pool: the node pool that it runs on; None on CPU.
        fallbacks: the pools that it runs on where that one is full, in this order.
        gpus_of_others: what the pool's other models take of it at most.
        adapters: its LoRA adapters.
        compile_cache: what its server has compiled before.
        dimensions: what decides on its memory, as far as that is known before a build.
    """

    settings: ModelSettings
    platform: KServeSettings | KubeAISettings
    pool: StackPool | None = None
    fallbacks: tuple[StackPool, ...] = ()
    gpus_of_others: int = 0
    adapters: tuple[StackAdapter, ...] = ()
    compile_cache: StackCompileCache | None = None
    dimensions: Dimensions = field(default_factory=Dimensions)

    @property
    def beside(self) -> tuple[StackImage, ...]:
        """The images that its pods mount beside its own."""
        return (*self.adapters, *([self.compile_cache] if self.compile_cache else []))

    def task_of(self, traits: Traits) -> Task:
        """What it is asked for: what the settings say, or else its files."""
        return self.settings.task or Task(traits.task)

    @property
    def server_image(self) -> str:
        """The inference server's image: its own server's, or the platform's for GPUs or for CPU."""
        if self.settings.server:
            return self.settings.server.image
        return self.platform.server.image if self.pool else self.platform.server.cpu_image

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
        own = self._in_memory(self.args)
        length = [arg for arg in self.tuned(self.traits).args if arg.startswith("--max-model-len=")]
        if not length or ((fit := own.fit()).starts and (fit.headroom_percent or 0.0) >= 0):
            return own
        return self._in_memory(engine_args.read([*length, *self.settings.args]))

    def _in_memory(self, args: EngineArgs) -> Memory:
        gpu_gb = gpu_memory.cuda_gb(self.pool.machine.accelerator, self.pool.gpu_memory_gb) if self.pool else 0.0
        return Memory(
            args=args,
            spread=self.spread,
            gpu_gb=gpu_gb,
            size_gb=self.size_gb,
            dimensions=self.dimensions,
            adapters_gb=sum(adapter.size_gb or 0.0 for adapter in self.adapters),
            share=self.pool.gpu_utilization if self.pool and gpu_sharing.shared(self.pool.settings) else UTILISATION,
        )

    @property
    def auto(self) -> bool:
        """Whether the server is tuned by what is known of image, files and GPUs.

        Not by itself on KubeAI: a version's change of its chart replaces its pods, and one of its Models at the same
        time would do so once more, of which the second leaves none that serves (`profile`).
        """
        default = "plain" if isinstance(self.platform, KubeAISettings) else "auto"
        return self.settings.server is None and (self.platform.server.profile or default) == "auto"

    def tuned(self, traits: Traits | None) -> Profile:
        """What its server is told beside what it must be, where the files of its image say that."""
        if not (self.auto and self.gpus and self.machines_known):
            return Profile()
        given = self.platform.server.features
        shared = bool(self.pool and gpu_sharing.shared(self.pool.settings))
        told = self.pool.gpu_utilization if self.pool and shared else None
        facts = runtime_profile.EngineFacts(
            key=self.key,
            features=server_features.known(self.server_image) if given is None else frozenset(given),
            args=self.args,
            env={*self.settings.env, *self.settings.secret_env},
            gpus=self.gpus,
            spread=self.spread,
            cpu=self.scheduling.cpu,
            memory=self.scheduling.memory,
            shm=self.shm,
            shm_is_told=isinstance(self.platform, KServeSettings),
            share=self.args.share("--gpu-memory-utilization") or told,
            length=self._sure_length,
            streamed=self.settings.delivery.streamed,
        )
        return runtime_profile.choose(facts, self.task_of(traits) if traits else self.settings.task, traits)

    @property
    def shm(self) -> str:
        """The size of /dev/shm on KServe."""
        return self.settings.resources.shm or (
            runtime_profile.shm(self.gpus, self.scheduling.memory) if self.auto else runtime_profile.SHM
        )

    @property
    def _sure_length(self) -> int | None:
        """The longest sequence that fits where its own surely does not: of a folder, since the hub may be silent."""
        if self.settings.origin is not Origin.FOLDER or not self.gpus:
            return None
        fit = self._in_memory(self.args).fit()
        return fit.context_that_fits if fit.loads and not fit.starts else None

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
    def sidecar(self) -> Sidecar | None:
        """What hands the image to its server in each pod; None where the node's runtime or KServe brings it.

        Raises:
            AcceleratorError: no machine type fits its pool.
        """
        return self.streaming_sidecar if self.settings.delivery.streamed else None

    @property
    def streaming_sidecar(self) -> Sidecar:
        """What would do so if its delivery were `stream`.

        Raises:
            AcceleratorError: no machine type fits its pool.
        """
        pool = self.pool
        processes = memory = None
        if isinstance(self.platform, KServeSettings):
            processes, memory = self.platform.stream.processes, self.platform.stream.memory
        if processes or pool is None:
            return Sidecar(processes or 1, memory or "", self.readers)
        share = self.gpus / pool.gpu_slots
        made = sidecar.size(node_speed.network(pool.machine), pool.machine.vcpus, share=share)
        return replace(made, given=memory or "", readers=self.readers)

    @property
    def readers(self) -> int:
        """How many of the server's processes read all of the weights: each, unless they are told to share."""
        return 1 if parallel.loads_together(self.args) else max(self.spread.gpus, 1)

    def _schedule(self, settings: ModelSettings) -> Scheduling:
        if self.pool is None:
            made, platform = schedule(settings, sidecar=self.sidecar), self.platform
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
                sidecar=self.sidecar,
            )
            for pool in (self.pool, *self.fallbacks)
        ]
        return any_of(ranked) if self.fallbacks else ranked[0]
