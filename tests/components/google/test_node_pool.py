from collections.abc import Mapping
from typing import Any

import pulumi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.google import pool_names
from components.google.accelerators import machine_for
from components.google.cluster import Cluster
from components.google.node_pool import GpuNodePool
from components.settings.google import ClusterCreate, ClusterSettings, NodePoolSettings, Sharing, Taint
from components.settings.mirrors import RegistryMirror
from components.settings.places import StackCluster, StackPool
from offline.replacements import replaces
from tests.fields import With, observe, unreached
from tests.mocks import Recording, Resource, record

NODE_POOL = "gcp:container/nodePool:NodePool"
ACCOUNT = "gcp:serviceaccount/account:Account"
PROJECT_MEMBER = "gcp:projects/iAMMember:IAMMember"
SERVICE = "gcp:projects/service:Service"

KEY = "projects/keys/locations/us-central1/keyRings/r/cryptoKeys/k"
GIVEN_NETWORK = {"network": "shared", "subnetwork": "gke", "enable_apis": False}
"""Spares the tests the resources of a network."""


def pool(**fields: object) -> NodePoolSettings:
    return NodePoolSettings.model_validate({"accelerator": "nvidia-l4", **fields})


def make(
    settings: NodePoolSettings,
    *,
    key: str = "l4",
    create: Mapping[str, object] | None = None,
) -> GpuNodePool:
    made = ClusterCreate.model_validate({"name": "demo", **GIVEN_NETWORK, **(create or {})})
    home = StackCluster(ClusterSettings(create=made), project="demo", location="us-central1")
    return GpuNodePool(key, StackPool(key, settings, home), Cluster("cluster", home))


def run(settings: NodePoolSettings, **arguments: Any) -> Recording:
    def program() -> None:
        made = make(settings, **arguments)
        for name, value in {"service_account": made.service_account, **made.described}.items():
            pulumi.export(name, value)

    return record(program)


def inputs(settings: NodePoolSettings, **arguments: Any) -> dict[str, Any]:
    return run(settings, **arguments).only(NODE_POOL, arguments.get("key", "l4")).inputs


def node_config(settings: NodePoolSettings, **arguments: Any) -> dict[str, Any]:
    config: dict[str, Any] = inputs(settings, **arguments)["nodeConfig"]
    return config


# What accelerator and count bring with them.


def test_accelerator_and_count_make_the_nodes() -> None:
    config = node_config(pool(count=2))

    assert config["machineType"] == "g2-standard-24"
    assert config["guestAccelerators"] == [
        {"type": "nvidia-l4", "count": 2, "gpuDriverInstallationConfig": {"gpuDriverVersion": "DEFAULT"}}
    ]
    assert config["bootDisk"] == {"sizeGb": 200, "diskType": "pd-balanced"}


def test_the_disk_type_is_one_that_the_machine_boots_from() -> None:
    config = node_config(pool(accelerator="nvidia-b200", count=8, reservation="r"))

    assert config["bootDisk"]["diskType"] == "hyperdisk-balanced"


def test_pods_do_not_act_as_the_node_and_drivers_are_signed() -> None:
    config = node_config(pool())

    assert config["workloadMetadataConfig"] == {"mode": "GKE_METADATA"}
    assert config["shieldedInstanceConfig"] == {"enableSecureBoot": True, "enableIntegrityMonitoring": True}
    assert config["gvnic"] == {"enabled": True}
    assert config["metadata"] == {"disable-legacy-endpoints": "true"}


def test_unsigned_drivers_may_load_where_gke_installs_none() -> None:
    config = node_config(pool(driver_version="INSTALLATION_DISABLED"))

    assert config["shieldedInstanceConfig"]["enableSecureBoot"] is False


