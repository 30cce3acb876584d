"""Who reaches a model's pods: those who must, those who are named, and nobody else."""

from typing import Any

import pytest

from tests import serving
from tests.mocks import Recording

POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
CONTROL_PLANE = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "konnectivity-agent"}},
}
MONITORING = {"gmp-system", "gke-gmp-system", "monitoring"}


def run(kserve: dict[str, Any] | None = None, ingress: dict[str, Any] | None = None, **fields: Any) -> Recording:
    keys = {key: fields.pop(key) for key in ("cluster", "target") if key in fields}
    platforms = {"kserve": kserve or {}, "kubeai": {"version": "0.24.0"}, "ingress": ingress or {}}
    return serving.run(serving.gke({"qwen": {"digest": serving.IMAGE, **fields}}, platforms=platforms, **keys))


def rule(recording: Recording) -> dict[str, Any]:
    spec = recording.only(POLICY, "qwen-ingress").inputs["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    (made,) = spec["ingress"]
    return dict(made)


def ranges(made: dict[str, Any]) -> set[str]:
    return {peer["ipBlock"]["cidr"] for peer in made["from"] if "ipBlock" in peer}


def namespaces(made: dict[str, Any]) -> set[str]:
    return {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for peer in made["from"]
        if set(peer) == {"namespaceSelector"}
    }


def test_behind_gkes_gateway_its_load_balancer_reaches_the_port_and_no_pod_but_what_measures() -> None:
    made = rule(run())

    assert made["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert ranges(made) == {"35.191.0.0/16", "130.211.0.0/22", "10.9.0.0/23"}
    assert namespaces(made) == MONITORING
    assert CONTROL_PLANE in made["from"]
    assert len(made["from"]) == 3 + 3 + 1


def test_the_policy_selects_the_models_own_pods_and_is_there_before_them() -> None:
    recording = run()
    policy = recording.only(POLICY, "qwen-ingress")

    pods = policy.inputs["spec"]["podSelector"]["matchLabels"]
    assert pods == recording.only(POLICY, "qwen").inputs["spec"]["podSelector"]["matchLabels"]
    service = recording.only("kubernetes:serving.kserve.io/v1beta1:InferenceService")
    assert policy.urn in service.dependencies


@pytest.mark.parametrize(
    ("cidrs", "expected"),
    [([], {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}), (["10.129.0.0/23"], {"10.129.0.0/23"})],
)
def test_in_a_network_that_is_there_proxies_are_where_the_settings_say(cidrs: list[str], expected: set[str]) -> None:
    made = rule(run(ingress={"cidrs": cidrs}, cluster={"name": "existing", "location": "us-central1"}))

    assert ranges(made) == {"35.191.0.0/16", "130.211.0.0/22", *expected}


def test_envoy_is_let_in_and_google_is_not() -> None:
    made = rule(run({"gateway": "envoy"}))

    assert ranges(made) == set()
    assert namespaces(made) == MONITORING | {"envoy-gateway-system"}


def test_kubeais_proxy_alone_asks_its_pods() -> None:
    made = rule(run(delivery="kubeai"))

    assert made["ports"] == [{"port": 8000, "protocol": "TCP"}]
    assert {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "kubeai"}}} in made["from"]
    assert ranges(made) == set()
    assert namespaces(made) == MONITORING


def test_who_is_named_may_ask_and_who_queries_metrics_may_be_where_the_query_goes() -> None:
    kserve = {"keda": True, "prometheus": "http://prometheus-server.observability.svc.cluster.local:9090/api"}
    made = rule(run(kserve, {"namespaces": ["apps"], "monitoring": ["metrics"]}))

    assert namespaces(made) == {"apps", "metrics", "observability"}


def test_the_port_is_that_of_the_models_own_server() -> None:
    server = {"image": "docker.io/lmsysorg/sglang:v0.5.0", "command": ["python3"], "args": ["-m", "x"], "port": 30000}

    assert rule(run(server=server))["ports"] == [{"port": 30000, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("kserve", "ingress"),
    [
        ({"gateway": "none"}, {}),  # nobody has said who asks
        ({"gateway": "none", "deploymentMode": "Knative"}, {"namespaces": ["apps"]}),
        ({}, {"limit": False}),
    ],
)
def test_where_nobody_has_told_who_asks_nobody_is_kept_out(kserve: dict[str, Any], ingress: dict[str, Any]) -> None:
    names = [policy.name for policy in run(kserve, ingress).of_type(POLICY)]

    assert names == ["qwen"]


@pytest.mark.parametrize("ingress", [{"namespaces": ["apps"]}, {"limit": True}, {"cidrs": ["10.1.0.0/16"]}])
def test_without_a_gateway_a_named_caller_closes_the_door_to_others(ingress: dict[str, Any]) -> None:
    made = rule(run({"gateway": "none"}, ingress))

    assert namespaces(made) == MONITORING | set(ingress.get("namespaces", []))


@pytest.mark.parametrize(("limit", "names"), [(None, ["qwen"]), (True, ["qwen-ingress", "qwen"])])
def test_a_cluster_that_is_not_googles_is_limited_when_asked_for(limit: bool | None, names: list[str]) -> None:
    platforms = {"kserve": {"gateway": "envoy"}, "ingress": {} if limit is None else {"limit": limit}}
    recording = serving.run(serving.local({"qwen": {"digest": serving.IMAGE}}, platforms=platforms))

    assert sorted(policy.name for policy in recording.of_type(POLICY)) == sorted(names)
