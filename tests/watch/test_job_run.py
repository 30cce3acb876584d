"""Two runs that wait for one Job: what becomes of it, and of the one that did not make it."""

import json
from collections.abc import Callable

import pytest

from modelimage.progress import Reporter
from oci_model_serving.reference import RegistryReference
from tests.recorded_api import RecordedApi
from watch.causes import NotHeldError
from watch.job_run import JobRun
from watch.kube import JSON, KubeApi, namespaced
from watch.pack_job import PackJob, PodPlace

DIGEST = "sha256:" + "a" * 64
JOB = PackJob(
    RegistryReference("registry.example", "m"),
    {"source": "hf://org/name@" + "c" * 40, "destination": "registry.example/m"},
    PodPlace(namespace="builds", pods=1),
)
PATH = namespaced("batch/v1", "builds", "jobs", JOB.name)
POD = namespaced("v1", "builds", "pods", "pack")


@pytest.fixture(autouse=True)
def another_run(cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Job is under way, and its pod has packed the one share."""
    monkeypatch.setattr("watch.job_run.POLL_SECONDS", 0.01)
    cluster.objects[PATH] = {"metadata": {"name": JOB.name, "uid": "theirs"}, "spec": {}, "status": {}}
    said = {"share": 1, "layers": 1, "size_bytes": 7, "uploaded_bytes": 7}
    ended = {"exitCode": 0, "message": json.dumps({**said, "image": {"digest": DIGEST, "size_bytes": 7}})}
    cluster.objects[POD] = {
        "metadata": {"name": "pack", "uid": "p", "labels": {"batch.kubernetes.io/job-name": JOB.name}},
        "status": {"phase": "Succeeded", "containerStatuses": [{"name": "pack", "state": {"terminated": ended}}]},
    }


def after_a_look(monkeypatch: pytest.MonkeyPatch, do: Callable[[], object]) -> None:
    def judge(_: JobRun, __: JSON, ___: list[JSON], ____: float) -> None:
        do()

    monkeypatch.setattr(JobRun, "_judge", judge)


def deleted(cluster: RecordedApi) -> list[str]:
    return [path for method, path, _ in cluster.requests if method == "DELETE"]


def test_whoever_has_seen_the_image_has_it_though_the_other_run_deletes_the_job(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_a_look(monkeypatch, lambda: cluster.objects.pop(PATH))
    outputs = JobRun(api, JOB, Reporter()).run()
    assert [output.image.digest for output in outputs.values() if output.image] == [DIGEST]
    assert deleted(cluster) == []


def test_a_job_that_goes_before_any_pod_tells_the_image_was_deleted_by_somebody(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    del cluster.objects[POD]
    after_a_look(monkeypatch, lambda: cluster.objects.pop(PATH))
    with pytest.raises(NotHeldError, match="deleted by somebody else"):
        JobRun(api, JOB, Reporter()).run()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), NotHeldError("no node", "add one")])
def test_a_run_that_ends_early_leaves_the_job_to_the_run_that_made_it(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    after_a_look(monkeypatch, fail)
    with pytest.raises(type(error), match=r"which another run has made, goes on|no node"):
        JobRun(api, JOB, Reporter()).run()
    assert deleted(cluster) == []
    assert PATH in cluster.objects


def test_a_job_that_has_ended_is_deleted_whoever_made_it(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = {"conditions": [{"type": "Complete", "status": "True"}]}
    after_a_look(monkeypatch, lambda: cluster.objects[PATH].update(status=complete))
    JobRun(api, JOB, Reporter()).run()
    assert PATH not in cluster.objects
