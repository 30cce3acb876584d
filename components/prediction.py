"""What a plan says beside its resources: how long a cold start takes, what limits it, and what the stack costs an hour.

All of it is computed from the settings, and from the sizes of images as far as a plan knows them; what is not known is
left out, never guessed. Predictions, not promises: `components/google/speeds.csv` has each constant with its source.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pulumi

from components import chosen_delivery, cost
from components.chosen_delivery import ChosenDelivery
from components.cost import Cost, rounded
from components.google import cold_start, image_disk, local_ssd, node_speed, prices
from components.google.cold_start import PredictedStart, Served, span
from components.google.image_disk import ImageDisk
from components.google.prices import Prices, Range
from components.serving.memory import Fit
from components.serving.runtime_profile import Profile
from components.settings.models import StackModel
from components.settings.places import StackPool
from components.settings.stack import Settings
from components.settings.types import GB, Target
from oci_model_serving.outputs import ColdStartOutput, StageOutput

TITLES = {"server_image_pull": "server's image", "image_pull": "pull", "load": "load", "server_start": "engine"}
"""The stages on the node, and what people call them."""
UNSIZED = "cold start not known: the image's size is not known yet, and sizeGb may say it"
SAID = "predicted: "
"""How what is said of a prediction begins."""
_HYPERDISK_MIB = 2_400
"""What one hyperdisk-balanced gives at most, in MiB/s, with the IOPS that it takes (`disk` has the bounds)."""


@dataclass(frozen=True)
class Improvement:
    """A change of one setting, and the cold start with it."""

    setting: str
    cold_start: PredictedStart


@dataclass(frozen=True)
class Start:
    """A model's cold start on its pool, and what would shorten it the most."""

    cold_start: PredictedStart
    improvement: Improvement | None = None

    @property
    def text(self) -> str:
        """The prediction as a sentence."""
        cold, longest = self.cold_start, self.cold_start.limiting
        told = (
            f"cold start {_spans(cold.total)}: {TITLES[longest.name]} {span(longest.seconds)}, bound by {longest.bound}"
        )
        if self.improvement is None:
            return told
        better = self.improvement
        return f"{told}; {better.setting} -> {_spans(better.cold_start.total)}"

    @property
    def cells(self) -> tuple[str, ...]:
        """For a table: the node, each stage, the total, what bounds the longest stage, and what helps."""
        cold, better = self.cold_start, self.improvement
        stages = (span(stage.seconds) for stage in cold.stages)
        helps = f"{better.setting} -> {_spans(better.cold_start.total)}" if better else ""
        bound = f"{TITLES[cold.limiting.name]}: {cold.limiting.bound}"
        return (_spans(cold.node_provision), *stages, _spans(cold.total), bound, helps)

    def data(self) -> dict[str, Any]:
        """For scripts; seconds."""
        cold = self.cold_start
        found: dict[str, Any] = {
            "node_provision": list(cold.node_provision),
            **{stage.name: round(stage.seconds, 1) for stage in cold.stages},
            "total": rounded(cold.total),
            "limiting": {"stage": cold.limiting.name, "bound": cold.limiting.bound},
        }
        if self.improvement:
            better = self.improvement
            found["improvement"] = {"setting": better.setting, "total": rounded(better.cold_start.total)}
        return found


