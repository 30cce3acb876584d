"""The loopback API itself: it refuses what Google refuses, in Google's words, and keeps what Google keeps."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from tests.google import faults
from tests.google.asking import (
    ACCOUNTS,
    CLUSTERS,
    JSON,
    L4,
    NETWORKS,
    PROJECT_POLICY,
    REGION,
    REPOSITORIES,
    SUBNETWORKS,
    ask,
    cluster,
    get,
    pool,
    post,
    stopped,
    told,
)
from tests.google.endpoints import Loopback
from tests.google.errors import GoogleError

# What a request may be.


@pytest.mark.parametrize(
    ("verb", "path", "body", "message"),
    [
        ("POST", CLUSTERS, {"cluster": {}, "kluster": 1}, 'Unknown name "kluster": Cannot find field.'),
        (
            "POST",
            CLUSTERS,
            {"cluster": {"name": "x", "nodePools": [{"config": {"machine": "e2"}}]}},
            "Unknown name \"machine\" at 'cluster.node_pools[0].config': Cannot find field.",
        ),
        (
            "POST",
            CLUSTERS,
            {"cluster": {"name": "x", "initialNodeCount": "many"}},
            "Invalid value at 'cluster.initial_node_count' (TYPE_INT32), \"many\"",
        ),
        (
            "POST",
            CLUSTERS,
            {"cluster": {"name": "x", "initialNodeCount": 2**31}},
            "Invalid value at 'cluster.initial_node_count' (TYPE_INT32), 2147483648",
        ),
        (
            "POST",
            CLUSTERS,
            {"cluster": {"name": "x", "releaseChannel": {"channel": "DAILY"}}},
            "Invalid value at 'cluster.release_channel.channel' (TYPE_ENUM), \"DAILY\"",
        ),
        (
            "POST",
            CLUSTERS,
            {"cluster": {"name": "x", "locations": "us-central1-a"}},
            "Invalid value at 'cluster.locations' (TYPE_LIST), \"us-central1-a\"",
        ),
        (
            "POST",
            CLUSTERS,
            {"cluster": {"name": "x", "shieldedNodes": {"enabled": "yes"}}},
            "Invalid value at 'cluster.shielded_nodes.enabled' (TYPE_BOOL), \"yes\"",
        ),
        ("POST", CLUSTERS, {}, "Required field 'cluster' not specified"),
        ("POST", CLUSTERS, [], "Root element must be a message."),
        ("POST", REPOSITORIES, {"format": "DOCKER"}, "Required parameter: repositoryId"),
        ("POST", f"{REPOSITORIES}?repositoryID=x", {}, 'Unknown name "repositoryID": Cannot bind query parameter.'),
        (
            "POST",
            f"{REPOSITORIES}?repositoryId=x",
            {"cleanupPolicies": {"old": {"condition": {"olderThan": "30d"}}}},
            "Illegal duration format; duration must end with 's'",
        ),
        (
            "POST",
            NETWORKS,
            {"name": "Upper"},
            "Invalid value for field 'resource.name': 'Upper'. Must be a match of regex",
        ),
        ("POST", SUBNETWORKS.replace("us-central1", "US"), {"name": "x"}, "Invalid value for field 'region': 'US'."),
        ("POST", NETWORKS, {}, "Required field 'name' not specified"),
    ],
)
def test_a_request_that_breaks_its_schema_is_refused_as_google_does_and_kept(
    google: Loopback, verb: str, path: str, body: Any, message: str
) -> None:
    status, code, said = told(ask(google, verb, path, body))
    assert (status, code) == (400, "INVALID_ARGUMENT")
    assert message in said
    assert len(google.violations) == 1
    assert message in google.violations[0]
    assert google.named("container") == google.named("artifactregistry") == google.named("compute") == {}


@pytest.mark.parametrize(
    "path", ["container/v7/projects/demo/locations/us/clusters", "container/v1/clusters", "pubsub/v1/projects/demo"]
)
def test_a_path_that_no_service_has_is_not_found_and_kept(google: Loopback, path: str) -> None:
    assert ask(google, "GET", path).status_code == 404
    assert len(google.violations) == 1


def test_a_method_that_is_not_served_says_so_instead_of_pretending(google: Loopback) -> None:
    status, code, said = told(ask(google, "POST", f"{CLUSTERS}/demo:completeIpRotation", {}))
    assert (status, code) == (501, "UNIMPLEMENTED")
    assert "container.projects.locations.clusters.completeIpRotation" in said
    assert google.violations


def test_both_spellings_of_a_field_numbers_of_enums_and_nulls_are_taken(google: Loopback) -> None:
    body = {"cluster": {"name": "demo", "initial_node_count": 1, "releaseChannel": {"channel": 2}, "autopilot": None}}
    assert ask(google, "POST", CLUSTERS, body).status_code == 200
    assert google.violations == []


def test_without_a_token_nothing_is_answered(google: Loopback) -> None:
    assert told(httpx.get(f"{google.url}/{CLUSTERS}"))[:2] == (401, "UNAUTHENTICATED")


# Resources.


def test_a_repository_lives_from_its_creation_to_its_deletion(google: Loopback) -> None:
    made = post(google, f"{REPOSITORIES}?repositoryId=models", {"format": "DOCKER", "labels": {"a": "b"}})
    name = f"{REGION}/repositories/models"
    assert made["done"] is True
    assert made["response"]["name"] == name
    operation = get(google, f"artifactregistry/v1/{made['name']}")
    assert operation == made
    again = ask(google, "POST", f"{REPOSITORIES}?repositoryId=models", {"format": "DOCKER"})
    assert told(again)[:2] == (409, "ALREADY_EXISTS")
    assert get(google, REPOSITORIES)["repositories"][0]["labels"] == {"a": "b"}
    body = {"description": "new", "labels": {"ignored": "since the mask does not name it"}}
    ask(google, "PATCH", f"{REPOSITORIES}/models?updateMask=description", body)
    changed = get(google, f"artifactregistry/v1/{name}")
    assert (changed["description"], changed["labels"]) == ("new", {"a": "b"})
    ask(google, "PATCH", f"{REPOSITORIES}/models?updateMask=labels", {})
    assert "labels" not in get(google, f"artifactregistry/v1/{name}")
    ask(google, "DELETE", f"{REPOSITORIES}/models")
    assert told(ask(google, "GET", f"{REPOSITORIES}/models"))[:2] == (404, "NOT_FOUND")
    assert google.violations == []


def test_a_false_and_an_empty_list_are_left_out_of_an_answer_and_an_empty_message_stays(google: Loopback) -> None:
    post(google, f"{REPOSITORIES}?repositoryId=models", {"format": "DOCKER", "dockerConfig": {"immutableTags": False}})
    assert get(google, f"{REPOSITORIES}/models")["dockerConfig"] == {}


@pytest.mark.parametrize(
    ("path", "collection", "body"),
    [
        ("certificatemanager/v1/projects/demo/locations/global/certificates?certificateId=x", "certificates", {}),
        (
            "certificatemanager/v1/projects/demo/locations/global/certificateMaps?certificateMapId=x",
            "certificateMaps",
            {},
        ),
        ("cloudkms/v1/projects/demo/locations/us/keyRings?keyRingId=x", "keyRings", {}),
        ("secretmanager/v1/projects/demo/secrets?secretId=x", "secrets", {"replication": {"automatic": {}}}),
    ],
)
def test_every_service_makes_and_lists_its_resources(google: Loopback, path: str, collection: str, body: JSON) -> None:
    post(google, path, body)
    listed = get(google, path.partition("?")[0])
    assert [resource["name"].rpartition("/")[2] for resource in listed[collection]] == ["x"]
    assert google.violations == []


def test_a_network_in_use_cannot_be_deleted(google: Loopback) -> None:
    post(google, NETWORKS, {"name": "serving", "autoCreateSubnetworks": False})
    network = "projects/demo/global/networks/serving"
    made = post(google, SUBNETWORKS, {"name": "nodes", "network": network, "ipCidrRange": "10.0.0.0/20"})
    assert made["status"] == "DONE"
    assert made["targetLink"].endswith("projects/demo/regions/us-central1/subnetworks/nodes")
    assert get(google, f"{NETWORKS}/serving")["subnetworks"][0].endswith("/subnetworks/nodes")
    refused = ask(google, "DELETE", f"{NETWORKS}/serving")
    assert refused.json()["error"]["errors"][0]["reason"] == "resourceInUseByAnotherResource"
    assert "is already being used by 'projects/demo/regions/us-central1/subnetworks/nodes'" in told(refused)[2]
    ask(google, "DELETE", f"{SUBNETWORKS}/nodes")
    assert ask(google, "DELETE", f"{NETWORKS}/serving").status_code == 200
    assert google.named("compute") == {}


def test_a_subnetwork_of_a_network_that_is_not_there_is_refused(google: Loopback) -> None:
    body = {"name": "nodes", "network": "projects/demo/global/networks/none", "ipCidrRange": "10.0.0.0/20"}
    assert told(ask(google, "POST", SUBNETWORKS, body))[0] == 404


def test_a_patch_with_an_old_fingerprint_is_refused(google: Loopback) -> None:
    post(google, NETWORKS, {"name": "serving"})
    body = {"name": "nodes", "network": "projects/demo/global/networks/serving", "ipCidrRange": "10.0.0.0/20"}
    post(google, SUBNETWORKS, body)
    first = get(google, f"{SUBNETWORKS}/nodes")["fingerprint"]
    change = {"fingerprint": first, "role": "ACTIVE"}
    assert ask(google, "PATCH", f"{SUBNETWORKS}/nodes", change).status_code == 200
    assert told(ask(google, "PATCH", f"{SUBNETWORKS}/nodes", change))[0] == 412


def test_a_cluster_has_its_first_pool_a_version_of_its_own_and_full_names_of_its_network(google: Loopback) -> None:
    made = cluster(google, initialClusterVersion="1.35", network="projects/demo/global/networks/serving")
    assert (made["status"], made["operationType"]) == ("DONE", "CREATE_CLUSTER")
    assert get(google, f"container/v1/{REGION}/operations/{made['name']}")["status"] == "DONE"
    found = get(google, f"{CLUSTERS}/demo")
    assert found["status"] == "RUNNING"
    assert found["currentMasterVersion"].startswith("1.35.")
    assert (found["network"], found["networkConfig"]["network"]) == ("serving", "projects/demo/global/networks/serving")
    assert [one["name"] for one in found["nodePools"]] == ["default-pool"]
    assert len(found["instanceGroupUrls"]) == len(found["locations"]) == 3


def test_a_version_that_gke_does_not_offer_is_refused(google: Loopback) -> None:
    body = {"cluster": {"name": "demo", "initialClusterVersion": "1.20"}}
    assert 'No valid versions with the prefix "1.20" found.' in told(ask(google, "POST", CLUSTERS, body))[2]


def test_nodes_are_upgraded_after_their_control_plane_and_never_beyond_it(google: Loopback) -> None:
    cluster(google, initialClusterVersion="1.35")
    first = f"{CLUSTERS}/demo/nodePools/default-pool"
    old = get(google, first)["version"]
    refused = told(ask(google, "PUT", first, {"nodeVersion": "1.36"}))
    assert refused[:2] == (400, "INVALID_ARGUMENT")
    assert "must not have a greater minor version than master version" in refused[2]
    assert "greater minor version" in told(pool(google, version="1.36"))[2]

    assert ask(google, "PUT", f"{CLUSTERS}/demo", {"update": {"desiredMasterVersion": "1.36"}}).status_code == 200
    assert get(google, f"{CLUSTERS}/demo")["currentMasterVersion"].startswith("1.36.")
    assert get(google, first)["version"] == old
    assert ask(google, "PUT", first, {"nodeVersion": "-"}).status_code == 200
    assert get(google, first)["version"] == get(google, f"{CLUSTERS}/demo")["currentMasterVersion"]


def test_an_operation_of_a_slow_method_runs_while_others_are_done(google: Loopback) -> None:
    google.faults.slow = {"container.projects.locations.clusters.nodePools.create": 60}
    now = stopped(google)
    cluster(google)
    assert get(google, f"{CLUSTERS}/demo")["status"] == "RUNNING"
    operation = pool(google).json()
    assert operation["status"] == "RUNNING"
    assert get(google, f"{CLUSTERS}/demo/nodePools/l4")["status"] == "PROVISIONING"
    now[0] += 60
    assert get(google, f"{CLUSTERS}/demo/nodePools/l4")["status"] == "RUNNING"


def test_a_pools_disk_says_the_same_in_both_spellings(google: Loopback) -> None:
    cluster(google)
    pool(google, config={"bootDisk": {"sizeGb": "300", "diskType": "pd-ssd"}})
    config = get(google, f"{CLUSTERS}/demo/nodePools/l4")["config"]
    assert (config["diskSizeGb"], config["diskType"]) == (300, "pd-ssd")
    ask(google, "PUT", f"{CLUSTERS}/demo/nodePools/l4", {"bootDisk": {"sizeGb": "400", "diskType": "pd-ssd"}})
    assert get(google, f"{CLUSTERS}/demo/nodePools/l4")["config"]["diskSizeGb"] == 400


def test_a_pool_has_the_local_ssds_that_its_machines_bring_and_no_number_that_they_cannot_have(
    google: Loopback,
) -> None:
    cluster(google)
    pool(google, config={"machineType": "a3-highgpu-2g"})
    config = get(google, f"{CLUSTERS}/demo/nodePools/l4")["config"]
    assert config["ephemeralStorageLocalSsdConfig"] == {"localSsdCount": 4}
    asked = {"machineType": "g2-standard-8", "ephemeralStorageLocalSsdConfig": {"localSsdCount": 2}}
    body = {"nodePool": {"name": "more", "config": asked}}
    assert ask(google, "POST", f"{CLUSTERS}/demo/nodePools", body).status_code == 400


def test_a_secrets_version_gives_its_payload_until_it_is_disabled(google: Loopback) -> None:
    secrets = "secretmanager/v1/projects/demo/secrets"
    post(google, f"{secrets}?secretId=hf", {"replication": {"automatic": {}}})
    for token in (b"old", b"new"):
        post(google, f"{secrets}/hf:addVersion", {"payload": {"data": base64.b64encode(token).decode()}})
    assert "payload" not in get(google, f"{secrets}/hf/versions/latest")
    payload = get(google, f"{secrets}/hf/versions/latest:access")["payload"]
    assert base64.b64decode(payload["data"]) == b"new"
    post(google, f"{secrets}/hf/versions/2:disable", {})
    assert told(ask(google, "GET", f"{secrets}/hf/versions/2:access"))[1] == "FAILED_PRECONDITION"
    assert base64.b64decode(get(google, f"{secrets}/hf/versions/latest:access")["payload"]["data"]) == b"old"
    assert told(ask(google, "GET", f"{secrets}/none/versions/1:access"))[0] == 404


# Identity.


def test_a_repository_of_no_mode_is_a_standard_one(google: Loopback) -> None:
    post(google, f"{REPOSITORIES}?repositoryId=models", {"format": "DOCKER"})
    assert get(google, f"{REPOSITORIES}/models")["mode"] == "STANDARD_REPOSITORY"


def test_a_policy_that_has_changed_meanwhile_is_not_overwritten(google: Loopback) -> None:
    policy = post(google, f"{PROJECT_POLICY}:getIamPolicy", {})
    binding = {"role": "roles/viewer", "members": ["user:one@example.com"]}
    wanted = {"policy": {**policy, "bindings": [binding]}}
    first = post(google, f"{PROJECT_POLICY}:setIamPolicy", wanted)
    assert first["etag"] != policy["etag"]
    status, code, said = told(ask(google, "POST", f"{PROJECT_POLICY}:setIamPolicy", wanted))
    assert (status, code) == (409, "ABORTED")
    assert "There were concurrent policy changes." in said
    assert post(google, f"{PROJECT_POLICY}:getIamPolicy", {}) == first


def test_a_race_is_lost_once_and_the_other_writers_binding_stays(google: Loopback) -> None:
    google.faults.iam_races = 1
    mine = {"role": "roles/viewer", "members": ["user:one@example.com"]}
    statuses = []
    for _ in range(2):
        policy = post(google, f"{PROJECT_POLICY}:getIamPolicy", {})
        body = {"policy": {**policy, "bindings": [*policy.get("bindings", []), mine]}}
        statuses.append(ask(google, "POST", f"{PROJECT_POLICY}:setIamPolicy", body).status_code)
    assert statuses == [409, 200]
    bindings = post(google, f"{PROJECT_POLICY}:getIamPolicy", {})["bindings"]
    assert [one["members"] for one in bindings] == [["user:another-writer@example.com"], ["user:one@example.com"]]


def test_an_account_that_was_just_made_is_unknown_to_iam_and_policies_for_a_while(google: Loopback) -> None:
    google.faults.account_seconds = 60
    now = stopped(google)
    made = post(google, ACCOUNTS, {"accountId": "nodes1"})
    email = made["email"]
    assert email == "nodes1@demo.iam.gserviceaccount.com"
    assert told(ask(google, "GET", f"{ACCOUNTS}/{email}"))[0] == 404
    policy = {"bindings": [{"role": "roles/viewer", "members": [f"serviceAccount:{email}"]}]}
    refused = ask(google, "POST", f"{PROJECT_POLICY}:setIamPolicy", {"policy": policy})
    assert told(refused) == (400, "INVALID_ARGUMENT", f"Service account {email} does not exist.")
    now[0] += 60
    assert get(google, f"{ACCOUNTS}/{email}")["uniqueId"] == made["uniqueId"]
    assert ask(google, "POST", f"{PROJECT_POLICY}:setIamPolicy", {"policy": policy}).status_code == 200


def test_a_policy_of_something_that_is_not_there_is_not_found(google: Loopback) -> None:
    assert told(ask(google, "GET", f"{REPOSITORIES}/none:getIamPolicy"))[0] == 404


def test_permissions_that_are_asked_about_are_the_owners(google: Loopback) -> None:
    body = {"permissions": ["resourcemanager.projects.get"]}
    assert post(google, f"{PROJECT_POLICY}:testIamPermissions", body) == body


# Failures.


def test_a_pool_without_capacity_in_its_zone_stays_in_error_and_comes_where_there_is_some(google: Loopback) -> None:
    cluster(google)
    google.faults.stockout_zones = {"us-central1-a"}
    made = pool(google, locations=["us-central1-a"], config=L4).json()
    assert made["error"]["code"] == 8  # RESOURCE_EXHAUSTED
    assert "does not have enough resources available to fulfill the request" in made["statusMessage"]
    found = get(google, f"{CLUSTERS}/demo/nodePools/l4")
    assert found["status"] == "ERROR"
    assert found["conditions"][0]["code"] == "GCE_STOCKOUT"
    ask(google, "DELETE", f"{CLUSTERS}/demo/nodePools/l4")
    assert "error" not in pool(google, locations=["us-central1-b"], config=L4).json()


@pytest.mark.parametrize("more", [{"initialNodeCount": 0, "config": L4}, {"config": {}}], ids=["no nodes", "no GPUs"])
def test_a_pool_of_no_nodes_or_without_gpus_needs_no_gpus(google: Loopback, more: JSON) -> None:
    cluster(google)
    google.faults.stockout_zones = {"us-central1-a"}
    assert "error" not in pool(google, locations=["us-central1-a"], **more).json()


@pytest.mark.parametrize(
    ("quotas", "config", "said"),
    [
        (
            {"NVIDIA_L4_GPUS": 1},
            {"accelerators": [{"acceleratorType": "nvidia-l4", "acceleratorCount": "2"}]},
            "resource \"NVIDIA_L4_GPUS\": request requires '2.0' and is short '1.0'",
        ),
        (
            {"PREEMPTIBLE_NVIDIA_L4_GPUS": 0},
            {"spot": True, "accelerators": [{"acceleratorType": "nvidia-l4", "acceleratorCount": "1"}]},
            "resource \"PREEMPTIBLE_NVIDIA_L4_GPUS\": request requires '1.0' and is short '1.0'",
        ),
        (
            {"SSD_TOTAL_GB": 250},
            {"bootDisk": {"sizeGb": "300", "diskType": "pd-balanced"}},
            "resource \"SSD_TOTAL_GB\": request requires '300.0' and is short '50.0'",
        ),
    ],
    ids=["GPUs", "spot GPUs", "disks"],
)
def test_a_quota_that_is_too_small_is_told_before_anything_is_made(
    google: Loopback, quotas: dict[str, float], config: JSON, said: str
) -> None:
    cluster(google)
    google.faults.quotas = quotas
    status, code, message = told(pool(google, locations=["us-central1-a"], config=config))
    assert (status, code) == (403, "PERMISSION_DENIED")
    assert said in message
    assert ask(google, "GET", f"{CLUSTERS}/demo/nodePools/l4").status_code == 404


def test_an_api_that_is_off_says_where_it_is_turned_on_until_it_is(google: Loopback) -> None:
    google.faults.apis_off = {"container"}
    refused = ask(google, "GET", CLUSTERS)
    assert told(refused)[:2] == (403, "PERMISSION_DENIED")
    info = refused.json()["error"]["details"][0]
    assert info["reason"] == "SERVICE_DISABLED"
    assert info["metadata"]["activationUrl"].endswith("/container.googleapis.com/overview?project=demo")
    post(google, "serviceusage/v1/projects/demo/services/container.googleapis.com:enable", {})
    assert get(google, CLUSTERS) == {}
    listed = get(google, "serviceusage/v1/projects/demo/services?filter=state:ENABLED")["services"]
    assert [service["config"]["name"] for service in listed] == ["container.googleapis.com"]


def test_slow_operations_run_for_their_time_and_the_cluster_takes_no_other_change(google: Loopback) -> None:
    google.faults.operation_seconds = 300
    now = stopped(google)
    made = cluster(google)
    assert made["status"] == "RUNNING"
    assert get(google, f"{CLUSTERS}/demo")["status"] == "PROVISIONING"
    assert "Cluster is running incompatible operation operation-" in told(pool(google))[2]
    now[0] += 300
    assert get(google, f"container/v1/{REGION}/operations/{made['name']}")["status"] == "DONE"
    assert get(google, f"{CLUSTERS}/demo")["status"] == "RUNNING"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("container.projects.locations.clusters.create", CLUSTERS, {"cluster": {"name": "demo"}}),
        ("compute.networks.insert", NETWORKS, {"name": "serving"}),
        (
            "artifactregistry.projects.locations.repositories.create",
            f"{REPOSITORIES}?repositoryId=m",
            {"format": "DOCKER"},
        ),
    ],
)
def test_an_operation_that_fails_says_why_in_the_form_of_its_service(
    google: Loopback, method: str, path: str, body: JSON
) -> None:
    google.faults.failing = {method: GoogleError(500, "An internal error has occurred.")}
    error = post(google, path, body)["error"]
    assert (error["errors"][0] if "errors" in error else error)["message"] == "An internal error has occurred."


@pytest.mark.parametrize("refusal", [faults.busy(7), faults.too_many(retry_after=7)], ids=["503", "429"])
def test_a_service_without_time_says_when_to_come_again(google: Loopback, refusal: GoogleError) -> None:
    google.faults.refusing = {"*": [refusal]}
    first, second = ask(google, "GET", CLUSTERS), ask(google, "GET", CLUSTERS)
    assert (first.status_code, first.headers["Retry-After"]) == (refusal.status, "7")
    assert second.status_code == 200
    assert google.violations == []


def test_an_organisations_constraint_is_told_with_its_name(google: Loopback) -> None:
    reason = "Add instance to the allowed list."
    refusal = faults.org_policy("constraints/compute.vmExternalIpAccess", "demo", reason)
    google.faults.refusing = {"container.projects.locations.clusters.create": [refusal]}
    status, _, message = told(ask(google, "POST", CLUSTERS, {"cluster": {"name": "demo"}}))
    assert status == 412
    assert message == f"Constraint constraints/compute.vmExternalIpAccess violated for project demo. {reason}"


def test_blocks_that_were_not_asked_for_are_reported_when_the_switch_says_so(google: Loopback) -> None:
    cluster(google)
    google.faults.unasked_blocks = True
    pool(google)
    found = get(google, f"{CLUSTERS}/demo/nodePools/l4")
    assert found["queuedProvisioning"] == {}
    assert found["config"]["advancedMachineFeatures"] == {}
