from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from components.google import adopted_cluster, adopted_nodes
from components.google.adopted_nodes import ReportedNodes, ReportedPool
from components.settings.google import ClusterSettings, NodePoolSettings
from components.settings.places import StackCluster

THERE = ReportedPool(
    name="gpu",
    version="1.35.8-gke.1000000",
    machine_type="g2-standard-8",
    accelerator="nvidia-l4",
    count=1,
    disk_gb=300,
    max_nodes=4,
    labels={"team": "a"},
    taints=(("nvidia.com/gpu", "present", "NO_SCHEDULE"),),
    account="nodes@demo.iam.gserviceaccount.com",
)


def wanted(*, mounting: bool = True, **fields: object) -> StackCluster:
    pool = NodePoolSettings.model_validate({"accelerator": "nvidia-l4", "existing": "gpu", **fields})
    settings = ClusterSettings(name="prod", location="us-central1")
    return StackCluster(
        settings,
        project="demo",
        location="us-central1",
        given={"l4": pool},
        mounting=frozenset({"l4"} if mounting else ()),
        needs_subpath=True,
    )


def said(there: ReportedPool, stack: StackCluster) -> list[str]:
    return adopted_nodes.problems(ReportedNodes({there.name: there}), stack)


def test_a_pool_that_is_what_the_settings_say_is_taken() -> None:
    assert said(THERE, wanted(boot_disk={"size_gb": 300}, max_nodes=4, labels={"team": "a"})) == []


@pytest.mark.parametrize(
    ("reported", "settings", "key", "words"),
    [
        ({"name": "other"}, {}, "existing", ["has no pool 'gpu'", "its pools are other"]),
        ({"accelerator": "nvidia-tesla-t4"}, {}, "accelerator", ["has nvidia-tesla-t4: write nvidia-tesla-t4"]),
        ({"accelerator": "", "count": 0}, {}, "existing", ["has no GPUs"]),
        ({"count": 2, "machine_type": "g2-standard-24"}, {}, "count", ["is 1, but pool gpu has 2: write 2"]),
        ({"machine_type": "g2-standard-4"}, {}, "machineType", ["sized for g2-standard-8: write g2-standard-4"]),
        ({"disk_gb": 100, "local_ssds": 2}, {}, "localSsd", ["has 2: write 2"]),
        ({}, {"local_ssd": 2}, "localSsd", ["has none: remove it"]),
        ({"disk_gb": 100}, {}, "bootDisk.sizeGb", ["100 GB", "--disk-size=200"]),
        ({}, {"boot_disk": {"size_gb": 500}}, "bootDisk.sizeGb", ["300 GB, less than the 500"]),
        ({}, {"max_nodes": 8}, "maxNodes", ["4 nodes at most", "write 4", "--total-max-nodes=8"]),
        ({}, {"max_nodes": 3, "per_zone": True, "zones": ["us-central1-a", "us-central1-b"]}, "maxNodes", ["than 6"]),
        ({"spot": True}, {}, "spot", ["is false", "write true"]),
        ({"queued": True}, {}, "queuedProvisioning", ["write true"]),
        ({"sandbox": True}, {}, "sandbox", ["write gvisor"]),
        ({"partition": "1g.5gb"}, {}, "gpuPartitionSize", ["write 1g.5gb"]),
        ({"strategy": "TIME_SHARING", "clients": 3}, {}, "sharing", ["{strategy: TIME_SHARING, maxClients: 3}"]),
        ({}, {"sharing": {"max_clients": 2}}, "sharing", ["not at all: remove it"]),
        ({}, {"labels": {"team": "b"}}, "labels", ["no label team=b"]),
        ({"taints": (("team", "a", "NO_EXECUTE"),)}, {}, "taints", ["{key: team, value: 'a', effect: NO_EXECUTE}"]),
        (
            {"taints": (("team", "a", "NO_EXECUTE"),)},
            {"taints": [{"key": "team", "value": "a"}]},
            "taints",
            ["effect: NO_EXECUTE"],
        ),
        ({"version": "1.33.5-gke.1"}, {}, "existing", ["ImageVolume off", "clusters upgrade prod --node-pool=gpu"]),
    ],
)
def test_what_a_pool_is_not_is_told_with_the_key_and_what_to_write(
    reported: dict[str, Any], settings: dict[str, Any], key: str, words: list[str]
) -> None:
    problems = said(replace(THERE, **reported), wanted(**settings))

    own = [text for text in problems if text.startswith(f"nodePools.l4.{key}: ")]
    assert any(all(word in text for word in words) for text in own), problems


