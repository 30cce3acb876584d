import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pulumi_gcp as gcp
import pytest

from components.google import adopted_cluster
from components.google.cluster import NO_CLUSTER, Cluster, ClusterError
from components.settings.google import ClusterCreate, ClusterSettings
from components.settings.maintenance import MaintenanceExclusion
from components.settings.places import StackCluster
from components.settings.sections import Sections
from components.settings.serving import ModelSettings
from components.settings.stack import Settings
from components.settings.types import Target
from tests.fields import With, observe, unreached
from tests.mocks import KnownAfter, Recording, Resource, Secret, record

CLUSTER = "gcp:container/cluster:Cluster"
NODE_POOL = "gcp:container/nodePool:NodePool"
NETWORK = "gcp:compute/network:Network"
SUBNETWORK = "gcp:compute/subnetwork:Subnetwork"
PROVIDER = "pulumi:providers:kubernetes"
SERVICE = "gcp:projects/service:Service"

CREATED = StackCluster(
    ClusterSettings(create=ClusterCreate(name="demo")), project="demo", location="us-central1", runs_models=True
)


CIS: dict[str, object] = {
    "masterAuth": {"clientCertificateConfig": {"issueClientCertificate": False}},
    "enableIntranodeVisibility": True,
    "securityPostureConfig": {"mode": "BASIC"},
    "rbacBindingConfig": {
        "enableInsecureBindingSystemAuthenticated": False,
        "enableInsecureBindingSystemUnauthenticated": False,
    },
    "anonymousAuthenticationConfig": {"mode": "LIMITED"},
    "enableShieldedNodes": True,
    "enableLegacyAbac": False,
}
KEY = "projects/keys/locations/us-central1/keyRings/r/cryptoKeys/k"
EXCLUSION = MaintenanceExclusion(
    name="launch", start_time="2026-12-01T00:00:00Z", end_time="2026-12-20T00:00:00Z", scope="NO_MINOR_UPGRADES"
)


def with_create(**fields: object) -> StackCluster:
    create = ClusterCreate.model_validate({"name": "demo", **fields})
    return replace(CREATED, settings=ClusterSettings(create=create))


def run(args: StackCluster, **arguments: Any) -> Recording:
    def program() -> None:
        cluster = Cluster("cluster", args)
        for name in ("name", "location", "version", "kubeconfig", "project"):
            pulumi.export(name, getattr(cluster, name))

    return record(program, **arguments)


def created(version: str = "1.35.8-gke.1000000") -> Callable[[Resource], Mapping[str, Any] | None]:
    def answer(resource: Resource) -> Mapping[str, Any] | None:
        if resource.type != CLUSTER:
            return None
        return {
            "masterVersion": version,
            "endpoint": "10.0.0.2",
            "masterAuth": {"clusterCaCertificate": "Q0E="},
            "controlPlaneEndpointsConfig": {"dnsEndpointConfig": {"endpoint": "gke-1.us-central1.gke.goog"}},
        }

    return answer


# Creating.


def test_nodes_are_private_and_the_cluster_is_vpc_native_with_dataplane_v2() -> None:
    inputs = run(CREATED).only(CLUSTER).inputs

    assert inputs["privateClusterConfig"] == {"enablePrivateNodes": True, "enablePrivateEndpoint": False}
    assert inputs["networkingMode"] == "VPC_NATIVE"
    assert inputs["datapathProvider"] == "ADVANCED_DATAPATH"
    assert inputs["ipAllocationPolicy"] == {
        "clusterSecondaryRangeName": "pods",
        "servicesSecondaryRangeName": "services",
    }
    assert inputs["workloadIdentityConfig"] == {"workloadPool": "demo.svc.id.goog"}
    assert inputs["enableShieldedNodes"] is True
    assert inputs["clusterAutoscaling"]["enabled"] is False


def test_gpu_metrics_are_collected_by_managed_prometheus() -> None:
    monitoring = run(CREATED).only(CLUSTER).inputs["monitoringConfig"]

    assert "DCGM" in monitoring["enableComponents"]
    assert monitoring["managedPrometheus"] == {"enabled": True}


def test_the_minimum_version_opens_image_volumes() -> None:
    assert run(CREATED).only(CLUSTER).inputs["minMasterVersion"] == "1.35"


