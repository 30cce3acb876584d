"""What two plans predict, side by side: the cold start of each model, and the cost of the stack, for people to read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from components.google.cold_start import span

_NOTHING = "-"
_Seconds = tuple[Annotated[float, Field(ge=0, le=1e9)], Annotated[float, Field(ge=0, le=1e9)]]
_Stage = Annotated[float, Field(ge=0, le=1e9)]
_Usd = tuple[Annotated[float, Field(ge=0, le=1e12)], Annotated[float, Field(ge=0, le=1e12)]]


class _Limiting(BaseModel):
    stage: str
    bound: str


class WrittenStart(BaseModel):
    """A cold start as a plan's JSON has it: seconds from no node to the first answer, and of each stage."""

    total: _Seconds
    limiting: _Limiting
    node_provision: _Seconds = (0, 0)
    server_image_pull: _Stage = 0
    image_pull: _Stage = 0

    def on_node(self, *, server_image: bool, image: bool) -> float:
        """Seconds on a node that is there, which pulls the server's image, the model's, both or none."""
        there = (0 if server_image else self.server_image_pull) + (0 if image else self.image_pull)
        return max(0, self.total[0] - self.node_provision[0] - there)


class _Model(BaseModel):
    cold_start: WrittenStart | None = None


class WrittenCost(BaseModel):
    """What a stack costs as a plan's JSON has it: US dollars an hour, least and most."""

    at_min: _Usd | None = None
    at_max: _Usd | None = None
    paused: _Usd | None = None
    unpriced: list[str] = []
    source: str = ""


class _Written(BaseModel):
    """What is read of a plan's predictions: the plan may be of another version, or of somebody else's making."""

    models: dict[str, _Model] = {}
    cost: WrittenCost | None = None


def is_read(predictions: object) -> bool:
    """Whether predictions of a plan in JSON have the form that is read here."""
    try:
        _Written.model_validate(predictions)
    except ValidationError:
        return False
    return True


@dataclass(frozen=True)
class Predictions:
    """The predictions of two plans in their JSON form; of a plan that an older version has made there are none."""

    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """For scripts: both, as the plans have them."""
        return {"before": dict(self.before), "after": dict(self.after)}

    def lines(self) -> list[str]:
        """What has changed, for a terminal."""
        return [f"predicted  {what}: {old} -> {new}" for what, old, new in self._rows() if old != new]

    def starts(self, model: str) -> tuple[WrittenStart | None, WrittenStart | None]:
        """The cold start of a model before and after; none where nothing is predicted."""
        before, after = (side.models.get(model, _Model()).cold_start for side in self._read)
        return before, after

    def costs(self) -> tuple[WrittenCost | None, WrittenCost | None]:
        """What the stack costs before and after; none where nothing is predicted."""
        before, after = (side.cost for side in self._read)
        return before, after

    def rows(self) -> list[tuple[str, str, str]]:
        """All of it: what, before and after (`-` where nothing is predicted), as words."""
        return list(self._rows())

    @cached_property
    def _read(self) -> tuple[_Written, _Written]:
        return _Written.model_validate(self.before), _Written.model_validate(self.after)

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        before, after = self._read
        for key in sorted({*before.models, *after.models}):
            old, new = (_start(side.models.get(key, _Model()).cold_start) for side in (before, after))
            if old != _NOTHING or new != _NOTHING:
                yield f"cold start of {key}", old, new
        if before.cost or after.cost:
            costs = [side.cost or WrittenCost() for side in (before, after)]
            for title, pick in _COSTS.items():
                old, new = (_usd(pick(cost)) for cost in costs)
                yield f"cost an hour {title}", old, new


_COSTS: Mapping[str, Callable[[WrittenCost], _Usd | None]] = {
    "at min": lambda cost: cost.at_min,
    "at max": lambda cost: cost.at_max,
    "paused": lambda cost: cost.paused,
}


def _start(found: WrittenStart | None) -> str:
    if not found:
        return _NOTHING
    least, most = found.total
    return f"{spans(least, most)} ({found.limiting.stage.replace('_', ' ')}: {found.limiting.bound})"


def _usd(found: _Usd | None) -> str:
    if not found:
        return _NOTHING
    least, most = found
    return f"${least:,.2f}" if least == most else f"${least:,.2f} to ${most:,.2f}"


def spans(least: float, most: float) -> str:
    """A range of seconds as people say it: `45 s`, `7.2 to 12 min`, `45 s to 2.0 min`."""
    low, high = span(least), span(most)
    if low == high:
        return high
    return f"{low.partition(' ')[0]} to {high}" if low.split(" ")[1:] == high.split(" ")[1:] else f"{low} to {high}"
