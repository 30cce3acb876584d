"""Every custom resource that the program can emit, against the CRDs of the versions that it supports."""

from typing import Any

import pytest

from tests import crds, serving

FOLDERS = {
    "gateway.networking.k8s.io/v1": crds.GATEWAY_API,
    "kubeai.org/v1": crds.KUBEAI,
}
BUILT_IN = {"networking.k8s.io/v1", "admissionregistration.k8s.io/v1"}
WITHOUT_CRD = {"GatewayClass", "BackendTrafficPolicy", "GCPBackendPolicy", "HealthCheckPolicy"}
"""Of Envoy Gateway and GKE: their shapes are tested in test_kserve.py and test_inference_service.py."""


def custom(settings: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        body
        for body in serving.objects(serving.run(settings))
        if "." in body["apiVersion"].partition("/")[0] and body["apiVersion"] not in BUILT_IN
    ]


@pytest.mark.parametrize("case", serving.MATRIX, ids=str)
def test_every_custom_resource_has_only_fields_that_its_crd_knows(case: serving.Case) -> None:
    wrong = []
    seen = set()
    for body in custom(case.settings):
        seen.add(body["kind"])
        if body["kind"] in WITHOUT_CRD:
            continue
        folder = FOLDERS.get(body["apiVersion"], f"kserve-{case.kserve}")
        wrong += [f"{body['kind']} {body['metadata']['name']}: {text}" for text in crds.problems(body, folder)]

    assert not wrong, "\n".join(wrong)
    assert {"InferenceService", "ServingRuntime", "Model"} <= seen


def test_a_field_that_a_crd_does_not_know_is_found() -> None:
    body = next(body for body in custom(serving.MATRIX[0].settings) if body["kind"] == "InferenceService")
    body["spec"]["predictor"]["model"]["storageURI"] = "oci://x"
    body["spec"]["predictor"]["minReplicas"] = "1"

    found = crds.problems(body, "kserve-v0.20.0")

    assert any("storageURI" in text for text in found)
    assert any("minReplicas" in text for text in found)


def test_a_knative_service_is_known_to_the_crd_as_well() -> None:
    models = {"qwen": {"digest": serving.IMAGE, "nodePool": "l4", "replicas": {"min": 0}}}
    settings = serving.gke(models, platforms={"kserve": {"deploymentMode": "Knative", "gateway": "none"}})

    (service,) = [body for body in custom(settings) if body["kind"] == "InferenceService"]

    assert crds.problems(service, "kserve-v0.20.0") == []
    assert "deploymentStrategy" not in service["spec"]["predictor"]  # KServe refuses it in this mode