@dataclass(frozen=True)
class Prediction:
    """What is predicted of a stack: cold starts by model, and cost; none of a stack without Google.

    `unsized` are the models on a pool whose image's size is not known; `profiles` has what servers on GPUs are told so
    that they start faster, by model, `deliveries` what `auto` has become.
    """

    starts: Mapping[str, Start] = field(default_factory=dict)
    fits: Mapping[str, Fit] = field(default_factory=dict)
    cost: Cost | None = None
    unsized: tuple[str, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    deliveries: Mapping[str, ChosenDelivery] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """For scripts."""
        if self.cost is None:
            return {}
        models: dict[str, dict[str, Any]] = {key: {"cold_start": None} for key in self.unsized}
        models |= {key: {"cold_start": one.data()} for key, one in self.starts.items()}
        for key, fit in self.fits.items():
            models.setdefault(key, {})["fit"] = {
                name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(fit).items()
            }
        for key, profile in self.profiles.items():
            models.setdefault(key, {})["profile"] = profile.data()
        for key, chosen in self.deliveries.items():
            models.setdefault(key, {})["delivery"] = chosen.data()
        return {"models": models, "cost": self.cost.data()}


def predict(settings: Settings, table: Prices | None = None, sizes_gb: Mapping[str, float] | None = None) -> Prediction:
    """Predict a stack.

    Args:
        settings: of the stack.
        table: prices; default: those that the environment chooses.
        sizes_gb: images' sizes in GB that the settings do not know, as those of another stack.
    """
    if settings.target is not Target.GKE:
        return Prediction()
    sizes = {**(sizes_gb or {}), **settings.image_sizes_gb}
    models = settings.models.items()
    placed = {key: (model, model.pool) for key, model in models if model.pool and model.pool.disk_known}
    starts = {key: _start(model, pool, sizes[key]) for key, (model, pool) in placed.items() if key in sizes}
    unsized = tuple(key for key in placed if key not in sizes)
    fits = {key: model.fit for key, model in settings.models.items() if model.fit and str(model.fit)}
    tuned = {key: model.tuned(model.traits) for key, model in settings.models.items()} if settings.serves else {}
    profiles = {key: profile for key, profile in tuned.items() if profile.choices}
    costs, deliveries = cost.of(settings, table or prices.chosen()), chosen_delivery.of(settings, sizes)
    return Prediction(starts, fits, costs, unsized, profiles, deliveries)


def say(prediction: Prediction) -> None:
    """Say it in the engine's plan; one that is made in this process shows it as a table (`SAID`)."""
    for key, fit in prediction.fits.items():
        pulumi.log.info(f"{SAID}models.{key}: {fit}")
    for key, profile in prediction.profiles.items():
        pulumi.log.info(f"{SAID}models.{key}: {profile.text}")
    for key, chosen in prediction.deliveries.items():
        pulumi.log.info(f"{SAID}models.{key}: {chosen.text}")
    for key, start in prediction.starts.items():
        pulumi.log.info(f"{SAID}models.{key}: {start.text}")
    for key in prediction.unsized:
        pulumi.log.info(f"{SAID}models.{key}: {UNSIZED}")
    if prediction.cost and (prediction.cost.at_max[1] or prediction.cost.unpriced):
        pulumi.log.info(f"{SAID}cost: {prediction.cost.text}")


def described(model: StackModel, size_bytes: int, *, compiled: bool) -> dict[str, Any] | None:
    """A model's cold start as the stack's outputs hold it; None where nothing can be said.

    Args:
        model: the model.
        size_bytes: of its image.
        compiled: it has a compile cache, which is used.
    """
    known = model.predicted_start(size_bytes, compiled=compiled)
    stages = model.predicted_stages(size_bytes, compiled=compiled)
    if not stages:
        return None
    predicted = {
        stage.name: StageOutput(
            seconds=round(stage.seconds, 3),
            size_bytes=int(stage.size_bytes),
            bound=stage.bound,
            constant=stage.constant.name,
            value=round(stage.constant.value, 3),
            unit=stage.constant.unit,
        )
        for stage in stages
    }
    node_provision = list(known.node_provision) if known else []
    return ColdStartOutput(node_provision=node_provision, stages=predicted).model_dump()


def _start(model: StackModel, pool: StackPool, size_gb: float) -> Start:
    served = model.served(size_gb * GB)

    def on(disk: ImageDisk, served: Served = served) -> PredictedStart:
        return cold_start.predict(node_speed.node_of(disk, pool.machine), served)

    now = on(pool.image_disk)
    candidates = [(setting, on(disk)) for setting, disk in _other_disks(pool)]
    if _may_stream(model):
        streamed = on(pool.image_disk, replace(served, streamed=True))
        candidates.append((f"models.{model.key}.args: [--load-format=runai_streamer]", streamed))
    best = cold_start.faster(candidates, now)
    return Start(now, Improvement(*best) if best else None)


def _may_stream(model: StackModel) -> bool:
    """Whether vLLM's loader of several threads is another way to load it: not chosen already, and not of a GGUF."""
    other = model.settings.server or model.args.names("--load-format") or model.tuned(model.traits).streams
    other = other or model.delivery.streamed
    return not other and model.traits is not None and not model.traits.weights_file


def _other_disks(pool: StackPool) -> Iterator[tuple[str, ImageDisk]]:
    """The disks that the pool's machine could have instead, with the setting of each."""
    path, boot, machine = f"nodePools.{pool.key}", pool.settings.boot_disk, pool.machine
    if pool.image_disk.is_local:
        return
    twin = machine.name.removesuffix(local_ssd.WITHOUT)
    found = local_ssd.of(twin)
    for count in sorted(found.counts) if found else ():  # of those that are as fast as each other the first is told
        local = image_disk.on_local_ssd(twin, count)
        if local:
            yield f"{path}.machineType: {twin}" if twin != machine.name else f"{path}.localSsd: {count}", local
    for kind in machine.disk_types:
        if kind.startswith("hyperdisk"):
            mib, iops = _HYPERDISK_MIB, _HYPERDISK_MIB * 4
            if boot.size_gb * 500 >= iops:
                provisioned = f"provisionedIops: {iops}, provisionedThroughput: {mib}"
                yield (
                    f"{path}.bootDisk: {{sizeGb: {boot.size_gb}, type: {kind}, {provisioned}}}",
                    ImageDisk(kind, boot.size_gb, 0, iops, mib),
                )
        elif kind != pool.image_disk.kind:
            yield f"{path}.bootDisk.type: {kind}", ImageDisk(kind, boot.size_gb)


def _spans(range_: Range) -> str:
    return f"{span(range_[0])} to {span(range_[1])}"
