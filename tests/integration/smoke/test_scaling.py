"""Pause and resume are taken by the real CRDs, with their schemas and rules."""

import pytest

from smoke import manifests
from smoke.kube import KubeApi, namespaced
from smoke.scaling import pause, read_paused, resume
from tests.integration.smoke.conftest import model
from tests.smoke import stacks

# One worker: the cluster starts and stops once.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]


def test_an_inferenceservice_is_paused_and_resumed(api: KubeApi, namespace: str) -> None:
    one = model("modelcar", namespace).output
    body = manifests.inference_service(stacks.NAME, one.storage_uri)
    api.create(namespaced(manifests.KSERVE_API, namespace, "inferenceservices"), body)

    pause(api, one)
    assert read_paused(api, one)
    resume(api, one)
    assert not read_paused(api, one)


def test_a_kubeai_model_is_paused_and_gets_its_replicas_back(api: KubeApi, namespace: str) -> None:
    one = model("kubeai", namespace).output
    body = manifests.kubeai_model(stacks.NAME, one.storage_uri)
    body["spec"] |= {"minReplicas": 1, "replicas": 1}
    path = namespaced(manifests.KUBEAI_API, namespace, "models")
    before = api.create(path, body)["spec"]

    pause(api, one)
    assert read_paused(api, one)
    resume(api, one)

    assert api.get(f"{path}/{stacks.NAME}")["spec"] == before
