"""Every object that the program can emit, judged by a real API server: dry run, unknown fields refused.

The API server also evaluates the CRDs' rules (CEL), their defaults and the built-in kinds' own validation, which the
schemas of the unit tier (tests/components/test_crd_schemas.py) cannot.
"""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import crds, serving
from tests.integration import cluster, kubeai
from watch.kube import api_root

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]

NOT_SERVED = {"GatewayClass", "BackendTrafficPolicy", "GCPBackendPolicy", "HealthCheckPolicy"}
"""Their CRDs are Envoy Gateway's, the Gateway API's channel and GKE's own: the test cluster has none of them."""
JSON = dict[str, Any]


@pytest.fixture(scope="module")
def namespace(kubeconfig: Path) -> Iterator[str]:
    with cluster.namespace(kubeconfig, "contract") as name:
        yield name


@pytest.fixture(scope="module")
def resources(api: httpx.Client) -> dict[tuple[str, str], JSON]:
    """What the API server serves, by group version and kind."""
    versions = ["v1", "apps/v1", "networking.k8s.io/v1", "policy/v1", "gateway.networking.k8s.io/v1", "kubeai.org/v1"]
    versions += ["admissionregistration.k8s.io/v1"]
    versions += ["serving.kserve.io/v1alpha1", "serving.kserve.io/v1beta1"]
    return {
        (version, resource["kind"]): resource
        for version in versions
        for resource in api.get(api_root(version)).raise_for_status().json()["resources"]
        if "/" not in resource["name"]
    }


