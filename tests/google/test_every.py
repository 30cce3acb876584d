"""That the stacks with every setting have every setting."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from components.settings.google import ClusterCreate, NodePoolSettings
from components.settings.registry import RegistryCreate
from tests.engine.ground import PROJECT
from tests.google import every

SAID = [every.settings(cluster)["config"] for cluster in every.CLUSTERS.values()]


def keys(model: type[BaseModel], value: Any) -> set[str]:
    """The keys that a value of a section gives, dotted."""
    return {key for key in _paths(model.model_validate(value, strict=False), given=True) if key}


def _paths(section: BaseModel, *, given: bool, above: str = "") -> set[str]:
    found: set[str] = set()
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel) and (not given or name in section.model_fields_set):
            found |= _paths(value, given=given, above=f"{above}{name}.")
        elif not given or name in section.model_fields_set:
            found.add(f"{above}{name}")
    return found


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (RegistryCreate, [config[f"{PROJECT}:registry"]["create"] for config in SAID]),
        (ClusterCreate, [config[f"{PROJECT}:cluster"]["create"] for config in SAID]),
        (NodePoolSettings, [pool for config in SAID for pool in config[f"{PROJECT}:nodePools"].values()]),
    ],
)
def test_no_setting_of_googles_side_is_left_out(model: type[BaseModel], values: list[Any]) -> None:
    said = set().union(*(keys(model, value) for value in values))
    # A pool that exists is of a cluster that exists (test_provider).
    assert said == _paths(model.model_validate(values[0], strict=False), given=False) - {"existing"}
