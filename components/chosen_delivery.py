"""What a plan says of `delivery: auto`: what it has become, why, and how long a start by the other way would take."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from components.cost import rounded
from components.google.cold_start import PredictedStart, span
from components.settings.deliveries import AskedDelivery, DeliveryChoice
from components.settings.models import StackModel
from components.settings.stack import Settings
from components.settings.types import GB


@dataclass(frozen=True)
class ChosenDelivery:
    """What `auto` has become, and the predicted starts by it and by the other way, where they are known."""

    choice: DeliveryChoice
    start: PredictedStart | None = None
    other: PredictedStart | None = None

    @property
    def text(self) -> str:
        """The choice as a sentence."""
        told = f"delivery auto is {self.choice.delivery.value}: {self.choice.why}"
        if not (self.start and self.other and self.choice.other):
            return told
        ours, theirs = (span(start.on_node) for start in (self.start, self.other))
        return f"{told}; on the node {ours}, by {self.choice.other.value} {theirs}"

    def data(self) -> dict[str, Any]:
        """For scripts; seconds."""
        found: dict[str, Any] = {"delivery": self.choice.delivery.value, "why": self.choice.why}
        if self.choice.other:
            total = rounded(self.other.total) if self.other else None
            found["other"] = {"delivery": self.choice.other.value, "total": total}
        return found


def of(settings: Settings, sizes_gb: Mapping[str, float]) -> dict[str, ChosenDelivery]:
    """The choices of a stack; `sizes_gb` are those of images that are known."""
    found = {}
    for key, choice in settings.choices.items():
        model, size = settings.models[key], sizes_gb.get(key)
        if size is None or choice.other is None:
            found[key] = ChosenDelivery(choice)
            continue
        asked = model.settings.model_copy(update={"asked": AskedDelivery(choice.other.value)})
        other: StackModel = replace(model, settings=asked)
        starts = (one.predicted_start(size * GB) for one in (model, other))
        found[key] = ChosenDelivery(choice, *starts)
    return found
