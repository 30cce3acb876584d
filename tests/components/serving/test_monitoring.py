"""What collects a stack's metrics, for both collectors: which pods, which port, with which label."""

import json
from typing import Any

import pytest

from components.settings.reader import SettingsError
from oci_model_serving.delivery import STREAM_HEALTH_PORT
from policy.allowed import TYPES
from tests import crds, serving
from tests.mocks import Recording

FOLDERS = {
    "monitoring.googleapis.com/v1": "prometheus-engine-v0.17",
    "monitoring.coreos.com/v1": "prometheus-operator-v0.93",
}
KINDS = {"managed": ("PodMonitoring", "Rules"), "operator": ("PodMonitor", "PrometheusRule")}


def run(collector: str = "managed", models: dict[str, Any] | None = None, **monitoring: Any) -> Recording:
    one = {"digest": serving.IMAGE, "nodePool": "l4"}
    platforms = {
        "kserve": {},
        "kubeai": {"version": "0.24.0"},
        "monitoring": {"collector": collector, **monitoring},
    }
    both = models or {"qwen": one, "kube": {**one, "delivery": "kubeai"}}
    return serving.run(serving.gke(both, platforms=platforms))


def kinds(recording: Recording) -> list[str]:
    wanted = {kind for pair in KINDS.values() for kind in pair} | {"ConfigMap"}
    return sorted(body["kind"] for body in serving.objects(recording) if body["kind"] in wanted)


