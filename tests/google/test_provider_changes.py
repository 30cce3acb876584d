"""What a change of the settings does at Google, by its real provider: docs/gke.md, "What replaces a pool"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import stacks
from tests.engine.ground import Stack
from tests.google import filled, real
from tests.google.asking import ask
from tests.google.endpoints import Loopback

pytestmark = [*real.REAL, pytest.mark.xdist_group("google-changes")]

CLUSTER = "gcp:container/cluster:Cluster::cluster"
POOL = "gcp:container/nodePool:NodePool::l4"
NEWER = next(version for version in filled.VERSIONS if version.startswith("1.36."))


@pytest.fixture
def dev(tmp_path: Path, google: Loopback) -> Iterator[Stack]:
    with real.ground(tmp_path / "ground", google) as ground:
        (dev,) = stacks.deployed(ground, "dev")
        google.requests.clear()
        yield dev
        assert google.violations == []


def changed(stack: Stack) -> list[tuple[str, str]]:
    """What an `up` does, each as its operation and the resource's type and name."""
    return [(operation, urn.rpartition("$")[2]) for operation, urn in stack.up().well().changes]


def asked(google: Loopback, *methods: str) -> list[str]:
    """The requests of these methods of GKE, without what their ids have in common."""
    common = "container.projects.locations.clusters."
    found = [request.method.removeprefix(common) for request in google.requests]
    return [method for method in found if method in methods]


def pools(google: Loopback) -> dict[str, Any]:
    return {name: pool for name, pool in google.named("container").items() if "/nodePools/" in name}


def test_a_newer_version_upgrades_the_control_plane_in_place_and_the_nodes_follow_without_a_difference(
    dev: Stack, google: Loopback
) -> None:
    before = set(google.named("container"))
    dev.set("cluster", "create", "version", value="1.36")

    assert changed(dev) == [("update", CLUSTER)]
    (cluster,) = (one for name, one in google.named("container").items() if name.endswith("/clusters/demo"))
    assert cluster["currentMasterVersion"] == NEWER
    assert {pool["version"][:4] for pool in pools(google).values()} == {"1.35"}

    # What GKE does in the maintenance window, and anybody by `gcloud container clusters upgrade --node-pool`.
    for name in pools(google):
        assert ask(google, "PUT", f"container/v1/{name}", {"nodeVersion": NEWER}).status_code == 200
    assert dev.refresh().well().drift == {}  # the version is ignored
    known = [one["outputs"]["version"] for one in dev.resources() if one["type"] == POOL.partition("::")[0]]
    assert known == [NEWER, NEWER]
    assert changed(dev) == []
    assert set(google.named("container")) == before
    assert {pool["version"] for pool in pools(google).values()} == {NEWER}
    assert asked(google, "create", "delete", "nodePools.create", "nodePools.delete") == []


def test_a_larger_disk_is_one_update_that_keeps_the_pool(dev: Stack, google: Loopback) -> None:
    before = set(pools(google))
    dev.set("nodePools", "l4", "bootDisk", "sizeGb", value=300)

    assert changed(dev) == [("update", POOL)]
    assert asked(google, "nodePools.update", "nodePools.create", "nodePools.delete") == ["nodePools.update"]
    assert set(pools(google)) == before
    (pool,) = (pool for name, pool in pools(google).items() if "/l4-" in name)
    assert pool["config"]["bootDisk"]["sizeGb"] == "300"
    assert changed(dev) == []


def test_a_pool_that_is_no_longer_of_spot_nodes_is_made_anew_before_the_old_one_goes(
    dev: Stack, google: Loopback
) -> None:
    (old,) = (name for name in pools(google) if "/l4-" in name)
    dev.set("nodePools", "l4", "spot", value=False)

    steps = changed(dev)

    of_pool = [operation for operation, name in steps if name == POOL]
    assert of_pool == ["create-replacement", "replace", "delete-replaced"]
    assert asked(google, "nodePools.create", "nodePools.delete") == ["nodePools.create", "nodePools.delete"]
    (new,) = (name for name in pools(google) if "/l4-" in name)
    assert new != old
    assert not pools(google)[new]["config"].get("spot")
    assert changed(dev) == []
