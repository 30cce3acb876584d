"""An `up` that is interrupted while Google works, by Google's real provider: the next one goes on from there."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.ground import Stack
from tests.google import real
from tests.google.endpoints import Loopback

pytestmark = [*real.REAL, pytest.mark.xdist_group("google-interrupts")]

CLUSTER = "container.projects.locations.clusters.create"
_SECONDS = 120
_LONG = 100 * _SECONDS


@pytest.fixture
def dev(tmp_path: Path, google: Loopback) -> Iterator[Stack]:
    with real.ground(tmp_path / "ground", google) as ground:
        yield ground.stack("dev")
        assert google.violations == []


def begun(stack: Stack) -> None:
    """Wait until the cluster is being made, and nothing else is."""
    end = time.monotonic() + _SECONDS
    while (busy := under_way(stack.ground.events_file)) != ["gcp:container/cluster:Cluster"]:
        assert time.monotonic() < end, f"nothing but the cluster was to be made, and not {busy}"
        time.sleep(0.2)


def under_way(log: Path) -> list[str]:
    """The types of the resources that the engine works on, by its event stream as far as it has been written."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("}")]
    begun = [event["resourcePreEvent"]["metadata"] for event in events if "resourcePreEvent" in event]
    done = {event["resOutputsEvent"]["metadata"]["urn"] for event in events if "resOutputsEvent" in event}
    return [one["type"] for one in begun if one["new"].get("custom") and one["urn"] not in done]


def hurry(google: Loopback) -> None:
    """Let all that runs at Google end, and be quick from now on."""
    google.faults.slow = {}
    google.state.clock = lambda: time.monotonic() + _LONG


def pools(google: Loopback) -> dict[str, Any]:
    return {name.rpartition("/")[2]: one for name, one in google.named("container").items() if "/nodePools/" in name}


def finished(stack: Stack, google: Loopback, creates: int = 1) -> None:
    """The next `up` makes the rest, nothing twice, and then nothing differs."""
    stack.up().well()
    assert stack.up().well().changes == []
    assert stack.refresh().well().drift == {}
    assert [request.method for request in google.requests].count(CLUSTER) == creates
    assert sorted(name.partition("-")[0] for name in pools(google)) == ["l4", "system"]
    assert {pool["status"] for pool in pools(google).values()} == {"RUNNING"}
    assert not stack.export()["deployment"].get("pending_operations")


def test_ctrl_c_waits_for_what_google_does_begins_nothing_more_and_the_next_up_goes_on(
    dev: Stack, google: Loopback
) -> None:
    google.faults.slow = {CLUSTER: _LONG}
    with dev.started("up", "--yes", "--skip-preview") as process:
        begun(dev)
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        hurry(google)
        said, _ = process.communicate(timeout=_SECONDS)

    assert process.returncode != 0, said
    assert pools(google) == {}
    (cluster,) = (one for one in dev.resources() if one["type"] == "gcp:container/cluster:Cluster")
    assert cluster["id"] == "projects/demo/locations/us-central1/clusters/demo"
    finished(dev, google)


@real.NEEDS_HOST
def test_what_a_second_ctrl_c_leaves_unknown_is_named_refused_and_then_taken_over_by_its_id(
    dev: Stack, google: Loopback
) -> None:
    google.faults.slow = {CLUSTER: _LONG}
    with dev.started("up", "--yes", "--skip-preview") as process:
        begun(dev)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(1)
        process.communicate(timeout=_SECONDS)
    hurry(google)

    refused = dev.up()
    assert refused.code != 0
    assert "Cluster::cluster, interrupted while creating" in refused.said
    assert "alreadyExists" in refused.said
    assert [name.partition("-")[0] for name in pools(google)] == ["default"]
    dev.refresh("--clear-pending-creates").well()
    kind = "gcp:container/cluster:Cluster"
    real.take_over(dev, {kind}, {f"{kind}::cluster": "projects/demo/locations/us-central1/clusters/demo"})
    finished(dev, google, creates=2)
