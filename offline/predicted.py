"""What two plans predict, side by side: the cold start of each model, and the cost of the stack, for people to read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.google.cold_start import span

_NOTHING = "-"


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
        table = [f"| {what} | {old} | {new if new != old else '='} |" for what, old, new in rows]
        source = self.after.get("cost", {}).get("source", "")
        under = ["", f"Predicted, not measured; cost by {source}."] if source else []
        return ["", "| predicted | before | after |", "|---|---|---|", *table, *under]

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        before, after = self.before.get("models", {}), self.after.get("models", {})
        for key in sorted({*before, *after}):
            old, new = (_start(side.get(key, {}).get("cold_start")) for side in (before, after))
            if old != _NOTHING or new != _NOTHING:
                yield f"cold start of `{key}`", old, new
        old_cost, new_cost = self.before.get("cost", {}), self.after.get("cost", {})
        for name, title in (("at_min", "at min"), ("at_max", "at max"), ("paused", "paused")):
            if old_cost or new_cost:
                yield f"cost an hour {title}", _usd(old_cost.get(name)), _usd(new_cost.get(name))


def _start(found: Mapping[str, Any] | None) -> str:
    if not found:
        return _NOTHING
    least, most = found["total"]
    limiting = found["limiting"]
    return f"{span(least)} to {span(most)} ({limiting['stage'].replace('_', ' ')}: {limiting['bound']})"


def _usd(found: list[float] | None) -> str:
    if not found:
        return _NOTHING
    least, most = found
    return f"${least:,.2f}" if least == most else f"${least:,.2f} to ${most:,.2f}"
