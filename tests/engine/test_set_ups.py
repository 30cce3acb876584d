"""Set-ups that people run, by the real engine: images without a cluster, and pools of others."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from components.google.cluster import NO_CLUSTER
from tests.engine import stacks
from tests.engine.ground import PROJECT, Ground, Stack
from tests.engine.provider.kinds import COMPUTE_ACCOUNT
from tests.engine.provider.switches import Switches
from tests.mocks import DIGEST

pytestmark = [*stacks.ENGINE, pytest.mark.xdist_group("engine-set-ups")]

_BUILT = f'{{"digest": "{DIGEST}", "reference": "registry.example/models@{DIGEST}", "size_bytes": 1000000}}'
IMAGES = {
    "target": "gke",
    "registry": {"create": {"repository": "models"}},
    "platforms": {"kserve": {"version": "v0.20.0"}},
    "models": {"qwen": {"source": ".local/model", "sizeGb": 0.1}},
}
ADOPTED = {"name": "prod", "location": "us-central1"}
POOL = {"accelerator": "nvidia-l4", "existing": "gpu", "sharing": {"maxClients": 2}}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with stacks.ground(tmp_path_factory.mktemp("set_ups") / "ground") as ground:
        ground.switch(Switches(instead={**stacks.FAR, "*-build": f"echo '{_BUILT}'"}))
        yield ground


@pytest.fixture
def ground(shared: Ground) -> Iterator[Ground]:
    with shared.kept():
        yield shared


def stack(on: Ground, settings: Mapping[str, Any]) -> Stack:
    file = on.folder / "own.yaml"
    config = {f"{PROJECT}:{key}": value for key, value in settings.items()}
    google = {"gcp:project": "demo", "gcp:region": "us-central1"}
    file.write_text(yaml.safe_dump({"config": {**google, **config}}), encoding="utf-8")
    return on.stack("own", file)


def test_images_without_a_cluster_are_told_and_stay_when_a_cluster_comes(ground: Ground) -> None:
    images = stack(ground, IMAGES)
    first = images.up().well()

    assert NO_CLUSTER in first.said
    model = images.outputs()["models"]["qwen"]
    assert (model["digest"], model["url"], model["namespace"]) == (DIGEST, "", "")
    assert {one["type"].partition(":")[0] for one in images.resources()} & {"kubernetes"} == set()

    images.set("cluster", value={"create": {"name": "demo", "version": "1.35", "deletionProtection": False}})
    images.set("models", "qwen", "awaitReady", value=False)
    then = images.up().well()

    assert {operation for operation, _ in then.changes} <= {"create", "update"}
    assert images.outputs()["models"]["qwen"]["image"] == model["image"]
    assert images.outputs()["models"]["qwen"]["url"]


def test_a_pool_of_others_is_held_against_what_google_reports_and_then_used(ground: Ground) -> None:
    models = {"qwen": {**IMAGES["models"]["qwen"], "nodePool": "l4", "awaitReady": False}}  # type: ignore[index]
    own = stack(ground, {**IMAGES, "cluster": ADOPTED, "models": models, "nodePools": {"l4": {**POOL, "maxNodes": 5}}})
    refused = own.preview()

    assert refused.code != 0
    assert "nodePools.l4.maxNodes: pool gpu has 2 nodes at most in all zones together" in refused.said
    assert "Traceback" not in refused.said

    own.set("nodePools", "l4", value=POOL)
    own.up().well()
    assert own.outputs()["node_service_accounts"] == {"l4": COMPUTE_ACCOUNT}
    readers = [one["inputs"]["member"] for one in own.resources() if one["type"].endswith("RepositoryIamMember")]
    assert readers == [f"serviceAccount:{COMPUTE_ACCOUNT}"]
    assert [one for one in own.resources() if one["type"].startswith("gcp:container")] == []
    assert own.up().well().changes == []

    own.set("nodePools", "l4", value={**POOL, "serviceAccount": "nodes@demo.iam.gserviceaccount.com"})
    own.up().well()
    deleted = [call for call in ground.calls() if call["method"] == "delete" and "reader-l4" in call["urn"]]
    assert deleted == [], "the role of an account of others stays"
