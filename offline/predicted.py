"""What two plans predict, side by side: the cold start of each model, and the cost of the stack, for people to read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from components.google.cold_start import span
from oci_model_serving.foreign import in_line

_NOTHING = "-"


_MARKS = str.maketrans({"|": "\\|", "`": "'", "<": "&lt;", ">": "&gt;", "[": "\\[", "@": "&#64;"})
_Seconds = tuple[Annotated[float, Field(ge=0, le=1e9)], Annotated[float, Field(ge=0, le=1e9)]]
_Usd = tuple[Annotated[float, Field(ge=0, le=1e12)], Annotated[float, Field(ge=0, le=1e12)]]


class _Limiting(BaseModel):
    stage: str
    bound: str


class _Start(BaseModel):
    total: _Seconds
    limiting: _Limiting


class _Model(BaseModel):
    cold_start: _Start | None = None


class _Cost(BaseModel):
    at_min: _Usd | None = None
    at_max: _Usd | None = None
    paused: _Usd | None = None
    source: str = ""


class _Written(BaseModel):
    """What is read of a plan's predictions: the plan may be of another version, or of somebody else's making."""

    models: dict[str, _Model] = {}
    cost: _Cost | None = None


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

    def markdown(self) -> list[str]:
        """All of it, for a comment; nothing where nothing is predicted."""
        rows = list(self._rows())
        if not rows:
            return []
        table = [f"| {what} | {_cell(old)} | {_cell(new) if new != old else '='} |" for what, old, new in rows]
        cost = _Written.model_validate(self.after).cost
        under = ["", f"Predicted, not measured; cost by {_cell(cost.source)}."] if cost and cost.source else []
        return ["", "| predicted | before | after |", "|---|---|---|", *table, *under]

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        before, after = _Written.model_validate(self.before), _Written.model_validate(self.after)
        for key in sorted({*before.models, *after.models}):
            old, new = (_start(side.models.get(key, _Model()).cold_start) for side in (before, after))
            if old != _NOTHING or new != _NOTHING:
                yield f"cold start of `{_cell(key)}`", old, new
        if before.cost or after.cost:
            costs = [side.cost or _Cost() for side in (before, after)]
            for title, pick in _COSTS.items():
                old, new = (_usd(pick(cost)) for cost in costs)
                yield f"cost an hour {title}", old, new


_COSTS: Mapping[str, Callable[[_Cost], _Usd | None]] = {
    "at min": lambda cost: cost.at_min,
    "at max": lambda cost: cost.at_max,
    "paused": lambda cost: cost.paused,
}


def _cell(text: str) -> str:
    """A text in a table of a comment, without marks of its own."""
    return in_line(text, 500).translate(_MARKS)


def _start(found: _Start | None) -> str:
    if not found:
        return _NOTHING
    least, most = found.total
    return f"{span(least)} to {span(most)} ({found.limiting.stage.replace('_', ' ')}: {found.limiting.bound})"


def _usd(found: _Usd | None) -> str:
    if not found:
        return _NOTHING
    least, most = found
    return f"${least:,.2f}" if least == most else f"${least:,.2f} to ${most:,.2f}"
