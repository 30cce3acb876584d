"""How a model of a stack starts on a node that has nothing of it, as far as that can be told beforehand."""

from dataclasses import dataclass

from components.google import cold_start, node_speed
from components.google.accelerators import AcceleratorError
from components.google.cold_start import PredictedStart, Served, Stage, StreamedBy
from components.serving import sidecar
from components.settings.engines import StackEngine
from components.settings.types import Target


@dataclass(frozen=True)
class StackStart(StackEngine):
    """What a node starts of a model, and how long that takes."""

    def served(self, image_bytes: float, *, compiled: bool | None = None) -> Served:
        """What a node starts of it, with an image of that size; `compiled` says whether it has a cache that is used."""
        return Served(
            image_bytes,
            streamed=self.args.value("--load-format") == "runai_streamer" or self.tuned(self.traits).streams,
            eager=self.args.is_on("--enforce-eager"),
            compiled=bool(self.compile_cache) if compiled is None else compiled,
            preloaded=bool(self.pool and self.pool.settings.secondary_boot_disks),
            door=self.door if self.settings.delivery.streamed else None,
        )

    @property
    def door(self) -> StreamedBy:
        """Through which its server reads the weights, or would if its delivery were `stream`.

        Raises:
            AcceleratorError: no machine type fits its pool.
        """
        return StreamedBy(self.streaming_sidecar.processes, sidecar.reads(self.scheduling.cpu), self.readers)

    def predicted_start(self, image_bytes: float, *, compiled: bool | None = None) -> PredictedStart | None:
        """Its cold start on a new node of its pool; None where nothing is known of the disk that holds the images."""
        pool = self.pool
        if self.target is not Target.GKE or pool is None or not pool.disk_known:
            return None
        try:
            if not (pool.image_disk.is_local or pool.image_disk.kind in pool.machine.disk_types):
                return None  # the pool says that no node of it boots from such a disk
            node = node_speed.node_of(pool.image_disk, pool.machine)
            return cold_start.predict(node, self.served(image_bytes, compiled=compiled))
        except AcceleratorError:
            return None

    def predicted_stages(self, image_bytes: float, *, compiled: bool | None = None) -> tuple[Stage, ...]:
        """The stages of its start that can be predicted: on CPU, where nothing is known of the node, vLLM's own."""
        known = self.predicted_start(image_bytes, compiled=compiled)
        if known:
            return known.stages
        return () if self.pool or self.settings.server else (cold_start.engine("cpu"),)
