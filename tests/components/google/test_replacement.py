"""What replaces Google's resources, in which order, and that nothing does which nobody asked for."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from components.google import pool_names
from components.google.cluster import Cluster
from components.google.node_pool import GpuNodePool
from components.google.registry import ModelRegistry
from components.settings.google import (
    ClusterCreate,
    ClusterSettings,
    NodePoolSettings,
)
from components.settings.places import StackCluster, StackPool, StackRegistry
from components.settings.registry import RegistryCreate, RegistrySettings
from offline import replacements
from tests.mocks import Recording, record

NODE_POOL = "gcp:container/nodePool:NodePool"
CLUSTER = "gcp:container/cluster:Cluster"
REPOSITORY = "gcp:artifactregistry/repository:Repository"
REPLACING: dict[str, list[str]] = json.loads(Path(replacements.__file__).with_name("replacing.json").read_text())[
    "types"
]

NETWORK: dict[str, object] = {"network": "shared", "subnetwork": "gke"}
POOLS: list[dict[str, object]] = [
    {},
    {"count": 2, "machine_type": "g2-standard-24", "driver_version": "INSTALLATION_DISABLED"},
    {"boot_disk": {"size_gb": 400, "type": "pd-ssd"}, "zones": ["us-central1-a"], "per_zone": True},
    {"spot": True},
    {"flex_start": True, "max_run_duration": 3600},
    {"queued_provisioning": True},
    {"reservation": "h100"},
    {"secondary_boot_disks": ["projects/p/global/images/vllm"]},
    {"image_streaming": True, "labels": {"team": "a"}, "taints": [{"key": "team"}]},
    {"sandbox": "gvisor", "service_account_id": "other-account", "max_pods_per_node": 64},
]
CLUSTERS: list[dict[str, object]] = [
    {},
    {"alpha": True, "version": "1.34", "gateway_api": False, "deletion_protection": False},
    {"dns_endpoint": False, "private_endpoint": True, "zones": ["us-central1-a"], "labels": {"team": "a"}},
    {"dns_endpoint": False, "authorized_networks": {"office": "192.0.2.0/24"}, "master_cidr": "172.16.0.0/28"},
    {"new_network": {"nat": False}, "enable_apis": False},
    NETWORK,
    {**NETWORK, "pods_range": "pods", "services_range": "services"},
]
REGISTRIES: list[dict[str, object]] = [
    {},
    {"immutable_tags": False, "protect": True, "scanning": True, "cleanup": {"dry_run": True}},
    {"kms_key": "projects/p/locations/l/keyRings/r/cryptoKeys/k", "labels": {"team": "a"}},
]


def run(
    pool: dict[str, object] | None = None,
    cluster: dict[str, object] | None = None,
    registry: dict[str, object] | None = None,
) -> Recording:
    """A cluster with one pool and a registry; the names are those of the components."""
    create = ClusterCreate.model_validate({"name": "demo", **(cluster or {})})
    home = StackCluster(ClusterSettings(create=create), project="demo", location="us-central1", needs_gateway=True)
    settings = NodePoolSettings.model_validate({"accelerator": "nvidia-l4", **(pool or {})})
    place = RegistrySettings(create=RegistryCreate.model_validate({"repository": "models", **(registry or {})}))

    def program() -> None:
        made = Cluster("cluster", home)
        nodes = GpuNodePool("l4", StackPool("l4", settings, home), made)
        ModelRegistry("models", StackRegistry(place, "demo", "us-central1"), {"l4": nodes.service_account})

    return record(program)


@cache
def variants() -> list[Recording]:
    """What is made of all settings above; nobody changes it."""
    return [
        *(run(pool=pool) for pool in POOLS),
        *(run(cluster=cluster) for cluster in CLUSTERS),
        *(run(registry=registry) for registry in REGISTRIES),
    ]


# Which goes first.


def test_every_resource_whose_name_is_ours_says_which_goes_first() -> None:
    named = {"name", "accountId", "repositoryId"}

    said = {
        (resource.type.rpartition(":")[2], resource.name): resource.options.get("deleteBeforeReplace")
        for resource in run().resources
        if resource.type.startswith("gcp:") and named & resource.inputs.keys()
    }

    assert said == {
        ("NodePool", "l4"): False,
        ("NodePool", "cluster-system"): False,
        ("Account", "l4"): False,
        ("Account", "cluster-system"): False,
        ("Repository", "models"): False,
        ("Cluster", "cluster"): True,
        ("Network", "cluster"): True,
        ("Subnetwork", "cluster-nodes"): True,
        ("Subnetwork", "cluster-proxy-only"): True,
        ("Router", "cluster"): True,
        ("RouterNat", "cluster"): True,
    }


def test_every_input_that_replaces_a_pool_gives_its_successor_another_name() -> None:
    at_home = {"cluster", "location", "project", "name", "namePrefix"}  # a pool there is another one, whatever its name
    constant = {"nodeConfig.metadata", "nodeConfig.oauthScopes"}
    by_another = {"nodeConfig.shieldedInstanceConfig": "guestAccelerators"}  # the driver decides on secure boot
    pool = NodePoolSettings(accelerator="nvidia-l4")
    home = StackCluster(ClusterSettings(create=ClusterCreate(name="demo")), project="demo", location="us-central1")
    made = StackPool("l4", pool, home)
    in_the_name = set(pool_names.replacing(pool, made.machine, made.account_id))

    asked = set()
    for resource in (recording.only(NODE_POOL, "l4") for recording in map(run, POOLS)):
        asked |= {row for row in REPLACING[NODE_POOL] if _given(resource.inputs, row)} - {
            row for row in REPLACING[NODE_POOL] if _ignored(resource.options["ignoreChanges"], row)
        }

    assert {by_another.get(row, row.removeprefix("nodeConfig.")) for row in asked - at_home - constant} == in_the_name


# What nobody asked for.


@pytest.mark.parametrize("type_", [NODE_POOL, CLUSTER])
def test_what_would_replace_and_is_not_asked_for_is_ignored(type_: str) -> None:
    never_reported = {"namePrefix"}  # of the request alone
    excluded = {"clusterIpv4Cidr"}  # by ipAllocationPolicy; what GKE says of it is no difference to the provider
    left = {
        (resource.name, row)
        for recording in variants()
        for resource in recording.of_type(type_)
        for row in REPLACING[type_]
        if not _given(resource.inputs, row) and not _ignored(resource.options["ignoreChanges"], row)
    }

    assert {row for _, row in left} <= never_reported | excluded


def test_what_excludes_an_input_is_not_ignored_since_it_would_come_back_from_an_imported_state() -> None:
    for recording in variants():
        for cluster in recording.of_type(CLUSTER):
            assert "ipAllocationPolicy" in cluster.inputs
            assert "clusterIpv4Cidr" not in cluster.options["ignoreChanges"]


@pytest.mark.parametrize("type_", [NODE_POOL, CLUSTER])
def test_what_is_asked_for_is_never_ignored_but_where_a_pool_only_starts_with_it(type_: str) -> None:
    # `masterAuth` of a cluster that exists says the same, and a difference in it would replace the cluster.
    starts_with = {"version", "initialNodeCount", *(("nodeConfig", "masterAuth") if type_ == CLUSTER else ())}

    wrong = {
        (resource.name, path)
        for recording in variants()
        for resource in recording.of_type(type_)
        for path in resource.options["ignoreChanges"]
        if path not in starts_with and _given(resource.inputs, path)
    }

    assert wrong == set()


# Blocks that a provider does not read back.


def test_no_block_is_given_that_the_provider_drops_because_all_in_it_is_false() -> None:
    kept = {
        # The provider reads them back whatever they say (flattenCluster, flattenNodePool of resource_container_*.go).
        (CLUSTER, "controlPlaneEndpointsConfig.dnsEndpointConfig"),
        (CLUSTER, "controlPlaneEndpointsConfig"),
        (CLUSTER, "masterAuthorizedNetworksConfig"),
        (CLUSTER, "ipAllocationPolicy"),
        (CLUSTER, "rbacBindingConfig"),
        (NODE_POOL, "management"),
        # Maps, of which none and an empty one are the same to it.
        (CLUSTER, "resourceLabels"),
        (REPOSITORY, "labels"),
    }

    found = {
        (resource.type, path)
        for recording in variants()
        for resource in recording.resources
        if resource.type.startswith("gcp:")
        for path in _empty_blocks(resource.inputs)
        if not _ignored(resource.options.get("ignoreChanges", []), path)
    }

    assert found <= kept, "read the provider's flatten function before a block goes into this list"
    assert (REPOSITORY, "dockerConfig") not in found


def test_tags_stay_immutable_where_the_settings_say_so() -> None:
    assert run().only(REPOSITORY).inputs["dockerConfig"] == {"immutableTags": True}


def _given(inputs: Any, row: str) -> bool:
    first, _, rest = row.partition(".")
    value = inputs.get(first)
    return value is not None and (not rest or (isinstance(value, dict) and _given(value, rest)))


def _ignored(paths: list[str], row: str) -> bool:
    return any(replacements.is_at(path, row) for path in paths)


def _empty_blocks(value: Any, path: str = "") -> list[str]:
    """The paths of the objects in which nothing is said, or only false, zero or empty."""
    found = []
    for key, item in value.items():
        inner = f"{path}.{key}" if path else key
        for one in item if isinstance(item, list) else [item]:
            if isinstance(one, dict):
                found += [inner] if _says_nothing(one) else []
                found += _empty_blocks(one, inner)
    return found


def _says_nothing(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_says_nothing, value.values()))
    if isinstance(value, list):
        return all(map(_says_nothing, value))
    return value in (False, 0, "", None)
