"""Set-ups beyond the default: what each setting becomes in the objects that serve."""

from typing import Any

import pytest

from components.serving import vllm
from offline.values import Secret
from tests import serving
from tests.components.settings.cases_setups_serving import LLAMA_CPP, SGLANG

NODE_AFFINITY = "requiredDuringSchedulingIgnoredDuringExecution"


def stack(kserve: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    found = serving.gke({"qwen": {"digest": serving.IMAGE, "nodePool": "l4", **model}})
    return {**found, "platforms": {"kserve": kserve or {}, "kubeai": {"version": "0.24.0"}}}


def predictor(**model: Any) -> dict[str, Any]:
    found: dict[str, Any] = serving.one(serving.run(stack(**model)), "InferenceService")["spec"]["predictor"]
    return found


def env(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def test_a_variable_is_taken_from_the_secret_that_others_make() -> None:
    made = predictor(env={"A": "b", "VLLM_API_KEY": {"secretKeyRef": {"name": "keys", "key": "vllm"}}})
    assert env(made["model"])["VLLM_API_KEY"] == {"secretKeyRef": {"name": "keys", "key": "vllm"}}
    assert env(made["model"])["A"] == "b"


@pytest.mark.parametrize("delivery", ["modelcar", "native", "kubeai"])
def test_secret_variables_become_a_secret_of_the_model_and_stay_one(delivery: str) -> None:
    values = stack(delivery=delivery, secretEnv={"VLLM_API_KEY": "hunter2"})
    secret_keys = ["oci-model-serving:models"]
    recording = serving.run(values, secret_keys=secret_keys)
    secret = recording.only("kubernetes:core/v1:Secret", "qwen-env")
    assert isinstance(secret.inputs["stringData"]["VLLM_API_KEY"], Secret)
    others = [one for one in recording.resources if one is not secret]
    assert not any("hunter2" in str(one.inputs) for one in others)
    if delivery == "kubeai":
        spec = serving.one(recording, "Model")["spec"]
        assert spec["envFrom"] == [{"secretRef": {"name": "qwen-env"}}]
        assert secret.inputs["metadata"]["namespace"] == "kubeai"
    else:
        container = serving.one(recording, "InferenceService")["spec"]["predictor"]["model"]
        assert env(container)["VLLM_API_KEY"] == {"secretKeyRef": {"name": "qwen-env", "key": "VLLM_API_KEY"}}
        service = recording.only("kubernetes:serving.kserve.io/v1beta1:InferenceService")
        assert "qwen-env" in serving.after(recording, service)


def test_priority_labels_and_spread_are_the_pods() -> None:
    made = predictor(
        priorityClass="high",
        labels={"team": "search"},
        topologySpread=[{"topologyKey": "kubernetes.io/hostname", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}],
    )
    assert made["priorityClassName"] == "high"
    assert made["labels"]["team"] == "search"
    assert made["topologySpreadConstraints"] == [
        {
            "topologyKey": "kubernetes.io/hostname",
            "maxSkew": 2,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"serving.kserve.io/inferenceservice": "qwen"}},
        }
    ]


def test_what_is_not_asked_for_is_not_in_the_objects() -> None:
    made = predictor()
    assert not {"affinity", "priorityClassName", "topologySpreadConstraints"} & made.keys()
    assert made["nodeSelector"] == {"oci-model-serving/pool": "l4"}


