"""What the step `deployed` says of real objects, and how the wait ends on them: API server and controllers are real.

Pods are played (there is no kubelet): as the kubelet would, the tests write their statuses.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oci_model_serving.outputs import ModelOutput, parse
from smoke import deployed as module
from smoke import manifests
from smoke.checks import Check, Status
from smoke.deployed import deployed
from smoke.stack import ServedModel
from tests.integration import cluster, webhook
from tests.integration.smoke.conftest import model
from tests.smoke import stacks
from watch import rollout, signs
from watch.causes import NotHeldError
from watch.image import ImageFiles
from watch.kube import Executed, KubeApi, namespaced
from watch.pods import object_path

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]

JSON = dict[str, Any]
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-25T10:00:00Z"}
SLEEP = {"name": "manager", "image": "registry.invalid/never-pulled:1"}
KINDS = {
    "networkpolicies": "NetworkPolicy",
    "services": "Service",
    "servingruntimes": "ServingRuntime",
    "poddisruptionbudgets": "PodDisruptionBudget",
    "serviceaccounts": "ServiceAccount",
    "deployments": "Deployment",
}


class Served:
    """A model with all its objects, as the program and its platform make them; its controller runs beside it."""

    def __init__(self, api: KubeApi, namespace: str, delivery: str) -> None:
        self.api, self.namespace, self.delivery = api, namespace, delivery
        self.served = model(delivery, namespace, node_pool=None)
        self.model = self.served.output
        raw = stacks.raw_outputs(delivery, namespace=namespace)
        raw["platforms"] = {self.model.platform: {"version": "1", "namespace": namespace, "gateway": "none"}}
        self.outputs = parse(raw)
        self._make_controller("kubeai" if delivery == "kubeai" else "kserve-controller-manager")
        self._make("networking.k8s.io/v1", "networkpolicies", self.model.name, {"podSelector": {}})
        if delivery == "kubeai":
            self._make("v1", "services", "kubeai", {"ports": [{"port": 80}]})
        else:
            runtime = manifests.scratch_runtime("registry.invalid/never-pulled:1")["spec"]
            self._make(manifests.RUNTIME_API, "servingruntimes", "vllm", runtime)
            self._make("v1", "services", f"{self.model.name}-predictor", {"ports": [{"port": 80}]})
            self._make("policy/v1", "poddisruptionbudgets", self.model.name, {"minAvailable": 0, "selector": {}})
            self._make("v1", "serviceaccounts", self.model.name)

    def _make(self, version: str, plural: str, name: str, spec: JSON | None = None) -> None:
        body = {"apiVersion": version, "kind": KINDS[plural], "metadata": {"name": name}}
        self.api.create(namespaced(version, self.namespace, plural), {**body, **({"spec": spec} if spec else {})})

    def _make_controller(self, name: str) -> None:
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [SLEEP]}}
        spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
        self._make("apps/v1", "deployments", name, spec)
        self.controller = namespaced("apps/v1", self.namespace, "deployments", name)
        self.until_ready(f"app={name}")
        cluster.wait_for(lambda: self.api.get(self.controller)["status"].get("availableReplicas"))

    def until_ready(self, selector: str) -> None:
        """Play the kubelet for the pods of a selector."""
        path = namespaced("v1", self.namespace, "pods")
        cluster.wait_for(lambda: self.api.items(path, labelSelector=selector))
        for pod in self.api.items(path, labelSelector=selector):
            status = {"phase": "Running", "conditions": [READY, {**READY, "type": "ContainersReady"}]}
            self.api.patch(f"{path}/{pod['metadata']['name']}/status", {"status": status})

    def serve(self, body: JSON, status: JSON) -> None:
        """Make the object that serves the model, with what its controller says of it."""
        self.api.create(object_path(self.model).rpartition("/")[0], body)
        self.api.patch(f"{object_path(self.model)}/status", {"status": status})

    def run_pod(self, like: str) -> None:
        """A pod of the model, delivered as `like`, on a node that has the image."""
        pod = stacks.pod(like, "p-1")
        spec = {**pod["spec"], "nodeName": "played"}
        for container in spec["containers"]:
            container["image"] = stacks.IMAGE
        labels = {self.model.serving.platform.pod_label: self.model.name}
        path = namespaced("v1", self.namespace, "pods")
        self.api.create(path, {"metadata": {"name": "p-1", "labels": labels}, "spec": spec})
        ids = {"ready": True, "started": True, "state": {"running": {}}, "imageID": stacks.IMAGE, "image": stacks.IMAGE}
        statuses = [{"name": one["name"], "restartCount": 0, **ids} for one in spec["containers"]]
        self.api.patch(f"{path}/p-1/status", {"status": {"phase": "Running", "containerStatuses": statuses}})
        self.until_ready(f"{self.model.serving.platform.pod_label}={self.model.name}")

    def checks(self, **changed: Any) -> dict[str, Check]:
        output = self.model.model_copy(update=changed)
        served = ServedModel(self.served.key, output)
        return {check.name: check for check in deployed(self.api, self.outputs, [served])}


@pytest.fixture(autouse=True)
def kserves_webhook(kubeconfig: Path) -> None:
    with cluster.client(kubeconfig) as admin:
        webhook.called_as_kserves(admin)


@pytest.fixture(autouse=True)
def no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "files_of", lambda _: ImageFiles({"config.json": 659}, complete=True))
    monkeypatch.setattr(KubeApi, "execute", lambda *_, **__: Executed(0, "659 ./config.json\n", ""))


@pytest.fixture
def node(api: KubeApi) -> Iterator[None]:
    """A node that has the model's image, and no kubelet."""
    names = [stacks.IMAGE, stacks.URIS["kubeai"].removeprefix("oci://")]
    path = "/api/v1/nodes/played"
    if api.find(path):
        api.delete(path)  # a run that was killed has left it
    api.create("/api/v1/nodes", {"metadata": {"name": "played"}})
    api.patch(f"{path}/status", {"status": {"images": [{"names": names, "sizeBytes": 1}]}})
    yield
    api.delete(path)


