"""Taking what is there into a state, by Google's real provider: docs/gke.md, "Taking over what is there"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine import stacks
from tests.engine.ground import Ground
from tests.google import real
from tests.google.asking import REPOSITORIES, post
from tests.google.endpoints import Loopback

pytestmark = [
    *real.REAL,
    pytest.mark.xdist_group("google-import"),
    real.NEEDS_HOST,
]

REPOSITORY = "gcp:artifactregistry/repository:Repository"


@pytest.fixture
def ground(tmp_path: Path, google: Loopback) -> Iterator[Ground]:
    with real.ground(tmp_path / "ground", google) as ground:
        yield ground
        assert google.violations == []


def test_a_repository_made_by_hand_is_refused_with_the_remedy_and_then_changed_in_place(
    ground: Ground, google: Loopback
) -> None:
    post(google, f"{REPOSITORIES}?repositoryId=models", {"format": "DOCKER", "labels": {"made-by": "hand"}})
    dev = ground.stack("dev")
    refused = dev.up()
    assert refused.code != 0
    assert "already exists" in refused.said

    name = "projects/demo/locations/us-central1/repositories/models"
    real.take_over(dev, {REPOSITORY}, {f"{REPOSITORY}::models": name})
    steps = [(operation, urn.rpartition("$")[2]) for operation, urn in dev.up().well().changes]

    assert [operation for operation, urn in steps if urn.startswith(REPOSITORY)] == ["update"]
    assert google.named("artifactregistry")[name]["dockerConfig"] == {"immutableTags": True}
    assert dev.up().well().changes == []
    assert dev.refresh().well().drift == {}


def test_what_a_lost_state_has_made_is_taken_into_a_new_one_and_nothing_of_it_is_made_anew(
    ground: Ground, google: Loopback
) -> None:
    (dev,) = stacks.deployed(ground, "dev")
    known = {f"{one['type']}::{one['urn'].rpartition('::')[2]}": one["id"] for one in dev.resources() if "id" in one}
    before = {service: set(google.named(service)) for service in ("container", "compute", "artifactregistry", "iam")}
    ground.pulumi("stack", "rm", "--stack", "dev", "--force", "--yes").well()
    google.requests.clear()

    dev = ground.stack("dev")
    real.take_over(dev, set(real.ids()), known)
    steps = [(operation, urn.rpartition("$")[2]) for operation, urn in dev.up().well().changes]

    assert {operation for operation, urn in steps if urn.partition("::")[0] in real.ids()} <= {"update"}
    assert dev.up().well().changes == []
    assert dev.refresh().well().drift == {}
    assert {service: set(google.named(service)) for service in before} == before
