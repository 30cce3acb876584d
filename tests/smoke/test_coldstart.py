"""A cold start is measured, and the model is left as it was found whatever happens."""

import time

import pytest

from smoke import coldstart as module
from smoke.checks import Check, LeftInterrupt, Status
from smoke.coldstart import Measured, coldstart
from tests.recorded_api import JSON, RecordedApi, forbidden
from tests.smoke import openai_server, stacks
from watch import waiting
from watch.kube import KubeApi

STOP = "serving.kserve.io/stop"
POD = f"{stacks.path_of_pods()}/p-1"


@pytest.fixture
def kserve(cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> RecordedApi:
    """A cluster whose controller makes and removes the model's pod as the annotation says."""
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    path, body = stacks.served("modelcar")
    cluster.objects[path] = body
    cluster.objects[POD] = stacks.pod()
    cluster.objects["/api/v1/nodes/n-1"] = {"metadata": {"name": "n-1", "creationTimestamp": "2020-01-01T00:00:00Z"}}

    def controller(patched: str, found: JSON) -> None:
        if found["metadata"]["annotations"].get(STOP) == "true":
            cluster.objects.pop(POD, None)
        else:
            cluster.objects[POD] = stacks.pod()

    cluster.patched = controller
    return cluster


def measure(api: KubeApi, address: str, *, timeout: float = 5) -> tuple[Check, Measured]:
    measured = Measured({})
    outputs = stacks.outputs()
    (found,) = coldstart(
        api, outputs, [stacks.model()], measured, address=address, timeout=timeout, tell=lambda _: None
    )
    return found, measured


def annotations(cluster: RecordedApi) -> JSON:
    path, _ = stacks.served("modelcar")
    return dict(cluster.objects[path]["metadata"]["annotations"])


def test_a_running_model_is_measured_and_left_running(api: KubeApi, kserve: RecordedApi) -> None:
    with openai_server.serve(stacks.KEY) as server:
        found, measured = measure(api, server.address)

    assert found.status is Status.PASS
    assert measured.coldstarts[stacks.KEY].server_start == 60
    assert not measured.coldstarts[stacks.KEY].node_is_new
    assert annotations(kserve) == {}


def test_a_paused_model_is_measured_and_left_paused(api: KubeApi, kserve: RecordedApi) -> None:
    path, _ = stacks.served("modelcar")
    kserve.objects[path]["metadata"]["annotations"][STOP] = "true"
    del kserve.objects[POD]

    with openai_server.serve(stacks.KEY) as server:
        found, _ = measure(api, server.address)

    assert found.status is Status.PASS
    assert annotations(kserve) == {STOP: "true"}


def test_pods_that_never_go_fail_and_the_model_is_resumed(api: KubeApi, kserve: RecordedApi) -> None:
    kserve.patched = lambda _path, _found: None

    found, measured = measure(api, "127.0.0.1:1", timeout=0.05)

    assert found.status is Status.FAIL
    assert "zero pods" in found.evidence
    assert not measured.coldstarts
    assert annotations(kserve) == {}


def test_a_pod_that_never_comes_fails_with_its_cause(api: KubeApi, kserve: RecordedApi) -> None:
    def controller(_path: str, _found: JSON) -> None:
        kserve.objects.pop(POD, None)

    kserve.patched = controller
    kserve.objects["/api/v1/namespaces/models/events/e-1"] = {
        "metadata": {"name": "e-1"},
        "type": "Warning",
        "reason": "FailedCreate",
        "message": 'pods "p" is forbidden: violates PodSecurity "restricted:latest"',
        "involvedObject": {"kind": "ReplicaSet", "name": f"{stacks.NAME}-predictor-5d9f"},
    }

    found, _ = measure(api, "127.0.0.1:1", timeout=0.1)

    assert found.status is Status.FAIL
    assert [cause.code for cause in found.causes] == ["pod-security"]


def test_an_endpoint_that_never_answers_fails(api: KubeApi, kserve: RecordedApi) -> None:
    with openai_server.serve(stacks.KEY, fault="unavailable") as server:
        found, _ = measure(api, server.address, timeout=0.1)

    assert found.status is Status.FAIL
    assert "waiting for 127.0.0.1" in found.evidence


def test_an_interrupt_while_paused_resumes_the_model(
    api: KubeApi, kserve: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "wait_for_no_pods", interrupted)

    with pytest.raises(KeyboardInterrupt):
        measure(api, "127.0.0.1:1")

    assert annotations(kserve) == {}


def test_a_scale_to_zero_model_is_left_with_its_own_replicas(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    path, body = stacks.served("kubeai")
    body["spec"] |= {"minReplicas": 0, "replicas": 0}
    cluster.objects[path] = body
    before = dict(body["spec"])

    list(
        coldstart(
            api,
            stacks.outputs("kubeai"),
            [stacks.model("kubeai")],
            Measured({}),
            address="127.0.0.1:1",
            timeout=0.05,
            tell=lambda _: None,
        )
    )

    assert sum(method == "PATCH" for method, _, _ in cluster.requests) == 3
    assert cluster.objects[path]["spec"] == before
    assert cluster.objects[path]["metadata"]["annotations"] == {}


@pytest.fixture
def served_paused(kserve: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> RecordedApi:
    """A cluster that takes the pause, and then no patch any more."""
    monkeypatch.setattr(module, "_PUT_BACK_SECONDS", 0)
    path, _ = stacks.served("modelcar")

    def refuses(_path: str, _found: JSON) -> None:
        kserve.answers["PATCH", path] = (503, {"message": "apiserver not ready"})

    kserve.patched = refuses
    return kserve


def test_a_model_that_cannot_be_put_back_is_named_with_the_command_that_resumes_it(
    api: KubeApi, served_paused: RecordedApi
) -> None:
    found, _ = measure(api, "127.0.0.1:1", timeout=0.05)

    assert found.status is Status.FAIL
    assert f"model {stacks.KEY} is still paused" in found.evidence
    assert found.remedy == f"`oms resume --model {stacks.KEY}`"
    assert sum(method == "PATCH" for method, _, _ in served_paused.requests) == 2


def test_a_put_back_that_fails_in_passing_is_tried_again(
    api: KubeApi, served_paused: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: served_paused.answers.clear())
    monkeypatch.setattr(module, "_PUT_BACK_SECONDS", 10)

    measure(api, "127.0.0.1:1", timeout=0)

    assert annotations(served_paused) == {}


def test_an_interrupt_after_which_the_model_cannot_be_put_back_says_so(
    api: KubeApi, served_paused: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "wait_for_no_pods", interrupted)

    with pytest.raises(LeftInterrupt, match=rf"is still paused.*resume --model {stacks.KEY}"):
        measure(api, "127.0.0.1:1")


def test_a_node_that_may_not_be_read_costs_only_its_own_figure(api: KubeApi, kserve: RecordedApi) -> None:
    kserve.answers["GET", "/api/v1/nodes/n-1"] = forbidden('nodes "n-1" is forbidden')

    with openai_server.serve(stacks.KEY) as server:
        found, measured = measure(api, server.address)

    assert found.status is Status.PASS
    assert measured.coldstarts[stacks.KEY].server_start == 60
