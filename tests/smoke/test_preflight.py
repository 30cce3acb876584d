"""What is said before a GPU is paid for, when the cluster refuses: the refusals are kube-apiserver 1.35's own."""

from typing import Any

import pytest

import modelimage
from smoke import preflight
from smoke.checks import Check, NotRunError, Status, run
from smoke.iam import RegistryPolicies
from tests import recorded_api
from tests.integration import webhook
from tests.recorded_api import RecordedApi, not_found
from tests.smoke import stacks
from watch import image
from watch.kube import KubeApi

ON = '# TYPE kubernetes_feature_enabled gauge\nkubernetes_feature_enabled{name="ImageVolume",stage="BETA"} 1\n'
PODS = "/api/v1/namespaces/models/pods"
ISVC = "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices"
MODEL = "/apis/kubeai.org/v1/namespaces/kubeai/models"


class NoGoogle(RegistryPolicies):
    def check_reader(self, *_: Any) -> str:
        raise NotRunError("no Google credentials here")


@pytest.fixture
def ready(cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> RecordedApi:
    """A cluster as `pulumi up` leaves it, before a GPU node is up."""
    cluster.answers["GET", "/version"] = (200, {"major": "1", "minor": "35", "gitVersion": "v1.35.4"})
    cluster.answers["GET", "/metrics"] = (200, ON)
    for namespace in ("models", "kubeai"):
        cluster.objects[f"/api/v1/namespaces/{namespace}"] = {"metadata": {"name": namespace}}
    answer = cluster.answer

    def mutating(method: str, path: str, body: dict[str, Any]) -> recorded_api.Answer:
        status, answered = answer(method, path, body)
        wired = method == "POST" and status == 201 and answered.get("kind") == "Pod"
        return status, webhook.mutate(answered) if wired and "annotations" in answered["metadata"] else answered

    monkeypatch.setattr(cluster, "answer", mutating)
    monkeypatch.setattr(preflight, "check_image", lambda reference: f"{reference.digest} is there with its tag")
    return cluster


def checks(api: KubeApi, delivery: str, **model: Any) -> dict[str, Check]:
    found = preflight.preflight(api, stacks.outputs(delivery, **model), [stacks.model(delivery, **model)], NoGoogle())
    return {check.name: check for check in found}


@pytest.mark.parametrize("delivery", ["modelcar", "native", "stream", "kubeai"])
def test_a_cluster_that_is_ready_holds(api: KubeApi, ready: RecordedApi, delivery: str) -> None:
    found = checks(api, delivery)

    assert {check.name for check in found.values() if check.status is Status.FAIL} == set()
    assert found["api-server"].status is Status.PASS
    assert found["pod-account" if delivery == "stream" else "node-account"].status is Status.SKIP
    assert ("image-volume" in found) is (delivery in {"native", "kubeai"})


def test_every_write_of_the_preflight_is_a_dry_run(api: KubeApi, ready: RecordedApi) -> None:
    for delivery in ("modelcar", "native", "kubeai"):
        checks(api, delivery)

    writes = [path for method, path, _ in ready.requests if method != "GET"]
    assert writes
    assert all("dryRun=All" in path for path in writes)


def test_an_unreachable_api_server_fails(cluster: RecordedApi) -> None:
    away = KubeApi(cluster.kubeconfig.replace(cluster.url, "http://127.0.0.1:1"))

    assert checks(away, "modelcar")["api-server"].status is Status.FAIL


def test_a_gate_that_is_off_fails_with_the_version_to_take(api: KubeApi, ready: RecordedApi) -> None:
    ready.answers["GET", "/version"] = (200, {"major": "1", "minor": "34+", "gitVersion": "v1.34.4-gke.1000"})
    ready.answers["GET", "/metrics"] = (200, ON.replace("} 1", "} 0"))

    found = checks(api, "native")["image-volume"]

    assert found.status is Status.FAIL
    assert "v1.34.4-gke.1000" in found.evidence
    assert "1.35" in found.remedy


def test_a_server_too_old_for_subpaths_fails_even_with_the_gate_on(api: KubeApi, ready: RecordedApi) -> None:
    ready.answers["GET", "/version"] = (200, {"major": "1", "minor": "32", "gitVersion": "v1.32.1"})

    assert "subPath" in checks(api, "native")["image-volume"].evidence


def test_unreadable_metrics_are_replaced_by_a_dry_run(api: KubeApi, ready: RecordedApi) -> None:
    ready.answers["GET", "/metrics"] = recorded_api.forbidden("cannot get path /metrics")

    found = checks(api, "kubeai")["image-volume"]

    assert found.status is Status.PASS
    assert "dry run kept the volume" in found.evidence


def test_a_dry_run_that_loses_the_volume_fails(api: KubeApi, ready: RecordedApi) -> None:
    ready.answers["GET", "/metrics"] = recorded_api.forbidden("cannot get path /metrics")
    ready.answers["POST", "/api/v1/namespaces/default/pods"] = recorded_api.invalid(
        'Pod "smoke" is invalid: spec.volumes[0]: Required value: must specify a volume type'
    )

    found = checks(api, "kubeai")["image-volume"]

    assert found.status is Status.FAIL
    assert "must specify a volume type" in found.evidence


def node(runtime: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "gke-l4-1", "labels": {"oci-model-serving/pool": "l4"}},
        "status": {"nodeInfo": {"containerRuntimeVersion": runtime}},
    }


