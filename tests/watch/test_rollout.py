"""`pulumi up` hears at once why the pods of a new digest do not come up."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from oci_model_serving.errors import InputError
from tests.recorded_api import RecordedApi, forbidden
from tests.smoke import stacks
from watch import pulling, rollout, signs, waiting
from watch.causes import NotHeldError
from watch.kube import KubeApi

DELIVERIES = ["modelcar", "native", "kubeai"]
BACKING_OFF = {
    "name": "kserve-container",
    "image": "",
    "state": {
        "waiting": {
            "reason": "ImagePullBackOff",
            "message": 'Back-off pulling image "r.example/m": ErrImagePull: failed to pull and unpack image: '
            "failed to resolve reference: unexpected status from HEAD request: 403 Forbidden",
        }
    },
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(rollout, "_EVENTS_SECONDS", 0.0)
    monkeypatch.setattr(signs, "PULL_SECONDS", 0.05)


def pod(delivery: str, *, ready: bool = True, **changes: Any) -> dict[str, Any]:
    body = stacks.pod(delivery)
    body["status"]["conditions"] = [{"type": "Ready", "status": str(ready)}]
    body["status"].update(changes)
    return body


def put(cluster: RecordedApi, delivery: str, body: dict[str, Any]) -> None:
    cluster.objects[f"{stacks.path_of_pods(delivery)}/{body['metadata']['name']}"] = body


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_ready_pod_of_the_digest_ends_the_wait(api: KubeApi, cluster: RecordedApi, delivery: str) -> None:
    body = pod(delivery)
    put(cluster, delivery, body)

    assert rollout.wait_for_ready_pod(api, stacks.model(delivery).output, timeout=5) == body


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_ready_pod_of_an_earlier_digest_does_not_count(api: KubeApi, cluster: RecordedApi, delivery: str) -> None:
    put(cluster, delivery, pod(delivery))
    other = "sha256:" + "b" * 64
    new = stacks.model(delivery, digest=other, image=f"{stacks.REPOSITORY}@{other}").output

    with pytest.raises(NotHeldError, match="not ready after 0 s"):
        rollout.wait_for_ready_pod(api, new, timeout=0.1)


def test_a_pull_that_keeps_failing_ends_with_its_cause_long_before_the_timeout(
    api: KubeApi, cluster: RecordedApi
) -> None:
    put(cluster, "native", pod("native", ready=False, phase="Pending", containerStatuses=[BACKING_OFF]))

    with pytest.raises(NotHeldError, match="keeps failing") as failure:
        rollout.wait_for_ready_pod(api, stacks.model("native").output, timeout=3600)

    assert "403 Forbidden" in str(failure.value)
    assert failure.value.causes


def test_a_pull_that_fails_in_passing_is_forgiven(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs, "PULL_SECONDS", 60)
    put(cluster, "native", pod("native", ready=False, phase="Pending", containerStatuses=[BACKING_OFF]))

    def recovers(_: float) -> None:
        put(cluster, "native", pod("native"))

    monkeypatch.setattr(time, "sleep", recovers)

    assert rollout.wait_for_ready_pod(api, stacks.model("native").output, timeout=3600)


def test_a_wrong_description_is_refused_with_what_is_missing() -> None:
    with pytest.raises(InputError, match="digest"):
        rollout._model("{}")


def test_the_command_takes_the_cluster_from_its_environment_and_prints_the_pod(cluster: RecordedApi) -> None:
    put(cluster, "native", pod("native"))
    described = json.dumps(stacks.model("native").output.model_dump())

    done = subprocess.run(
        [sys.executable, "-m", "watch.rollout", "--timeout", "5"],
        input=described,
        env={**os.environ, "SMOKE_KUBECONFIG": cluster.kubeconfig},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == {"pods": ["p-1"]}
    assert "very-secret-token" not in done.stdout + done.stderr


def test_the_command_fails_with_each_cause_and_its_remedy_and_no_traceback(cluster: RecordedApi) -> None:
    put(cluster, "native", pod("native", ready=False, phase="Pending", containerStatuses=[BACKING_OFF]))

    done = subprocess.run(
        [sys.executable, "-m", "smoke.rollout", "--timeout", "0"],
        input=json.dumps(stacks.model("native").output.model_dump()),
        env={**os.environ, "SMOKE_KUBECONFIG": cluster.kubeconfig},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    evidence, cause, remedy = done.stderr.splitlines()[-3:]
    assert "it is not ready after 0 s" in evidence
    assert "403 Forbidden" in cause
    assert "pull" in remedy


def test_a_pod_that_no_controller_made_is_said_to_be_missing(api: KubeApi) -> None:
    with pytest.raises(NotHeldError, match="no controller made one of its revision"):
        rollout.wait_for_ready_pod(api, stacks.model("native").output, timeout=0)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_api_server_that_hiccups_does_not_end_the_wait(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    put(cluster, "native", pod("native"))
    cluster.answers["GET", stacks.path_of_pods("native")] = (status, {"message": "etcdserver: request timed out"})
    monkeypatch.setattr(time, "sleep", lambda _: cluster.answers.clear())

    assert rollout.wait_for_ready_pod(api, stacks.model("native").output, timeout=3600)


def test_an_api_server_that_never_answers_fails_after_the_timeout(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.answers["GET", stacks.path_of_pods("native")] = (503, {"message": "apiserver not ready"})
    cluster.answers["GET", "/api/v1/namespaces/models/events"] = (503, {"message": "apiserver not ready"})

    with pytest.raises(NotHeldError, match="not ready after 0 s") as failure:
        rollout.wait_for_ready_pod(api, stacks.model("native").output, timeout=0.05)

    assert "apiserver not ready" in failure.value.remedy


def test_a_missing_right_ends_the_wait_at_once(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.answers["GET", stacks.path_of_pods("native")] = (403, {"message": "no right to list pods"})

    with pytest.raises(NotHeldError, match="no right"):
        rollout.wait_for_ready_pod(api, stacks.model("native").output, timeout=3600)


def of_revision(delivery: str, revision: str, name: str = "p-1", **changes: Any) -> dict[str, Any]:
    body = pod(delivery, **changes)
    body["metadata"]["name"] = name
    if delivery == "kubeai":
        body["spec"]["containers"][0]["env"].append({"name": "OCI_MODEL_SERVING_REVISION", "value": revision})
    else:
        body["metadata"]["labels"]["oci-model-serving/revision"] = revision
    return body


@pytest.mark.parametrize("delivery", ["modelcar", "native"])
def test_a_pod_of_the_same_image_but_an_earlier_revision_does_not_count(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    """A change of args, env or resources makes new pods of the same digest."""
    put(cluster, delivery, of_revision(delivery, "before"))
    new = of_revision(delivery, "now", "p-2")
    monkeypatch.setattr(time, "sleep", lambda _: put(cluster, delivery, new))

    found = rollout.wait_for_pods(api, stacks.model(delivery, revision="now").output, timeout=3600)

    assert found == [new]


def test_on_kubeai_the_earlier_pods_must_be_gone_for_it_counts_them_as_ones_that_serve(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cluster, "kubeai", of_revision("kubeai", "before"))
    new = of_revision("kubeai", "now", "p-2")
    told: list[str] = []

    def pass_time(_: float) -> None:
        if len(told) == 1:
            put(cluster, "kubeai", new)
        if len(told) == 3:
            del cluster.objects[f"{stacks.path_of_pods('kubeai')}/p-1"]

    monkeypatch.setattr(time, "sleep", pass_time)

    model = stacks.model("kubeai", revision="now").output
    assert rollout.wait_for_pods(api, model, timeout=3600, tell=told.append) == [new]
    assert "ready; 1 earlier pods are still going" in told[1]


def test_an_earlier_pod_that_does_not_go_in_time_fails_nothing_once_the_new_ones_serve(
    api: KubeApi, cluster: RecordedApi
) -> None:
    put(cluster, "kubeai", of_revision("kubeai", "before"))
    new = of_revision("kubeai", "now", "p-2")
    put(cluster, "kubeai", new)

    assert rollout.wait_for_pods(api, stacks.model("kubeai", revision="now").output, timeout=0.1) == [new]


def test_as_many_pods_are_waited_for_as_the_model_has_at_least(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cluster, "native", of_revision("native", "now"))
    model = stacks.model("native", revision="now", replicas=2).output
    told: list[str] = []
    monkeypatch.setattr(time, "sleep", lambda _: put(cluster, "native", of_revision("native", "now", "p-2")))

    found = rollout.wait_for_pods(api, model, timeout=3600, tell=told.append)

    assert [pod["metadata"]["name"] for pod in found] == ["p-1", "p-2"]
    assert told[0].startswith(f"{stacks.NAME}: waiting for 2 ready pods: 1 of 2")


def test_a_paused_model_is_waited_for_until_no_pod_is_left_those_that_are_going_included(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    going = pod("native")
    going["metadata"]["deletionTimestamp"] = "2026-11-22T10:00:01Z"
    put(cluster, "native", going)
    model = stacks.model("native", revision="now", replicas=0, paused=True).output

    with pytest.raises(NotHeldError, match="zero pods"):
        rollout.wait_for_pods(api, model, timeout=0.02)
    monkeypatch.setattr(time, "sleep", lambda _: cluster.objects.clear())
    assert rollout.wait_for_pods(api, model, timeout=3600) == []


def test_nothing_is_waited_for_of_a_model_at_zero_but_its_object(api: KubeApi, cluster: RecordedApi) -> None:
    model = stacks.model("kubeai", revision="now", replicas=0).output

    with pytest.raises(NotHeldError, match="waiting for its object"):
        rollout.wait_for_pods(api, model, timeout=0.02)
    path, body = stacks.served("kubeai")
    cluster.objects[path] = body
    assert rollout.wait_for_pods(api, model, timeout=3600) == []


def test_after_a_resume_one_pod_is_waited_for_though_the_settings_say_none(api: KubeApi, cluster: RecordedApi) -> None:
    put(cluster, "native", of_revision("native", "now"))
    model = stacks.model("native", revision="now", replicas=0, paused=True).output

    assert rollout.wait_for_ready_pod(api, model, timeout=1)["metadata"]["name"] == "p-1"


def test_progress_is_a_line_for_each_change_and_one_every_30_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    progress = waiting.Progress(written.append)
    for second in range(100):
        monkeypatch.setattr(time, "monotonic", lambda second=second: float(second))
        state = "pulling" if second < 50 else "starting (2 restarts)"
        progress.tell(f"m: waiting for a ready pod: {state} ({second} s)")

    assert [line.rpartition(" (")[2] for line in written] == ["0 s)", "30 s)", "50 s)", "80 s)"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"containerStatuses": [BACKING_OFF]}, "container kserve-container: ImagePullBackOff"),
        (
            {
                "containerStatuses": [],
                "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}],
            },
            "has no node: 0/3 nodes are available [no autoscaler has said anything yet]",
        ),
        (
            {"containerStatuses": [{"name": "s", "state": {"running": {}}, "ready": False, "restartCount": 1}]},
            "container s is starting, 1 restarts",
        ),
    ],
)
def test_progress_says_how_far_a_pod_has_come(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr(signs, "PULL_SECONDS", 60)
    put(cluster, "native", pod("native", ready=False, phase="Pending", **change))
    lines: list[str] = []
    monkeypatch.setattr(time, "sleep", lambda _: put(cluster, "native", pod("native")))

    rollout.wait_for_pods(api, stacks.model("native").output, timeout=3600, tell=lines.append)

    assert told in lines[0]


def test_a_slow_pull_tells_how_much_the_nodes_disk_has_taken(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "_ASK_SECONDS", 0.0)
    served = stacks.model("native").output
    body = pod("native", ready=False)
    body["spec"]["nodeName"] = "n-1"
    put(cluster, "native", body)
    said = {
        "reason": "Pulling",
        "type": "Normal",
        "message": f'Pulling image "{served.image}"',
        "involvedObject": {"kind": "Pod", "name": body["metadata"]["name"]},
        "metadata": {"name": "e"},
    }
    cluster.objects[f"/api/v1/namespaces/{served.namespace}/events/e"] = said
    summary = {"node": {"runtime": {"imageFs": {"availableBytes": 90_000_000_000}}}}
    cluster.objects["/api/v1/nodes/n-1/proxy/stats/summary"] = summary
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        summary["node"]["runtime"]["imageFs"]["availableBytes"] = 60_000_000_000
        if "30.0 of about" in line:
            body["status"]["conditions"] = [{"type": "Ready", "status": "True"}]

    rollout.wait_for_pods(api, served, timeout=30, tell=tell)

    total = 2 * served.size_bytes / 1e9
    assert any(f"30.0 of about {total:.1f} GB written to the node's disk" in line for line in told)


def test_a_pull_is_told_without_figures_where_nodes_may_not_be_asked(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.answers["GET", "/api/v1/nodes/n-1/proxy/stats/summary"] = forbidden("nodes")

    assert pulling.PullProgress(api).told("n-1", 1) == ""
