"""A cold start beside what the plan has predicted of it, and which constant is off. Pure.

The prediction is that of the stack's outputs, made when it was deployed. Only what took place is compared: no pull of
an image that the node had, no node that was there, and of the server's start only what its log says.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from oci_model_serving.outputs import ColdStartOutput, StageOutput
from smoke.timeline import MODEL, SERVER, ColdStart

OFF = 1.5
"""By what factor a measurement differs from its prediction so that the constant is told."""
_NOTICED_SECONDS = 5.0
"""What differs by less is told of no constant: half of it is the resolution of Kubernetes' times."""
_SERVER_IMAGE = "server_image,gpu"
_NODE = ("node_least", "node_most")


@dataclass(frozen=True)
class Compared:
    """A stage in seconds as predicted (least, most) and as measured, and what was thought to bound it.

    `ratio` is that of the measured to the nearer of both; None where nothing was predicted to pass.
    """

    stage: str
    predicted: tuple[float, float]
    measured: float
    ratio: float | None
    bound: str


@dataclass(frozen=True)
class OffConstant:
    """A constant of `components/google/speeds.csv` that does not hold here: its value there, and what was measured."""

    stage: str
    constant: str
    value: float
    measured: float
    unit: str


@dataclass(frozen=True)
class Comparison:
    """The stages that can be compared, and the constants that are off."""

    stages: tuple[Compared, ...]
    off: tuple[OffConstant, ...]


def compare(found: ColdStart, predicted: ColdStartOutput | None) -> Comparison | None:
    """Hold a cold start against its prediction; None where the outputs have none."""
    if predicted is None:
        return None
    measured = _measured(found)
    stages, off = [], []
    node = tuple(predicted.node_provision)
    if found.node_is_new and found.node_provision is not None and len(node) == 2:
        compared = _compared("node_provision", (node[0], node[1]), found.node_provision, "the node")
        stages.append(compared)
        if compared.ratio and _differs(compared.ratio, found.node_provision, node):
            late = compared.ratio > 1
            off.append(OffConstant(compared.stage, _NODE[late], node[late], found.node_provision, "s"))
    for name, stage in predicted.stages.items():
        seconds = measured.get(name)
        if seconds:
            stages.append(_compared(name, (stage.seconds, stage.seconds), seconds, stage.bound))
            off += _off(name, stage, seconds, _bytes(found, name))
    if found.total is not None and len(stages) > len(predicted.stages) > 0:
        sums = sum(stage.seconds for stage in predicted.stages.values())
        stages.append(_compared("total", (node[0] + sums, node[1] + sums), found.total, ""))
    return Comparison(tuple(stages), tuple(off))


def _measured(found: ColdStart) -> dict[str, float | None]:
    """The figures that the stages of a prediction are about."""
    told = found.load is not None and found.server_start is not None
    return {
        "server_image_pull": sum(pull.seconds for pull in found.pulls if pull.role == SERVER),
        "image_pull": found.image_pull,
        "load": found.load,
        "server_start": round(max(0.0, (found.server_start or 0.0) - (found.load or 0.0)), 3) if told else None,
    }


def _bytes(found: ColdStart, stage: str) -> int:
    """How many bytes a stage was about, where that is told; else 0."""
    role = {"server_image_pull": SERVER, "image_pull": MODEL}.get(stage)
    return sum(pull.size_bytes or 0 for pull in found.pulls if pull.role == role)


def _compared(stage: str, predicted: tuple[float, float], measured: float, bound: str) -> Compared:
    nearer = min(max(measured, predicted[0]), predicted[1])
    return Compared(stage, predicted, measured, round(measured / nearer, 2) if nearer else None, bound)


def _off(name: str, stage: StageOutput, measured: float, size_bytes: int) -> Iterator[OffConstant]:
    expected = stage.seconds
    if size_bytes and stage.size_bytes:
        # A larger image than was thought takes longer, and no speed is off for that.
        larger = size_bytes / stage.size_bytes
        expected *= larger
        if name == "server_image_pull" and not 1 / OFF <= larger <= OFF:
            yield OffConstant(name, _SERVER_IMAGE, stage.size_bytes / 1e9, round(size_bytes / 1e9, 3), "GB")
    if expected and stage.constant and _differs(measured / expected, measured, (expected, expected)):
        factor = measured / expected if stage.unit == "s" else expected / measured
        yield OffConstant(name, stage.constant, stage.value, float(f"{stage.value * factor:.3g}"), stage.unit)


def _differs(ratio: float, measured: float, predicted: tuple[float, ...]) -> bool:
    near = min(abs(measured - one) for one in predicted)
    return not 1 / OFF <= ratio <= OFF and near >= _NOTICED_SECONDS
