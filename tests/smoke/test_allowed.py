"""What is said of a cluster that takes other images than the stack's, or whose policies are gone."""

from http import HTTPStatus

import pytest

from components.serving.admission_rules import LISTED
from smoke.allowed import allowed
from smoke.checks import Check, Status
from tests.recorded_api import RecordedApi, forbidden
from tests.smoke import stacks
from watch.kube import KubeApi

PODS = "/api/v1/namespaces/models/pods"
NAMESPACE = "/api/v1/namespaces/models"
API = "/apis/admissionregistration.k8s.io/v1"
NAMES = ("oci-model-serving-models-pod", "oci-model-serving-models-inferenceservice")


@pytest.fixture
def enforced(cluster: RecordedApi) -> RecordedApi:
    """A cluster with all that the stack has put there."""
    cluster.objects[NAMESPACE] = {"metadata": {"name": "models", "annotations": {f"{LISTED}qwen.0": stacks.IMAGE}}}
    for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        for name in NAMES:
            cluster.objects[f"{API}/{kind}/{name}"] = {"metadata": {"name": name}}
    return cluster


def checks(api: KubeApi) -> dict[str, Check]:
    return {check.name: check for check in allowed(api, [stacks.model("modelcar")])}


def test_a_cluster_that_takes_anything_fails_for_each_image_that_it_should_refuse(
    api: KubeApi, enforced: RecordedApi
) -> None:
    found = checks(api)

    assert {name for name, check in found.items() if check.status is Status.FAIL} == {
        "a tag",
        "another digest",
        "another registry",
    }
    assert "oci-model-serving-models-pod does not hold" in found["a tag"].evidence
    assert [body["spec"]["containers"][0]["image"] for method, _, body in enforced.requests if method == "POST"] == [
        stacks.IMAGE,
        f"{stacks.REPOSITORY}:latest",
        f"{stacks.REPOSITORY}@sha256:{'0' * 64}",
        f"registry.invalid/demo/models/qwen@{stacks.DIGEST}",
    ]


def test_a_binding_that_is_gone_is_named(api: KubeApi, enforced: RecordedApi) -> None:
    del enforced.objects[f"{API}/validatingadmissionpolicybindings/{NAMES[1]}"]

    found = checks(api)["policies"]

    assert found.status is Status.FAIL
    assert f"there is no validatingadmissionpolicybindings/{NAMES[1]}" in found.evidence


def test_a_list_that_is_gone_while_its_policies_are_there_fails(api: KubeApi, enforced: RecordedApi) -> None:
    enforced.objects[NAMESPACE]["metadata"]["annotations"] = {"team": "search"}

    found = checks(api)["own image"]

    assert found.status is Status.FAIL
    assert f"namespace models has no annotation {LISTED}…" in found.evidence


def test_a_stack_that_enforces_nothing_is_skipped_with_the_reason(api: KubeApi, cluster: RecordedApi) -> None:
    found = checks(api)

    assert {check.status for check in found.values()} == {Status.SKIP}
    assert "cluster.allowList.enforce is false" in found["a tag"].evidence


def test_a_refusal_by_something_else_proves_nothing(api: KubeApi, enforced: RecordedApi) -> None:
    enforced.answers["POST", PODS] = (
        HTTPStatus.FORBIDDEN,
        {"kind": "Status", "message": 'pods "smoke" is forbidden: exceeded quota', "reason": "Forbidden"},
    )

    found = checks(api)

    assert found["a tag"].status is Status.SKIP
    assert found["own image"].status is Status.FAIL


def test_without_the_right_to_create_pods_nothing_is_said(api: KubeApi, enforced: RecordedApi) -> None:
    message = 'pods is forbidden: User "me" cannot create resource "pods" in API group "" in the namespace "models"'
    enforced.answers["POST", PODS] = forbidden(message)

    assert checks(api)["own image"].status is Status.SKIP


def test_of_a_streamed_model_what_the_sidecar_is_told_is_tried(api: KubeApi, enforced: RecordedApi) -> None:
    list(allowed(api, [stacks.model("stream")]))

    pods = [body["spec"] for method, _, body in enforced.requests if method == "POST"]
    assert {pod["containers"][0]["image"] for pod in pods} == {stacks.IMAGE}
    assert [pod["initContainers"][0]["args"] for pod in pods] == [
        [f"oci+stream://{stacks.IMAGE}"],
        [f"oci+stream://{stacks.REPOSITORY}:latest"],
        [f"oci+stream://{stacks.REPOSITORY}@sha256:{'0' * 64}"],
        [f"oci+stream://registry.invalid/demo/models/qwen@{stacks.DIGEST}"],
    ]
