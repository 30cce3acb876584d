"""A model's whole life on a real API server and node, each step of it under a stream of requests.

Three stacks go through it side by side, one a delivery; the controllers of KServe and KubeAI are played.
"""

import shutil
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Node, settings_of
from tests.e2e.stack import Stack, modelimage
from tests.lifecycle import report
from tests.lifecycle.lane import Asked, Lane
from tests.lifecycle.report import Measured

# The first test waits for all lanes.
pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster"), pytest.mark.timeout(1200)]

ROLLED = {"Pod"}
TRANSITIONS: dict[str, set[str]] = {
    "create": set(),
    "digest": ROLLED,
    "args": ROLLED,
    "resources": ROLLED,
    "scale up": set(),
    "scale down": set(),
    "pause by settings": set(),
    "resume by settings": set(),
    "pause by command": set(),
    "resume by command": set(),
    "pause by command, change, up": set(),
    "resume by command, change, up": set(),
    "rename": ROLLED,
    "two models swapped": ROLLED,
    "delivery to native": ROLLED,
    "delivery to kubeai": ROLLED,
    "delete": set(),
    "platform removed": set(),
    "destroy": set(),
}
"""What is done, and the kinds of objects of which others come in their place."""
ONLY = {
    "two models swapped": {"native", "kubeai"},
    "delivery to native": {"modelcar"},
    "delivery to kubeai": {"modelcar"},
    "platform removed": {"modelcar"},
}
CELLS = [(name, column) for name in TRANSITIONS for column in report.DELIVERIES if column in ONLY.get(name, {column})]


def settings_model(delivery: str, digest: str) -> dict[str, Any]:
    return {
        "digest": digest,
        "delivery": delivery,
        "args": ["--answer-seconds=0.3"],
        "resources": {"cpu": "50m", "memory": "96Mi"},
        "replicas": {"min": 1, "max": 1},
        "awaitReady": True,
        "startupTimeout": 120,
    }


def live(lane: Lane, images: list[str]) -> None:
    """Take a model through all that a stack's settings and `oms` can do to it."""
    measure, delivery = lane.measure, lane.delivery
    lane.models["one"] = one = settings_model(delivery, images[0])

    measure("create", lane.up, Asked.SINCE)
    one["digest"] = images[1]
    measure("digest", lane.up)
    one["args"] = [*one["args"], "--max-model-len=1024"]
    measure("args", lane.up)
    one["resources"] = {"cpu": "60m", "memory": "112Mi"}
    measure("resources", lane.up)
    one["replicas"] = {"min": 2, "max": 2}
    measure("scale up", lane.up)
    one["replicas"] = {"min": 1, "max": 1}
    measure("scale down", lane.up)

    one["paused"] = True
    measure("pause by settings", lane.up, Asked.UNTIL)
    one["paused"] = False
    measure("resume by settings", lane.up, Asked.SINCE)
    measure("pause by command", lane.pause, Asked.UNTIL, pods=0)
    measure("resume by command", lane.resume, Asked.SINCE)
    lane.pause()
    one["args"] = one["args"][:1]
    measure("pause by command, change, up", lane.up, Asked.SINCE)
    one["paused"] = True
    lane.up()
    lane.resume()
    one["args"] = [*one["args"], "--max-model-len=1024"]
    measure("resume by command, change, up", lane.up, Asked.UNTIL)
    one["paused"] = False
    lane.up()

    lane.models = {"uno": lane.models.pop("one")}
    measure("rename", lane.up, moves={"one": "uno"})
    if delivery == "modelcar":
        lane.models["uno"]["delivery"] = "native"
        measure("delivery to native", lane.up)
        lane.models["uno"]["delivery"] = "kubeai"
        measure("delivery to kubeai", lane.up)
        lane.models["stays"] = settings_model("modelcar", images[0])
        lane.up()
    else:
        lane.models["two"] = settings_model(delivery, images[0])
        lane.up()
        lane.models["uno"]["digest"], lane.models["two"]["digest"] = images[0], images[1]
        measure("two models swapped", lane.up)
    del lane.models["uno"]
    measure("platform removed" if delivery == "modelcar" else "delete", lane.up, Asked.UNTIL)
    if delivery == "modelcar":
        lane.models["uno"] = settings_model("modelcar", images[0])
        lane.up()
        del lane.models["uno"]
        measure("delete", lane.up, Asked.UNTIL)
    measure("destroy", lane.destroy, Asked.UNTIL)


@pytest.fixture(scope="module")
def images(node: Node, base: str, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two images of two models, by digest."""
    other = tmp_path_factory.mktemp("other") / "model"
    shutil.copytree(weights, other)
    shard = min(other.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + bytes([shard.read_bytes()[-1] ^ 1]))
    repository = f"{node.registry}/lives"
    packed = [modelimage("pack", str(folder), repository, "--base", base) for folder in (weights, other)]
    return [str(one["reference"]) for one in packed]


@pytest.fixture(scope="module")
def cells(
    node: Node,
    server: str,
    images: list[str],
    weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> dict[tuple[str, str], Measured]:
    """What was measured of each transition on each delivery; `report.MEASURED` keeps it."""
    lanes, failed = [], {}

    def run(lane: Lane) -> None:
        try:
            with lane.playing():
                live(lane, images)
        except BaseException as error:  # noqa: BLE001 - of a thread: told by the test that lacks its cell
            failed[lane.delivery] = "".join(traceback.format_exception(error))

    of_all = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    asked = [params["cell"] for params in of_all if "cell" in params]
    for delivery in {column: None for _, column in filter(CELLS.__contains__, asked)}:
        name = f"life-{delivery}"
        settings = settings_of(node, name, server, {})
        folder = tmp_path_factory.mktemp(name) / "project"
        stack = Stack.create(folder, settings, weights, node.admin)
        lanes.append(Lane(delivery, node.admin, f"{node.token}-{name}", settings, stack))
    threads = [threading.Thread(target=run, args=(lane,), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {(cell.transition, cell.delivery): cell for lane in lanes for cell in lane.cells}
    report.write([found[name] for name in CELLS if name in found])
    assert not failed, failed
    return found


@pytest.fixture
def cell(cells: dict[tuple[str, str], Measured], request: pytest.FixtureRequest) -> Measured:
    transition, delivery = request.param
    assert (transition, delivery) in cells, f"{transition} was not reached on {delivery}"
    return cells[transition, delivery]


@pytest.mark.parametrize("cell", CELLS, indirect=True, ids="-".join)
def test_no_answer_is_lost(cell: Measured) -> None:
    assert cell.error == ""
    assert cell.lost == []
    assert cell.asked


@pytest.mark.parametrize("cell", CELLS, indirect=True, ids="-".join)
def test_nothing_is_replaced_but_the_pods_that_the_change_makes_anew(cell: Measured) -> None:
    assert set(cell.replaced) == TRANSITIONS[cell.transition]


@pytest.mark.parametrize("cell", CELLS, indirect=True, ids="-".join)
def test_nothing_is_left_behind_that_no_model_of_the_settings_has(cell: Measured) -> None:
    assert cell.left == []
