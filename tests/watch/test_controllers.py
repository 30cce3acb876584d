"""A model without a pod ends in what its object, its Deployment or its controller says, in seconds."""

from typing import Any

import pytest

from oci_model_serving.outputs import ModelOutput
from tests.recorded_api import RecordedApi, forbidden, merge
from tests.smoke import stacks
from watch import rollout, signs, waiting
from watch.causes import NotHeldError
from watch.controllers import complaint_of, controller_of
from watch.kube import KubeApi
from watch.pods import events_of

JSON = dict[str, Any]
REVISION = "0123456789abcdef"
QUOTA = 'pods "x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, used: 1, limited: 1'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(rollout, "_EVENTS_SECONDS", 0.0)
    for name in ("COMPLAINT_SECONDS", "SILENCE_SECONDS"):
        monkeypatch.setattr(signs, name, 0.05)


def deploy(cluster: RecordedApi, delivery: str, **changes: Any) -> ModelOutput:
    path, body = stacks.served(delivery)
    merge(body, changes)
    cluster.objects[path] = body
    return stacks.model(delivery, revision=REVISION).output


def deployment(cluster: RecordedApi, *conditions: JSON) -> None:
    name = f"{stacks.NAME}-predictor"
    path = f"/apis/apps/v1/namespaces/models/deployments/{name}"
    cluster.objects[path] = {"metadata": {"name": name}, "status": {"conditions": list(conditions)}}


def ends(api: KubeApi, model: ModelOutput) -> NotHeldError:
    with pytest.raises(NotHeldError) as failure:
        rollout.wait_for_pods(api, model, timeout=30)
    return failure.value


def test_a_missing_runtime_is_told_with_its_name_and_the_command_that_brings_it_back(
    api: KubeApi, cluster: RecordedApi
) -> None:
    info = {"reason": "RuntimeNotRecognized", "message": "Waiting for runtime to become available"}
    status = {"modelStatus": {"transitionStatus": "InvalidSpec", "lastFailureInfo": info}}
    model = deploy(cluster, "modelcar", status=status, spec={"predictor": {"model": {"runtime": "vllm"}}})

    failure = ends(api, model)

    assert "InvalidSpec: RuntimeNotRecognized: Waiting for runtime to become available (runtime vllm)" in str(failure)
    assert [cause.code for cause in failure.causes] == ["runtime-missing"]


def test_a_failure_that_the_status_still_shows_of_before_is_none_once_the_spec_is_taken(
    api: KubeApi, cluster: RecordedApi
) -> None:
    info = {"reason": "RuntimeNotRecognized", "message": "Waiting for runtime to become available"}
    model = deploy(
        cluster, "modelcar", status={"modelStatus": {"transitionStatus": "InProgress", "lastFailureInfo": info}}
    )

    assert complaint_of(api, model, []) == ""