def test_only_the_dns_endpoint_answers_unless_networks_are_named() -> None:
    inputs = run(CREATED).only(CLUSTER).inputs
    assert inputs["controlPlaneEndpointsConfig"] == {"dnsEndpointConfig": {"allowExternalTraffic": True}}
    assert inputs["masterAuthorizedNetworksConfig"] == {"gcpPublicCidrsAccessEnabled": False}

    office = run(with_create(authorized_networks={"office": "192.0.2.0/24"})).only(CLUSTER).inputs
    assert office["masterAuthorizedNetworksConfig"]["cidrBlocks"] == [
        {"displayName": "office", "cidrBlock": "192.0.2.0/24"}
    ]


def test_without_dns_endpoint_and_networks_nobody_is_shut_out() -> None:
    inputs = run(with_create(dns_endpoint=False)).only(CLUSTER).inputs

    assert "masterAuthorizedNetworksConfig" not in inputs


def test_the_first_pool_is_removed_and_a_change_of_it_replaces_nothing() -> None:
    seen = observe(lambda: Cluster("cluster", CREATED))

    assert seen.recording.only(CLUSTER).inputs["removeDefaultNodePool"] is True
    assert seen.options[CLUSTER, "cluster"]["ignore_changes"][:2] == ("initialNodeCount", "nodeConfig")


def test_the_system_pool_lets_gpu_pools_go_to_zero() -> None:
    pool = run(CREATED).only(NODE_POOL).inputs

    assert pool["autoscaling"] == {"totalMinNodeCount": 1, "totalMaxNodeCount": 3, "locationPolicy": "BALANCED"}
    assert "guestAccelerators" not in pool["nodeConfig"]
    assert pool["nodeConfig"]["serviceAccount"] == "demo-system@demo.iam.gserviceaccount.com"
    assert pool["nodeConfig"]["workloadMetadataConfig"] == {"mode": "GKE_METADATA"}
    assert pool["nodeConfig"]["kubeletConfig"]["insecureKubeletReadonlyPortEnabled"] == "FALSE"


def test_pools_go_with_the_cluster_and_are_upgraded_by_its_channel() -> None:
    options = observe(lambda: Cluster("cluster", with_create(deletion_protection=False))).options[
        NODE_POOL, "cluster-system"
    ]

    assert options["deleted_with"] == "cluster"
    assert options["ignore_changes"][:2] == ("version", "initialNodeCount")


def test_nothing_is_forgotten_in_favour_of_a_cluster_that_google_refuses_to_delete() -> None:
    options = observe(lambda: Cluster("cluster", CREATED)).options[NODE_POOL, "cluster-system"]

    assert options["deleted_with"] is None


def test_nodes_reach_googles_apis_without_public_addresses() -> None:
    nodes = run(CREATED).only(SUBNETWORK).inputs

    assert nodes["privateIpGoogleAccess"] is True
    assert {item["rangeName"] for item in nodes["secondaryIpRanges"]} == {"pods", "services"}


def test_gkes_regional_gateways_get_their_proxy_only_subnetwork() -> None:
    proxies = run(replace(CREATED, needs_gateway=True)).only(SUBNETWORK, "cluster-proxy-only").inputs

    assert (proxies["purpose"], proxies["role"]) == ("REGIONAL_MANAGED_PROXY", "ACTIVE")


def test_a_given_network_is_used_and_none_is_made() -> None:
    recording = run(
        with_create(network="shared", subnetwork="gke", pods_range="gke-pods", services_range="gke-services")
    )

    assert [resource for resource in recording.resources if resource.type.startswith("gcp:compute")] == []
    inputs = recording.only(CLUSTER).inputs
    assert (inputs["network"], inputs["subnetwork"]) == ("shared", "gke")
    assert inputs["ipAllocationPolicy"] == {
        "clusterSecondaryRangeName": "gke-pods",
        "servicesSecondaryRangeName": "gke-services",
    }


def test_a_zonal_clusters_network_is_of_its_region() -> None:
    assert run(with_create(location="us-central1-a")).only(SUBNETWORK).inputs["region"] == "us-central1"


def test_the_apis_are_enabled_and_never_disabled_and_can_be_left_alone() -> None:
    services = run(CREATED).of_type(SERVICE)

    assert "container.googleapis.com" in {service.inputs["service"] for service in services}
    assert {service.inputs["disableOnDestroy"] for service in services} == {False}
    assert run(with_create(enable_apis=False)).of_type(SERVICE) == []


