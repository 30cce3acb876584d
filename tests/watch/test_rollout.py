"""`pulumi up` hears at once why the pods of a new digest do not come up."""

import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from oci_model_serving.errors import InputError
from tests.recorded_api import RecordedApi
from tests.smoke import stacks
from watch import rollout, waiting
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
    monkeypatch.setattr(rollout, "PATIENCE_SECONDS", 0.05)


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
    monkeypatch.setattr(rollout, "PATIENCE_SECONDS", 60)
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

    assert json.loads(done.stdout)["pod"]
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
    evidence, cause, remedy = done.stderr.splitlines()
    assert "it is not ready after 0 s" in evidence
    assert "403 Forbidden" in cause
    assert "pull" in remedy


def test_a_pod_that_no_controller_made_is_said_to_be_missing(api: KubeApi) -> None:
    with pytest.raises(NotHeldError, match="no controller made one of its image"):
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