@pytest.mark.parametrize("delivery", ["modelcar", "kubeai"])
def test_spot_is_preferred_and_on_demand_is_taken_where_there_is_none(delivery: str) -> None:
    values = stack(delivery=delivery, nodePool="spot", fallbackPools=["l4"], warm="prepull")
    values["nodePools"] = {"spot": {**serving.POOL, "spot": True, "taints": [{"key": "spot"}]}, "l4": serving.POOL}
    recording = serving.run(values)
    prepull = serving.one(recording, "DaemonSet", "qwen-prepull")["spec"]["template"]["spec"]
    if delivery == "kubeai":
        release = recording.only("kubernetes:helm.sh/v3:Release", "kubeai")
        (placed,) = release.inputs["values"]["resourceProfiles"].values()
    else:
        placed = serving.one(recording, "InferenceService")["spec"]["predictor"]
    for spec in (placed, prepull):
        affinity = spec["affinity"]["nodeAffinity"]
        allowed = [term["matchExpressions"][0]["values"] for term in affinity[NODE_AFFINITY]["nodeSelectorTerms"]]
        assert allowed == [["spot"], ["l4"]]
        (first,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
        assert first["preference"]["matchExpressions"][0]["values"] == ["spot"]
        assert first["weight"] == 100
        assert {"key": "spot", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
        assert not spec.get("nodeSelector")


def test_pods_of_two_pools_ask_for_what_the_smaller_node_gives() -> None:
    values = stack(nodePool="l4", fallbackPools=["small"], gpus=1)
    small = {**serving.POOL, "machineType": "g2-standard-4"}
    values["nodePools"] = {"l4": serving.POOL, "small": small}
    amounts = serving.one(serving.run(values), "InferenceService")["spec"]["predictor"]["model"]["resources"]["limits"]
    alone = {**values, "models": {"qwen": {**values["models"]["qwen"], "nodePool": "small", "fallbackPools": []}}}
    wanted = serving.one(serving.run(alone), "InferenceService")["spec"]["predictor"]["model"]["resources"]["limits"]
    assert amounts == wanted


def test_the_disks_of_all_pools_that_a_model_may_run_on_hold_it() -> None:
    from tests.components.settings.reading import read

    values = stack(nodePool="spot", fallbackPools=["l4"])
    values["nodePools"] = {"spot": serving.POOL, "l4": serving.POOL}
    found = read(values)
    assert all("qwen" in pool.image_sizes_gb for pool in found.node_pools.values())


def test_another_server_has_a_runtime_of_its_own_and_its_own_probes() -> None:
    recording = serving.run(stack(server=SGLANG, args=["--tp-size=1"]))
    runtime = serving.one(recording, "ServingRuntime", "qwen-server")["spec"]
    (container,) = runtime["containers"]
    assert container["image"] == SGLANG["image"]
    assert container["command"][:2] == ["/bin/sh", "-c"]
    assert container["command"][2].endswith('exec "$@"\n')
    assert container["command"][3:] == ["server", *SGLANG["command"]]
    assert container["args"] == SGLANG["args"]
    assert container["ports"][0]["containerPort"] == 30000
    assert container["securityContext"] == vllm.SECURITY_CONTEXT
    made = serving.one(recording, "InferenceService")["spec"]["predictor"]["model"]
    assert made["runtime"] == "qwen-server"
    assert made["modelFormat"]["name"] == runtime["supportedModelFormats"][0]["name"]
    assert made["args"] == ["--tp-size=1"]
    assert made["readinessProbe"]["httpGet"] == {"path": "/health", "port": 30000}
    assert made["lifecycle"] == {"preStop": {"sleep": {"seconds": 20}}}
    assert made["image"] == SGLANG["image"]
    assert "command" not in made
    policy = serving.one(recording, "HealthCheckPolicy")["spec"]["default"]["config"]["httpHealthCheck"]
    assert policy == {"port": 30000, "requestPath": "/health"}


def test_by_an_image_volume_another_server_keeps_its_own_entrypoint() -> None:
    recording = serving.run(stack(server={**LLAMA_CPP, "health": "/ready"}, delivery="native"))
    (container,) = serving.one(recording, "ServingRuntime", "qwen-server")["spec"]["containers"]
    assert "command" not in container
    made = serving.one(recording, "InferenceService")["spec"]["predictor"]["model"]
    assert made["startupProbe"]["httpGet"]["path"] == "/ready"


def test_another_server_is_rolled_out_when_it_changes() -> None:
    def revision(server: dict[str, Any]) -> str:
        labels = predictor(server=server)["labels"]
        return str(labels["oci-model-serving/revision"])

    assert revision(SGLANG) != revision({**SGLANG, "args": [*SGLANG["args"], "--log-level=debug"]})


def test_routes_join_the_gateway_that_is_there() -> None:
    given = {"gatewayInstall": False, "gatewayName": "shared", "gatewayNamespace": "infra", "gatewaySection": "https"}
    recording = serving.run(stack(given))
    route = serving.one(recording, "HTTPRoute")["spec"]
    assert route["parentRefs"] == [{"name": "shared", "namespace": "infra", "sectionName": "https"}]
    assert serving.of_kind(recording, "Gateway") == []
    platform = recording.outputs["platforms"]["kserve"]
    assert (platform["gateway_name"], platform["gateway_namespace"]) == ("shared", "infra")


def test_the_gateway_takes_a_reserved_address() -> None:
    gateway = serving.one(serving.run(stack({"gatewayAddress": "models-ip"})), "Gateway")["spec"]
    assert gateway["addresses"] == [{"type": "NamedAddress", "value": "models-ip"}]
    assert "addresses" not in serving.one(serving.run(stack()), "Gateway")["spec"]


def test_a_model_answers_by_all_its_hosts() -> None:
    hosts = ["chat.acme.org", "api.models.example.com"]
    recording = serving.run(stack({"domain": "models.example.com"}, hosts=hosts))
    route = serving.one(recording, "HTTPRoute")["spec"]
    assert route["hostnames"] == ["qwen-models.models.example.com", *hosts]
    listeners = serving.one(recording, "Gateway")["spec"]["listeners"]
    assert [(one["name"], one["hostname"]) for one in listeners] == [
        ("http", "*.models.example.com"),
        ("http-chat.acme.org", "chat.acme.org"),
    ]