@pytest.mark.parametrize(
    ("reported", "settings"),
    [
        ({"taints": (("team", "a", "NO_SCHEDULE"),)}, {"taints": [{"key": "team", "value": "a"}]}),
        ({"taints": (("team", "a", "NO_SCHEDULE"),)}, {"taints": [{"key": "team"}]}),
        ({"taints": (("team", "a", "PREFER_NO_SCHEDULE"),)}, {}),
        ({"disk_gb": 100, "local_ssds": 1}, {"local_ssd": 1}),
        (
            {"disk_gb": 100, "accelerator": "nvidia-h100-80gb", "count": 8, "machine_type": "a3-highgpu-8g"},
            {"accelerator": "nvidia-h100-80gb", "count": 8},
        ),
        ({"version": "1.33.5-gke.1"}, {"mounting": False}),
        (
            {"machine_type": "n1-custom-8-49152", "accelerator": "nvidia-tesla-t4"},
            {"accelerator": "nvidia-tesla-t4", "machine_type": "n1-custom-8-49152"},
        ),
        (
            {"machine_type": "custom-8-49152", "accelerator": "nvidia-tesla-t4"},
            {"accelerator": "nvidia-tesla-t4", "machine_type": "n1-custom-8-49152"},
        ),
        ({"strategy": "TIME_SHARING", "clients": 3}, {"sharing": {"max_clients": 3}}),
    ],
)
def test_what_is_no_contradiction_is_taken(reported: dict[str, Any], settings: dict[str, Any]) -> None:
    assert said(replace(THERE, **reported), wanted(**settings)) == []


def test_all_that_is_wrong_with_all_pools_is_told_at_once() -> None:
    stack = wanted(spot=True, labels={"x": "y"})
    both = replace(stack, given={**stack.given, "t4": NodePoolSettings(accelerator="nvidia-tesla-t4", existing=True)})

    problems = said(THERE, both)

    assert [text.partition(":")[0] for text in problems] == [
        "nodePools.l4.spot",
        "nodePools.l4.labels",
        "nodePools.t4.existing",
    ]


def test_an_autopilot_cluster_must_be_one_where_the_settings_say_so() -> None:
    settings = ClusterSettings(name="prod", location="us-central1", autopilot=True)
    reported = adopted_cluster.Reported("1.35.1", workload_pool="p.svc.id.goog", autopilot=True)

    assert adopted_cluster.problems(reported, StackCluster(settings)) == []
    (problem,) = adopted_cluster.problems(replace(reported, autopilot=False), StackCluster(settings))
    assert "remove cluster.autopilot" in problem


def as_the_provider_has_it(**config: Any) -> SimpleNamespace:
    """A pool as the data source gives it, all of it lists."""
    gpu = SimpleNamespace(
        type="nvidia-l4",
        count=1,
        gpu_partition_size="",
        gpu_sharing_configs=[SimpleNamespace(gpu_sharing_strategy="TIME_SHARING", max_shared_clients_per_gpu=2)],
    )
    node = {
        "machine_type": "g2-standard-8",
        "guest_accelerators": [gpu],
        "disk_size_gb": 100,
        "boot_disks": [SimpleNamespace(size_gb=300)],
        "ephemeral_storage_local_ssd_configs": [SimpleNamespace(local_ssd_count=1)],
        "spot": True,
        "sandbox_configs": [],
        "labels": {"team": "a"},
        "effective_taints": [SimpleNamespace(key="nvidia.com/gpu", value="present", effect="NO_SCHEDULE")],
        "taints": [],
        "service_account": "default",
    }
    return SimpleNamespace(
        name="gpu",
        version="1.35.8-gke.1000000",
        node_configs=[SimpleNamespace(**{**node, **config})],
        node_locations=["us-central1-a", "us-central1-b"],
        node_count=1,
        autoscalings=[SimpleNamespace(total_max_node_count=0, max_node_count=3)],
        queued_provisionings=[SimpleNamespace(enabled=False)],
    )


def test_what_google_reports_is_read_as_the_provider_spells_it() -> None:
    result: Any = SimpleNamespace(node_pools=[as_the_provider_has_it()], cluster_autoscalings=[])

    (pool,) = adopted_nodes.reported(result).pools.values()

    assert (pool.accelerator, pool.count, pool.clients, pool.strategy) == ("nvidia-l4", 1, 2, "TIME_SHARING")
    assert (pool.disk_gb, pool.local_ssds, pool.max_nodes, pool.spot) == (300, 1, 6, True)
    assert pool.taints == (("nvidia.com/gpu", "present", "NO_SCHEDULE"),)


def test_a_pool_without_autoscaling_has_the_nodes_that_it_has() -> None:
    pool = as_the_provider_has_it(guest_accelerators=[])
    pool.autoscalings = []
    result: Any = SimpleNamespace(node_pools=[pool], cluster_autoscalings=[])

    found = adopted_nodes.reported(result).pools["gpu"]

    assert (found.max_nodes, found.count) == (2, 0)


def test_the_account_of_nodes_that_gke_makes_is_the_clusters_default_for_them() -> None:
    defaults = SimpleNamespace(auto_provisioning_defaults=[SimpleNamespace(service_account="auto@x")])
    result: Any = SimpleNamespace(node_pools=[as_the_provider_has_it()], cluster_autoscalings=[defaults])

    on_demand = NodePoolSettings(accelerator="nvidia-l4", compute_class="l4")
    existing = NodePoolSettings(accelerator="nvidia-l4", existing="gpu")
    assert adopted_nodes.account(result, "l4", on_demand) == "auto@x"
    assert adopted_nodes.account(result, "l4", existing) == "default"