def test_an_alpha_cluster_leaves_the_channel_and_says_what_it_costs() -> None:
    recording = run(with_create(alpha=True, version="1.34"))

    inputs = recording.only(CLUSTER).inputs
    assert inputs["enableKubernetesAlpha"] is True
    assert inputs["releaseChannel"] == {"channel": "UNSPECIFIED"}
    assert recording.only(NODE_POOL).inputs["management"] == {"autoRepair": False, "autoUpgrade": False}
    [(level, message)] = recording.messages
    assert level == "warning"
    assert "30 days" in message


def test_the_kubeconfig_is_secret_and_holds_no_credentials() -> None:
    config = run(CREATED, answer=created()).outputs["kubeconfig"]

    assert isinstance(config, Secret)
    content = json.loads(config.value)
    assert content["clusters"][0]["cluster"] == {"server": "https://gke-1.us-central1.gke.goog"}
    assert content["users"][0]["user"]["exec"]["command"] == "gke-gcloud-auth-plugin"
    assert set(content["users"][0]["user"]) == {"exec"}


def test_without_the_dns_endpoint_the_kubeconfig_has_address_and_ca() -> None:
    config = run(with_create(dns_endpoint=False), answer=created()).outputs["kubeconfig"]

    assert json.loads(config.value)["clusters"][0]["cluster"] == {
        "server": "https://10.0.0.2",
        "certificate-authority-data": "Q0E=",
    }


def test_a_changed_kubeconfig_does_not_replace_what_is_in_the_cluster() -> None:
    provider = run(CREATED).only(PROVIDER).inputs

    assert provider["clusterIdentifier"] == "demo/us-central1/demo"
    assert provider["enableServerSideApply"] == "true"
    assert isinstance(provider["kubeconfig"], Secret)
    assert "deleteUnreachable" not in provider


def test_a_created_cluster_of_an_older_version_is_refused_at_apply() -> None:
    args = replace(with_create(version="1.34"), needs_image_volume=True)

    with pytest.raises(ClusterError, match=r"1\.34\.4-gke\.1 on GKE has ImageVolume off"):
        run(args, answer=created("1.34.4-gke.1"))


def test_the_version_is_not_asked_for_where_no_image_volume_is() -> None:
    assert run(with_create(version="1.34"), answer=created("1.34.4-gke.1")).outputs["version"] == "1.34.4-gke.1"


def stack(cluster: ClusterSettings, project: str = "demo", region: str = "us-central1") -> Settings:
    sections = Sections(cluster=cluster, models={"qwen": ModelSettings()})
    return Settings(target=Target.GKE, project=project, region=region, sections=sections)


@pytest.mark.parametrize("given", [{"project": "other"}, {"region": "europe-west4"}])
def test_project_and_region_of_the_stack_are_the_clusters(given: dict[str, str]) -> None:
    made = run(stack(CREATED.settings, **given).cluster).only(CLUSTER).inputs

    assert {"project": made["project"], "region": made["location"]}.items() >= given.items()


@pytest.mark.parametrize(("pool", "readers"), [(None, {"system"}), ("l4", set())])
def test_the_clusters_own_nodes_read_images_where_models_run_on_them(pool: str | None, readers: set[str]) -> None:
    seen: list[set[str]] = []
    sections = Sections(cluster=CREATED.settings, models={"qwen": ModelSettings(node_pool=pool)})
    settings = Settings(target=Target.GKE, project="demo", region="us-central1", sections=sections)

    record(lambda: seen.append(set(Cluster("cluster", settings.cluster).readers)))

    assert seen == [readers]


def test_every_field_of_a_created_cluster_reaches_a_resource() -> None:
    network = {"create.network": "shared", "create.subnetwork": "gke"}
    values = {
        "project": "shared",
        "create.name": "other",
        "create.location": "us-central1-a",
        "create.channel": "STABLE",
        "create.version": "1.36",
        "create.network": With("other", network),
        "create.subnetwork": With("other", network),
        "create.pods_range": With("pods-2", network),
        "create.services_range": With("services-2", network),
        "create.new_network.nodes_cidr": "10.64.0.0/20",
        "create.new_network.pods_cidr": "10.68.0.0/14",
        "create.new_network.services_cidr": "10.72.0.0/20",
        "create.new_network.proxy_only_cidr": "10.73.0.0/23",
        "create.zones": ("us-central1-a",),
        "create.master_cidr": "172.16.0.0/28",
        "create.authorized_networks": {"office": "192.0.2.0/24"},
        "create.maintenance.start_time": "2026-02-07T02:00:00Z",
        "create.maintenance.end_time": "2026-02-07T10:00:00Z",
        "create.maintenance.recurrence": "FREQ=DAILY",
        "create.maintenance.exclusions": (EXCLUSION,),
        "create.database_encryption_key": KEY,
        "create.system_pool.machine_type": "n2-standard-8",
        "create.system_pool.kms_key": KEY,
        "create.system_pool.confidential": "SEV",
        "create.new_network.flow_logs": 0.5,
        "create.hardening.security_posture": "DISABLED",
        "create.hardening.rbac_groups_domain": "example.com",
        "create.labels": {"team": "serving"},
    }
    exempt = {
        "name": "excludes create",
        "location": "of an adopted cluster",
        "autopilot": "of an adopted cluster",
        "kubeconfig": "excludes create",
        "context": "of the kubeconfig",
        **dict.fromkeys(
            ("allow_list.enforce", "allow_list.images", "allow_list.remote_code"),
            "of what is in the cluster (tests/components/serving/test_allow_list.py)",
        ),
    }

    assert (
        unreached(lambda given: Cluster("cluster", stack(given).cluster), CREATED.settings, values, exempt=exempt) == []
    )


