"""The KServe platform: charts in order, values that matter, gateways, the runtime and the models' namespace."""

from typing import Any

import pytest

from components.serving.charts import KEEP_CRDS
from components.serving.kserve import KServe
from components.settings.sections import Sections
from components.settings.serving import KServeSettings, Platforms, PullSecret
from components.settings.stack import Settings
from tests import crds, serving
from tests.fields import With, unreached
from tests.mocks import Recording, Secret, record

RELEASE = "kubernetes:helm.sh/v3:Release"
GATEWAY = "kubernetes:gateway.networking.k8s.io/v1:Gateway"


def stack(kserve: KServeSettings, **sections: Any) -> Settings:
    return Settings(sections=Sections(platforms=Platforms(kserve=kserve), **sections))


def args(**fields: object) -> Settings:
    return stack(KServeSettings.model_validate({"gateway": "none", **fields}))


def run(made: Settings) -> Recording:
    return record(lambda: KServe("kserve", made))


def values(**fields: object) -> dict[str, Any]:
    made: dict[str, Any] = run(args(**fields)).only(RELEASE, "kserve-resources").inputs["values"]["kserve"]
    return made


@pytest.mark.parametrize("version", ["v0.19.0", "v0.20.0"])
def test_modelcar_is_on_by_name_and_its_containers_are_as_set(version: str) -> None:
    storage = values(version=version, modelcar={"uid": 2000, "cpu": "20m", "memory": "30Mi"})["storage"]

    assert storage == {
        "enableModelcar": True,
        "uidModelcar": 2000,
        "cpuModelcar": "20m",
        "memoryModelcar": "30Mi",
    }


def test_the_deployment_mode_is_standard_unless_told() -> None:
    assert values()["controller"]["deploymentMode"] == "Standard"
    assert values(deployment_mode="Knative")["controller"]["deploymentMode"] == "Knative"


@pytest.mark.parametrize(
    ("gateway", "routes", "gateway_api"), [("gke", False, False), ("none", False, False), ("envoy", True, True)]
)
def test_kserve_makes_routes_where_the_gateway_takes_them(gateway: str, routes: bool, gateway_api: bool) -> None:
    made = values(gateway=gateway, domain="models.test")["controller"]["gateway"]

    assert made["disableIngressCreation"] is not routes
    assert made["ingressGateway"]["enableGatewayApi"] is gateway_api
    assert made["ingressGateway"]["createGateway"] is gateway_api
    assert made["ingressGateway"]["kserveGateway"] == "kserve/kserve-ingress-gateway"
    assert made["disableHTTPRouteTimeout"] is True
    assert made["domain"] == "models.test"


@pytest.mark.parametrize("gateway", ["gke", "envoy", "none"])
def test_each_part_finds_what_it_needs(gateway: str) -> None:
    recording = run(args(gateway=gateway))

    def of(name: str) -> set[str]:
        return serving.after(
            recording, next(one for one in recording.resources if one.name == name and not one.component)
        )

    assert "cert-manager" in of("kserve-crd")
    assert {"cert-manager", "kserve-crd"} <= of("kserve-resources")
    if gateway == "envoy":
        assert "gateway-helm" in of("envoy")
        assert {"gateway-helm", "envoy"} <= of("kserve-resources")
    if gateway == "gke":
        assert "kserve-ingress-gateway" in of("kserve-resources")
    assert {"kserve-resources", "kserve-crd", "models"} <= of("models-vllm")


def test_a_destroy_leaves_the_crds_and_with_them_every_inference_service() -> None:
    recording = run(args())

    assert recording.only(RELEASE, "kserve-crd").inputs["postrender"] == KEEP_CRDS
    assert "postrender" not in recording.only(RELEASE, "kserve-resources").inputs
    crds_of_cert_manager = recording.only(RELEASE, "cert-manager").inputs["values"]["crds"]
    assert crds_of_cert_manager == {"enabled": True, "keep": True}


def test_charts_come_from_upstream_and_can_come_from_a_mirror() -> None:
    mirror = "oci://mirror.example/charts"
    upstream, mirrored = run(args()), run(args(chart_repository=mirror, cert_manager={"repository": mirror}))

    assert upstream.only(RELEASE, "kserve-crd").inputs["chart"] == "oci://ghcr.io/kserve/charts/kserve-crd"
    assert {one.inputs["chart"].rpartition("/")[0] for one in mirrored.of_type(RELEASE)} == {mirror}
    assert {one.inputs["version"] for one in upstream.of_type(RELEASE)} >= {"v0.20.0"}


