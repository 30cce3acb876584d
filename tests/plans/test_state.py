"""State of the version before keeps working: each of its resources has the same URN today, or an alias leads to it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from offline.plan import Plan
from tests import serving
from tests.plans import golden

BEFORE = Path(__file__).parent / "before"
"""Type, name and parent of each resource of the plans at 7fb32bd."""


def urns(stack: str, resources: Iterable[Mapping[str, Any]]) -> set[str]:
    """The URNs that the engine gives these resources, and those of their aliases."""
    all_ = list(resources)
    by_name = {f"{one['type']}::{one['name']}": one for one in all_}

    def qualified(resource: Mapping[str, Any]) -> str:
        parent = resource.get("parent")
        return f"{qualified(by_name[parent])}${resource['type']}" if parent else str(resource["type"])

    made = {f"urn:pulumi:{stack}::{serving.NAMESPACE}::{qualified(one)}::{one['name']}" for one in all_}
    return {*made, *(alias for one in all_ for alias in one.get("aliases", ()))}


def lost(stack: str, today: Iterable[Mapping[str, Any]]) -> set[str]:
    before = json.loads((BEFORE / f"{stack}.json").read_text(encoding="utf-8"))
    assert before
    return urns(stack, before) - urns(stack, today)


def planned(stack: str) -> list[dict[str, Any]]:
    if stack == "dev":  # as it was deployed: its settings name another builder now, whose resources are others
        settings = serving.settings_of(serving.ROOT / "Pulumi.dev.yaml")
        for model in settings["models"].values():
            model["builder"] = "docker"
        recording = serving.run(settings, stack_name="dev")
        before: list[dict[str, Any]] = Plan(serving.NAMESPACE, "dev", recording).data()["resources"]
        return before
    found: list[dict[str, Any]] = json.loads(golden.path(stack).read_text(encoding="utf-8"))["resources"]
    return found


@pytest.mark.parametrize("stack", golden.STACKS)
def test_no_resource_of_a_deployed_stack_has_lost_its_urn(stack: str) -> None:
    assert lost(stack, planned(stack)) == set()


def test_no_resource_of_the_local_stack_has_lost_its_urn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".local" / "model").mkdir(parents=True)
    (tmp_path / ".local" / "model" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)

    recording = serving.run(serving.settings_of(serving.ROOT / "Pulumi.local.yaml"), stack_name="local")

    assert lost("local", Plan(serving.NAMESPACE, "local", recording).data()["resources"]) == set()


@pytest.mark.parametrize("change", ["type", "name", "parent"])
def test_a_resource_of_another_type_name_or_parent_is_lost_unless_an_alias_leads_to_it(change: str) -> None:
    today = planned("dev")
    pool = next(one for one in today if one["name"] == "l4" and one["type"].endswith(":NodePool"))
    others = [one for one in today if one is not pool]
    moved = {**pool, change: "oci-model-serving:index:Cluster::cluster" if change == "parent" else "other:index:Other"}

    (urn,) = lost("dev", [*others, moved])
    assert urn.endswith("oci-model-serving:index:GpuNodePool$gcp:container/nodePool:NodePool::l4")
    assert lost("dev", [*others, {**moved, "aliases": [urn]}]) == set()
