"""A cold start is measured, and the model is left as it was found whatever happens."""

import time
from typing import Any

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


def measure(api: KubeApi, address: str, *, timeout: float = 5, **model: Any) -> tuple[Check, Measured]:
    measured = Measured()
    outputs = stacks.outputs(**model)
    (found,) = coldstart(
        api, outputs, [stacks.model(**model)], measured, address=address, timeout=timeout, tell=lambda _: None
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
            Measured(),
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


SAID = [
    ("2026-11-22T10:03:09.000000001Z", "INFO 11-22 10:03:09 [__init__.py:239] Automatically detected platform cpu."),
    (
        "2026-11-22T10:03:20.25Z",
        "(EngineCore pid=60) INFO [cpu_model_runner.py:104] Starting to load model /mnt/models...",
    ),
    ("2026-11-22T10:03:23Z", "(EngineCore pid=60) INFO [default_loader.py:397] Loading weights took 2.42 seconds"),
    (
        "2026-11-22T10:03:51Z",
        "(EngineCore pid=60) INFO [core.py:314] init engine (profile, create kv cache, warmup model) took 27.58 s",
    ),
    ("2026-11-22T10:03:58.5Z", "(APIServer pid=1) INFO:     Application startup complete."),
]
LOG = f"{POD}/log"


def test_the_servers_start_is_divided_by_its_own_log(api: KubeApi, kserve: RecordedApi) -> None:
    kserve.logs[POD, "kserve-container"] = SAID

    with openai_server.serve(stacks.KEY) as server:
        _, measured = measure(api, server.address)

    figures = measured.coldstarts[stacks.KEY]
    assert (figures.process_start, figures.load, figures.engine_init, figures.ready) == (20.25, 2.42, 27.58, 1.5)
    assert (figures.compile, figures.graph_capture) == (None, None)
    (asked,) = [path for _, path, _ in kserve.requests if path.startswith(LOG)]
    assert "timestamps=true" in asked
    assert "container=kserve-container" in asked


def test_of_a_long_log_only_the_beginning_is_read(
    api: KubeApi, kserve: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOG_BYTES", sum(len(at) + len(line) + 2 for at, line in SAID[:3]))
    kserve.logs[POD, "kserve-container"] = SAID

    with openai_server.serve(stacks.KEY) as server:
        _, measured = measure(api, server.address)

    figures = measured.coldstarts[stacks.KEY]
    assert (figures.load, figures.engine_init) == (2.42, None)


@pytest.mark.parametrize("answer", [forbidden('pods "p-1" is forbidden'), (500, {"message": "no kubelet"})])
def test_a_log_that_may_not_be_read_costs_only_its_own_figures(
    api: KubeApi, kserve: RecordedApi, answer: tuple[int, JSON]
) -> None:
    kserve.answers["GET", LOG] = answer

    with openai_server.serve(stacks.KEY) as server:
        found, measured = measure(api, server.address)

    assert found.status is Status.PASS
    assert measured.coldstarts[stacks.KEY].server_start == 60
    assert measured.coldstarts[stacks.KEY].load is None


def test_the_systems_pods_that_may_not_be_seen_cost_only_the_drivers_figure(api: KubeApi, kserve: RecordedApi) -> None:
    kserve.answers["GET", "/api/v1/namespaces/kube-system/pods"] = forbidden("pods is forbidden")

    with openai_server.serve(stacks.KEY) as server:
        found, measured = measure(api, server.address)

    assert found.status is Status.PASS
    assert measured.coldstarts[stacks.KEY].driver is None


def test_what_the_outputs_have_predicted_stands_beside_it(api: KubeApi, kserve: RecordedApi) -> None:
    kserve.logs[POD, "kserve-container"] = SAID
    engine = {"seconds": 19.0, "bound": "the engine", "constant": "server_start,cpu", "value": 19.0, "unit": "s"}

    with openai_server.serve(stacks.KEY) as server:
        _, measured = measure(api, server.address, cold_start={"stages": {"server_start": engine}})

    found = measured.comparisons[stacks.KEY]
    assert [(one.stage, one.ratio) for one in found.stages] == [("server_start", 3.03)]
    assert [(one.constant, one.measured) for one in found.off] == [("server_start,cpu", 57.6)]


def test_without_a_prediction_there_is_nothing_beside_it(api: KubeApi, kserve: RecordedApi) -> None:
    with openai_server.serve(stacks.KEY) as server:
        _, measured = measure(api, server.address)

    assert stacks.KEY in measured.coldstarts
    assert measured.comparisons == {}