def test_upstreams_runtimes_are_not_installed() -> None:
    names = {one.name for one in run(args()).of_type(RELEASE)}

    assert names == {"cert-manager", "kserve-crd", "kserve-resources"}


def test_what_is_declared_present_is_not_installed() -> None:
    assert run(args(install=False)).of_type(RELEASE) == []
    without = run(args(cert_manager={"install": False}, envoy_gateway={"install": False}, gateway="envoy"))
    assert {one.name for one in without.of_type(RELEASE)} == {"kserve-crd", "kserve-resources"}


# Gateways.


@pytest.mark.parametrize(
    ("scheme", "class_name"), [("external", "gke-l7-regional-external-managed"), ("internal", "gke-l7-rilb")]
)
def test_gkes_gateway_is_of_the_class_of_its_scheme_and_open_to_the_models_only(scheme: str, class_name: str) -> None:
    inputs = run(args(gateway="gke", gateway_scheme=scheme, domain="models.test")).only(GATEWAY).inputs

    assert inputs["spec"]["gatewayClassName"] == class_name
    (listener,) = inputs["spec"]["listeners"]
    assert (listener["protocol"], listener["port"], listener["hostname"]) == ("HTTP", 80, "*.models.test")
    assert listener["allowedRoutes"]["namespaces"]["selector"] == {
        "matchLabels": {"kubernetes.io/metadata.name": "models"}
    }
    assert inputs["metadata"]["annotations"] == {"pulumi.com/waitFor": "condition=Programmed"}
    assert crds.problems(inputs, crds.GATEWAY_API) == []


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ({"gateway_scheme": "external"}, True),
        ({"gateway_scheme": "external", "domain": "models.test", "certificate": "wildcard"}, False),
        ({"gateway_scheme": "internal"}, False),
        ({}, False),
    ],
)
def test_a_gateway_that_the_internet_reaches_in_clear_text_is_warned_of(fields: dict[str, str], warned: bool) -> None:
    messages = [text for level, text in run(args(gateway="gke", **fields)).messages if level == "warning"]

    assert any("in clear text" in text for text in messages) is warned


def test_a_kserve_that_is_there_already_gets_the_gateway_of_ours_all_the_same() -> None:
    assert run(args(gateway="gke", install=False)).of_type(GATEWAY)


def test_a_gateway_that_another_stack_makes_is_used_by_its_name() -> None:
    platform = {"gateway": "gke", "install": False, "gatewayInstall": False, "namespace": "shared"}
    models = {"qwen": {"digest": serving.IMAGE}}
    recording = serving.run(serving.gke(models, platforms={"kserve": platform}))

    assert not recording.of_type(GATEWAY)
    route = serving.one(recording, "HTTPRoute")
    assert route["spec"]["parentRefs"] == [{"name": "kserve-ingress-gateway", "namespace": "shared"}]


def test_the_stack_that_makes_the_gateway_says_whose_routes_it_takes_beside_its_own() -> None:
    inputs = run(args(gateway="gke", gateway_namespaces=["team-b"])).only(GATEWAY).inputs

    (listener,) = inputs["spec"]["listeners"]
    assert listener["allowedRoutes"]["namespaces"]["selector"] == {
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["models", "team-b"]}]
    }


def test_with_a_certificate_gkes_gateway_speaks_tls_only() -> None:
    inputs = run(args(gateway="gke", domain="models.test", certificate="wildcard")).only(GATEWAY).inputs

    (listener,) = inputs["spec"]["listeners"]
    assert (listener["protocol"], listener["port"]) == ("HTTPS", 443)
    assert listener["tls"] == {
        "mode": "Terminate",
        "options": {"networking.gke.io/cert-manager-certs": "wildcard"},
    }
    assert crds.problems(inputs, crds.GATEWAY_API) == []