@pytest.mark.parametrize(
    ("runtime", "status"), [("containerd://2.1.5", Status.PASS), ("containerd://2.0.6", Status.FAIL)]
)
def test_a_nodes_runtime_is_judged_by_its_version(
    api: KubeApi, ready: RecordedApi, runtime: str, status: Status
) -> None:
    ready.objects["/api/v1/nodes/gke-l4-1"] = node(runtime)

    found = checks(api, "native")["node-runtime"]

    assert found.status is status
    assert runtime in found.evidence


def test_a_pool_without_nodes_is_skipped(api: KubeApi, ready: RecordedApi) -> None:
    found = checks(api, "native")["node-runtime"]

    assert found.status is Status.SKIP
    assert "pool l4" in found.evidence


def test_a_cluster_without_kserve_fails_with_the_setting(api: KubeApi, ready: RecordedApi) -> None:
    ready.answers["POST", ISVC] = not_found(ISVC)

    found = checks(api, "modelcar")["inferenceservice-schema"]

    assert found.status is Status.FAIL
    assert "does not serve serving.kserve.io/v1beta1" in found.evidence


def test_an_unknown_field_fails_with_its_path(api: KubeApi, ready: RecordedApi) -> None:
    message = (
        'InferenceService in version "v1beta1" cannot be handled as a InferenceService: strict decoding error: '
        'unknown field "spec.predictor.model.storageUri"'
    )
    ready.answers["POST", ISVC] = (400, {"kind": "Status", "reason": "BadRequest", "message": message})

    found = checks(api, "modelcar")["inferenceservice-schema"]

    assert found.status is Status.FAIL
    assert "spec.predictor.model.storageUri" in found.evidence


def test_the_deployed_object_itself_is_sent_when_there_is_one(api: KubeApi, ready: RecordedApi) -> None:
    path, body = stacks.served("modelcar")
    body["metadata"]["uid"] = "1-2-3"
    ready.objects[path] = body

    assert "the deployed object" in checks(api, "modelcar")["inferenceservice-schema"].evidence
    (sent,) = [body for method, path, body in ready.requests if method == "POST" and path.startswith(ISVC)]
    assert "uid" not in sent["metadata"]
    assert sent["metadata"]["name"] != stacks.NAME


@pytest.mark.parametrize("delivery", ["modelcar", "native"])
def test_a_pod_that_comes_back_unwired_fails_with_what_is_missing(
    api: KubeApi, ready: RecordedApi, delivery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "mutate", lambda pod: pod)

    found = checks(api, delivery)["webhook"]

    assert found.status is Status.FAIL
    assert stacks.IMAGE in found.evidence
    assert [cause.code for cause in found.causes] == ["webhook-missing"]