def test_gke_is_told_when_it_may_not_upgrade_and_how_far() -> None:
    ends = {**EXCLUSION.model_dump(exclude_none=True), "name": "old", "end_time_behavior": "UNTIL_END_OF_SUPPORT"}
    del ends["end_time"]

    policy = run(with_create(maintenance={"exclusions": [EXCLUSION, ends]})).only(CLUSTER).inputs["maintenancePolicy"]

    assert policy["maintenanceExclusions"] == [
        {
            "exclusionName": "launch",
            "startTime": "2026-12-01T00:00:00Z",
            "endTime": "2026-12-20T00:00:00Z",
            "exclusionOptions": {"scope": "NO_MINOR_UPGRADES"},
        },
        {
            "exclusionName": "old",
            "startTime": "2026-12-01T00:00:00Z",
            "exclusionOptions": {"scope": "NO_MINOR_UPGRADES", "endTimeBehavior": "UNTIL_END_OF_SUPPORT"},
        },
    ]


def test_secrets_in_the_clusters_database_and_its_own_disks_are_under_the_keys_that_are_named() -> None:
    recording = run(with_create(database_encryption_key=KEY, system_pool={"kms_key": KEY}))

    cluster, pool = recording.only(CLUSTER).inputs, recording.only(NODE_POOL).inputs
    assert cluster["databaseEncryption"] == {"state": "ENCRYPTED", "keyName": KEY}
    assert cluster["nodeConfig"]["bootDiskKmsKey"] == pool["nodeConfig"]["bootDiskKmsKey"] == KEY
    assert pool["name"] != run(CREATED).only(NODE_POOL).inputs["name"], "the successor is made first"


def test_a_cluster_that_uses_none_of_this_is_what_earlier_versions_made() -> None:
    inputs = run(CREATED).only(CLUSTER).inputs

    assert "databaseEncryption" not in inputs
    assert "maintenanceExclusions" not in inputs["maintenancePolicy"]
    assert "bootDiskKmsKey" not in inputs["nodeConfig"]


def test_what_the_cis_benchmark_asks_for_and_costs_nothing_is_on() -> None:
    cluster = run(CREATED).only(CLUSTER)

    asked = ("authenticatorGroupsConfig", "binaryAuthorization")
    assert {key: value for key, value in cluster.inputs.items() if key in CIS or key in asked} == CIS
    assert "masterAuth" in (cluster.options["ignoreChanges"]), "a difference there would replace a cluster that exists"


def test_the_rest_of_the_benchmark_is_a_setting_each() -> None:
    recording = run(
        with_create(
            hardening={
                "intranode_visibility": False,
                "security_posture": "DISABLED",
                "anonymous_access": True,
                "rbac_groups_domain": "example.com",
                "binary_authorization": True,
                "control_plane_logs": True,
            },
            new_network={"flow_logs": 0.5},
            system_pool={"machine_type": "n2d-standard-4", "confidential": "SEV"},
        )
    )

    cluster = recording.only(CLUSTER).inputs
    assert cluster["enableIntranodeVisibility"] is False
    assert cluster["securityPostureConfig"] == {"mode": "DISABLED"}
    assert cluster["anonymousAuthenticationConfig"] == {"mode": "ENABLED"}
    assert set(cluster["rbacBindingConfig"].values()) == {True}
    assert cluster["authenticatorGroupsConfig"] == {"securityGroup": "gke-security-groups@example.com"}
    assert cluster["binaryAuthorization"] == {"evaluationMode": "PROJECT_SINGLETON_POLICY_ENFORCE"}
    assert {"APISERVER", "SCHEDULER", "CONTROLLER_MANAGER"} <= {*cluster["loggingConfig"]["enableComponents"]}
    assert "binaryauthorization.googleapis.com" in [api.inputs["service"] for api in recording.of_type(SERVICE)]
    (nodes,) = [one.inputs for one in recording.of_type(SUBNETWORK) if one.inputs["name"] == "demo-nodes"]
    assert (nodes["logConfig"]["flowSampling"], nodes["logConfig"]["metadata"]) == (0.5, "INCLUDE_ALL_METADATA")
    pool = recording.only(NODE_POOL).inputs["nodeConfig"]
    assert pool["confidentialNodes"] == {"enabled": True, "confidentialInstanceType": "SEV"}


