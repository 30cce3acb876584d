"""A stack as it is being written: what it is to say, and what checks, forecasts and prices say of that."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from components import cost, prediction
from components.cost import Cost
from components.google.prices import Prices
from components.prediction import Start
from components.serving.memory import Fit
from components.settings.reader import SettingsError, parse
from components.settings.stack import Settings


@dataclass(frozen=True)
class StackDraft:
    """What a stack is to say, apart from its nodes.

    Attributes:
        stack: its name.
        project: Google project.
        region: Google region.
        key: of its model.
        model: what the file says of the model's image.
        size_gb: of that image, in GB.
        cluster: what the file says of the cluster, `{create: …}` or `{name: …, location: …}`.
        platforms: what it says of those.
        zones: of the pool; empty leaves them to GKE.
    """

    stack: str
    project: str
    region: str
    key: str
    model: Mapping[str, Any]
    size_gb: float
    cluster: Mapping[str, Any]
    platforms: Mapping[str, Any] = field(default_factory=dict)
    zones: Sequence[str] = ()

    @property
    def cluster_name(self) -> str:
        """In GKE."""
        return str((self.cluster.get("create") or self.cluster)["name"])

    def values(
        self, model: Mapping[str, Any], pools: Mapping[str, Any] | None = None, cluster: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The whole configuration, keys without the project's namespace."""
        return {
            "target": "gke",
            "registry": {"create": {"repository": "models"}},
            "cluster": dict(cluster or self.cluster),
            **({"nodePools": dict(pools)} if pools else {}),
            **({"platforms": dict(self.platforms)} if self.platforms else {}),
            "models": {self.key: {**self.model, **model}},
        }

    def read(self, values: Mapping[str, Any]) -> Settings:
        """The settings that a configuration makes.

        Raises:
            SettingsError: it is refused.
        """
        return parse(values, stack=self.stack, project=self.project, region=self.region)


@dataclass(frozen=True)
class Option:
    """Nodes for a model.

    Attributes:
        accelerator: GKE's name of the GPU; empty of nodes without.
        count: GPUs of a node.
        machine: machine type; empty where it is not chosen.
        values: the whole configuration, keys without the project's namespace.
        reasons: why it says what it says, by the path of a key.
        problems: why it does not do; empty where it does.
        cost: of the stack.
        start: predicted.
        fit: of the model on the GPUs.
    """

    accelerator: str
    count: int
    machine: str
    values: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    cost: Cost = field(default_factory=Cost)
    start: Start | None = None
    fit: Fit | None = None

    @property
    def title(self) -> str:
        """As people call it, and `--gpu` takes it."""
        return f"{self.accelerator}:{self.count}" if self.accelerator else "cpu"

    @property
    def usd(self) -> float:
        """US dollars an hour at most, with the model served; infinite where a price is not known."""
        return math.inf if self.cost.unpriced else self.cost.at_min[1]


def judged(draft: StackDraft, option: Option, values: dict[str, Any], prices: Prices) -> Option:
    """The option with a configuration, and what the checks, the forecast and the prices say of it."""
    try:
        settings = draft.read(values)
    except SettingsError as error:
        return replace(option, values=values, problems=tuple(error.problems))
    foretold = prediction.predict(settings, prices)
    return replace(
        option,
        values=values,
        problems=settings.warnings,
        cost=cost.of(settings, prices),
        start=foretold.starts.get(draft.key),
        fit=settings.models[draft.key].fit,
    )
