"""The scratch namespace goes again, and is named when it cannot."""

import pytest

from oci_model_serving.errors import InputError
from oci_model_serving.reference import ImageReference
from smoke.checks import Status
from smoke.scratch import parse_images, scratch
from tests import recorded_api
from tests.recorded_api import RecordedApi
from tests.smoke import stacks
from watch import waiting
from watch.kube import KubeApi

IMAGE = ImageReference.parse(stacks.IMAGE)


def test_a_namespace_that_cannot_be_deleted_is_named(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    answer = cluster.answer

    def no_deletes(method: str, path: str, body: dict[str, object]) -> recorded_api.Answer:
        if method == "DELETE":
            return recorded_api.forbidden("cannot delete resource namespaces")
        if path.endswith("/serviceaccounts/default"):
            return 200, {"metadata": {"name": "default"}}
        return answer(method, path, body)

    monkeypatch.setattr(cluster, "answer", no_deletes)

    (found,) = scratch(api, [stacks.model("kubeai")], IMAGE, str(IMAGE), timeout=0.05, tell=lambda _: None)

    assert found.status is Status.FAIL
    assert "modelcar-smoke-" in found.evidence
    assert "kubectl delete namespace modelcar-smoke-" in found.remedy


def test_a_namespace_that_cannot_be_made_fails_with_the_servers_words(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.answers["POST", "/api/v1/namespaces"] = recorded_api.forbidden("cannot create resource namespaces")

    (found,) = scratch(api, [stacks.model("kubeai")], IMAGE, str(IMAGE), timeout=1, tell=lambda _: None)

    assert found.status is Status.FAIL
    assert "cannot create resource namespaces" in found.evidence


def test_the_images_own_shell_waits_unless_another_is_named() -> None:
    assert parse_images(stacks.IMAGE, None) == (IMAGE, stacks.IMAGE)
    assert parse_images(stacks.IMAGE, "busybox") == (IMAGE, "busybox")


def test_a_tag_is_refused_as_scratch_image() -> None:
    with pytest.raises(InputError, match="--scratch-image"):
        parse_images("localhost:5000/tiny:latest", None)