def test_envoys_class_is_made_and_its_timeout_lets_long_generations_finish() -> None:
    recording = run(args(gateway="envoy", gateway_timeout=1800))

    gateway_class = recording.only("kubernetes:gateway.networking.k8s.io/v1:GatewayClass").inputs
    assert gateway_class["metadata"]["name"] == "envoy"  # what KServe's chart names in its Gateway
    assert gateway_class["spec"] == {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"}
    policy = recording.only("kubernetes:gateway.envoyproxy.io/v1alpha1:BackendTrafficPolicy").inputs["spec"]
    assert policy["timeout"] == {"http": {"requestTimeout": "1800s"}}
    assert policy["targetRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "kserve-ingress-gateway"}
    ]


def test_without_a_gateway_there_is_none() -> None:
    assert [one for one in run(args()).resources if "gateway" in one.type] == []


# The runtime.


def test_the_runtime_starts_the_server_on_the_mounted_weights_offline_and_waits_for_them() -> None:
    inputs = run(args()).only("kubernetes:serving.kserve.io/v1alpha1:ServingRuntime").inputs

    assert inputs["metadata"]["name"] == "vllm"
    assert inputs["metadata"]["namespace"] == "models"
    (container,) = inputs["spec"]["containers"]
    assert container["name"] == "kserve-container"  # what KServe merges a model's container into
    assert container["args"] == ["--model=/mnt/models", "--port=8080"]
    assert "/mnt/models" in container["command"][2]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert env.items() >= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}.items()
    assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert container["ports"][0]["containerPort"] == 8080
    assert {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"]  # noqa: S108 - the container's own


def test_the_runtimes_name_is_none_whose_image_kserve_rewrites() -> None:
    # KServe v0.20.0 (GetServerTypeFromRuntimeName, UpdateImageTag) changes the tag of "kserve-vllmserver" and others.
    inputs = run(args()).only("kubernetes:serving.kserve.io/v1alpha1:ServingRuntime").inputs

    assert not inputs["metadata"]["name"].startswith("kserve-")
    assert "serving.kserve.io/server-type" not in inputs["metadata"].get("annotations", {})


# The models' namespace.


@pytest.mark.parametrize(
    ("deliveries", "level"),
    [(["native", "native"], "restricted"), (["modelcar"], "baseline"), (["native", "modelcar"], "baseline")],
)
def test_the_models_namespace_is_as_strict_as_its_deliveries_let_it(deliveries: list[str], level: str) -> None:
    models = {f"m{at}": {"digest": serving.IMAGE, "delivery": name} for at, name in enumerate(deliveries)}

    namespace = serving.one(serving.run(serving.gke(models)), "Namespace", "models")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == level


def test_pull_secrets_are_in_the_models_namespace_before_what_needs_them() -> None:
    secret = PullSecret.model_validate({"server": "a.example", "username": "u", "password": "hunter2"})

    recording = run(stack(args().kserve, pull_secrets={"private": secret}))

    made = recording.only("kubernetes:core/v1:Secret")
    assert (made.inputs["metadata"]["name"], made.inputs["metadata"]["namespace"]) == ("private", "models")
    assert isinstance(made.inputs["stringData"][".dockerconfigjson"], Secret)


def test_a_platform_that_no_model_uses_is_not_installed() -> None:
    recording = serving.run(serving.gke({"qwen": {"digest": serving.IMAGE, "delivery": "kubeai"}}))

    assert recording.of_type("oci-model-serving:index:KServe") == []
    assert {one.name for one in recording.of_type(RELEASE)} == {"kubeai"}


def test_every_setting_has_an_effect() -> None:
    base = KServeSettings.model_validate({"gateway": "gke", "domain": "models.test"})
    envoy = {"gateway": "envoy"}
    of_models = "is the InferenceServices' (test_inference_service.py)"

    assert (
        unreached(
            lambda kserve: KServe("kserve", stack(kserve)),
            base,
            {
                "version": "v0.19.0",
                "namespace": "serving",
                "model_namespace": "llms",
                "chart_repository": "oci://mirror.example",
                "deployment_mode": "Knative",
                "gateway": "none",
                "gateway_scheme": "external",
                "gateway_namespaces": ("team-b",),
                "gateway_address": "models-ip",
                "gateway_timeout": With(60, envoy),
                "domain": "other.test",
                "certificate": "wildcard",
                "modelcar.cpu": "1",
                "modelcar.memory": "1Gi",
                "cert_manager.repository": "oci://mirror.example",
                "cert_manager.version": "v1.0.0",
                "envoy_gateway.repository": With("oci://mirror.example", envoy),
                "envoy_gateway.version": With("v1.0.0", envoy),
                "envoy_gateway.install": With(value=False, others=envoy),
                "server.image": serving.IMAGE,
            },
            exempt={
                "keda": of_models,
                "prometheus": of_models,
                "server.cpu_image": of_models,
                **dict.fromkeys(("server.profile", "server.features"), "is the models' (test_runtime_profile.py)"),
                **dict.fromkeys(("gateway_name", "gateway_namespace", "gateway_section"), of_models),
                **dict.fromkeys(
                    (
                        "stream.image",
                        "stream.processes",
                        "stream.memory",
                        "stream.reach",
                        "stream.cidrs",
                        "stream.hosts",
                    ),
                    "is the streamed models' (test_streaming.py)",
                ),
            },
        )
        == []
    )
