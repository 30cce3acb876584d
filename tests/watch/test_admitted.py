"""An object is sent when the API servers know of its images, each of which judges by a copy of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.recorded_api import Answer, RecordedApi, forbidden, invalid
from watch import admitted, waiting
from watch.causes import NotHeldError
from watch.kube import KubeApi

POLICY = "oci-model-serving-models-inferenceservice"
SERVED: dict[str, Any] = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "qwen", "namespace": "models"},
    "spec": {},
}
DISCOVERY = "/apis/serving.kserve.io/v1beta1"
# As kube-apiserver 1.35 says it.
REFUSAL = (
    f"inferenceservices.serving.kserve.io \"qwen\" is forbidden: ValidatingAdmissionPolicy '{POLICY}' with binding "
    f"'{POLICY}' denied request: storageUri oci://r.example/m@sha256:00 does not name an image that the stack has "
    "verified, by its digest: change models.NAME.source or digest in the settings of the stack, then run pulumi up"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)


@pytest.fixture
def served(cluster: RecordedApi) -> RecordedApi:
    kind = {"kind": "InferenceService", "name": "inferenceservices", "namespaced": True}
    cluster.objects[DISCOVERY] = {"metadata": {}, "resources": [kind]}
    return cluster


def answering(cluster: RecordedApi, answer: Callable[[int], Answer]) -> list[str]:
    """Have the server answer the dry runs by their number; what it was asked."""
    asked: list[str] = []
    known = cluster.answer

    def answered(method: str, path: str, body: dict[str, Any]) -> Answer:
        if method != "POST":
            return known(method, path, body)
        asked.append(path)
        return answer(len(asked))

    cluster.answer = answered  # type: ignore[method-assign]
    return asked


def wait(api: KubeApi, timeout: float = 5) -> None:
    admitted.wait_until_taken(api, SERVED, policy=POLICY, timeout=timeout)


def test_one_of_several_servers_that_is_late_is_waited_for(api: KubeApi, served: RecordedApi) -> None:
    # Each third connection meets the late one, until the twentieth.
    asked = answering(served, lambda at: forbidden(REFUSAL) if at < 20 and at % 3 == 0 else (201, SERVED))

    wait(api)

    assert len(asked) == 18 + admitted._IN_A_ROW
    assert all("dryRun=All" in path for path in asked)


def test_each_question_has_a_connection_of_its_own(api: KubeApi, served: RecordedApi) -> None:
    closed: list[str] = []
    api._http.event_hooks["request"].append(lambda request: closed.append(request.headers.get("connection", "")))

    wait(api)

    assert closed.count("close") == admitted._IN_A_ROW


def test_what_stays_refused_ends_with_what_the_server_says_and_what_to_do(api: KubeApi, served: RecordedApi) -> None:
    answering(served, lambda _: forbidden(REFUSAL))

    with pytest.raises(NotHeldError) as caught:
        wait(api, 0.2)

    assert "InferenceService models/qwen: waiting until it is allowed: refused for 0 s" in str(caught.value)
    assert "does not name an image that the stack has verified" in str(caught.value)
    assert "oms check --only drift" in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        forbidden('inferenceservices.serving.kserve.io is forbidden: User "x" cannot create resource'),
        invalid('admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: name'),
        (409, {"kind": "Status", "message": 'inferenceservices.serving.kserve.io "qwen" already exists'}),
    ],
)
def test_what_else_refuses_it_is_left_to_whoever_sends_it(api: KubeApi, served: RecordedApi, answer: Answer) -> None:
    asked = answering(served, lambda _: answer)

    wait(api)

    assert len(asked) == admitted._IN_A_ROW


def test_a_server_that_is_restarted_is_asked_again(api: KubeApi, served: RecordedApi) -> None:
    asked = answering(served, lambda at: (503, {"message": "starting"}) if at < 4 else (201, SERVED))

    wait(api)

    assert len(asked) == 3 + admitted._IN_A_ROW


def test_a_kind_that_the_cluster_does_not_serve_is_left_to_whoever_sends_it(api: KubeApi, cluster: RecordedApi) -> None:
    asked = answering(cluster, lambda _: forbidden(REFUSAL))

    wait(api)

    assert not asked


@pytest.mark.parametrize(
    ("stdin", "refused", "code", "said"),
    [
        (json.dumps(SERVED), False, 0, ""),
        (json.dumps(SERVED), True, 1, "refused for 1 s"),
        ("{}", False, 2, "stdin is not an object of Kubernetes"),
        ("[" * 100_000, False, 2, "stdin is not an object of Kubernetes"),
    ],
)
def test_as_a_command_it_says_in_its_code_and_on_stderr_how_it_went(
    served: RecordedApi, stdin: str, refused: bool, code: int, said: str
) -> None:
    if refused:
        answering(served, lambda _: forbidden(REFUSAL))

    done = subprocess.run(
        [sys.executable, "-m", "watch.admitted", "--policy", POLICY, "--timeout", "1"],
        input=stdin,
        env={**os.environ, "SMOKE_KUBECONFIG": served.kubeconfig},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == code
    assert said in done.stderr
    assert "very-secret-token" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
