"""What is left of an `up` that fails, is interrupted or is killed, and that the next one goes on from there."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine import stacks
from tests.engine.ground import Done, Stack
from tests.engine.provider.switches import Switches

pytestmark = [*stacks.ENGINE, pytest.mark.xdist_group("engine-interrupts")]

POOL = "gcp:container/nodePool:NodePool::l4"
NO_ROOM = "Error waiting for creating GKE NodePool: ZONE_RESOURCE_POOL_EXHAUSTED"
_SECONDS = 60


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stacks.ground(tmp_path_factory.mktemp("interrupts") / "ground") as ground:
        yield ground.stack("dev")


@pytest.fixture
def dev(made: Stack) -> Iterator[Stack]:
    with made.ground.kept():
        yield made


def pools(stack: Stack) -> list[dict[str, Any]]:
    return [one for one in stack.resources() if one["urn"].endswith(POOL)]


def stopped(stack: Stack, number: signal.Signals) -> Done:
    """An `up` that gets a signal while the pool is being created, for longer than anybody waits."""
    stack.ground.switch(Switches(instead=stacks.FAR, slow={f"*{POOL}": 10 * _SECONDS}))
    with stack.started("up", "--yes", "--skip-preview") as process:
        _until_asked(stack)
        process.send_signal(number)
        said, _ = process.communicate(timeout=_SECONDS)
    stack.ground.switch(Switches(instead=stacks.FAR))
    return Done(process.returncode, said, [])


def _until_asked(stack: Stack) -> None:
    end = time.monotonic() + _SECONDS
    while not any(call["method"] == "create" and call["urn"].endswith(POOL) for call in stack.ground.calls()):
        assert time.monotonic() < end, "the pool was never asked for"
        time.sleep(0.1)
    # The engine writes its state in place: what is killed in that moment has none, which is another story.
    written = (0, 0)
    while (now := _written(stack)) != written:
        written = now
        time.sleep(0.5)


def _written(stack: Stack) -> tuple[int, int]:
    files = [path.stat() for path in (stack.ground.folder / "state").rglob("*.json")]
    return max((file.st_mtime_ns for file in files), default=0), sum(file.st_size for file in files)


def finished(stack: Stack) -> None:
    """The next `up` makes the rest, and there is nothing to do after it."""
    stack.up().well()
    assert len(pools(stack)) == 1
    assert stack.up().well().changes == []


def test_what_a_provider_refuses_is_told_and_made_by_the_next_up(dev: Stack) -> None:
    dev.ground.switch(Switches(instead=stacks.FAR, fails={f"*{POOL}": NO_ROOM}))

    failed = dev.up()

    assert failed.code != 0
    assert NO_ROOM in failed.said
    assert pools(dev) == []
    dev.ground.switch(Switches(instead=stacks.FAR))
    finished(dev)


def test_ctrl_c_ends_what_runs_and_leaves_nothing_half_made(dev: Stack) -> None:
    begun = time.monotonic()

    ended = stopped(dev, signal.SIGINT)

    assert ended.code != 0
    assert time.monotonic() - begun < _SECONDS
    assert pools(dev) == []
    assert not dev.export()["deployment"].get("pending_operations")
    finished(dev)


def test_after_a_kill_the_engine_tells_what_it_does_not_know_and_goes_on_when_told_to(dev: Stack) -> None:
    stopped(dev, signal.SIGKILL)

    locked = dev.up()
    assert locked.code != 0
    assert "pulumi cancel" in locked.said
    dev.ground.pulumi("cancel", "--yes", "--stack", "dev").well()

    pending = dev.export()["deployment"]["pending_operations"]
    assert [one["type"] for one in pending if one["resource"]["urn"].endswith(POOL)] == ["creating"]
    told = dev.up().well().said
    assert "pending" in told
    assert "NodePool::l4" in told
    assert len(pools(dev)) == 1