def dry_run(
    api: httpx.Client, resources: dict[tuple[str, str], JSON], namespace: str, body: JSON, *, apply: bool = False
) -> httpx.Response:
    """Send an object as the provider would, into the test's namespace, without keeping it."""
    resource = resources[body["apiVersion"], body["kind"]]
    body = copy.deepcopy(body)
    path = f"{api_root(body['apiVersion'])}/{resource['name']}"
    if resource["namespaced"]:
        body["metadata"]["namespace"] = namespace
        path = f"{api_root(body['apiVersion'])}/namespaces/{namespace}/{resource['name']}"
    else:
        body["metadata"]["name"] += "-contract"
    params = {"dryRun": "All", "fieldValidation": "Strict"}
    if not apply:
        return api.post(path, params=params, json=body)
    return api.patch(
        f"{path}/{body['metadata']['name']}",
        params={**params, "fieldManager": "contract"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(body),
    )


@pytest.mark.parametrize("case", [case for case in serving.MATRIX if case.kserve == "v0.20.0"], ids=str)
def test_the_api_server_takes_every_object_without_a_field_that_it_does_not_know(
    case: serving.Case, api: httpx.Client, resources: dict[tuple[str, str], JSON], namespace: str
) -> None:
    refused, sent = [], set()
    for body in serving.objects(serving.run(case.settings)):
        if body["kind"] in NOT_SERVED:
            continue
        sent.add(body["kind"])
        answer = dry_run(api, resources, namespace, body)
        if not answer.is_success:
            refused.append(f"{body['kind']} {body['metadata']['name']}: {answer.json()['message']}")

    assert not refused, "\n".join(refused)
    assert {"InferenceService", "ServingRuntime", "Model", "NetworkPolicy", "PodDisruptionBudget", "DaemonSet"} <= sent
    assert ("Secret" in sent) is case.pull_secret
    assert ({"Gateway", "HTTPRoute"} <= sent) is (case.gateway == "gke")


def test_server_side_apply_takes_them_as_well(
    api: httpx.Client, resources: dict[tuple[str, str], JSON], namespace: str
) -> None:
    # The InferenceService's CRD is too large for the annotation of client-side apply.
    (case,) = [case for case in serving.MATRIX if str(case) == "v0.20.0-gke-private"]
    bodies = [body for body in serving.objects(serving.run(case.settings)) if body["kind"] not in NOT_SERVED]

    answers = [dry_run(api, resources, namespace, body, apply=True) for body in bodies]

    assert [answer.json().get("message") for answer in answers if not answer.is_success] == []


def test_a_service_that_is_wrong_is_refused_so_that_the_other_tests_can_fail(
    api: httpx.Client, resources: dict[tuple[str, str], JSON], namespace: str
) -> None:
    models = {"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}}
    good = serving.one(serving.run(serving.gke(models)), "InferenceService")
    unknown, mistyped, misnamed = copy.deepcopy(good), copy.deepcopy(good), copy.deepcopy(good)
    unknown["spec"]["predictor"]["storageURI"] = "oci://x"
    mistyped["spec"]["predictor"]["minReplicas"] = "1"
    misnamed["metadata"]["name"] = "Qwen_2.5"

    for body, said in (
        (unknown, 'unknown field "spec.predictor.storageURI"'),
        (mistyped, "minReplicas"),
        (misnamed, "metadata.name"),
    ):
        answer = dry_run(api, resources, namespace, body)
        assert answer.status_code in {400, 422}
        assert said in answer.json()["message"]


@pytest.mark.parametrize(
    ("url", "taken"),
    [
        (f"oci://registry.example/models/qwen:digest-sha256-{'a' * 64}", True),
        (f"oci://registry.example/models/qwen@sha256:{'a' * 64}", False),
        (f"oci://registry.example/models/qwen:v1@sha256:{'a' * 64}", False),
    ],
)
def test_kubeais_url_takes_the_digests_tag_and_no_digest(
    url: str, taken: bool, api: httpx.Client, resources: dict[tuple[str, str], JSON], namespace: str
) -> None:
    models = {"qwen": {"digest": serving.IMAGE, "delivery": "kubeai"}}
    body = serving.one(serving.run(serving.gke(models)), "Model")
    body["spec"]["url"] = url

    assert dry_run(api, resources, namespace, body).is_success is taken


def test_a_name_that_is_one_too_long_for_kubeai_is_refused_there_too(
    api: httpx.Client, resources: dict[tuple[str, str], JSON], namespace: str
) -> None:
    models = {"q" * 40: {"digest": serving.IMAGE, "delivery": "kubeai"}}
    body = serving.one(serving.run(serving.gke(models)), "Model")

    assert dry_run(api, resources, namespace, body).is_success
    body["metadata"]["name"] += "q"
    assert "must not exceed 40" in dry_run(api, resources, namespace, body).json()["message"]


def test_the_schemas_of_the_unit_tier_say_what_the_api_server_says(
    api: httpx.Client, resources: dict[tuple[str, str], JSON], namespace: str
) -> None:
    models = {"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}}
    good = serving.one(serving.run(serving.gke(models)), "InferenceService")
    bad = copy.deepcopy(good)
    bad["spec"]["predictor"]["model"]["storageURL"] = "oci://x"

    for body in (good, bad):
        schema = crds.problems(body, "kserve-v0.20.0")
        assert dry_run(api, resources, namespace, body).is_success is (not schema)


# Pod Security: what the level of the models' namespace lets in.


@pytest.mark.parametrize("level", ["baseline", "restricted"])
@pytest.mark.parametrize("delivery", ["modelcar", "native", "stream"])
def test_the_pods_of_a_delivery_pass_the_level_that_its_namespace_has(
    level: str, delivery: str, kubeconfig: Path, api: httpx.Client
) -> None:
    """KServe's modelcar containers keep their capabilities: `restricted` refuses them, `native` passes it."""
    models = {"qwen": {"digest": serving.IMAGE, "nodePool": "l4", "delivery": delivery}}
    recording = serving.run(serving.gke(models))
    enforced = {"pod-security.kubernetes.io/enforce": level}
    with cluster.namespace(kubeconfig, f"pss-{level}", enforced) as name:
        answer = api.post(
            f"/api/v1/namespaces/{name}/pods", params={"dryRun": "All"}, json=predictor_pod(recording, delivery)
        )

    passes = delivery != "modelcar" or level == "baseline"
    assert answer.is_success is passes, answer.json().get("message")
    if not passes:
        assert "allowPrivilegeEscalation != false" in answer.json()["message"]
        assert 'containers "modelcar-init", "modelcar" must set' in answer.json()["message"].replace(
            '"modelcar", "modelcar-init"', '"modelcar-init", "modelcar"'
        )
    chosen = serving.one(recording, "Namespace", "models")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert chosen == ("baseline" if delivery == "modelcar" else "restricted")


def predictor_pod(recording: Any, delivery: str) -> JSON:
    """The pod as KServe merges it: runtime and model, and what its webhook adds for a modelcar or an image volume."""
    predictor = serving.one(recording, "InferenceService")["spec"]["predictor"]
    runtime = serving.one(recording, "ServingRuntime")["spec"]
    model = {key: value for key, value in predictor["model"].items() if key in {"env", "resources", "startupProbe"}}
    server = {**runtime["containers"][0], **model}
    pod: JSON = {
        "containers": [server],
        "volumes": list(predictor["volumes"]),
        "automountServiceAccountToken": predictor["automountServiceAccountToken"],
    }
    if delivery == "stream":
        pod["initContainers"] = predictor["initContainers"]
    elif delivery == "native":
        pod["volumes"].append({"name": "mnt-models", "image": {"reference": serving.IMAGE}})
        server["volumeMounts"] = [
            *server["volumeMounts"],
            {"name": "mnt-models", "mountPath": "/mnt/models", "subPath": "models", "readOnly": True},
        ]
    else:
        shared = {"name": "kserve-provision-location", "mountPath": "/mnt"}
        car = {
            "image": serving.IMAGE,
            "resources": {side: {"cpu": "10m", "memory": "15Mi"} for side in ("requests", "limits")},
        }
        pod["shareProcessNamespace"] = True
        pod["volumes"].append({"name": "kserve-provision-location", "emptyDir": {}})
        pod["initContainers"] = [{"name": "modelcar-init", **car}]
        pod["containers"].append(
            {"name": "modelcar", **car, "volumeMounts": [shared], "securityContext": {"runAsUser": 1010}}
        )
        server["volumeMounts"] = [*server["volumeMounts"], shared]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "qwen-predictor"}, "spec": pod}


def test_kubeais_pods_pass_restricted_by_the_values_that_its_chart_is_given(
    api: httpx.Client, kubeconfig: Path
) -> None:
    recording = serving.run(serving.gke({"qwen": {"digest": serving.IMAGE, "delivery": "kubeai"}}))
    values = recording.only("kubernetes:helm.sh/v3:Release", "kubeai").inputs["values"]
    model = {"metadata": {"name": "qwen", "uid": "1"}, "spec": serving.one(recording, "Model")["spec"]}
    with cluster.namespace(kubeconfig, "kubeai", {"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        answers = [
            api.post(
                f"/api/v1/namespaces/{name}/pods", params={"dryRun": "All"}, json=kubeai.Controller(given).pod(model)
            )
            for given in (values, {key: value for key, value in values.items() if key != "modelServerPods"})
        ]

    assert answers[0].is_success, answers[0].text
    assert answers[1].status_code == 403  # the chart's own defaults
