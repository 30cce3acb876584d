from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components.google.cluster import Cluster
from components.google.given_nodes import GivenNodes, nodes
from components.google.node_pool import GpuNodePool
from components.settings.google import ClusterCreate, ClusterSettings, NodePoolSettings
from components.settings.places import StackCluster, StackPool
from tests.components.google.test_adopted_nodes import as_the_provider_has_it
from tests.components.google.test_cluster import created as is_created
from tests.components.google.test_cluster import found
from tests.mocks import KnownAfter, Recording, record

CLUSTER_IS_THERE = is_created()
COMPUTE = "123-compute@developer.gserviceaccount.com"
CREATED = ClusterSettings(create=ClusterCreate.model_validate({"name": "x", "network": "n", "subnetwork": "s"}))


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Answers the look-ups of a cluster with such a pool, and of Compute Engine's own account."""

    def answer(**config: Any) -> None:
        reported = found(node_pools=[as_the_provider_has_it(**{"ephemeral_storage_local_ssd_configs": [], **config})])
        monkeypatch.setattr(gcp.container, "get_cluster_output", lambda **_: pulumi.Output.from_input(reported))
        account = SimpleNamespace(email=COMPUTE)
        monkeypatch.setattr(
            gcp.compute, "get_default_service_account_output", lambda **_: pulumi.Output.from_input(account)
        )

    return answer


def run(pool: dict[str, Any], cluster: ClusterSettings | None = None, created: Any = CLUSTER_IS_THERE) -> Recording:
    settings = NodePoolSettings.model_validate({"accelerator": "nvidia-l4", "sharing": {"max_clients": 2}, **pool})
    home = StackCluster(
        cluster or ClusterSettings(name="prod", location="us-central1"),
        project="demo",
        location="us-central1",
        given={"l4": settings},
    )

    def program() -> None:
        made = nodes("l4", StackPool("l4", settings, home), Cluster("cluster", home))
        assert isinstance(made, GivenNodes)
        for name, value in {"service_account": made.service_account, **made.described}.items():
            pulumi.export(name, value)

    return record(program, answer=created)


EXISTING = {"existing": "gpu", "spot": True}


def test_nothing_of_googles_is_made_for_a_pool_that_exists(google: Callable[..., None]) -> None:
    google()

    recording = run(EXISTING)

    assert [resource.type for resource in recording.resources if resource.type.startswith("gcp:")] == []
    assert recording.outputs["labels"].items() >= {"cloud.google.com/gke-nodepool": "gpu"}.items()
    assert "oci-model-serving/pool" not in recording.outputs["labels"], "others' nodes do not carry our label"


@pytest.mark.parametrize(
    ("reported", "account"),
    [("a@x.iam.gserviceaccount.com", "a@x.iam.gserviceaccount.com"), ("default", COMPUTE)],
)
def test_the_reader_is_the_account_that_google_reports(
    google: Callable[..., None], reported: str, account: str
) -> None:
    google(service_account=reported)

    assert run(EXISTING).outputs["service_account"] == account


def test_the_reader_is_the_account_that_the_settings_name(google: Callable[..., None]) -> None:
    google()
    named = "class@x.iam.gserviceaccount.com"

    assert run({**EXISTING, "service_account": named}).outputs["service_account"] == named


def test_nodes_of_a_class_are_found_by_it_and_its_taint_is_borne(google: Callable[..., None]) -> None:
    google()

    outputs = run({"compute_class": "l4-spot"}).outputs

    assert outputs["labels"]["cloud.google.com/compute-class"] == "l4-spot"
    taint = {"key": "cloud.google.com/compute-class", "value": "l4-spot", "effect": "NoSchedule"}
    assert taint in outputs["taints"]
    assert outputs["disk_size_gb"] == 0, "GKE chooses it"


def test_a_class_on_a_new_cluster_has_compute_engines_account_until_another_is_named(
    google: Callable[..., None],
) -> None:
    google()

    assert run({"compute_class": "l4-spot"}, CREATED).outputs["service_account"] == COMPUTE


def test_nothing_is_looked_up_for_a_new_cluster_before_it_is_there(google: Callable[..., None]) -> None:
    google()

    account = run({"compute_class": "l4-spot"}, CREATED, created=None).outputs["service_account"]

    assert isinstance(account, KnownAfter)


def test_a_pool_that_is_made_is_made(google: Callable[..., None]) -> None:
    google()
    home = StackCluster(CREATED, project="demo", location="us-central1")
    pool = StackPool("l4", NodePoolSettings(accelerator="nvidia-l4"), home)
    kinds: list[type] = []

    record(lambda: kinds.append(type(nodes("l4", pool, Cluster("cluster", home)))))

    assert kinds == [GpuNodePool]