def test_a_storage_initializer_instead_of_a_modelcar_names_the_charts_value(
    api: KubeApi, ready: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate = webhook.mutate
    monkeypatch.setattr(webhook, "mutate", lambda pod: mutate(pod, enable_modelcar=False))

    found = checks(api, "modelcar")["webhook"]

    assert [cause.code for cause in found.causes] == ["modelcar-disabled"]
    assert "enableModelcar: true" in found.remedy


def test_a_refusal_of_pod_security_is_explained(api: KubeApi, ready: RecordedApi) -> None:
    message = (
        'pods "smoke-1" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false '
        '(containers "modelcar-init", "modelcar" must set securityContext.allowPrivilegeEscalation=false)'
    )
    ready.answers["POST", PODS] = recorded_api.forbidden(message)

    found = checks(api, "modelcar")["webhook"]

    assert [cause.code for cause in found.causes] == ["pod-security"]
    assert "baseline" in found.remedy


def test_an_unexplained_refusal_keeps_the_servers_words(api: KubeApi, ready: RecordedApi) -> None:
    ready.answers["POST", PODS] = recorded_api.forbidden("exceeded quota: gpus, requested: pods=1")

    found = checks(api, "modelcar")["webhook"]

    assert found.status is Status.FAIL
    assert "exceeded quota: gpus" in found.evidence


def test_a_kubeai_crd_without_oci_fails_with_the_chart_to_take(api: KubeApi, ready: RecordedApi) -> None:
    ready.answers["POST", MODEL] = recorded_api.invalid(
        'Model.kubeai.org "smoke-1" is invalid: spec.url: Invalid value: "string": url must start with "hf://", '
        '"pvc://", "ollama://", "s3://", "gs://", or "oss://" and not be empty.'
    )

    found = checks(api, "kubeai")["kubeai-schema"]

    assert found.status is Status.FAIL
    assert "platforms.kubeai.version" in found.remedy


def test_a_cluster_without_kubeai_fails(api: KubeApi, ready: RecordedApi) -> None:
    ready.answers["POST", MODEL] = not_found(MODEL)

    assert "does not serve kubeai.org/v1" in checks(api, "kubeai")["kubeai-schema"].evidence


def test_a_model_without_a_pool_has_no_account_to_check(api: KubeApi, ready: RecordedApi) -> None:
    found = checks(api, "modelcar", node_pool=None)["node-account"]

    assert found.status is Status.SKIP


def test_before_the_first_deploy_the_default_namespace_stands_in(api: KubeApi, ready: RecordedApi) -> None:
    del ready.objects["/api/v1/namespaces/models"]

    assert "in default" in checks(api, "modelcar")["webhook"].evidence


def test_an_image_that_is_not_there_fails_with_the_registrys_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def inspect(reference: str, **_: object) -> None:
        raise modelimage.NotFoundError(f"{reference} is not there")

    monkeypatch.setattr(modelimage, "inspect", inspect)

    found = run("preflight", "image", lambda: image.check_image(stacks.model().output.reference))

    assert found.status is Status.FAIL
    assert f"{stacks.IMAGE} is not there" in found.evidence


# A sidecar that streams.


def test_a_streamed_models_dry_runs_name_its_image_in_the_sidecar_alone(api: KubeApi, ready: RecordedApi) -> None:
    checks(api, "stream")

    sent = {body["kind"]: body for method, _, body in ready.requests if method == "POST"}
    assert "storageUri" not in sent["InferenceService"]["spec"]["predictor"]["model"]
    (sidecar,) = sent["InferenceService"]["spec"]["predictor"]["initContainers"]
    assert sidecar["args"] == [stacks.URIS["stream"]]
    assert sent["Pod"]["spec"]["initContainers"][0]["restartPolicy"] == "Always"
    assert "internal.serving.kserve.io/storage-initializer-sourceuri" not in sent["Pod"]["metadata"]["annotations"]


def test_a_server_that_drops_what_makes_a_sidecar_of_an_init_container_fails(
    api: KubeApi, ready: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ready.answer

    def old(method: str, path: str, body: dict[str, Any]) -> recorded_api.Answer:
        status, made = answer(method, path, body)
        if method == "POST" and made.get("kind") == "Pod":
            made["spec"]["initContainers"][0].pop("restartPolicy")
        return status, made

    monkeypatch.setattr(ready, "answer", old)

    webhook = checks(api, "stream")["webhook"]

    assert webhook.status is Status.FAIL
    assert "which Kubernetes has from 1.29 on" in webhook.evidence


def test_the_pods_own_account_is_looked_for_once_the_model_is_deployed_without_a_login(
    api: KubeApi, ready: RecordedApi
) -> None:
    asked: list[str] = []

    class Google(NoGoogle):
        def check_reader(self, reference: Any, account: str) -> str:
            asked.append(account)
            return "it reads"

    path, body = stacks.served("stream")
    ready.objects[path] = {**body, "metadata": {"name": stacks.NAME}}
    found = preflight.preflight(api, stacks.outputs("stream"), [stacks.model("stream")], Google())

    assert {one.name: one.evidence for one in found}["pod-account"] == "it reads"
    assert asked == [f"subject/ns/models/sa/{stacks.NAME}"]


def test_a_sidecar_with_a_login_of_its_own_asks_nobody_for_roles(api: KubeApi, ready: RecordedApi) -> None:
    path, body = stacks.served("stream")
    sidecar = {**stacks.SIDECAR, "env": [{"name": "DOCKER_CONFIG", "value": "/oms/logins"}]}
    spec = {"predictor": {"model": {}, "initContainers": [sidecar]}}
    ready.objects[path] = {**body, "spec": spec, "metadata": {"name": stacks.NAME}}

    check = checks(api, "stream")["pod-account"]

    assert check.status is Status.SKIP
    assert "pullSecrets" in check.evidence
