"""The Kubernetes client: credentials, errors, and secrets that stay where they are."""

from pathlib import Path

import pytest

from oci_model_serving.errors import InputError
from tests import recorded_api
from tests.recorded_api import RecordedApi
from watch.kube import ApiError, KubeApi


def test_a_kubeconfigs_text_is_enough_to_read_and_write(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.objects["/api/v1/namespaces/a"] = {"metadata": {"name": "a"}}

    assert api.get("/api/v1/namespaces/a")["metadata"]["name"] == "a"
    api.patch("/api/v1/namespaces/a", {"metadata": {"annotations": {"x": "y"}}})

    assert cluster.objects["/api/v1/namespaces/a"]["metadata"]["annotations"] == {"x": "y"}


def test_a_refusal_carries_the_servers_words_and_a_remedy(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.answers["GET", "/api/v1/nodes"] = recorded_api.forbidden('User "dev" cannot list resource "nodes"')

    with pytest.raises(ApiError) as refused:
        api.items("/api/v1/nodes")

    assert 'User "dev" cannot list resource "nodes"' in refused.value.evidence
    assert "right" in refused.value.remedy


def test_what_is_not_there_is_found_as_nothing(api: KubeApi) -> None:
    assert api.find("/api/v1/namespaces/absent") is None
    assert api.items("/apis/unknown.io/v1/namespaces/a/widgets") == []


@pytest.mark.parametrize("text", ["just words with a very-secret-token", "{a: b: very-secret-token", "a: 1"])
def test_a_broken_kubeconfig_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(InputError, match="--kubeconfig FILE") as refused:
        KubeApi(text)

    assert "very-secret-token" not in str(refused.value)


def test_a_missing_kubeconfig_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent"):
        KubeApi(tmp_path / "absent")
