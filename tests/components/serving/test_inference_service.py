"""A model on KServe: the fields that its webhook honours, scaling as it really is, pause, rollout, route, egress."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

import pytest

from components.google import speeds
from components.serving import admission, vllm
from modelimage.traits import Traits
from oci_model_serving.delivery import REVISION_LABEL
from tests import serving
from tests.mocks import DIGEST, Recording, built, plain

COMMAND = "command:local:Command"
SERVICE = "kubernetes:serving.kserve.io/v1beta1:InferenceService"
FETCHING = {"kserve": {"version": "v0.21.0"}}
KEDA = {"keda": True, "prometheus": "http://prometheus.monitoring:9090"}
HUB = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"


def run(platform: dict[str, Any] | None = None, pool: dict[str, Any] | None = None, **fields: Any) -> Recording:
    image = {} if "source" in fields else {"digest": serving.IMAGE}
    keys: dict[str, Any] = {"platforms": {"kserve": platform or {}}}
    if pool is not None:
        keys["nodePools"] = {"l4": {"accelerator": "nvidia-l4", **pool}}
    return serving.run(serving.gke({"qwen2.5": {**image, "nodePool": "l4", **fields}}, **keys))


def service(**fields: Any) -> dict[str, Any]:
    return serving.one(run(**fields), "InferenceService")


def predictor(**fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = service(**fields)["spec"]["predictor"]
    return made


def annotations(**fields: Any) -> dict[str, str]:
    made: dict[str, str] = service(**fields)["metadata"]["annotations"]
    return made


# The image.


@pytest.mark.parametrize(("delivery", "scheme"), [("modelcar", "oci"), ("native", "oci+native")])
def test_the_image_is_named_by_its_digest_where_kserve_looks_for_it(delivery: str, scheme: str) -> None:
    made = predictor(delivery=delivery)

    assert made["model"]["storageUri"] == f"{scheme}://registry.example/models/qwen@{DIGEST}"
    assert made["model"]["runtime"] == "vllm"
    # Refused together with storageUri, stripped from custom containers (KServe v0.19.0, v0.20.0).
    assert not {"storageUris", "containers"} & set(made)
    assert "internal.serving.kserve.io/storage-initializer-sourceuri" not in annotations(delivery=delivery)


def test_the_digest_comes_from_the_build_that_the_service_waits_for() -> None:
    recording = run(source=HUB, builder="direct")

    made = recording.only(SERVICE)
    uri = made.inputs["spec"]["predictor"]["model"]["storageUri"]
    assert uri == f"oci://us-central1-docker.pkg.dev/demo/models/qwen2-5@{DIGEST}"
    build = recording.only(COMMAND, "qwen2.5-build")
    assert build.urn in made.dependencies
    assert {"kserve-resources", "models-vllm", "l4"} <= serving.after(recording, made)


def test_an_image_that_outgrows_the_disk_is_not_served() -> None:
    models = {"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}}

    with pytest.raises(admission.DiskError, match=r"nodePools\.l4\.bootDisk: .*qwen 150 GB"):
        serving.run(serving.gke(models), answer=built(size_bytes=150_000_000_000))


# The server.


def test_what_differs_from_model_to_model_is_told_to_the_server() -> None:
    pool = {"count": 2, "machineType": "g2-standard-24"}
    made = predictor(pool=pool, args=["--max-model-len=8192"], servedName="qwen", env={"VLLM_LOGGING_LEVEL": "DEBUG"})

    model = made["model"]
    # KServe appends these to the runtime's own.
    assert model["args"] == ["--served-model-name=qwen", "--tensor-parallel-size=2", "--max-model-len=8192"]
    env = {entry["name"]: entry["value"] for entry in model["env"]}
    assert env.items() >= {"VLLM_LOGGING_LEVEL": "DEBUG", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}.items()
    assert len(env) == len(model["env"])


def test_what_starts_a_server_changes_with_its_model_and_not_with_the_runtime_of_all() -> None:
    made = serving.gke({"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}})
    recording = serving.run(made)
    model = serving.one(recording, "InferenceService")["spec"]["predictor"]["model"]
    (container,) = serving.one(recording, "ServingRuntime")["spec"]["containers"]

    assert model["image"] == container["image"]
    assert model["command"] == vllm.COMMAND
    # KServe replaces the pods of all models when the runtime changes, before these may run what it says then: so this
    # text, which models' commands replace, is that of versions before.
    digest = hashlib.sha256(json.dumps(container["command"]).encode()).hexdigest()
    assert digest[:16] == "3ea9b3dd8ade06e0"
    assert "terminationMessagePolicy" not in container


def test_the_served_name_is_the_models_key_unless_told() -> None:
    assert predictor()["model"]["args"][0] == "--served-model-name=qwen2.5"


@pytest.mark.parametrize("fields", [{}, {"resources": {"cpu": "3"}}, {"resources": {"memory": "9Gi"}}])
def test_cpu_and_memory_are_always_set_for_kserve_would_cap_them(fields: dict[str, Any]) -> None:
    resources = predictor(**fields)["model"]["resources"]

    assert resources["requests"] == resources["limits"]
    assert set(resources["limits"]) == {"cpu", "memory", "nvidia.com/gpu"}
    assert (resources["limits"]["cpu"], resources["limits"]["memory"]) != ("1", "2Gi")


def test_pods_go_to_their_pool_and_bear_its_taints() -> None:
    made = predictor()

    assert made["nodeSelector"] == {"oci-model-serving/pool": "l4"}
    assert {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"} in made[
        "tolerations"
    ]


def test_a_model_without_a_pool_runs_the_cpu_image_anywhere() -> None:
    platform = {"server": {"cpuImage": serving.IMAGE}}
    made = predictor(platform=platform, nodePool=None)

    assert made["model"]["image"] == serving.IMAGE
    assert "nvidia.com/gpu" not in made["model"]["resources"]["limits"]
    assert not {"nodeSelector", "tolerations"} & set(made)


@pytest.mark.parametrize("namespace", ["kserve", "serving"])
def test_a_model_without_a_pool_is_rather_not_beside_the_controllers(namespace: str) -> None:
    (preferred,) = predictor(platform={"namespace": namespace}, nodePool=None)["affinity"]["podAntiAffinity"].values()

    (one,) = preferred
    assert one["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert namespace in one["podAffinityTerm"]["namespaces"]
    assert "affinity" not in predictor()
    assert "affinity" not in predictor(platform={"deploymentMode": "Knative", "gateway": "none"}, nodePool=None)


def test_shared_memory_is_as_large_as_told() -> None:
    volume, _ = predictor(resources={"shm": "8Gi"})["volumes"]

    assert volume == {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}  # the runtime mounts it


def test_a_slow_start_has_all_the_time_that_the_settings_give_it() -> None:
    startup = predictor(startupTimeout=7200)["model"]["startupProbe"]

    assert startup["periodSeconds"] * startup["failureThreshold"] == 7200


# Who may pull, and what the server may do.


def test_the_service_account_has_the_credentials_and_the_engine_no_token() -> None:
    models = {"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}}
    recording = serving.run(serving.gke(models, pullSecrets=serving.PULL_SECRETS))

    account = serving.one(recording, "ServiceAccount")
    assert account["imagePullSecrets"] == [{"name": "private"}]
    assert account["automountServiceAccountToken"] is False
    made = serving.one(recording, "InferenceService")["spec"]["predictor"]
    assert made["serviceAccountName"] == account["metadata"]["name"]
    assert made["automountServiceAccountToken"] is False


def test_egress_is_denied_to_exactly_this_models_pods_and_before_they_start() -> None:
    recording = run()
    policy = recording.only("kubernetes:networking.k8s.io/v1:NetworkPolicy", "qwen2-5")

    assert policy.inputs["spec"]["podSelector"] == {"matchLabels": {"serving.kserve.io/inferenceservice": "qwen2-5"}}
    assert policy.inputs["metadata"]["namespace"] == "models"
    assert policy.urn in recording.only(SERVICE).dependencies


def test_a_pod_that_pulls_its_image_has_all_credentials_in_one_secret_and_a_way_to_the_registry() -> None:
    # KServe #5739: the storage initializer is given the first of the pod's secrets and no other.
    model = {"digest": serving.IMAGE, "delivery": "fetch"}
    recording = serving.run(serving.gke({"qwen": model}, platforms=FETCHING, pullSecrets=serving.PULL_SECRETS))

    assert serving.one(recording, "ServiceAccount")["imagePullSecrets"] == [{"name": "oci-pull"}]
    secret = recording.only("kubernetes:core/v1:Secret", "models-oci-pull").inputs
    assert (secret["metadata"]["name"], secret["metadata"]["namespace"]) == ("oci-pull", "models")
    made = serving.one(recording, "InferenceService")["spec"]["predictor"]
    assert made["model"]["storageUri"] == f"oci+fetch://{serving.IMAGE}"
    _, registry = serving.one(recording, "NetworkPolicy", "qwen")["spec"]["egress"]
    assert registry == {"ports": [{"port": 443, "protocol": "TCP"}]}


# Scaling, as KServe v0.19.0 and v0.20.0 really do it.


def test_the_mode_is_told_so_that_the_webhooks_default_is_no_drift() -> None:
    assert annotations()["serving.kserve.io/deploymentMode"] == "Standard"


def test_a_fixed_number_is_a_range_of_one_so_that_a_wider_one_replaces_no_pod() -> None:
    fixed, range_ = service(replicas={"min": 2}), service(replicas={"min": 2, "max": 5})

    # KServe copies the annotations onto the pods.
    assert fixed["metadata"]["annotations"] == range_["metadata"]["annotations"]
    assert fixed["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "hpa"
    bounds = [
        (one["minReplicas"], one["maxReplicas"]) for one in (fixed["spec"]["predictor"], range_["spec"]["predictor"])
    ]
    assert bounds == [(2, 2), (2, 5)]


def test_a_range_without_a_query_is_scaled_on_cpu() -> None:
    made = service(replicas={"min": 1, "max": 3}, scaling={"target": 70})

    assert (made["spec"]["predictor"]["scaleMetric"], made["spec"]["predictor"]["scaleTarget"]) == ("cpu", 70)


@pytest.mark.parametrize("low", [0, 1])
def test_with_a_query_keda_scales_and_really_to_zero(low: int) -> None:
    made = service(
        platform=KEDA, replicas={"min": low, "max": 3}, scaling={"query": "sum(vllm:num_requests_running)", "target": 8}
    )

    assert made["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "keda"
    spec = made["spec"]["predictor"]
    assert spec["minReplicas"] == low
    assert "scaleMetric" not in spec  # KServe's webhook refuses it beside KEDA
    (metric,) = spec["autoScaling"]["metrics"]
    assert metric["type"] == "External"
    assert metric["external"]["metric"] == {
        "backend": "prometheus",
        "serverAddress": "http://prometheus.monitoring:9090",
        "query": "sum(vllm:num_requests_running)",
    }
    assert metric["external"]["target"] == {"type": "Value", "value": "8"}


def test_knative_has_a_deadline_that_lets_a_large_pull_finish() -> None:
    made = service(platform={"deploymentMode": "Knative", "gateway": "none"}, replicas={"min": 0}, startupTimeout=7200)

    assert made["metadata"]["annotations"]["serving.knative.dev/progress-deadline"] == "7200s"
    assert "serving.kserve.io/autoscalerClass" not in made["metadata"]["annotations"]
    assert made["spec"]["predictor"]["minReplicas"] == 0
    assert "deploymentStrategy" not in made["spec"]["predictor"]


# Rollouts.


@pytest.mark.parametrize(
    ("nodes", "replicas", "strategy"),
    [
        (2, {"min": 1}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        (3, {"min": 3}, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}),
        (1, {"min": 1}, {"type": "Recreate"}),
    ],
)
def test_a_rollout_starts_the_new_pod_first_where_there_is_room_and_else_makes_room(
    nodes: int, replicas: dict[str, int], strategy: dict[str, Any]
) -> None:
    assert predictor(pool={"maxNodes": nodes}, replicas=replicas)["deploymentStrategy"] == strategy


def revision(**fields: Any) -> str:
    recording = run(**fields)
    label: str = serving.one(recording, "InferenceService")["spec"]["predictor"]["labels"][REVISION_LABEL]
    assert plain(recording.outputs["models"])["qwen2.5"]["revision"] == label
    return label


def test_what_makes_new_pods_has_a_new_revision_and_nothing_else_has() -> None:
    first = revision()

    for same in ({"replicas": {"min": 1, "max": 3}}, {"paused": True}, {"awaitReady": False}):
        assert revision(**same) == first, same
    changed = {
        revision(args=["--max-model-len=1"]),
        revision(env={"A": "b"}),
        revision(resources={"shm": "4Gi"}),
        revision(delivery="native"),
        revision(platform={"server": {"image": serving.IMAGE}}),
    }
    changed |= {revision(drainTimeout=60), revision(platform=KEDA, scaling={"query": "sum(up)"})}
    assert len(changed | {first}) == 8


@pytest.mark.parametrize(
    "change",
    [
        {"args": ["--max-model-len=1"]},
        {"env": {"A": "b"}},
        {"resources": {"cpu": "3"}},
        {"platform": {"server": {"image": serving.IMAGE}}},
        {"delivery": "native"},
        {"replicas": {"min": 1}},
        {"paused": True},
    ],
)
def test_every_change_of_the_pods_or_their_number_is_watched(change: dict[str, Any]) -> None:
    before = run(replicas={"min": 2}, startupTimeout=900).only(COMMAND, "qwen2-5-rollout")
    recording = run(**{"replicas": {"min": 2}, "startupTimeout": 900, **change})
    after = recording.only(COMMAND, "qwen2-5-rollout")

    assert after.inputs["create"].endswith("watch.rollout --timeout 900")
    assert after.inputs["stdin"] != before.inputs["stdin"]  # the command runs again, and fails the update
    # Nothing else waits for pods that may never come, or holds the watch back until they have.
    assert recording.only(SERVICE).name in serving.after(recording, after)
    assert annotations(**change)["pulumi.com/skipAwait"] == "true"
    budget = serving.one(recording, "PodDisruptionBudget")
    assert budget["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}


def test_what_others_wrote_into_the_object_is_no_conflict_for_the_settings_hold() -> None:
    assert annotations()["pulumi.com/patchForce"] == "true"


def test_a_pod_that_has_to_go_finishes_its_answers_first() -> None:
    made = predictor(drainTimeout=300)

    *script, port, settle, patience = made["model"]["lifecycle"]["preStop"]["exec"]["command"]
    assert script[:2] == ["python3", "-c"]
    assert (port, settle, patience) == ("8080", "20", "300")  # Google's load balancer is slow to learn of it
    assert made["terminationGracePeriodSeconds"] > 20 + 300
    elsewhere = predictor(platform={"gateway": "none"})["model"]["lifecycle"]["preStop"]["exec"]["command"]
    assert elsewhere[-2:] == ["5", "600"]


def test_what_kserve_copies_onto_the_pods_does_not_change_with_how_long_we_wait() -> None:
    assert annotations() == annotations(startupTimeout=7200) == annotations(awaitReady=False)


def test_a_paused_model_is_stopped_and_the_stop_is_awaited() -> None:
    recording = run(paused=True)
    made = serving.one(recording, "InferenceService")

    assert made["metadata"]["annotations"]["serving.kserve.io/stop"] == "true"
    assert made["spec"]["predictor"]["minReplicas"] == 1  # what a resume goes back to
    watched = json.loads(str(plain(recording.only(COMMAND, "qwen2-5-rollout").inputs["stdin"])))
    assert (watched["paused"], watched["replicas"]) == (True, 0)


def test_a_running_model_says_that_it_is_not_stopped_so_that_a_pause_by_command_is_undone() -> None:
    assert annotations()["serving.kserve.io/stop"] == "false"


# The way in.


@pytest.mark.parametrize(
    ("platform", "url"),
    [
        ({"gateway": "gke", "domain": "models.test"}, "http://qwen2-5-models.models.test"),
        ({"gateway": "gke", "domain": "models.test", "certificate": "w"}, "https://qwen2-5-models.models.test"),
        ({"gateway": "envoy"}, "http://qwen2-5-models.example.com"),
        ({"gateway": "none"}, "http://qwen2-5-predictor.models.svc.cluster.local"),
        ({"gateway": "none", "modelNamespace": "llms"}, "http://qwen2-5-predictor.llms.svc.cluster.local"),
    ],
)
def test_the_url_is_the_one_that_works_on_the_gateway(platform: dict[str, Any], url: str) -> None:
    assert plain(run(platform=platform).outputs["models"])["qwen2.5"]["url"] == url


def test_on_gkes_gateway_each_model_has_a_route_that_its_classes_accept() -> None:
    route = serving.one(run(platform={"gateway": "gke", "domain": "models.test"}), "HTTPRoute")

    assert route["spec"]["hostnames"] == ["qwen2-5-models.models.test"]
    assert route["spec"]["parentRefs"] == [{"name": "kserve-ingress-gateway", "namespace": "kserve"}]
    (rule,) = route["spec"]["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]  # no regular expression: GWCER104
    assert "timeouts" not in rule  # UnsupportedValue on GKE's classes
    assert rule["backendRefs"] == [{"name": "qwen2-5-predictor", "port": 80}]


def test_gkes_load_balancer_waits_for_long_generations_and_knows_the_health_path() -> None:
    # Shapes of GKE's documentation, "Configure Gateway resources using Policies": their CRDs are GKE's own.
    recording = run(platform={"gateway": "gke", "gatewayTimeout": 1800})
    target = {"group": "", "kind": "Service", "name": "qwen2-5-predictor"}

    backend = serving.one(recording, "GCPBackendPolicy")
    assert backend["apiVersion"] == "networking.gke.io/v1"
    assert backend["spec"] == {"default": {"timeoutSec": 1800}, "targetRef": target}
    health = serving.one(recording, "HealthCheckPolicy")
    assert health["apiVersion"] == "networking.gke.io/v1"
    assert health["spec"] == {
        "default": {"config": {"type": "HTTP", "httpHealthCheck": {"port": 8080, "requestPath": "/health"}}},
        "targetRef": target,
    }
    assert backend["metadata"]["namespace"] == health["metadata"]["namespace"] == "models"


def test_a_paused_model_has_no_route_for_its_service_is_gone() -> None:
    # A route to nothing is an error of the whole Gateway on GKE.
    kinds = {body["kind"] for body in serving.objects(run(platform={"gateway": "gke"}, paused=True))}

    assert not {"HTTPRoute", "GCPBackendPolicy", "HealthCheckPolicy"} & kinds
    assert "Gateway" in kinds


@pytest.mark.parametrize("gateway", ["envoy", "none"])
def test_elsewhere_the_routes_are_kserves(gateway: str) -> None:
    kinds = {body["kind"] for body in serving.objects(run(platform={"gateway": gateway}))}

    assert not {"HTTPRoute", "GCPBackendPolicy", "HealthCheckPolicy"} & kinds


def test_the_outputs_describe_the_model() -> None:
    made = plain(run(delivery="native", servedName="qwen").outputs["models"])["qwen2.5"]

    assert made == {
        "image": serving.IMAGE,
        "digest": DIGEST,
        "size_bytes": 1_000_000,
        "delivery": "native",
        "platform": "kserve",
        "name": "qwen2-5",
        "namespace": "models",
        "storage_uri": f"oci+native://{serving.IMAGE}",
        "served_name": "qwen",
        "url": "http://qwen2-5-models.example.com",
        "paused": False,
        "node_pool": "l4",
        "revision": made["revision"],
        "replicas": 1,
        "task": "generation",
        "traits": asdict(Traits()),
        "adapters": {},
        "cold_start": made["cold_start"],
    }
    assert set(made["cold_start"]["stages"]) == {"server_image_pull", "image_pull", "load", "server_start"}


def predicted(**fields: Any) -> Any:
    return plain(run(**fields).outputs["models"])["qwen2.5"]["cold_start"]


def test_the_outputs_hold_the_prediction_of_the_image_that_was_built() -> None:
    found = predicted(pool={"bootDisk": {"sizeGb": 200, "type": "pd-balanced"}})

    assert found["node_provision"] == [speeds.of("node_least"), speeds.of("node_most")]
    assert found["stages"]["load"] == {
        "seconds": 0.001,  # 1 MB from the page cache
        "size_bytes": 1_000_000,
        "bound": "the streaming loader",
        "constant": "load_cached,streamer",
        "value": speeds.SPEEDS["load_cached", "streamer"].value,
        "unit": "MB/s",
    }
    eager = predicted(args=["--enforce-eager"])["stages"]["server_start"]
    assert (eager["constant"], eager["unit"]) == ("server_start,eager", "s")


def test_of_a_model_on_cpu_the_outputs_hold_the_engines_start_alone() -> None:
    found = predicted(nodePool=None, gpus=0)

    assert found["node_provision"] == []
    assert {name: stage["constant"] for name, stage in found["stages"].items()} == {"server_start": "server_start,cpu"}
