"""What a change does to a stack that is up: what is ignored, what is replaced, and in which order."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine import stacks
from tests.engine.ground import ROOT, Stack
from tests.engine.provider.switches import Switches

pytestmark = [*stacks.ENGINE, pytest.mark.xdist_group("engine-changes")]

POOL = "gcp:container/nodePool:NodePool::l4"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stacks.ground(tmp_path_factory.mktemp("changes") / "ground") as ground:
        (dev,) = stacks.deployed(ground, "dev")
        yield dev


@pytest.fixture
def dev(deployed: Stack) -> Iterator[Stack]:
    with deployed.ground.kept():
        yield deployed


def ignored() -> dict[str, list[str]]:
    """What the plan of dev ignores, by type and name of the resource."""
    plan = json.loads((ROOT / "tests" / "plans" / "dev.json").read_text(encoding="utf-8"))["resources"]
    found = {f"{one['type']}::{one['name']}": one.get("options", {}).get("ignoreChanges", []) for one in plan}
    return {name: paths for name, paths in found.items() if paths}


# What the program reads of what it ignores keeps its form.
OF_A_FORM = {
    "masterAuth": {"clusterCaCertificate": "Y2E=", "clientCertificateConfig": {"issueClientCertificate": True}},
}


def changed_elsewhere(paths: list[str]) -> dict[str, Any]:
    """Properties that hold another value than ours at each path."""
    found: dict[str, Any] = {}
    for path in paths:
        *above, last = path.split(".")
        at = found
        for key in above:
            at = at.setdefault(key, {})
        at[last] = OF_A_FORM.get(path, "changed elsewhere")
    return found


def report(stack: Stack, properties: dict[str, dict[str, Any]]) -> None:
    """Let the providers find these properties, by type and name of the resource, and the state take them over."""
    reported = {f"*{name}": found for name, found in properties.items()}
    stack.ground.switch(Switches(instead=stacks.FAR, reported=reported))
    assert stack.refresh().well().drift


def test_what_is_ignored_may_be_changed_elsewhere_and_up_leaves_it_so(dev: Stack) -> None:
    assert POOL in ignored()

    report(dev, {name: changed_elsewhere(paths) for name, paths in ignored().items()})

    (pool,) = (one for one in dev.resources() if one["urn"].endswith(POOL))
    assert pool["inputs"]["initialNodeCount"] == "changed elsewhere"
    assert dev.up().well().changes == []


def test_what_is_not_ignored_is_set_back(dev: Stack) -> None:
    report(dev, {POOL: {"nodeConfig": {"labels": {"added": "elsewhere"}}}})

    assert [(operation, urn.rpartition("$")[2]) for operation, urn in dev.up().well().changes] == [("update", POOL)]


def test_a_replaced_gpu_pool_is_there_before_its_predecessor_goes(dev: Stack) -> None:
    before = len(dev.ground.calls())
    dev.set("nodePools", "l4", "spot", value=False)

    dev.up().well()

    asked = [
        call["method"]
        for call in dev.ground.calls()[before:]
        if call["urn"].endswith(POOL) and call["method"] in {"created", "delete", "updated"}
    ]
    assert asked == ["created", "delete"]


def test_a_larger_disk_is_one_update_in_place(dev: Stack) -> None:
    dev.set("nodePools", "l4", "bootDisk", "sizeGb", value=300)

    changes = dev.up().well().changes

    assert [(operation, urn.rpartition("$")[2]) for operation, urn in changes] == [("update", POOL)]


def test_another_digest_is_allowed_before_it_is_served_and_the_one_of_before_until_its_pods_are_gone(
    dev: Stack,
) -> None:
    model, patch, served, rollout = "qwen2.5-0.5b-instruct", "allowed-images", "InferenceService::", "-rollout"
    other = "sha256:" + "d" * 64
    sealed = f"echo '{json.dumps({'digest': other, 'reference': f'registry.example/models@{other}', 'size_bytes': 1})}'"

    def up(**instead: str) -> tuple[int, list[tuple[str, str]]]:
        prepared = stacks.FAR["*-context"].replace("ab" * 32, "cd" * 32)
        dev.ground.switch(Switches(instead={**stacks.FAR, "*-context": prepared, "*-seal": sealed, **instead}))
        before = len(dev.ground.calls())
        code = dev.up().code
        names = {f"NamespacePatch::qwen2-5-0-5b-instruct-{patch}": "patch", served: "served", rollout: "rollout"}
        names["-admitted"] = "admitted"
        return code, [
            (call["method"], name)
            for call in dev.ground.calls()[before:]
            for part, name in names.items()
            if part in call["urn"] and call["method"] in {"created", "updated", "create", "update", "delete"}
        ]

    def allowed() -> list[str]:
        found = [one for one in dev.resources() if one["type"].endswith("NamespacePatch")]
        return [
            image for one in found for image in one["inputs"]["metadata"]["annotations"].values() if "/models/" in image
        ]

    (old,) = allowed()
    dev.set("models", model, "source", value=f"hf://Qwen/Qwen2.5-0.5B-Instruct@{'e' * 40}")

    failed, calls = up(**{"*-rollout": "exit 1"})

    assert failed
    order = [("created", "patch"), ("updated", "admitted"), ("updated", "served")]
    assert [one for one in calls if one in order] == order
    assert ("delete", "patch") not in calls
    assert {image.partition("@")[2] for image in allowed()} == {old.partition("@")[2], other}

    succeeded, calls = up()

    assert not succeeded
    assert calls.index(("delete", "patch")) > calls.index(("created", "rollout"))
    assert [image.partition("@")[2] for image in allowed()] == [other]
