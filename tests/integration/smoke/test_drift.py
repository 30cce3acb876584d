"""Drift on a real API server: what differs, who changed it, and nothing that others may do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from oci_model_serving.outputs import parse
from oms.wanted import wanted_objects
from smoke.checks import Check, Status
from smoke.drift import Wanted, drift
from smoke.scaling import pause
from smoke.stack import ServedModel
from tests.deployed import deploy, outputs_of
from tests.integration import cluster
from watch.kube import KubeApi
from watch.pods import object_path

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]

MANAGER = "pulumi-kubernetes-0a1b2c3d"


@pytest.fixture
def admin(kubeconfig: Path) -> Iterator[httpx.Client]:
    with cluster.client(kubeconfig) as client:
        yield client


class Stack:
    """The committed stack `dev`, whose namespaced objects are applied as the engine's provider does."""

    def __init__(self, api: KubeApi, admin: httpx.Client, namespace: str) -> None:
        self._api, self._admin = api, admin
        outputs = parse(outputs_of(deploy("dev")))
        (self.key,) = outputs.models
        self.model = outputs.models[self.key].model_copy(update={"namespace": namespace})
        found = wanted_objects("dev", outputs, list(outputs.models.values()))
        metadata = {"name": "pull", "namespace": "models"}
        secret = Wanted(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"user": "", "password": ""}}
        )
        self.wanted = [one for one in (*found, secret) if one.body["metadata"].get("namespace") == "models"]
        for one in self.wanted:
            one.body["metadata"]["namespace"] = namespace
            if self._api.path_of(one.body):
                values = {"data": {"user": "bWU=", "password": "aHVzaA=="}} if one is secret else {}
                self.patch(one, {**one.body, **values}, MANAGER, "apply-patch+yaml")

    def patch(self, one: Wanted, change: dict[str, Any], manager: str, how: str = "merge-patch+json") -> None:
        params = {"fieldManager": manager, **({"force": "true"} if "apply" in how else {})}
        headers = {"Content-Type": f"application/{how}"}
        path = self._api.path_of(one.body)
        self._admin.patch(path, params=params, content=json.dumps(change), headers=headers).raise_for_status()

    def find(self, kind: str) -> Wanted:
        return next(one for one in self.wanted if one.body["kind"] == kind)

    def checks(self) -> dict[str, Check]:
        served = [one for one in self.wanted if self._api.path_of(one.body)]
        return {check.name: check for check in drift(self._api, served, [ServedModel(self.key, self.model)])}

    def versions(self) -> list[str]:
        paths = [self._api.path_of(one.body) for one in self.wanted]
        return [self._api.get(path)["metadata"]["resourceVersion"] for path in paths if path]


@pytest.fixture
def stack(api: KubeApi, admin: httpx.Client, namespace: str) -> Stack:
    return Stack(api, admin, namespace)


def test_a_stack_as_it_was_deployed_has_no_drift_and_looking_changes_nothing(stack: Stack) -> None:
    before = stack.versions()

    found = stack.checks()

    assert [(name, check.status) for name, check in found.items()] == [("objects", Status.PASS)]
    assert all(
        kind in found["objects"].evidence for kind in ("InferenceService", "NetworkPolicy", "Secret", "HTTPRoute")
    )
    assert stack.versions() == before


def test_a_field_that_was_changed_is_named_with_both_values_and_who_changed_it(stack: Stack) -> None:
    service = stack.find("InferenceService")
    stack.patch(service, {"spec": {"predictor": {"maxReplicas": 7}}}, "kubectl-edit")

    found = stack.checks()[service.title]

    assert found.status is Status.FAIL
    assert "spec.predictor.maxReplicas is 7, the settings say 2 (kubectl-edit Update 20" in found.evidence
    assert "pulumi up --refresh" in found.remedy


def test_a_field_inside_of_a_list_and_one_that_was_removed_are_named(stack: Stack) -> None:
    policy, budget = stack.find("NetworkPolicy"), stack.find("PodDisruptionBudget")
    stack.patch(policy, {"spec": {"egress": [{}]}}, "kubectl-edit")
    stack.patch(budget, {"metadata": {"labels": {"app.kubernetes.io/part-of": None}}}, "kubectl-label")

    found = stack.checks()

    assert "spec.egress" in found[policy.title].evidence
    assert "kubectl-edit Update" in found[policy.title].evidence
    assert "metadata.labels['app.kubernetes.io/part-of'] is missing" in found[budget.title].evidence


def test_what_others_add_and_the_settings_do_not_speak_of_is_none(stack: Stack) -> None:
    service = stack.find("InferenceService")
    stack.patch(service, {"metadata": {"labels": {"team": "a"}, "finalizers": ["example.com/f"]}}, "kserve-manager")
    try:
        assert {check.status for check in stack.checks().values()} == {Status.PASS}
    finally:
        stack.patch(service, {"metadata": {"finalizers": None}}, "kserve-manager")


def test_a_setting_that_is_not_deployed_yet_is_told_as_the_engines_last_word(stack: Stack) -> None:
    service = stack.find("InferenceService")
    service.body["spec"]["predictor"]["minReplicas"] = 2

    found = stack.checks()[service.title]

    assert f"spec.predictor.minReplicas is 1, the settings say 2 ({MANAGER} Apply" in found.evidence


def test_an_object_that_is_gone_and_one_of_an_unknown_kind_are_named(stack: Stack, api: KubeApi) -> None:
    account = stack.find("ServiceAccount")
    api.delete(api.path_of(account.body))
    foreign = Wanted({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}})

    found = stack.checks() | {check.name: check for check in drift(api, [foreign], [])}

    assert found[account.title].evidence == f"{account.title} is gone"
    assert "does not serve example.com/v1" in found["Thing t"].evidence


def test_a_secret_that_somebody_changed_is_told_without_its_value(stack: Stack) -> None:
    secret = stack.find("Secret")
    stack.patch(secret, {"data": {"password": "c3RvbGVu"}}, "kubectl-edit")

    evidence = stack.checks()[secret.title].evidence

    assert "data.password" in evidence
    assert "kubectl-edit Update" in evidence
    assert "data.user" not in evidence
    assert "c3RvbGVu" not in evidence
    assert "aHVzaA" not in evidence


def test_a_pause_by_command_is_no_drift_and_does_not_hide_any(stack: Stack, api: KubeApi) -> None:
    service = stack.find("InferenceService")
    pause(api, stack.model)

    assert stack.checks()[service.title].status is Status.SKIP
    stack.patch(service, {"spec": {"predictor": {"maxReplicas": 7}}}, "kubectl-edit")
    found = stack.checks()[service.title]
    assert found.status is Status.FAIL
    assert "stop" not in found.evidence
    assert api.get(object_path(stack.model))["metadata"]["annotations"]["serving.kserve.io/stop"] == "true"
