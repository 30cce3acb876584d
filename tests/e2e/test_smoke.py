"""`smoke` runs whole on a node: all that it checks holds, and each figure of a cold start is there."""

from typing import Any

import pytest

from tests.e2e.server.vllm.entrypoints.openai.api_server import fingerprint
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster")]

PHASES = ("controller", "node_provision", "image_pull", "container_start", "server_start", "endpoint", "total")


@pytest.fixture(params=["volumes", "modelcar"])
def deployed(request: pytest.FixtureRequest) -> Stack:
    found: Stack = request.getfixturevalue(request.param)
    return found


def told(document: dict[str, Any], *statuses: str) -> list[str]:
    return [
        f"{check['step']}/{check['name']} {check['evidence']}"
        for check in document["checks"]
        if check["status"] in statuses
    ]


def test_all_steps_hold(deployed: Stack) -> None:
    code, document = deployed.smoke()

    assert (code, told(document, "fail")) == (0, [])
    # A cluster without Google has nothing of its accounts, and the stand-in nothing of vLLM's packages.
    assert {check["name"] for check in document["checks"] if check["status"] == "skip"} <= {
        "node-account",
        "connection",
        "features",
    }
    assert {check["step"] for check in document["checks"]} == {
        "preflight",
        "deployed",
        "validate",
        "egress",
        "allowed",
    }


def test_the_answer_comes_from_the_images_weights(deployed: Stack) -> None:
    _, document = deployed.smoke("--only", "validate")

    chats = [check["evidence"] for check in document["checks"] if check["name"] == "chat"]
    assert len(chats) == len(deployed.outputs.models)
    assert all(fingerprint(deployed.weights) in chat for chat in chats)


def test_pause_takes_all_pods_away_and_resume_brings_them_back(deployed: Stack) -> None:
    paused, at_rest = deployed.smoke("pause")
    _, during = deployed.smoke("--only", "deployed")
    resumed, back = deployed.smoke("resume")

    assert (paused, told(at_rest, "fail")) == (0, [])
    ready = [check for check in during["checks"] if check["name"] == "ready"]
    assert {check["status"] for check in ready} == {"skip"}
    assert (resumed, told(back, "fail")) == (0, [])


def test_a_cold_start_has_its_figures(deployed: Stack) -> None:
    code, document = deployed.smoke("coldstart")

    assert (code, told(document, "fail")) == (0, [])
    assert set(document["coldstart"]) == set(deployed.outputs.models)
    for figures in document["coldstart"].values():
        assert {phase for phase in PHASES if figures[phase] is None} == set()
        assert figures["total"] > 0
