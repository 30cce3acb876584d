"""`pulumi up` hears at once why the pods of a new digest do not come up."""

import io
import json
import os
import subprocess
import sys
import time
from typing import Any

import pytest

from smoke import rollout
from smoke.checks import NotHeldError, SmokeError
from smoke.kube import KubeApi
from tests.smoke import stacks
from tests.smoke.recorded_api import RecordedApi

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
    monkeypatch.setattr(rollout, "POLL_SECONDS", 0.01)
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

    assert rollout.wait(api, stacks.model(delivery).output, 5) == body["metadata"]["name"]


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_ready_pod_of_an_earlier_digest_does_not_count(api: KubeApi, cluster: RecordedApi, delivery: str) -> None:
    put(cluster, delivery, pod(delivery))
    other = "sha256:" + "b" * 64
    new = stacks.model(delivery, digest=other, image=f"{stacks.REPOSITORY}@{other}").output

    with pytest.raises(NotHeldError, match="not ready after 0 s"):
        rollout.wait(api, new, 0.1)


def test_a_pull_that_keeps_failing_ends_with_its_cause_long_before_the_timeout(
    api: KubeApi, cluster: RecordedApi
) -> None:
    put(cluster, "native", pod("native", ready=False, phase="Pending", containerStatuses=[BACKING_OFF]))

    with pytest.raises(NotHeldError, match="keeps failing") as failure:
        rollout.wait(api, stacks.model("native").output, 3600)

    assert "403 Forbidden" in failure.value.remedy
    assert failure.value.causes


def test_a_pull_that_fails_in_passing_is_forgiven(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "PATIENCE_SECONDS", 60)
    put(cluster, "native", pod("native", ready=False, phase="Pending", containerStatuses=[BACKING_OFF]))

    def recovers(_: float) -> None:
        put(cluster, "native", pod("native"))

    monkeypatch.setattr(time, "sleep", recovers)

    assert rollout.wait(api, stacks.model("native").output, 3600)


def test_a_wrong_description_is_refused_with_what_is_missing() -> None:
    with pytest.raises(SmokeError, match="digest"):
        rollout._model(io.StringIO("{}"))


def test_the_command_takes_the_cluster_from_its_environment_and_prints_the_pod(cluster: RecordedApi) -> None:
    put(cluster, "native", pod("native"))
    described = json.dumps(stacks.model("native").output.model_dump())

    done = subprocess.run(
        [sys.executable, "-m", "smoke.rollout", "--timeout", "5"],
        input=described,
        env={**os.environ, "SMOKE_KUBECONFIG": cluster.kubeconfig},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout)["pod"]
    assert "very-secret-token" not in done.stdout + done.stderr


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_api_server_that_hiccups_does_not_end_the_wait(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    put(cluster, "native", pod("native"))
    cluster.answers["GET", stacks.path_of_pods("native")] = (status, {"message": "etcdserver: request timed out"})
    monkeypatch.setattr(time, "sleep", lambda _: cluster.answers.clear())

    assert rollout.wait(api, stacks.model("native").output, 3600)


def test_an_api_server_that_never_answers_fails_after_the_timeout(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.answers["GET", stacks.path_of_pods("native")] = (503, {"message": "apiserver not ready"})
    cluster.answers["GET", "/api/v1/namespaces/models/events"] = (503, {"message": "apiserver not ready"})

    with pytest.raises(NotHeldError, match="not ready after 0 s") as failure:
        rollout.wait(api, stacks.model("native").output, 0.05)

    assert "apiserver not ready" in failure.value.remedy


def test_a_missing_right_ends_the_wait_at_once(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.answers["GET", stacks.path_of_pods("native")] = (403, {"message": "no right to list pods"})

    with pytest.raises(NotHeldError, match="no right"):
        rollout.wait(api, stacks.model("native").output, 3600)