def test_a_quota_is_read_from_the_deployment_where_kserve_does_not_pass_it_on(
    api: KubeApi, cluster: RecordedApi
) -> None:
    model = deploy(cluster, "native")
    deployment(cluster, {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": QUOTA})

    failure = ends(api, model)

    assert "exceeded quota: gpus" in str(failure)
    assert [cause.code for cause in failure.causes] == ["resource-quota"]


def test_a_deployment_that_has_only_begun_says_nothing(api: KubeApi, cluster: RecordedApi) -> None:
    usual = {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "no minimum"}
    ready = {"type": "PredictorReady", "status": "False", **{key: usual[key] for key in ("reason", "message")}}
    model = deploy(cluster, "native", status={"conditions": [ready]})
    deployment(cluster, usual)

    assert complaint_of(api, model, []) == ""


def test_a_deployment_that_has_taken_too_long_does_not_say_why(api: KubeApi, cluster: RecordedApi) -> None:
    late = {"status": "False", "reason": "ProgressDeadlineExceeded", "message": "ReplicaSet has timed out progressing."}
    model = deploy(cluster, "native", status={"conditions": [{"type": "PredictorReady", **late}]})
    deployment(cluster, {"type": "Progressing", **late})

    assert complaint_of(api, model, []) == ""


def of_set(reason: str, at: int, name: str = f"{stacks.NAME}-predictor-00001-deployment-5d9f7c") -> JSON:
    return {
        "type": "Warning" if reason == "FailedCreate" else "Normal",
        "reason": reason,
        "message": f"Error creating: {QUOTA}" if reason == "FailedCreate" else "Created pod: x",
        "involvedObject": {"kind": "ReplicaSet", "name": name},
        "lastTimestamp": f"2026-11-25T10:00:{at:02}Z",
    }


def test_a_quota_of_knatives_is_read_from_the_events_of_its_replica_set(api: KubeApi, cluster: RecordedApi) -> None:
    """Knative names its Deployments by revisions, and says of its Service only that a revision is missing."""
    missing = {"type": "PredictorReady", "status": "False", "reason": "RevisionMissing", "message": "does not have any"}
    model = deploy(cluster, "native", status={"conditions": [missing]})
    cluster.objects["/api/v1/namespaces/models/events/e-1"] = {"metadata": {"name": "e-1"}, **of_set("FailedCreate", 1)}

    failure = ends(api, model)

    assert "FailedCreate: Error creating" in str(failure)
    assert [cause.code for cause in failure.causes] == ["resource-quota"]


def test_a_replica_set_that_has_made_its_pod_since_complains_no_more(api: KubeApi, cluster: RecordedApi) -> None:
    model = deploy(cluster, "native")

    assert complaint_of(api, model, [of_set("FailedCreate", 1), of_set("SuccessfulCreate", 2)]) == ""
    assert complaint_of(api, model, [of_set("SuccessfulCreate", 1), of_set("FailedCreate", 2)])


LINE = (
    "2026-11-25T10:00:0{at}Z\tERROR\tReconciler error\t"
    '{{"controller": "model", "controllerGroup": "kubeai.org", "controllerKind": "Model", "Model": {{"name":"{name}",'
    '"namespace":"kubeai"}}, "namespace": "kubeai", "name": "{name}", "reconcileID": "7d13392a", "error": "{error}"}}'
)
"""As KubeAI writes it (kubeai-project/kubeai#236)."""
MANAGER = "/api/v1/namespaces/kubeai/pods/kubeai-7c9f-x"


def logging(cluster: RecordedApi, *lines: str) -> None:
    deployed = "/apis/apps/v1/namespaces/kubeai/deployments/kubeai"
    labels = {"app.kubernetes.io/name": "kubeai", "app.kubernetes.io/instance": "kubeai"}
    cluster.objects[deployed] = {
        "metadata": {"name": "kubeai", "namespace": "kubeai"},
        "spec": {"selector": {"matchLabels": labels}},
        "status": {"availableReplicas": 1},
    }
    cluster.objects[MANAGER] = {
        "metadata": {"name": "kubeai-7c9f-x", "labels": labels},
        "spec": {"containers": [{"name": "server"}]},
    }
    cluster.answers["GET", f"{MANAGER}/log"] = (200, "\n".join(lines))


def error(text: str, name: str = stacks.NAME, at: int = 1) -> str:
    return LINE.format(at=at, name=name, error=text.replace('"', '\\"'))


def test_what_kubeai_is_refused_stands_in_its_log_alone_and_ends_the_wait(api: KubeApi, cluster: RecordedApi) -> None:
    managed = [{"manager": "pulumi", "time": "2026-11-25T10:00:00Z"}]
    model = deploy(cluster, "kubeai", metadata={"managedFields": managed})
    info = f'2026-11-25T10:00:09Z\tINFO\tReconciling Model\t{{"name": "{stacks.NAME}"}}'
    logging(cluster, error("another model's", "other"), error(f"executing pod plan: creating pod: {QUOTA}"), info, "{")

    failure = ends(api, model)

    assert "no pod is made: kubeai: executing pod plan: creating pod: pods" in str(failure)
    assert [cause.code for cause in failure.causes] == ["resource-quota"]
    (asked, *_) = [path for _, path, _ in cluster.requests if path.startswith(f"{MANAGER}/log")]
    assert "container=server" in asked
    assert "sinceTime=2026-11-25T10%3A00%3A00Z" in asked


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [error(QUOTA, "other")],
        [error('pods "model-x-6" already exists')],
        [error(QUOTA), error("Operation cannot be fulfilled on models.kubeai.org: the object has been modified", at=2)],
    ],
)
def test_a_log_that_says_nothing_of_the_model_that_lasts_is_no_complaint(
    api: KubeApi, cluster: RecordedApi, lines: list[str]
) -> None:
    model = deploy(cluster, "kubeai")
    logging(cluster, *lines)

    assert complaint_of(api, model, []) == ""


@pytest.mark.parametrize("answer", [forbidden("pods/log is forbidden"), (400, {"message": "is waiting to start"})])
def test_a_log_that_cannot_be_read_hides_nothing_else(api: KubeApi, cluster: RecordedApi, answer: Any) -> None:
    model = deploy(cluster, "kubeai")
    logging(cluster, error(QUOTA))
    cluster.answers["GET", f"{MANAGER}/log"] = answer

    assert complaint_of(api, model, []) == ""
    assert "`kubectl -n kubeai logs deploy/kubeai`" in str(ends(api, model))


