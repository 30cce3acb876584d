"""The stand-ins of KServe's and KubeAI's controllers are held to what the real ones were recorded to write."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration import cluster, controllers, kserve, kubeai, webhook

RECORDED = cluster.SHARED / "recorded"
pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.skipif(not RECORDED.exists(), reason=f"no recorded objects: {RECORDED} is not here"),
]
JSON = dict[str, Any]
OURS = "oci-model-serving"
SERVED_NAME = "tiny.car"
OF_THE_CLUSTER = {"uid", "creationTimestamp", "resourceVersion", "generation", "managedFields"}
"""What the API server gives each object anew."""
REVISION = "deployment.kubernetes.io/revision"
"""The Deployment's own controller writes it, which a dry run never meets."""


@pytest.fixture
def namespace(kubeconfig: Path) -> Iterator[str]:
    with cluster.namespace(kubeconfig, "recorded") as name:
        yield name


def recorded(name: str) -> JSON:
    text = (RECORDED / name).read_text()
    return dict(json.loads(text) if name.endswith(".json") else yaml.safe_load(text))


def recorded_runtime() -> JSON:
    """The ServingRuntime that was there: what the Deployment has of its container beside the InferenceService's."""
    service, deployment = recorded("inferenceservice-modelcar.yaml"), recorded("deployment-modelcar.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    model = service["spec"]["predictor"]["model"]
    kept = {key: value for key, value in container.items() if key not in {*model, "args"} - {"name"}}
    own = [argument for argument in container["args"] if argument not in model["args"]]
    kept = {**kept, "image": "registry.example/runtime:1", "args": own}
    return {"supportedModelFormats": [{"name": model["modelFormat"]["name"]}], "containers": [kept]}


def ours(recorded_object: JSON, namespace: str) -> JSON:
    """A recorded object as this project applied it: the fields that it owned."""
    meta = recorded_object["metadata"]
    owned: JSON = next(
        (one["fieldsV1"]["f:metadata"]["f:annotations"] for one in meta.get("managedFields", []) if is_ours(one)), {}
    )
    annotations = {key: value for key, value in meta.get("annotations", {}).items() if not owned or f"f:{key}" in owned}
    return {
        "apiVersion": recorded_object["apiVersion"],
        "kind": recorded_object["kind"],
        "metadata": {
            "name": meta["name"],
            "namespace": namespace,
            "labels": {key: value for key, value in meta["labels"].items() if not key.startswith("features.")},
            "annotations": annotations,
        },
        "spec": {key: value for key, value in recorded_object["spec"].items() if key != "replicas"},
    }


def is_ours(managed: JSON) -> bool:
    return bool(managed["manager"] == OURS)


def apply(api: httpx.Client, path: str, body: JSON) -> JSON:
    answer = api.patch(
        f"{path}/{body['metadata']['name']}",
        params={"fieldManager": OURS},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(body),
    )
    assert answer.is_success, answer.text
    return dict(answer.json())


def without(found: JSON, *also: str) -> JSON:
    """An object without what the API server gives it and without the names of places."""
    made = {key: value for key, value in copy.deepcopy(found).items() if key not in {"status", *also}}
    for key in OF_THE_CLUSTER:
        made["metadata"].pop(key, None)
    return made


def test_the_deployment_is_the_recorded_one(api: httpx.Client, namespace: str) -> None:
    service, expected = recorded("inferenceservice-modelcar.yaml"), recorded("deployment-modelcar.yaml")
    service["metadata"]["namespace"] = namespace

    made = kserve.deployment(service, recorded_runtime())
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    answer = api.post(path, params={"dryRun": "All"}, json=made)

    assert answer.is_success, answer.text
    expected["metadata"]["annotations"].pop(REVISION)
    expected["metadata"]["namespace"] = expected["spec"]["template"]["metadata"]["namespace"] = namespace
    assert without(answer.json()) == without(expected)


@pytest.mark.parametrize("delivery", ["modelcar", "native"])
def test_the_webhook_leaves_the_recorded_pod(delivery: str) -> None:
    """But for what the API server defaults, the scheduler fills in and KServe's metrics settings say."""
    (after,) = recorded(f"pod-{delivery}.yaml")["items"]
    before = copy.deepcopy(recorded("deployment-modelcar.yaml")["spec"]["template"])
    source = after["metadata"]["annotations"][webhook.ANNOTATION]
    before["metadata"]["annotations"][webhook.ANNOTATION] = source

    made = webhook.mutate(before)["spec"]

    # The two recorded models differ in their names only.
    name = "tiny-native" if delivery == "native" else "tiny-car"
    made = json.loads(json.dumps(made).replace("tiny-car", name).replace("tiny.car", name.replace("-", ".")))
    spec = after["spec"]
    assert [one["name"] for one in spec["containers"]] == [one["name"] for one in made["containers"]]
    for part in ("containers", "initContainers"):
        for made_one, seen in zip(made.get(part, []), spec.get(part, []), strict=True):
            defaults = {"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}
            assert {**defaults, **made_one} == seen
    assert made["volumes"] == spec["volumes"]
    assert made.get("shareProcessNamespace") == spec.get("shareProcessNamespace")


def test_kserve_writes_what_the_real_manager_was_seen_to_write(
    kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    service = recorded("inferenceservice-modelcar.yaml")
    runtime = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": "vllm"},
        "spec": recorded_runtime(),
    }
    apply(api, f"{kserve.API}/v1alpha1/namespaces/{namespace}/servingruntimes", runtime)
    path = f"{kserve.API}/v1beta1/namespaces/{namespace}/inferenceservices"
    own = f"{path}/{service['metadata']['name']}"

    with controllers.playing(kubeconfig, kserve=namespace):
        apply(api, path, ours(service, namespace))
        cluster.wait_for(lambda: api.get(own).json().get("status", {}).get("observedGeneration"))
        found = api.get(own).json()
        again = apply(api, path, ours(service, namespace))
        api.delete(own)
        cluster.wait_for(lambda: api.get(own).status_code == 404)

    def theirs(one: JSON) -> dict[tuple[str, str], JSON]:
        """What others than this project own, by operation and subresource; the manager is called after its binary."""
        return {
            (managed["operation"], managed.get("subresource", "")): managed["fieldsV1"]
            for managed in one["metadata"]["managedFields"]
            if not is_ours(managed)
        }

    seen, made = theirs(service), theirs(found)
    assert made[("Update", "")] == seen[("Update", "")]
    # Without a node the pod never serves: what only a model that does has is not there.
    status = seen[("Update", "status")]["f:status"]
    status["f:components"]["f:predictor"] = {}
    status["f:modelStatus"]["f:copies"] = {key: {} for key in (".", "f:failedCopies")}
    assert made[("Update", "status")]["f:status"] == status
    kinds = {one["type"]: one.get("severity") for one in found["status"]["conditions"]}
    assert kinds == {one["type"]: one.get("severity") for one in service["status"]["conditions"]}
    assert again["metadata"]["generation"] == found["metadata"]["generation"]


def test_a_runtime_that_is_missing_is_told_in_the_models_status(
    kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    service = recorded("inferenceservice-modelcar.yaml")
    path = f"{kserve.API}/v1beta1/namespaces/{namespace}/inferenceservices"
    own = f"{path}/{service['metadata']['name']}"

    with controllers.playing(kubeconfig, kserve=namespace):
        apply(api, path, ours(service, namespace))
        cluster.wait_for(lambda: api.get(own).json().get("status", {}).get("modelStatus", {}).get("lastFailureInfo"))
        status = api.get(own).json()["status"]["modelStatus"]
        api.delete(own)
        cluster.wait_for(lambda: api.get(own).status_code == 404)

    assert (status["transitionStatus"], status["states"]["targetModelState"]) == ("InvalidSpec", "FailedToLoad")
    assert status["lastFailureInfo"]["reason"] == "RuntimeNotRecognized"


@pytest.mark.parametrize(("autoscaler", "replicas"), [("none", 2), ("hpa", 1)])
def test_the_class_says_who_owns_the_replicas(
    autoscaler: str, replicas: int, kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    """With `none` they are the InferenceService's; with `hpa` the Deployment starts with one and an HPA has bounds."""
    service = ours(recorded("inferenceservice-modelcar.yaml"), namespace)
    service["metadata"]["annotations"][kserve.CLASS] = autoscaler
    service["spec"]["predictor"].update(minReplicas=2, maxReplicas=3)
    service["metadata"]["uid"] = "0"

    made = kserve.deployment(service, recorded_runtime())
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    answer = api.post(path, params={"dryRun": "All"}, json=made).json()
    scaled = kserve.autoscaler(service, recorded_runtime())["spec"]

    assert answer["spec"]["replicas"] == replicas
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (2, 3)


def test_kubeai_puts_the_recorded_model(kubeconfig: Path, api: httpx.Client, namespace: str) -> None:
    expected = recorded("kubeai-model-put.json")
    path = f"{kubeai.API}/namespaces/{namespace}/models"
    own = f"{path}/{expected['metadata']['name']}"
    sent = ours(expected, namespace)
    defaults = ("loadBalancing", "targetRequests", "scaleDownDelaySeconds")
    sent["spec"] = {key: value for key, value in sent["spec"].items() if key not in defaults}
    profile = expected["spec"]["resourceProfile"].partition(":")[0]

    with controllers.playing(kubeconfig, kubeai=namespace, values={"resourceProfiles": {profile: {}}}):
        apply(api, path, sent)
        cluster.wait_for(lambda: api.get(own).json().get("status", {}).get("replicas", {}).get("all"))
        found = api.get(own).json()
        pods = api.get(f"/api/v1/namespaces/{namespace}/pods").json()["items"]

    assert found["spec"] == expected["spec"]
    assert found["metadata"]["labels"] == expected["metadata"]["labels"]
    (theirs,) = [one for one in found["metadata"]["managedFields"] if not is_ours(one) and "subresource" not in one]
    assert (theirs["manager"], theirs["operation"]) == ("kubeai-manager", "Update")
    assert theirs["fieldsV1"]["f:spec"] == {"f:replicas": {}}
    assert [pod["metadata"]["ownerReferences"][0]["name"] for pod in pods] == [expected["metadata"]["name"]]


def test_an_apply_that_sets_the_replicas_conflicts_with_the_manager(
    kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    sent = ours(recorded("kubeai-model-put.json"), namespace)
    path = f"{kubeai.API}/namespaces/{namespace}/models"
    own = f"{path}/{sent['metadata']['name']}"
    with controllers.playing(kubeconfig, kubeai=namespace):
        apply(api, path, sent)
        cluster.wait_for(lambda: api.get(own).json()["spec"].get("replicas"))

    sent["spec"]["replicas"] = 0
    with pytest.raises(AssertionError, match=r'conflict with \\"kubeai-manager\\".*\.spec\.replicas'):
        apply(api, path, sent)


@pytest.mark.parametrize(
    ("spec", "replicas"),
    [
        ({"minReplicas": 2}, 2),
        ({"minReplicas": 0}, 0),
        ({"minReplicas": 1, "maxReplicas": 3, "replicas": 5}, 3),
        ({"minReplicas": 1, "replicas": 0, "autoscalingDisabled": True}, 0),
        ({"minReplicas": 1, "replicas": 0, "autoscalingDisabled": False}, 1),
    ],
)
def test_kubeai_keeps_the_replicas_in_their_bounds_unless_autoscaling_is_off(spec: JSON, replicas: int) -> None:
    assert kubeai.updated({"metadata": {}, "spec": spec})["spec"]["replicas"] == replicas


def pod(name: str, digest: str, *, ready: bool = True) -> JSON:
    status = {"conditions": [{"type": "Ready", "status": str(ready)}]}
    return {"metadata": {"name": name, "labels": {kubeai.HASH: digest}}, "spec": {"nodeName": "n"}, "status": status}


@pytest.mark.parametrize(
    ("pods", "replicas", "surge", "more", "fewer"),
    [
        ([], 1, 1, 1, []),
        ([pod("a", "old")], 1, 1, 1, []),
        ([pod("a", "old"), pod("b", "new", ready=False)], 1, 1, 0, []),
        ([pod("a", "old"), pod("b", "new")], 1, 1, 0, ["a"]),
        ([pod("a", "old")], 1, 0, 1, ["a"]),
        ([pod("a", "old", ready=False)], 1, 1, 1, ["a"]),
        ([pod("a", "new"), pod("b", "new", ready=False)], 1, 1, 0, ["b"]),
        ([pod("a", "new")], 0, 1, 0, ["a"]),
        # The first of two changes in a row still drains, and counts: the second takes the only pod that serves.
        ([pod("serves", "old"), pod("drains", "older")], 1, 1, 1, ["serves"]),
    ],
)
def test_kubeai_rolls_out_with_a_surge_pod_and_recreates_what_is_not_ready_at_once(
    pods: list[JSON], replicas: int, surge: int, more: int, fewer: list[str]
) -> None:
    made, deleted = kubeai.plan(pods, replicas, "new", surge)

    assert (made, [one["metadata"]["name"] for one in deleted]) == (more, fewer)


def test_the_charts_patches_reach_the_pod() -> None:
    patches = [
        {"op": "add", "path": "/spec/terminationGracePeriodSeconds", "value": 600},
        {"op": "add", "path": "/spec/containers/0/env/-", "value": {"name": "A", "value": "1"}},
        {"op": "replace", "path": "/spec/containers/0/readinessProbe/periodSeconds", "value": 1},
        {"op": "remove", "path": "/spec/volumes/0"},
    ]
    values = {
        "resourceProfiles": {"p": {"requests": {"cpu": "100m"}, "nodeSelector": {"pool": "a"}}},
        "modelServerPods": {"jsonPatches": patches},
    }
    spec = {"url": "oci://r/i:t", "image": "s", "resourceProfile": "p:2"}

    made = kubeai.Controller(values).pod({"metadata": {"name": "m", "uid": "u"}, "spec": spec})["spec"]

    assert made["terminationGracePeriodSeconds"] == 600
    assert made["nodeSelector"] == {"pool": "a"}
    (container,) = made["containers"]
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert (container["readinessProbe"]["periodSeconds"], container["resources"]["requests"]) == (1, {"cpu": "200m"})
    assert [volume["name"] for volume in made["volumes"]] == ["model"]