@pytest.mark.parametrize(("version", "limited"), [("1.31", False), ("1.32", False), ("1.33", True), ("1.36.2", True)])
def test_anonymous_requests_are_limited_where_every_patch_of_the_version_can(version: str, limited: bool) -> None:
    inputs = run(with_create(version=version)).only(CLUSTER).inputs

    assert ("anonymousAuthenticationConfig" in inputs) == limited


# No cluster.


def test_without_a_cluster_on_gke_nothing_is_made_and_the_plan_says_so() -> None:
    recording = run(StackCluster(ClusterSettings(), project="demo", location="us-central1", serves=False))

    assert [resource.type for resource in recording.resources] == ["oci-model-serving:index:Cluster"]
    assert {recording.outputs[name] for name in ("name", "location", "version")} == {""}
    assert [text for level, text in recording.messages if level == "info"] == [NO_CLUSTER]


# Adopting.


def found(**fields: object) -> SimpleNamespace:
    """What get_cluster reports of a cluster that can be used."""
    return SimpleNamespace(
        **{
            "name": "existing",
            "master_version": "1.35.8-gke.1000000",
            "enable_kubernetes_alpha": False,
            "enable_autopilot": False,
            "workload_identity_configs": [SimpleNamespace(workload_pool="demo.svc.id.goog")],
            "gateway_api_configs": [SimpleNamespace(channel="CHANNEL_STANDARD")],
            "datapath_provider": "ADVANCED_DATAPATH",
            "network_policies": [],
            "enable_fqdn_network_policy": True,
            "control_plane_endpoints_configs": [],
            "endpoint": "192.0.2.1",
            "master_auths": [SimpleNamespace(cluster_ca_certificate="Q0E=")],
            "cluster_autoscalings": [],
            "node_pools": [],
            **fields,
        }
    )