def test_labels_select_the_nodes_by_key_and_accelerator() -> None:
    recording = run(pool(labels={"team": "serving"}))

    selector = recording.outputs["labels"]
    assert selector == {"oci-model-serving/pool": "l4", "cloud.google.com/gke-accelerator": "nvidia-l4"}
    on_nodes = recording.only(NODE_POOL, "l4").inputs["nodeConfig"]["labels"]
    assert on_nodes == {"team": "serving", "oci-model-serving/pool": "l4"}


def test_taints_are_told_as_kubernetes_spells_them_with_gkes_own() -> None:
    recording = run(pool(taints=[{"key": "team", "value": "a", "effect": "NO_EXECUTE"}]))

    assert recording.outputs["taints"] == [
        {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
        {"key": "team", "value": "a", "effect": "NoExecute"},
    ]
    assert recording.only(NODE_POOL, "l4").inputs["nodeConfig"]["taints"] == [
        {"key": "team", "value": "a", "effect": "NO_EXECUTE"}
    ]


# Shared GPUs, keys, labels.


def test_a_pool_whose_gpus_are_shared_in_time_says_so_to_google_and_to_pods() -> None:
    recording = run(pool(sharing={"strategy": "TIME_SHARING", "max_clients": 3}))

    (gpu,) = recording.only(NODE_POOL, "l4").inputs["nodeConfig"]["guestAccelerators"]
    assert gpu["gpuSharingConfig"] == {"gpuSharingStrategy": "TIME_SHARING", "maxSharedClientsPerGpu": 3}
    assert (
        recording.outputs["labels"].items()
        >= {
            "cloud.google.com/gke-gpu-sharing-strategy": "time-sharing",
            "cloud.google.com/gke-max-shared-clients-per-gpu": "3",
        }.items()
    )


def test_a_pool_of_partitions_says_so_to_google_and_to_pods() -> None:
    recording = run(pool(accelerator="nvidia-tesla-a100", gpu_partition_size="3g.20gb"))

    (gpu,) = recording.only(NODE_POOL, "l4").inputs["nodeConfig"]["guestAccelerators"]
    assert gpu["gpuPartitionSize"] == "3g.20gb"
    assert recording.outputs["labels"]["cloud.google.com/gke-gpu-partition-size"] == "3g.20gb"


def test_a_boot_disk_is_encrypted_with_the_key_that_is_named() -> None:
    assert node_config(pool(boot_disk={"kms_key": KEY}))["bootDiskKmsKey"] == KEY


def test_nodes_carry_google_labels_for_billing_beside_the_programs() -> None:
    labels = node_config(pool(resource_labels={"cost-center": "42"}))["resourceLabels"]

    assert labels == {"cost-center": "42", "managed-by": "pulumi", "part-of": "oci-model-serving", "node-pool": "l4"}


def test_a_machine_that_is_made_to_measure_reaches_google_by_its_name() -> None:
    settings = pool(accelerator="nvidia-tesla-t4", machine_type="custom-8-49152")

    assert node_config(settings)["machineType"] == "custom-8-49152"


def test_a_pool_that_uses_none_of_this_is_what_earlier_versions_made() -> None:
    found = inputs(pool())

    assert found["name"] == "l4-7af317"
    assert {"gpuSharingConfig", "gpuPartitionSize"} & set(found["nodeConfig"]["guestAccelerators"][0]) == set()
    assert "bootDiskKmsKey" not in found["nodeConfig"]


# Scaling.


def test_nodes_are_scaled_from_zero_in_all_zones_together() -> None:
    found = inputs(pool(zones=["us-central1-a", "us-central1-b"], max_nodes=4))

    assert found["autoscaling"] == {"totalMinNodeCount": 0, "totalMaxNodeCount": 4, "locationPolicy": "BALANCED"}
    assert found["initialNodeCount"] == 0


def test_counts_for_each_zone_are_an_option() -> None:
    found = inputs(pool(per_zone=True, min_nodes=1, max_nodes=2))

    assert found["autoscaling"] == {"minNodeCount": 1, "maxNodeCount": 2, "locationPolicy": "BALANCED"}
    assert found["initialNodeCount"] == 1


@pytest.mark.parametrize(("minimum", "initial"), [(0, 0), (1, 0), (2, 1), (5, 2)])
def test_a_pool_begins_with_no_more_nodes_than_its_minimum(minimum: int, initial: int) -> None:
    settings = pool(zones=["us-central1-a", "us-central1-b"], min_nodes=minimum, max_nodes=5)

    assert inputs(settings)["initialNodeCount"] == initial


@pytest.mark.parametrize("how", [{"spot": True}, {"flex_start": True}, {"reservation": "h100"}])
def test_scarce_capacity_is_taken_wherever_it_is(how: dict[str, object]) -> None:
    assert inputs(pool(**how))["autoscaling"]["locationPolicy"] == "ANY"


def test_an_upgrade_asks_for_no_gpu_beyond_the_pools() -> None:
    assert inputs(pool())["upgradeSettings"] == {"strategy": "SURGE", "maxSurge": 0, "maxUnavailable": 1}


@pytest.mark.parametrize("how", [{"flex_start": True}, {"queued_provisioning": True}])
def test_nodes_on_request_get_the_fields_that_google_forces(how: dict[str, object]) -> None:
    found = inputs(pool(**how, max_run_duration=3600))

    assert found["management"] == {"autoRepair": False, "autoUpgrade": True}
    assert found["nodeConfig"]["reservationAffinity"] == {"consumeReservationType": "NO_RESERVATION"}
    assert found["nodeConfig"]["maxRunDuration"] == "3600s"
    assert found["initialNodeCount"] == 0
    assert found["autoscaling"]["locationPolicy"] == "ANY"
    assert "upgradeSettings" not in found


def test_a_reservation_is_consumed_by_its_name() -> None:
    assert node_config(pool(reservation="h100"))["reservationAffinity"] == {
        "consumeReservationType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": ["h100"],
    }


def test_nodes_of_an_alpha_cluster_are_neither_upgraded_nor_repaired() -> None:
    assert inputs(pool(), create={"alpha": True})["management"] == {"autoRepair": False, "autoUpgrade": False}


# Images.


def test_images_are_pulled_in_parallel_and_collected_late() -> None:
    kubelet = node_config(pool())["kubeletConfig"]

    assert kubelet == {
        "maxParallelImagePulls": 3,
        "imageGcHighThresholdPercent": 85,
        "imageGcLowThresholdPercent": 80,
        "insecureKubeletReadonlyPortEnabled": "FALSE",
    }


def test_a_mirror_serves_digests_and_says_what_tags_mean_only_where_it_may() -> None:
    proxy = {"host": "https://proxy.example:8443/v2/hub", "tags": True}
    mirrors = {"docker.io": [{"host": "https://mirror.example"}, proxy], "ghcr.io": [{"host": "http://10.0.0.9:5000"}]}

    assert node_config(pool(registry_mirrors=mirrors))["containerdConfig"] == {
        "registryHosts": [
            {
                "server": "docker.io",
                "hosts": [
                    {"host": "https://mirror.example", "capabilities": ["HOST_CAPABILITY_PULL"]},
                    {
                        "host": "https://proxy.example:8443/v2/hub",
                        "capabilities": ["HOST_CAPABILITY_PULL", "HOST_CAPABILITY_RESOLVE"],
                        "overridePath": True,
                    },
                ],
            },
            {
                "server": "ghcr.io",
                "hosts": [{"host": "http://10.0.0.9:5000", "capabilities": ["HOST_CAPABILITY_PULL"]}],
            },
        ]
    }
    assert "containerdConfig" not in node_config(pool())


@pytest.mark.parametrize(
    "how", [{"image_streaming": True}, {"secondary_boot_disks": ["projects/p/global/images/vllm"]}]
)
def test_streaming_and_preloaded_disks_bring_file_system_role_and_api(how: dict[str, object]) -> None:
    recording = run(pool(**how), create={"enable_apis": True})

    assert recording.only(NODE_POOL, "l4").inputs["nodeConfig"]["gcfsConfig"] == {"enabled": True}
    roles = {member.inputs["role"] for member in recording.of_type(PROJECT_MEMBER) if member.name.startswith("l4-")}
    assert roles == {"roles/container.defaultNodeServiceAccount", "roles/serviceusage.serviceUsageConsumer"}
    assert "l4-containerfilesystem" in {service.name for service in recording.of_type(SERVICE)}


def test_a_secondary_disk_is_a_cache_of_images() -> None:
    config = node_config(pool(secondary_boot_disks=["projects/p/global/images/vllm"]))

    assert config["secondaryBootDisks"] == [
        {"diskImage": "projects/p/global/images/vllm", "mode": "CONTAINER_IMAGE_CACHE"}
    ]


def test_without_streaming_there_is_no_container_file_system() -> None:
    recording = run(pool(), create={"enable_apis": True})

    assert "gcfsConfig" not in recording.only(NODE_POOL, "l4").inputs["nodeConfig"]
    assert "l4-containerfilesystem" not in {service.name for service in recording.of_type(SERVICE)}


@pytest.mark.parametrize(
    "settings",
    [
        pool(),
        pool(local_ssd="none"),
        pool(accelerator="nvidia-h100-80gb", count=8),
        pool(accelerator="nvidia-a100-80gb", spot=True),
        pool(accelerator="nvidia-h100-80gb", count=8, machine_type="a3-highgpu-8g-nolssd", local_ssd="none"),
    ],
)
def test_local_ssds_that_a_machine_brings_or_lacks_are_not_asked_for(settings: NodePoolSettings) -> None:
    created = run(settings).only(NODE_POOL, "l4")

    # A pool that was made before this setting was there has no such block, and one more would replace it.
    assert "ephemeralStorageLocalSsdConfig" not in created.inputs["nodeConfig"]


def test_a_pool_keeps_its_name_until_it_asks_for_local_ssds() -> None:
    plain = inputs(pool())["name"]

    assert plain == "l4-7af317"  # of the version before the setting
    assert inputs(pool(local_ssd="none"))["name"] == plain
    assert inputs(pool(local_ssd=1))["name"] != plain


def test_what_gke_reports_of_local_ssds_that_were_not_asked_for_replaces_no_pool() -> None:
    def ignored(**fields: object) -> tuple[str, ...]:
        settings = pool(accelerator="nvidia-h100-80gb", count=8, **fields)
        return tuple(observe(lambda: make(settings)).options[NODE_POOL, "l4"]["ignore_changes"])

    assert "nodeConfig.ephemeralStorageLocalSsdConfig" in ignored()
    assert "nodeConfig.ephemeralStorageLocalSsdConfig" not in ignored(local_ssd=16)


def test_a_number_of_local_ssds_is_asked_for() -> None:
    config = node_config(pool(count=8, local_ssd=8))

    assert config["ephemeralStorageLocalSsdConfig"] == {"localSsdCount": 8}


# Identity.


def test_the_nodes_have_an_account_of_their_own() -> None:
    recording = run(pool())

    assert recording.only(ACCOUNT, "l4").inputs["accountId"] == "demo-l4"
    assert recording.outputs["service_account"] == "demo-l4@demo.iam.gserviceaccount.com"
    assert node_config(pool())["serviceAccount"] == "demo-l4@demo.iam.gserviceaccount.com"


def test_the_accounts_only_role_is_the_nodes() -> None:
    recording = run(pool())

    grants = {
        (resource.type, resource.inputs["role"], resource.inputs["member"])
        for resource in recording.resources
        if "role" in resource.inputs
    }
    member = "serviceAccount:demo-{}@demo.iam.gserviceaccount.com"
    role = "roles/container.defaultNodeServiceAccount"
    assert grants == {(PROJECT_MEMBER, role, member.format("l4")), (PROJECT_MEMBER, role, member.format("system"))}


def test_the_pool_waits_for_its_accounts_roles() -> None:
    created = run(pool()).only(NODE_POOL, "l4")

    assert any(urn.endswith("IAMMember::l4-node") for urn in created.dependencies)


# Its life.


def test_the_pool_goes_with_a_created_cluster_and_the_account_does_not() -> None:
    options = observe(lambda: make(pool(), create={"deletion_protection": False})).options

    assert options[NODE_POOL, "l4"]["deleted_with"] == "cluster"
    assert options[ACCOUNT, "l4"]["deleted_with"] is None


def test_a_replacement_is_created_before_the_old_pool_goes() -> None:
    options = observe(lambda: make(pool())).options[NODE_POOL, "l4"]

    assert options["delete_before_replace"] is False
    assert options["ignore_changes"][:2] == ("version", "initialNodeCount")


BASE: dict[str, object] = {
    "zones": ["us-central1-a", "us-central1-b"],
    "boot_disk": {"size_gb": 400},
    "min_nodes": 0,
    "max_nodes": 4,
}
LIFE: list[tuple[dict[str, object], str]] = [
    ({"accelerator": "nvidia-tesla-t4"}, "replace"),
    ({"count": 2}, "replace"),
    ({"machine_type": "g2-standard-16"}, "update"),
    ({"zones": ["us-central1-a"]}, "update"),
    ({"boot_disk": {"size_gb": 500}}, "update"),
    ({"boot_disk": {"size_gb": 400, "type": "pd-ssd"}}, "update"),
    ({"boot_disk": {"size_gb": 400, "provisioned_iops": 4000}}, "update"),
    ({"boot_disk": {"size_gb": 400, "provisioned_throughput": 400}}, "update"),
    ({"local_ssd": 1}, "replace"),
    ({"min_nodes": 2}, "update"),
    ({"max_nodes": 5}, "update"),
    ({"per_zone": True}, "update"),
    ({"spot": True}, "replace"),
    ({"flex_start": True}, "replace"),
    ({"queued_provisioning": True}, "replace"),
    ({"max_run_duration": 3600}, "replace"),
    ({"reservation": "h100"}, "replace"),
    ({"secondary_boot_disks": ["projects/p/global/images/vllm"]}, "replace"),
    ({"image_streaming": True}, "update"),
    ({"taints": [{"key": "team", "value": "a"}]}, "update"),
    ({"labels": {"team": "a"}}, "update"),
    ({"driver_version": "LATEST"}, "replace"),
    ({"max_parallel_image_pulls": 5}, "update"),
    ({"registry_mirrors": {"docker.io": [{"host": "https://mirror.example"}]}}, "update"),
    ({"image_gc_high_threshold_percent": 84}, "update"),
    ({"image_gc_low_threshold_percent": 70}, "update"),
    ({"sandbox": "gvisor"}, "replace"),
    ({"service_account_id": "other-account"}, "replace"),
    ({"max_pods_per_node": 64}, "replace"),
    ({"boot_disk": {"size_gb": 400, "kms_key": KEY}}, "replace"),
    ({"sharing": {"max_clients": 2}}, "replace"),
    ({"gpu_partition_size": "3g.20gb"}, "replace"),
    ({"resource_labels": {"cost-center": "42"}}, "update"),
    ({"confidential": "TDX"}, "update"),
]
OF_OTHERS = {"existing", "compute_class", "service_account", "warm_nodes"}
"""Settings of nodes that this stack does not make, and of pods on them."""


def _differences(before: Any, after: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            found
            for key in sorted({*before, *after})
            for found in _differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        ]
    return [(path, before, after)] if before != after else []


def test_the_table_of_a_pools_life_has_every_setting() -> None:
    assert {next(iter(change)) for change, _ in LIFE} == set(NodePoolSettings.model_fields) - OF_OTHERS


@pytest.mark.parametrize(
    ("change", "expected"), LIFE, ids=lambda value: next(iter(value), "") if isinstance(value, dict) else value
)
def test_ordinary_changes_update_the_pool_and_only_forced_ones_replace_and_rename_it(
    change: dict[str, object], expected: str
) -> None:
    before, after = inputs(pool(**BASE)), inputs(pool(**{**BASE, **change}))

    own = {"name", "version", "initialNodeCount"}
    changes = [change for change in _differences(before, after) if change[0] not in own]
    assert changes, "the setting has no effect"
    assert ("replace" if any(replaces(NODE_POOL, *change) for change in changes) else "update") == expected
    assert ("replace" if before["name"] != after["name"] else "update") == expected


def test_every_field_of_a_pool_reaches_a_resource() -> None:
    values: dict[str, Any] = {
        "accelerator": "nvidia-tesla-t4",
        "count": 2,
        "machine_type": "g2-standard-16",
        "zones": ("us-central1-b",),
        "boot_disk.type": "pd-ssd",
        "boot_disk.provisioned_iops": 4000,
        "boot_disk.provisioned_throughput": 400,
        "local_ssd": 1,
        "max_run_duration": With(3600, {"flex_start": True}),
        "reservation": "h100",
        "secondary_boot_disks": ("projects/p/global/images/vllm",),
        "taints": (Taint(key="team"),),
        "labels": {"team": "a"},
        "driver_version": "LATEST",
        "sandbox": "gvisor",
        "service_account_id": "other-account",
        "boot_disk.kms_key": KEY,
        "sharing": Sharing(max_clients=2),
        "gpu_partition_size": "1g.10gb",
        "confidential": "TDX",
        "resource_labels": {"cost-center": "42"},
        "registry_mirrors": {"docker.io": (RegistryMirror(host="https://mirror.example"),)},
    }
    exempt = dict.fromkeys(OF_OTHERS, "not the pool's own (test_given_nodes, test_spare_nodes)")

    assert unreached(lambda settings: make(settings, key="l4"), pool(), values, exempt=exempt) == []


def test_the_cluster_gives_name_location_project_and_version() -> None:
    def answer(resource: Resource) -> dict[str, Any] | None:
        return {"masterVersion": "1.35.8-gke.1"} if resource.type.endswith(":Cluster") else None

    recording = record(lambda: make(pool()), answer=answer)

    found = recording.only(NODE_POOL, "l4").inputs
    assert (found["cluster"], found["location"], found["project"]) == ("demo", "us-central1", "demo")
    assert found["version"] == "1.35.8-gke.1"


# Names.

keys = st.from_regex(r"[a-z]([-a-z0-9]{0,60}[a-z0-9])?", fullmatch=True)


@given(keys, st.dictionaries(st.sampled_from(["spot", "count"]), st.integers()))
def test_pool_names_are_ones_that_gke_takes(key: str, replacing: dict[str, Any]) -> None:
    name = pool_names.pool_name(key, replacing)

    assert len(name) <= 40
    assert name[0].isalpha()
    assert not name.endswith("-")


@given(keys, keys)
def test_account_ids_are_ones_that_google_takes(cluster: str, key: str) -> None:
    account = pool_names.account_id(cluster, key)

    assert 6 <= len(account) <= 30
    assert account[0].isalpha()
    assert not account.endswith("-")


def test_long_account_ids_are_cut_and_stay_apart() -> None:
    cluster = "a-cluster-with-a-rather-long-name"

    assert pool_names.account_id(cluster, "l4") != pool_names.account_id(cluster, "t4")


def test_the_settings_account_id_wins() -> None:
    assert pool_names.account_id("demo", "l4", pool(service_account_id="gpu-nodes")) == "gpu-nodes"


def test_equal_settings_have_equal_names() -> None:
    machine = machine_for("nvidia-l4", 1)
    names = {pool_names.pool_name("l4", pool_names.replacing(pool(), machine, "demo-l4")) for _ in range(3)}

    assert len(names) == 1
