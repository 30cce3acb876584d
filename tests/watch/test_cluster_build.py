"""What a build in a cluster is refused for before a cluster is asked, and how a pod's log is read."""

from pathlib import Path

import pytest

from oci_model_serving.errors import InputError
from tests.recorded_api import RecordedApi
from watch.cluster_build import _secrets, _with_endpoint, pack_in_cluster
from watch.job_run import _instant
from watch.kube import ApiError
from watch.pack_job import PodPlace

HUB = "hf://org/name@" + "c" * 40


def test_what_pods_cannot_do_is_refused_all_at_once_and_no_cluster_is_asked(tmp_path: Path) -> None:
    place = PodPlace(
        pods=0, timeout_seconds=1, tolerations=("a b",), env={"HF_TOKEN": "hf_not-a-real-one", "PYTHONPATH": "/x"}
    )
    with pytest.raises(InputError) as refused:
        pack_in_cluster(
            str(tmp_path),
            "oci:layout",
            place,
            base="oci:base@sha256:" + "a" * 64,
            files={"convert": True},
            kubeconfig=tmp_path / "absent",
        )
    assert len(refused.value.problems) == 9
    assert "hf_not-a-real-one" not in str(refused.value)


def test_an_image_as_a_source_is_refused_since_each_pod_would_read_all_of_it() -> None:
    with pytest.raises(InputError, match="each pod would read the whole image"):
        pack_in_cluster(f"oci://registry.example/m@sha256:{'a' * 64}", "registry.example/m", PodPlace())


@pytest.mark.parametrize(
    ("place", "problem"),
    [(PodPlace(pods=3, shares=2), "--pods 3 and --shares 2"), (PodPlace(pods=500), "--pods 500 and --shares 500")],
)
def test_pods_without_a_share_are_refused(place: PodPlace, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        pack_in_cluster(HUB, "registry.example/m", place)


def test_what_the_server_refuses_is_told_and_nothing_is_left(
    cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = "/apis/batch/v1/namespaces/builds/jobs"
    cluster.answers["POST", jobs] = (404, {"reason": "NotFound", "message": 'namespaces "builds" not found'})
    monkeypatch.setenv("OMS_KUBECONFIG", cluster.kubeconfig)
    with pytest.raises(ApiError, match='namespaces "builds" not found'):
        pack_in_cluster(HUB, "registry.example/m", PodPlace(namespace="builds"))
    assert "DELETE" not in [method for method, *_ in cluster.requests]


def test_the_hubs_token_goes_to_the_pods_of_a_source_of_the_hub_unless_a_secret_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_not-a-real-one")
    for name in ("MODELIMAGE_USERNAME", "MODELIMAGE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    assert _secrets(HUB, PodPlace()) == {"HF_TOKEN": "hf_not-a-real-one"}
    assert _secrets(HUB, PodPlace(hub_token_secret="hub")) == {}
    assert _secrets("gs://bucket/model", PodPlace()) == {}


def test_a_registrys_login_goes_to_the_pods_unless_a_secret_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "u")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "p")
    login = {"MODELIMAGE_USERNAME": "u", "MODELIMAGE_PASSWORD": "p"}
    assert _secrets("gs://bucket/model", PodPlace()) == login
    assert _secrets("gs://bucket/model", PodPlace(registry_secret="registry")) == {}


def test_pods_ask_the_hub_that_this_machine_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    assert _with_endpoint(HUB, PodPlace()).env == {"HF_ENDPOINT": "https://hub.example"}
    assert _with_endpoint("gs://bucket/model", PodPlace()).env == {}
    given = PodPlace(env={"HF_ENDPOINT": "https://other.example"})
    assert _with_endpoint(HUB, given).env == given.env


def test_times_of_a_log_sort_whatever_zeros_the_runtime_leaves_out() -> None:
    stamps = [
        "",
        "2026-11-30T00:00:01Z",
        "2026-11-30T00:00:01.1Z",
        "2026-11-30T00:00:01.12Z",
        "2026-11-30T00:00:02.01Z",
    ]
    assert sorted(stamps, key=_instant) == stamps