def inference_service(served: ModelOutput) -> tuple[JSON, JSON]:
    conditions = [{"type": "PredictorReady", "status": "True"}, {"type": "Ready", "status": "True"}]
    return manifests.inference_service(served.name, served.storage_uri), {"conditions": conditions}


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("like", ["modelcar", "native"])
def test_a_modelcar_holds_also_where_kserve_mounts_it_as_a_volume(api: KubeApi, namespace: str, like: str) -> None:
    one = Served(api, namespace, "modelcar")
    one.serve(*inference_service(one.model))
    one.run_pod(like)

    found = one.checks()

    found.pop("features")  # what is played here has no vLLM to be asked
    assert {name: check.evidence for name, check in found.items() if check.status is not Status.PASS} == {}
    assert ("imageID" if like == "modelcar" else "node played") in found["digest"].evidence


def test_a_healthy_kubeai_model_at_zero_is_skipped_and_nothing_fails(api: KubeApi, namespace: str) -> None:
    one = Served(api, namespace, "kubeai")
    one.serve(manifests.kubeai_model(one.model.name, one.model.storage_uri), {"replicas": {"all": 0, "ready": 0}})

    found = one.checks(replicas=0)

    assert {check.status for check in found.values()} == {Status.PASS, Status.SKIP}
    assert "scaled to zero" in found["ready"].evidence


def test_a_controller_that_is_scaled_to_none_is_red_though_the_status_says_ready(api: KubeApi, namespace: str) -> None:
    one = Served(api, namespace, "native")
    one.serve(*inference_service(one.model))
    api.patch(one.controller, {"spec": {"replicas": 0}})
    cluster.wait_for(lambda: not api.get(one.controller)["status"].get("availableReplicas"))

    found = one.checks()["controller"]

    assert found.status is Status.FAIL
    assert "no available pod" in found.evidence


def test_each_object_that_is_deleted_turns_the_check_red(api: KubeApi, namespace: str) -> None:
    one = Served(api, namespace, "native")
    one.serve(*inference_service(one.model))
    kinds = {
        "ServingRuntime": namespaced(manifests.RUNTIME_API, namespace, "servingruntimes", "vllm"),
        "ServiceAccount": namespaced("v1", namespace, "serviceaccounts", one.model.name),
        "NetworkPolicy": namespaced("networking.k8s.io/v1", namespace, "networkpolicies", one.model.name),
        "PodDisruptionBudget": namespaced("policy/v1", namespace, "poddisruptionbudgets", one.model.name),
        "Service": namespaced("v1", namespace, "services", f"{one.model.name}-predictor"),
    }
    assert one.checks()["objects"].status is Status.PASS
    for kind, path in kinds.items():
        api.delete(path)
        found = one.checks()["objects"]
        assert found.status is Status.FAIL
        assert kind in found.evidence
        assert found.remedy


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "COMPLAINT_SECONDS", 1.0)


def predictor(served: ModelOutput) -> JSON:
    """A Deployment as KServe makes it for the model."""
    labels = {served.serving.platform.pod_label: served.name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [SLEEP]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": f"{served.name}-predictor"}, "spec": spec}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("refusal", "code"),
    [("quota", "resource-quota"), ("account", "service-account-missing"), ("restricted", "pod-security")],
)
def test_a_pod_that_may_not_be_made_ends_the_wait_in_what_the_api_server_says(
    api: KubeApi, kubeconfig: Path, refusal: str, code: str
) -> None:
    level = "restricted" if refusal == "restricted" else "privileged"
    with cluster.namespace(kubeconfig, "smoke-test", {"pod-security.kubernetes.io/enforce": level}) as namespace:
        one = model("native", namespace).output
        api.create(object_path(one).rpartition("/")[0], manifests.inference_service(one.name, one.storage_uri))
        body = predictor(one)
        if refusal == "quota":
            quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
            api.create(namespaced("v1", namespace, "resourcequotas"), quota)
            path = namespaced("v1", namespace, "resourcequotas", "none")
            cluster.wait_for(lambda: "hard" in api.get(path).get("status", {}))
        if refusal == "account":
            body["spec"]["template"]["spec"]["serviceAccountName"] = "gone"
        api.create(namespaced("apps/v1", namespace, "deployments"), body)

        with pytest.raises(NotHeldError, match="no pod is made") as failure:
            rollout.wait_for_pods(api, one, timeout=30)

    assert [cause.code for cause in failure.value.causes] == [code]


def test_the_wait_takes_the_new_revisions_pod_while_the_old_one_still_serves(api: KubeApi, namespace: str) -> None:
    one = model("native", namespace, revision="now").output
    api.create(object_path(one).rpartition("/")[0], manifests.inference_service(one.name, one.storage_uri))
    path = namespaced("v1", namespace, "pods")
    for revision in ("before", "now"):
        labels = {one.serving.platform.pod_label: one.name, "oci-model-serving/revision": revision}
        api.create(path, {"metadata": {"name": revision, "labels": labels}, "spec": {"containers": [SLEEP]}})
    status = {"status": {"phase": "Running", "conditions": [READY]}}
    api.patch(f"{path}/before/status", status)

    with pytest.raises(NotHeldError, match="not ready after 1 s"):
        rollout.wait_for_pods(api, one, timeout=1)
    api.patch(f"{path}/now/status", status)
    (found,) = rollout.wait_for_pods(api, one, timeout=30)

    assert found["metadata"]["name"] == "now"