@pytest.fixture
def look_up(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Answers the look-up of a cluster; returns the arguments of the look-ups to come."""

    def answer(**fields: object) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def get_cluster_output(**arguments: Any) -> pulumi.Output[Any]:
            asked.append({key: value for key, value in arguments.items() if key != "opts"})
            return pulumi.Output.from_input(found(**fields))

        monkeypatch.setattr(gcp.container, "get_cluster_output", get_cluster_output)
        return asked

    return answer


ADOPTED = StackCluster(
    ClusterSettings(name="existing", location="europe-west4"), project="demo", location="europe-west4"
)


def test_an_adopted_cluster_is_looked_up_and_nothing_is_made_of_google(
    look_up: Callable[..., list[dict[str, Any]]],
) -> None:
    asked = look_up()

    recording = run(ADOPTED)

    assert asked == [{"name": "existing", "location": "europe-west4", "project": "demo"}]
    assert [resource.type for resource in recording.resources if resource.type.startswith("gcp:")] == []
    assert recording.outputs["version"] == "1.35.8-gke.1000000"
    assert json.loads(recording.outputs["kubeconfig"].value)["clusters"][0]["cluster"]["server"] == "https://192.0.2.1"


def test_another_project_and_the_dns_endpoint_are_used(look_up: Callable[..., list[dict[str, Any]]]) -> None:
    dns = SimpleNamespace(endpoint="gke-2.europe-west4.gke.goog", allow_external_traffic=True)
    asked = look_up(control_plane_endpoints_configs=[SimpleNamespace(dns_endpoint_configs=[dns])])

    recording = run(replace(ADOPTED, project="shared"))

    assert asked[0]["project"] == "shared"
    assert recording.only(PROVIDER).inputs["clusterIdentifier"] == "shared/europe-west4/existing"
    server = json.loads(recording.outputs["kubeconfig"].value)["clusters"][0]["cluster"]
    assert server == {"server": "https://gke-2.europe-west4.gke.goog"}


def test_an_adopted_cluster_is_checked_in_the_plan_with_all_problems_at_once(
    look_up: Callable[..., list[dict[str, Any]]],
) -> None:
    look_up(master_version="1.34.9-gke.1", workload_identity_configs=[], gateway_api_configs=[])

    with pytest.raises(ClusterError) as refused:
        run(replace(ADOPTED, needs_image_volume=True, needs_gateway=True))

    lines = str(refused.value).splitlines()
    assert len(lines) == 3
    assert "no Workload Identity" in lines[0]
    assert "--gateway-api=standard" in lines[1]
    assert "ImageVolume off" in lines[2]


@pytest.mark.parametrize(
    ("has", "wanted", "refused"), [(True, True, False), (False, True, True), (False, False, False)]
)
def test_an_adopted_cluster_must_know_policies_of_names_where_a_stack_writes_some(
    look_up: Callable[..., list[dict[str, Any]]], has: bool, wanted: bool, refused: bool
) -> None:
    look_up(enable_fqdn_network_policy=has)
    stack = replace(ADOPTED, needs_names=wanted)

    if not refused:
        assert run(stack)
        return
    with pytest.raises(ClusterError, match="--enable-fqdn-network-policy"):
        run(stack)


def test_unenforced_network_policies_are_warned_of(look_up: Callable[..., list[dict[str, Any]]]) -> None:
    look_up(datapath_provider="LEGACY_DATAPATH")

    [(level, message)] = run(ADOPTED).messages

    assert level == "warning"
    assert "no NetworkPolicies" in message


def test_the_version_is_known_only_at_apply_where_the_look_up_has_no_answer() -> None:
    assert isinstance(run(replace(ADOPTED, needs_image_volume=True)).outputs["version"], KnownAfter)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, None),
        ({"autopilot": True}, "write cluster.autopilot: true"),
        ({"workload_pool": ""}, "--workload-pool=PROJECT.svc.id.goog"),
        ({"gateway_channel": ""}, "--gateway-api=standard"),
        ({"version": "1.33.1-gke.1"}, "ImageVolume off"),
        ({"version": "1.34.4-gke.1", "alpha": True}, None),
    ],
)
def test_what_an_adopted_cluster_must_have(fields: dict[str, Any], problem: str | None) -> None:
    reported = adopted_cluster.Reported(
        **{"version": "1.35.1", "workload_pool": "p.svc.id.goog", "gateway_channel": "CHANNEL_STANDARD", **fields}
    )

    wanted = replace(ADOPTED, needs_image_volume=True, needs_subpath=True, needs_gateway=True)
    problems = adopted_cluster.problems(reported, wanted)

    assert [problem in text for text in problems] == [True] if problem else problems == []


# Without Google.


def test_without_a_cluster_manifests_are_rendered() -> None:
    recording = run(StackCluster(ClusterSettings(), manifests="out/manifests"))

    assert recording.only(PROVIDER).inputs == {"renderYamlToDirectory": "out/manifests"}
    assert json.loads(recording.outputs["kubeconfig"].value)["clusters"] == []
    assert [resource.type for resource in recording.resources if resource.type.startswith("gcp:")] == []
    assert recording.outputs["name"] == recording.outputs["location"] == "local"


def test_a_kubeconfig_is_known_by_its_path_alone_and_its_context_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config"
    path.write_text("apiVersion: v1\nkind: Config\n")
    monkeypatch.setenv("HOME", str(tmp_path))

    recording = run(StackCluster(ClusterSettings(kubeconfig="~/config", context="kind")))

    provider = recording.only(PROVIDER).inputs
    assert provider["kubeconfig"] == recording.outputs["kubeconfig"] == Secret(str(path))
    assert provider["context"] == "kind"
    assert "renderYamlToDirectory" not in provider


@pytest.mark.parametrize(("content", "reason"), [(None, os.strerror(2)), (b"\xff\xfe\x00", "not a text file")])
def test_a_kubeconfig_that_cannot_be_read_is_refused_with_the_remedy(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ClusterError) as refused:
        run(StackCluster(ClusterSettings(kubeconfig=str(path))))

    assert f"cluster.kubeconfig: {path} cannot be read ({reason})" in str(refused.value)
    assert "remove the key" in str(refused.value)