@pytest.mark.parametrize("delivery", ["modelcar", "kubeai"])
def test_a_model_that_somebody_paused_is_said_to_be_paused(api: KubeApi, cluster: RecordedApi, delivery: str) -> None:
    model = deploy(cluster, delivery)
    path, _ = stacks.served(delivery)
    merge(cluster.objects[path], dict(model.serving.platform.stopped))

    failure = ends(api, model)

    assert "is paused" in str(failure)
    assert "`oms resume`" in failure.remedy


def test_an_object_that_is_gone_is_named(api: KubeApi) -> None:
    failure = ends(api, stacks.model("kubeai", revision=REVISION).output)

    assert f"there is no models/{stacks.NAME} in kubeai" in str(failure)
    assert "pulumi up" in failure.remedy


def test_a_warning_counts_only_if_it_came_after_the_last_change(api: KubeApi, cluster: RecordedApi) -> None:
    managed = [{"manager": "pulumi", "time": "2026-11-25T10:00:00Z"}]
    managed += [{"manager": "kserve", "subresource": "status", "time": "2026-11-25T11:00:00Z"}]
    model = deploy(cluster, "native", metadata={"managedFields": managed})
    about = {"kind": "InferenceService", "name": stacks.NAME}
    event = {
        "type": "Warning",
        "reason": "InternalError",
        "message": "StorageURI not supported",
        "involvedObject": about,
    }

    before = complaint_of(api, model, [{**event, "lastTimestamp": "2026-11-25T09:59:59Z"}])
    after = complaint_of(api, model, [{**event, "lastTimestamp": "2026-11-25T10:00:01Z"}])

    assert (before, after) == ("", "InternalError: StorageURI not supported")


def test_where_nobody_says_anything_the_controller_that_is_down_is_named(api: KubeApi, cluster: RecordedApi) -> None:
    model = deploy(cluster, "kubeai")
    down = {"type": "Available", "status": "False", "message": "Deployment does not have minimum availability."}
    path = "/apis/apps/v1/namespaces/kubeai/deployments/kubeai"
    cluster.objects[path] = {
        "metadata": {"name": "kubeai", "namespace": "kubeai"},
        "status": {"conditions": [down]},
    }

    assert "Deployment kubeai/kubeai is not available (Deployment does not have minimum" in str(ends(api, model))
    cluster.objects[path]["status"]["availableReplicas"] = 1
    assert "`kubectl -n kubeai logs deploy/kubeai`" in str(ends(api, model))


def test_a_controller_that_may_not_be_seen_does_not_hide_the_failure(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.answers["GET", "/apis/apps/v1/deployments"] = forbidden("deployments is forbidden")
    model = deploy(cluster, "native")

    assert controller_of(api, model) == "kserve-controller-manager, which may not be looked at"
    assert "no controller made one" in str(ends(api, model))


def replica_set(cluster: RecordedApi, name: str, revision: str) -> None:
    labels = {"serving.kserve.io/inferenceservice": stacks.NAME}
    template = {"metadata": {"labels": {**labels, "oci-model-serving/revision": revision}}, "spec": {"containers": []}}
    metadata = {"name": name, "labels": labels}
    cluster.objects[f"/apis/apps/v1/namespaces/models/replicasets/{name}"] = {
        "metadata": metadata,
        "spec": {"template": template},
    }


def test_what_was_said_of_earlier_pods_and_sets_is_not_told_of_the_new_ones(api: KubeApi, cluster: RecordedApi) -> None:
    new, old = f"{stacks.NAME}-predictor-new", f"{stacks.NAME}-predictor-old"
    replica_set(cluster, new, REVISION)
    replica_set(cluster, old, "of-an-earlier-one")
    pod = stacks.pod("native", f"{new}-1")
    pod["metadata"]["uid"] = "now"
    involved = [
        {"kind": "ReplicaSet", "name": new},
        {"kind": "ReplicaSet", "name": old},
        {"kind": "Pod", "name": f"{old}-1", "uid": "before"},
        {"kind": "Pod", "name": f"{new}-1", "uid": "now"},
        {"kind": "Pod", "name": f"{new}-1", "uid": "had the same name before"},
        {"kind": "InferenceService", "name": stacks.NAME},
        {"kind": "InferenceService", "name": "another"},
    ]
    for number, of in enumerate(involved):
        path = f"/api/v1/namespaces/models/events/e-{number}"
        cluster.objects[path] = {"metadata": {"name": f"e-{number}"}, "involvedObject": of, "reason": "Failed"}

    told = events_of(api, stacks.model("native", revision=REVISION).output, [pod])

    assert [event["metadata"]["name"] for event in told] == ["e-0", "e-3", "e-5"]