def test_by_default_nothing_is_collected() -> None:
    assert kinds(serving.run(serving.gke({"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}}))) == []


def test_managed_prometheus_reads_each_servers_port_and_kubeais_own() -> None:
    recording = run(interval=15)

    def endpoint(name: str) -> tuple[Any, ...]:
        spec = serving.one(recording, "PodMonitoring", name)["spec"]
        (read,) = spec["endpoints"]
        return read["port"], read["path"], read["interval"], spec["selector"]["matchLabels"]

    assert endpoint("qwen") == (8080, "/metrics", "15s", {"serving.kserve.io/inferenceservice": "qwen"})
    assert endpoint("kube") == (8000, "/metrics", "15s", {"model": "kube"})
    assert endpoint("kubeai") == (8080, "/metrics", "15s", {"app.kubernetes.io/name": "kubeai"})
    assert serving.one(recording, "PodMonitoring", "kubeai")["metadata"]["namespace"] == "kubeai"


def test_series_get_the_label_that_rules_find_them_by() -> None:
    managed = serving.one(run(), "PodMonitoring", "qwen")["spec"]["targetLabels"]
    assert managed == {"fromPod": [{"from": "serving.kserve.io/inferenceservice", "to": "model"}]}

    (endpoint,) = serving.one(run("operator"), "PodMonitor", "qwen")["spec"]["podMetricsEndpoints"]
    assert {"targetLabel": "model", "replacement": "qwen"} in endpoint["relabelings"]


def test_an_operators_prometheus_finds_the_port_that_pods_declare_and_reads_the_one_that_tells() -> None:
    recording = run("operator", labels={"release": "stack"})
    declared = {}
    for body in serving.of_kind(recording, "PodMonitor"):
        (endpoint,) = body["spec"]["podMetricsEndpoints"]
        address = next(rule for rule in endpoint["relabelings"] if rule["targetLabel"] == "__address__")
        declared[body["metadata"]["name"]] = (endpoint["port"], address["replacement"])
        assert body["metadata"]["labels"]["release"] == "stack"

    assert declared == {"qwen": ("http1", "$1:8080"), "kube": ("http", "$1:8000"), "kubeai": ("http", "$1:8080")}
    runtime = serving.one(recording, "ServingRuntime")["spec"]["containers"][0]["ports"]
    assert [(port["name"], port["containerPort"]) for port in runtime] == [("http1", 8080)]


def test_a_streamed_models_sidecar_is_read_too_and_collectors_reach_it() -> None:
    model = {"qwen": {"digest": serving.IMAGE, "nodePool": "l4", "delivery": "stream"}}
    recording = run(models=model)
    spec = serving.one(recording, "PodMonitoring", "qwen")["spec"]
    assert [endpoint["port"] for endpoint in spec["endpoints"]] == [8080, STREAM_HEALTH_PORT]
    sidecar = next(
        rule
        for rule in serving.one(recording, "NetworkPolicy", "qwen-ingress")["spec"]["ingress"]
        if rule["ports"] == [{"port": STREAM_HEALTH_PORT, "protocol": "TCP"}]
    )
    assert any("gmp-system" in str(peer) for peer in sidecar["from"])

    endpoints = serving.one(run("operator", models=model), "PodMonitor", "qwen")["spec"]["podMetricsEndpoints"]
    assert [endpoint["relabelings"][0]["replacement"] for endpoint in endpoints] == ["$1:8080", "$1:9701"]


def test_a_server_that_is_not_vllm_is_left_alone() -> None:
    server = {"image": serving.IMAGE, "command": ["serve"]}
    recording = run(models={"own": {"digest": serving.IMAGE, "nodePool": "l4", "server": server}})

    assert kinds(recording) == []


@pytest.mark.parametrize("collector", sorted(KINDS))
def test_alerts_and_dashboard_are_a_choice_each(collector: str) -> None:
    read, judged = KINDS[collector]

    assert kinds(run(collector)) == sorted([read] * 3 + [judged] * 2)
    assert kinds(run(collector, alerts=False)) == [read] * 3
    recording = run(collector, dashboard=True)
    assert kinds(recording).count("ConfigMap") == 1
    (config,) = serving.of_kind(recording, "ConfigMap")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = config["data"].values()
    assert json.loads(text)["uid"] == "oci-model-serving"
    assert len(text) < 250_000  # a ConfigMap applied by kubectl is in an annotation as well, of 256 KiB


def test_the_collectors_namespaces_reach_the_servers() -> None:
    policy = serving.one(run(), "NetworkPolicy", "qwen-ingress")["spec"]["ingress"][0]
    let_in = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for peer in policy["from"]
        if "namespaceSelector" in peer
    }

    assert {"gmp-system", "gke-gmp-system", "monitoring"} <= let_in
    assert policy["ports"] == [{"port": 8080, "protocol": "TCP"}]


def test_a_cluster_of_ones_own_tells_managed_prometheus_of_its_pods_where_alerts_ask_for_it() -> None:
    def components(recording: Recording) -> list[str]:
        found = recording.only("gcp:container/cluster:Cluster").inputs["monitoringConfig"]["enableComponents"]
        return list(found)

    assert "POD" in components(run())
    assert "POD" not in components(run(alerts=False))
    assert "POD" not in components(run("operator"))


def test_what_collects_is_there_after_the_namespace_and_the_platform() -> None:
    recording = run()
    made = recording.only("kubernetes:monitoring.googleapis.com/v1:PodMonitoring", "qwen-metrics")

    assert {"models", "kserve-resources"} <= serving.after(recording, made)


@pytest.mark.parametrize("collector", sorted(KINDS))
def test_the_policy_knows_every_type(collector: str) -> None:
    types = {resource.type for resource in run(collector, dashboard=True).resources}

    assert {f"kubernetes:{version}:{kind}" for version in FOLDERS for kind in KINDS[collector]} & types
    assert {type_ for type_ in types if type_.startswith("kubernetes:")} <= TYPES


@pytest.mark.parametrize("collector", sorted(KINDS))
def test_every_object_has_only_fields_that_its_crd_knows(collector: str) -> None:
    found = [body for body in serving.objects(run(collector)) if body["kind"] in KINDS[collector]]

    assert {body["kind"] for body in found} == set(KINDS[collector])
    for body in found:
        folder = FOLDERS[body["apiVersion"]]
        if not (crds.CRDS / folder).is_dir():
            pytest.skip(f"no CRDs: {crds.CRDS / folder} is not here")
        assert crds.problems(body, folder) == []


def test_knatives_name_of_the_port_is_taken_there() -> None:
    platforms = {"kserve": {"deploymentMode": "Knative", "gateway": "none"}, "monitoring": {"collector": "operator"}}
    models = {"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}}
    recording = serving.run(serving.gke(models, platforms=platforms))

    (endpoint,) = serving.one(recording, "PodMonitor", "qwen")["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "user-port"


@pytest.mark.parametrize(
    ("monitoring", "ingress", "told"),
    [
        ({"interval": 15}, {}, "platforms.monitoring.interval: has no effect without a collector"),
        ({"labels": {"release": "x"}, "alerts": False}, {}, "platforms.monitoring.labels: has no effect"),
        ({"collector": "managed"}, {"monitoring": ["monitoring"]}, "add gmp-system and gke-gmp-system"),
        ({"collector": "operator"}, {"monitoring": []}, "add the namespace of your Prometheus"),
        ({"collector": "prometheus"}, {}, "platforms.monitoring.collector: "),
        ({"collector": "managed", "interval": 1}, {}, "platforms.monitoring.interval: "),
    ],
)
def test_what_nobody_would_collect_is_refused(monitoring: dict[str, Any], ingress: dict[str, Any], told: str) -> None:
    platforms = {"monitoring": monitoring, "ingress": ingress}
    with pytest.raises(SettingsError) as caught:
        serving.run(serving.gke({"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}}, platforms=platforms))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("monitoring", "ingress"),
    [
        ({"dashboard": True}, {}),  # for whoever reads the models otherwise
        ({"collector": "managed"}, {"monitoring": [], "limit": False}),
        ({"collector": "managed"}, {"monitoring": ["gke-gmp-system"]}),
        ({"collector": "operator"}, {"monitoring": [], "namespaces": ["metrics"]}),
    ],
)
def test_what_somebody_collects_is_taken(monitoring: dict[str, Any], ingress: dict[str, Any]) -> None:
    platforms = {"monitoring": monitoring, "ingress": ingress}
    serving.run(serving.gke({"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}}, platforms=platforms))
