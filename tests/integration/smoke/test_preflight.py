"""The preflight against a real API server, with the CRDs of the platforms and KServe's webhook in play."""

import json
from pathlib import Path
from typing import Any

import pytest

from oms.main import main
from smoke import manifests, preflight
from smoke.checks import Check, NotRunError, Status
from smoke.iam import RegistryPolicies
from smoke.manifests import inference_service, kubeai_model
from tests.integration import cluster, webhook
from tests.integration.smoke.conftest import model
from tests.smoke import stacks
from watch.kube import ApiError, KubeApi

# One worker: the cluster starts and stops once.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]


class NoGoogle(RegistryPolicies):
    def check_reader(self, *_: Any) -> str:
        raise NotRunError("no Google credentials here")


@pytest.fixture(autouse=True)
def no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "check_image", lambda _: "there")


def checks(api: KubeApi, delivery: str, namespace: str) -> dict[str, Check]:
    one = model(delivery, namespace)
    return {check.name: check for check in preflight.preflight(api, stacks.outputs(delivery), [one], NoGoogle())}


def created(api: KubeApi, namespace: str) -> list[str]:
    kinds = [
        f"/api/v1/namespaces/{namespace}/pods",
        f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices",
        f"/apis/kubeai.org/v1/namespaces/{namespace}/models",
    ]
    return [item["metadata"]["name"] for kind in kinds for item in api.items(kind)]


@pytest.mark.parametrize("delivery", ["modelcar", "native", "kubeai"])
def test_a_cluster_with_the_platforms_holds_and_nothing_is_created(
    api: KubeApi, kubeconfig: Path, namespace: str, delivery: str
) -> None:
    with webhook.pod_webhook(kubeconfig, namespace):
        found = checks(api, delivery, namespace)

    assert {name: check.evidence for name, check in found.items() if check.status is Status.FAIL} == {}
    assert created(api, namespace) == []


def test_the_gate_is_read_from_the_servers_metrics(api: KubeApi, namespace: str) -> None:
    found = checks(api, "kubeai", namespace)["image-volume"]

    assert found.status is Status.PASS
    assert "gate ImageVolume on" in found.evidence


def test_the_gate_is_found_by_a_dry_run_where_metrics_are_closed(
    api: KubeApi, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = api.text

    def closed(path: str, **params: str) -> str:
        return text("/closed" if path == "/metrics" else path, **params)

    monkeypatch.setattr(api, "text", closed)

    assert "dry run kept the volume" in checks(api, "kubeai", namespace)["image-volume"].evidence


@pytest.mark.parametrize("delivery", ["modelcar", "native"])
def test_without_the_webhook_the_pod_comes_back_unwired(api: KubeApi, namespace: str, delivery: str) -> None:
    found = checks(api, delivery, namespace)["webhook"]

    assert found.status is Status.FAIL
    assert [cause.code for cause in found.causes] == ["webhook-missing"]


def test_with_modelcar_disabled_the_charts_value_is_named(api: KubeApi, kubeconfig: Path, namespace: str) -> None:
    with webhook.pod_webhook(kubeconfig, namespace, enable_modelcar=False):
        found = checks(api, "modelcar", namespace)["webhook"]

    assert [cause.code for cause in found.causes] == ["modelcar-disabled"]


@pytest.mark.parametrize(("delivery", "status"), [("modelcar", Status.FAIL), ("native", Status.PASS)])
def test_a_restricted_namespace_takes_native_and_refuses_modelcar(
    api: KubeApi, kubeconfig: Path, delivery: str, status: Status
) -> None:
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    with (
        cluster.namespace(kubeconfig, "smoke-test", restricted) as name,
        webhook.pod_webhook(kubeconfig, name),
    ):
        found = checks(api, delivery, name)["webhook"]

    assert found.status is status
    assert [cause.code for cause in found.causes] == (["pod-security"] if status is Status.FAIL else [])


def test_a_webhook_that_does_not_answer_is_the_cause(api: KubeApi, kubeconfig: Path, namespace: str) -> None:
    with webhook.pod_webhook(kubeconfig, namespace), cluster.client(kubeconfig) as admin:
        path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/kserve-{namespace}"
        registered = admin.get(path).json()
        registered["webhooks"][0]["clientConfig"]["url"] = "https://127.0.0.1:1/mutate-pods"
        admin.put(path, json=registered).raise_for_status()
        # The API server takes a moment to see the change, and answers from the old address until then.
        seen: list[Check] = []

        def refused() -> bool:
            seen.append(checks(api, "modelcar", namespace)["webhook"])
            return seen[-1].status is Status.FAIL

        cluster.wait_for(refused)

    assert [cause.code for cause in seen[-1].causes] == ["webhook-unreachable"]


def test_kubeais_crd_refuses_a_digest_and_takes_its_tag(api: KubeApi, namespace: str) -> None:
    path = f"/apis/kubeai.org/v1/namespaces/{namespace}/models"

    api.create(path, kubeai_model("by-tag", stacks.URIS["kubeai"]), dry_run=True)
    with pytest.raises(ApiError, match=r"spec\.url"):
        api.create(path, kubeai_model("by-digest", f"oci://{stacks.IMAGE}"), dry_run=True)


def test_a_url_that_the_crd_refuses_fails_the_check_with_the_chart_to_take(api: KubeApi, namespace: str) -> None:
    one = model("kubeai", namespace, storage_uri=f"oci://{stacks.IMAGE}")
    found = {c.name: c for c in preflight.preflight(api, stacks.outputs("kubeai"), [one], NoGoogle())}["kubeai-schema"]

    assert found.status is Status.FAIL
    assert "platforms.kubeai.version" in found.remedy


def test_a_deployed_object_with_a_field_that_the_crd_does_not_know_fails(
    api: KubeApi, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(name: str, storage_uri: str) -> dict[str, Any]:
        body = inference_service(name, storage_uri)
        body["spec"]["predictor"]["model"]["storageDigest"] = "sha256"
        return body

    monkeypatch.setattr(manifests, "inference_service", unknown)

    found = checks(api, "modelcar", namespace)["inferenceservice-schema"]

    assert found.status is Status.FAIL
    assert "storageDigest" in found.evidence


def test_the_command_reports_on_the_cluster(
    kubeconfig: Path, namespace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = stacks.raw_outputs("modelcar", namespace=namespace)
    outputs = tmp_path / "outputs.json"
    outputs.write_text(json.dumps({**raw, "node_service_accounts": {}, "kubeconfig": kubeconfig.read_text()}))

    with webhook.pod_webhook(kubeconfig, namespace):
        code = main(["check", "--stack", "dev", "--outputs", str(outputs), "--only", "preflight"])

    out = capsys.readouterr().out
    assert code == 0
    assert "pass  preflight/webhook" in out
    assert "1 skipped (preflight/node-account" in out
