"""A rollout under many requests of long answers loses none of them: what is being answered is answered to its end."""

import threading
import traceback
from pathlib import Path

import pytest

from tests.e2e.conftest import Node, settings_of
from tests.e2e.stack import Stack
from tests.lifecycle import report
from tests.lifecycle.lane import Asked, Lane
from tests.lifecycle.report import Measured
from tests.lifecycle.stream import Pace
from tests.lifecycle.test_lifecycle import images, settings_model

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster"), pytest.mark.timeout(900)]

__all__ = ["images"]  # a fixture

ANSWER_SECONDS = 10
RATE = 20


def rolled_out(lane: Lane, digests: list[str]) -> None:
    """Bring a model to another digest while it is asked."""
    model = settings_model(lane.delivery, digests[0])
    model["args"] = [f"--answer-seconds={ANSWER_SECONDS}"]
    model["resources"] = {"cpu": "200m", "memory": "128Mi"}
    lane.models["one"] = model
    lane.measure("create", lane.up, Asked.SINCE)
    model["digest"] = digests[1]
    lane.measure("digest", lane.up)


@pytest.fixture(scope="module")
def cells(
    node: Node, server: str, images: list[str], weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Measured]:
    """The rollout of each delivery, all at once."""
    found: dict[str, Measured] = {}
    failed: dict[str, str] = {}

    def run(lane: Lane) -> None:
        try:
            with lane.playing():
                rolled_out(lane, images)
                found[lane.delivery] = lane.cells[-1]
        except BaseException as error:  # noqa: BLE001 - of a thread: told by the test that lacks its cell
            failed[lane.delivery] = "".join(traceback.format_exception(error))

    # As many as come in the time of an answer and some, for a slow moment of the machine.
    pace = Pace(RATE, patience=6 * ANSWER_SECONDS, at_once=2 * RATE * ANSWER_SECONDS)
    threads = []
    for delivery in report.DELIVERIES:
        name = f"long-{delivery}"
        settings = settings_of(node, name, server, {})
        folder = tmp_path_factory.mktemp(name) / "project"
        lane = Lane(
            delivery,
            node.admin,
            f"{node.token}-{name}",
            settings,
            Stack.create(folder, settings, weights, node.admin),
            pace,
        )
        threads.append(threading.Thread(target=run, args=(lane,), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
    return found


@pytest.mark.parametrize("delivery", report.DELIVERIES)
def test_a_rollout_cuts_no_answer_off(cells: dict[str, Measured], delivery: str) -> None:
    cell = cells[delivery]

    assert (cell.error, cell.lost) == ("", [])
    # The pods did change, and were asked all the while.
    assert cell.replaced == {"Pod": 1}
    assert cell.asked >= RATE * ANSWER_SECONDS
