"""What an earlier version has deployed is taken over by this one: nothing of it is replaced and nothing deleted."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.engine import record, stacks
from tests.engine.ground import PASSPHRASE, Done, Stack
from tests.engine.provider.kinds import ACCESS_TOKEN

pytestmark = [*stacks.ENGINE, pytest.mark.xdist_group("engine-states")]

CASES = [(version, name) for version in record.versions() for name in stacks.COMMITTED]


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Stack]]:
    """The recorded stacks; those of a version know each other."""
    with ExitStack() as open_:
        found: dict[tuple[str, str], Stack] = {}
        for version in record.versions():
            ground = open_.enter_context(stacks.ground(tmp_path_factory.mktemp("states") / "ground"))
            for name in stacks.COMMITTED:
                found[version, name] = record.taken_over(ground, version, name)
        yield found


def lost(done: Done) -> list[tuple[str, str]]:
    """The steps that take something away that is deployed."""
    return [(operation, urn) for operation, urn in done.well().steps if "replace" in operation or "delete" in operation]


@pytest.mark.parametrize(("version", "name"), CASES)
def test_a_preview_on_a_recorded_state_replaces_and_deletes_nothing(
    taken: dict[tuple[str, str], Stack], version: str, name: str
) -> None:
    done = taken[version, name].preview()

    assert lost(done) == []
    assert len(done.steps) >= len(taken[version, name].resources()) > 20


@pytest.mark.parametrize("version", record.versions())
def test_a_change_that_replaces_a_pool_would_be_seen_on_a_recorded_state(
    taken: dict[tuple[str, str], Stack], version: str
) -> None:
    stack = taken[version, "dev"]
    stack.set("nodePools", "l4", "spot", value=False)
    try:
        steps = lost(stack.preview())
    finally:
        stack.set("nodePools", "l4", "spot", value=True)

    assert {urn.rpartition("$")[2] for _, urn in steps} == {"gcp:container/nodePool:NodePool::l4"}


@pytest.mark.parametrize(("version", "name"), CASES)
def test_a_recorded_state_holds_no_secret_in_plain(version: str, name: str) -> None:
    text = (record.STATES / version / f"{name}.json").read_text(encoding="utf-8")

    assert '"ciphertext": "v1:' in text
    assert ACCESS_TOKEN not in text
    assert PASSPHRASE not in text
