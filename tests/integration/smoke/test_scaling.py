"""Pause and resume are taken by the real CRDs, with their schemas and rules."""

import pytest

from smoke import manifests
from smoke.scaling import pause, resume
from tests.integration.smoke.conftest import model
from tests.smoke import stacks
from watch.kube import KubeApi
from watch.pods import is_paused, object_path

# One worker: the cluster starts and stops once.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]


def test_an_inferenceservice_is_paused_and_resumed(api: KubeApi, namespace: str) -> None:
    one = model("modelcar", namespace).output
    body = manifests.inference_service(stacks.NAME, one.storage_uri)
    api.create(object_path(one).rpartition("/")[0], body)

    pause(api, one)
    assert is_paused(api.get(object_path(one)), one)
    resume(api, one)
    assert not is_paused(api.get(object_path(one)), one)


def test_a_kubeai_model_is_paused_and_resumed_without_touching_its_bounds(api: KubeApi, namespace: str) -> None:
    one = model("kubeai", namespace).output
    body = manifests.kubeai_model(stacks.NAME, one.storage_uri)
    body["spec"] |= {"minReplicas": 2, "maxReplicas": 3, "replicas": 2, "autoscalingDisabled": False}
    path = object_path(one).rpartition("/")[0]
    before = api.create(path, body)["spec"]

    pause(api, one)
    found = api.get(object_path(one))
    assert is_paused(found, one)
    assert (found["spec"]["minReplicas"], found["spec"]["maxReplicas"]) == (2, 3)
    resume(api, one)

    assert api.get(f"{path}/{stacks.NAME}")["spec"] == before
