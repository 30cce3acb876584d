"""Pause and resume change the object as its platform wants it, and can be repeated."""

import json

import pytest

from smoke.scaling import pause, resume, scale_of
from tests.recorded_api import RecordedApi, merge
from tests.smoke import stacks
from watch import waiting
from watch.causes import NotHeldError
from watch.kube import ApiError, KubeApi
from watch.pods import is_paused
from watch.rollout import wait_for_no_pods, wait_for_ready_pod


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)


def deploy(cluster: RecordedApi, delivery: str) -> str:
    path, body = stacks.served(delivery)
    cluster.objects[path] = body
    return path


def silent(_: str) -> None:
    pass


def scale(cluster: RecordedApi, path: str) -> dict[str, object]:
    spec = cluster.objects[path]["spec"]
    return {key: spec.get(key) for key in ("minReplicas", "replicas", "autoscalingDisabled")}


def test_an_inferenceservice_is_paused_and_resumed_by_kserves_annotation_and_nothing_else(
    api: KubeApi, cluster: RecordedApi
) -> None:
    path = deploy(cluster, "modelcar")
    model = stacks.model().output

    pause(api, model)
    assert cluster.objects[path]["metadata"]["annotations"] == {"serving.kserve.io/stop": "true"}
    assert is_paused(cluster.objects[path], model)

    resume(api, model)
    assert cluster.objects[path]["metadata"]["annotations"] == {"serving.kserve.io/stop": "false"}
    assert not is_paused(cluster.objects[path], model)


def test_a_kubeai_model_is_paused_without_touching_its_bounds(api: KubeApi, cluster: RecordedApi) -> None:
    path = deploy(cluster, "kubeai")
    cluster.objects[path]["spec"] |= {"minReplicas": 2, "replicas": 3}
    model = stacks.model("kubeai").output

    pause(api, model)
    assert scale(cluster, path) == {"minReplicas": 2, "replicas": 0, "autoscalingDisabled": True}
    assert is_paused(cluster.objects[path], model)

    resume(api, model)
    assert scale(cluster, path) == {"minReplicas": 2, "replicas": 2, "autoscalingDisabled": False}
    assert cluster.objects[path]["metadata"]["annotations"] == {}


@pytest.mark.parametrize("bounds", [{"minReplicas": 0}, {}])
def test_a_kubeai_model_that_scales_to_zero_is_resumed_with_a_pod_and_still_scales_to_zero(
    api: KubeApi, cluster: RecordedApi, bounds: dict[str, int]
) -> None:
    path = deploy(cluster, "kubeai")
    cluster.objects[path]["spec"] = {"url": "oci://r.example/m", "replicas": 0, "autoscalingDisabled": True, **bounds}

    resume(api, stacks.model("kubeai").output)

    assert scale(cluster, path) == {
        "minReplicas": bounds.get("minReplicas"),
        "replicas": 1,
        "autoscalingDisabled": False,
    }


@pytest.mark.parametrize("delivery", ["modelcar", "kubeai"])
def test_pausing_twice_and_resuming_twice_changes_nothing_more(
    api: KubeApi, cluster: RecordedApi, delivery: str
) -> None:
    path = deploy(cluster, delivery)
    model = stacks.model(delivery).output
    merge(cluster.objects[path], dict(model.serving.platform.running))
    before = json.dumps(cluster.objects[path], sort_keys=True)

    for action in (pause, pause, resume, resume):
        action(api, model)

    assert json.dumps(cluster.objects[path], sort_keys=True) == before
    assert sum(method == "PATCH" for method, _, _ in cluster.requests) == 2


def test_an_absent_model_is_refused(api: KubeApi) -> None:
    with pytest.raises(ApiError, match="404"):
        pause(api, stacks.model().output)


def test_pods_that_stay_are_waited_for_and_then_a_failure(api: KubeApi, cluster: RecordedApi) -> None:
    pod = stacks.pod()
    pod["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:01Z"
    cluster.objects[f"{stacks.path_of_pods()}/p-1"] = pod
    told: list[str] = []

    with pytest.raises(NotHeldError, match="zero pods"):
        wait_for_no_pods(api, stacks.model().output, timeout=0.05, tell=told.append)

    assert told


def test_a_pod_that_is_not_ready_is_not_enough(api: KubeApi, cluster: RecordedApi) -> None:
    pod = stacks.pod()
    pod["status"]["conditions"][0]["status"] = "False"
    cluster.objects[f"{stacks.path_of_pods()}/p-1"] = pod

    with pytest.raises(NotHeldError, match="ready pod"):
        wait_for_ready_pod(api, stacks.model().output, timeout=0.05, tell=silent)


def test_the_ready_pod_is_returned(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.objects[f"{stacks.path_of_pods()}/p-1"] = stacks.pod()

    assert wait_for_ready_pod(api, stacks.model().output, timeout=5, tell=silent)["metadata"]["name"] == "p-1"


@pytest.mark.parametrize("delivery", ["modelcar", "kubeai"])
def test_what_was_read_before_is_put_back_as_a_whole(api: KubeApi, cluster: RecordedApi, delivery: str) -> None:
    path = deploy(cluster, delivery)
    cluster.objects[path]["spec"] |= {"minReplicas": 0, "replicas": 0} if delivery == "kubeai" else {}
    before = json.dumps(cluster.objects[path], sort_keys=True)
    model = stacks.model(delivery).output

    found = scale_of(json.loads(before), model)
    pause(api, model)
    resume(api, model)
    api.patch(path, found)

    assert json.dumps(cluster.objects[path], sort_keys=True) == before


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_api_server_that_hiccups_is_asked_again(api: KubeApi, cluster: RecordedApi, status: int) -> None:
    cluster.answers["GET", stacks.path_of_pods()] = (status, {"message": "etcdserver: leader changed"})
    told: list[str] = []

    def recovers(progress: str) -> None:
        told.append(progress)
        cluster.answers.clear()

    wait_for_no_pods(api, stacks.model().output, timeout=5, tell=recovers)

    assert "leader changed" in told[0]


def test_an_api_server_that_refuses_ends_the_wait(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.answers["GET", stacks.path_of_pods()] = (403, {"message": "no right to list pods"})

    with pytest.raises(ApiError, match="no right"):
        wait_for_no_pods(api, stacks.model().output, timeout=5, tell=silent)
