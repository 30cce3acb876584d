"""The life of each committed stack, from the first `up` to `destroy`, by the real engine."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from components.settings.stack_file import find_project
from offline import Program
from offline.recording import STACK_TYPE, Resource
from tests.engine import stacks
from tests.engine.ground import Done, Ground, Stack

pytestmark = [*stacks.ENGINE, pytest.mark.xdist_group("engine-life")]

API = "models-artifactregistry"


@dataclass(frozen=True)
class Begun:
    """What was said of a stack that came up, and was looked at."""

    stack: Stack
    planned: list[Resource]
    first: Done
    made: list[dict[str, Any]]
    second: Done
    refreshed: Done


@dataclass(frozen=True)
class Ended:
    """What was said of the same stack when it went. `before` and `left` are what the state held before and after."""

    refused: Done | None
    protected: Done
    before: list[dict[str, Any]]
    destroyed: Done
    deletes: set[str]
    left: list[dict[str, Any]]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Begun]]:
    with stacks.ground(tmp_path_factory.mktemp("life") / "ground") as ground:
        yield {name: _begin(ground, name) for name in stacks.COMMITTED}


@pytest.fixture(scope="module")
def ended(begun: dict[str, Begun]) -> dict[str, Ended]:
    # What refers to another stack goes before it.
    return {name: _end(begun[name].stack) for name in reversed(stacks.COMMITTED)}


def _begin(ground: Ground, name: str) -> Begun:
    stack, before = ground.stack(name), len(ground.calls())
    planned = Program(find_project(ground.project)).plan(name).resources
    first = stack.up()
    return Begun(stack, planned, first, ground.calls()[before:], stack.up(), stack.refresh())


def _end(stack: Stack) -> Ended:
    """Take the stack down as docs/runbook.md says."""
    refused = stack.destroy() if stack.name == "dev" else None
    if stack.name != "local":
        stack.set("cluster", "create", "deletionProtection", value=False)
        stack.up().well()
    protected = stack.run("destroy", "--preview-only")
    before, calls = stack.resources(), len(stack.ground.calls())
    destroyed = stack.destroy("--exclude-protected")
    deletes = {call["urn"] for call in stack.ground.calls()[calls:] if call["method"] == "delete"}
    return Ended(refused, protected, before, destroyed, deletes, stack.resources())


def named(urn: str) -> tuple[str, str]:
    """Type and name in a URN."""
    _, _, types, name = urn.split("::", 3)
    return types.rpartition("$")[2], name


def urns(resources: list[dict[str, Any]], *options: str) -> set[str]:
    """What a provider holds of the resources in a state, or those of them with one of the options."""
    held = [one for one in resources if one["custom"] and not one["type"].startswith("pulumi:")]
    return {one["urn"] for one in held if not options or any(one.get(option) for option in options)}


@pytest.mark.parametrize("name", stacks.COMMITTED)
def test_the_first_up_makes_what_the_plan_without_an_engine_lists_and_nothing_else(
    begun: dict[str, Begun], name: str
) -> None:
    steps = begun[name].first.well().steps
    made = {named(urn) for operation, urn in steps if operation in {"create", "read"}}

    assert {one for one in made if one[0] != STACK_TYPE and not one[1].startswith("default")} == {
        (resource.type, resource.name) for resource in begun[name].planned
    }
    assert {operation for operation, _ in steps} <= {"create", "read"}


@pytest.mark.parametrize("name", stacks.COMMITTED)
def test_the_providers_were_asked_for_each_resource_once(begun: dict[str, Begun], name: str) -> None:
    created = [call["urn"] for call in begun[name].made if call["method"] == "created"]

    assert len(created) == len(set(created))
    assert {named(urn) for urn in created} == {
        (one.type, one.name)
        for one in begun[name].planned
        if not one.component and not one.read and not one.type.startswith("pulumi:")
    }


@pytest.mark.parametrize("name", stacks.COMMITTED)
def test_a_second_up_changes_nothing(begun: dict[str, Begun], name: str) -> None:
    assert begun[name].second.well().changes == []


@pytest.mark.parametrize("name", stacks.COMMITTED)
def test_a_refresh_changes_nothing(begun: dict[str, Begun], name: str) -> None:
    assert begun[name].refreshed.well().drift == {}


def test_a_cluster_is_not_deleted_before_its_protection_is_taken_away(
    ended: dict[str, Ended],
) -> None:
    refused = ended["dev"].refused

    assert refused is not None
    assert refused.code != 0
    assert "deletion_protection is set to true" in refused.said


def test_a_plain_destroy_of_a_protected_registry_is_refused_and_names_it(ended: dict[str, Ended]) -> None:
    assert ended["dev"].protected.code == ended["local"].protected.code == 0
    assert ended["prod"].protected.code != 0
    assert 'repository:Repository::models" cannot be deleted' in ended["prod"].protected.said
    assert "because it is protected" in ended["prod"].protected.said


@pytest.mark.parametrize("name", stacks.COMMITTED)
def test_a_destroy_leaves_nothing_but_what_is_protected(ended: dict[str, Ended], name: str) -> None:
    ended[name].destroyed.well()

    # A repository that stays keeps the API that it needs.
    registry = {("gcp:artifactregistry/repository:Repository", "models"), ("gcp:projects/service:Service", API)}
    assert {named(urn) for urn in urns(ended[name].left)} == (registry if name == "prod" else set())


@pytest.mark.parametrize("name", stacks.COMMITTED)
def test_the_providers_delete_all_but_what_is_retained_or_goes_with_another(ended: dict[str, Ended], name: str) -> None:
    gone = [one for one in ended[name].before if one["urn"] not in urns(ended[name].left)]

    assert ended[name].deletes == urns(gone) - urns(gone, "retainOnDelete", "deletedWith")


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_what_is_retained_or_goes_with_another_is_what_the_pages_say(ended: dict[str, Ended], name: str) -> None:
    before = ended[name].before

    assert urns(before, "retainOnDelete") == urns(before, "protect")
    owned = {named(urn)[0] for urn in urns(before, "deletedWith")}
    assert {"gcp:container/nodePool:NodePool", "gcp:compute/routerNat:RouterNat"} <= owned
    assert ("gcp:artifactregistry/repositoryIamMember:RepositoryIamMember" in owned) is (name == "dev")
