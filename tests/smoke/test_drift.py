"""What differs, and who is named for it: the managers' fields as the API server records them."""

from typing import Any

import pytest

from components.serving.admission_rules import LISTED
from smoke.checks import Check, Status
from smoke.drift import Wanted, differences, drift, manager_of
from tests.recorded_api import RecordedApi, forbidden, merge
from tests.smoke import stacks
from watch.kube import KubeApi

JSON = dict[str, Any]


def entry(manager: str, fields: JSON, *, at: int = 0, operation: str = "Update", **more: str) -> JSON:
    time = f"2026-11-25T10:00:{at:02}Z"
    return {"manager": manager, "operation": operation, "time": time, "fieldsV1": fields, **more}


def found(spec: JSON, *entries: JSON) -> JSON:
    return {
        "kind": "Thing",
        "metadata": {"name": "t", "managedFields": list(entries)},
        "spec": spec,
        "status": {"n": 1},
    }


def told(live: JSON, spec: JSON, **more: Any) -> list[str]:
    wanted = Wanted({"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec}, **more)
    applied = {**live, "spec": spec, "status": {"n": 2}, "metadata": {"name": "t", "resourceVersion": "9"}}
    return [str(one) for one in differences(wanted, live, applied)]


def test_a_status_and_what_the_server_counts_is_no_drift() -> None:
    assert told(found({"a": 1}), {"a": 1}) == []


def test_the_manager_who_owns_the_field_is_named_and_not_one_of_the_status() -> None:
    live = found(
        {"a": 2, "b": 1},
        entry("pulumi-kubernetes-1", {"f:spec": {"f:b": {}}}, operation="Apply"),
        entry("kubectl-edit", {"f:spec": {"f:a": {}}}, at=7),
        entry("a-controller", {"f:spec": {"f:a": {}}}, at=9, subresource="status"),
    )

    assert told(live, {"a": 1, "b": 1}) == [
        "spec.a is 2, the settings say 1 (kubectl-edit Update 2026-11-25T10:00:07Z)"
    ]


def test_an_item_of_a_list_is_found_by_its_key_as_the_server_merges_it() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "changed"}]
    fields: JSON = {"f:spec": {"f:env": {'k:{"name":"B"}': {".": {}, "f:name": {}, "f:value": {}}}}}
    live = found({"env": env}, entry("kubectl-edit", fields), entry("p", {"f:spec": {"f:env": {'k:{"name":"A"}': {}}}}))

    (one,) = told(live, {"env": [env[0], {"name": "B", "value": "2"}]})

    assert one.startswith('spec.env[1].value is "changed", the settings say "2" (kubectl-edit Update')


def test_a_field_that_is_gone_names_who_set_what_is_around_it() -> None:
    live = found({"a": {"y": 1}}, entry("kubectl-edit", {"f:spec": {"f:a": {".": {}, "f:y": {}}}}))

    (one,) = told(live, {"a": {"x": 1, "y": 1}})

    assert "spec.a.x is missing, the settings say 1 (around it: kubectl-edit Update" in one


def test_a_field_that_only_a_real_run_knows_is_not_compared() -> None:
    assert (
        told(found({"a": "x", "b": {"c": 1}}), {"b": {"c": 2}}, unknown=frozenset({("spec", "a"), ("spec", "b")})) == []
    )


def test_a_long_value_is_told_in_short() -> None:
    (one,) = told(found({"a": "x" * 5000}), {"a": "y" * 5000})

    assert len(one) < 500


@pytest.mark.parametrize(
    ("entries", "manager"),
    [
        (
            [entry("kubectl", {}, operation="Apply"), entry("pulumi-kubernetes-ab", {}, operation="Apply")],
            "pulumi-kubernetes-ab",
        ),
        ([entry("argocd", {}, operation="Apply"), entry("kserve", {})], "argocd"),
        ([entry("pulumi-kubernetes", {})], "oci-model-serving"),
    ],
)
def test_the_objects_own_applier_applies(entries: list[JSON], manager: str) -> None:
    assert manager_of(found({}, *entries)) == manager


@pytest.fixture
def served(cluster: RecordedApi) -> RecordedApi:
    """A served model, whose API server says what it serves and applies as it is told."""
    path, body = stacks.served("kubeai")
    body["metadata"]["namespace"] = "kubeai"
    cluster.objects[path] = body
    kinds = [{"name": "models", "kind": "Model", "namespaced": True}, {"name": "models/status", "kind": "Model"}]
    cluster.answers["GET", "/apis/kubeai.org/v1"] = (200, {"resources": kinds})
    return cluster


def checks(api: KubeApi, spec: JSON, **metadata: Any) -> list[Check]:
    metadata = {"name": stacks.NAME, "namespace": "kubeai", **metadata}
    wanted = Wanted({"apiVersion": "kubeai.org/v1", "kind": "Model", "metadata": metadata, "spec": spec})
    return list(drift(api, [wanted], [stacks.model("kubeai")]))


def test_every_dry_run_is_one_and_wins_conflicts(api: KubeApi, served: RecordedApi) -> None:
    (found,) = checks(api, {"minReplicas": 1})

    assert found.status is Status.PASS
    (path,) = [path for method, path, _ in served.requests if method == "PATCH"]
    assert "dryRun=All" in path
    assert "force=true" in path


def test_a_missing_right_to_patch_is_a_reason_and_no_failure(api: KubeApi, served: RecordedApi) -> None:
    path, _ = stacks.served("kubeai")
    served.answers["PATCH", path] = forbidden('User "u" cannot patch resource "models"')

    (found,) = checks(api, {"minReplicas": 1})

    assert found.status is Status.SKIP
    assert "the right to patch" in found.evidence


def test_a_model_paused_by_command_does_not_fail(api: KubeApi, served: RecordedApi) -> None:
    path, _ = stacks.served("kubeai")
    merge(served.objects[path], dict(stacks.model("kubeai").output.serving.platform.stopped))
    live = served.objects[path]
    served.answers["PATCH", path] = (200, {**live, "spec": {**live["spec"], "autoscalingDisabled": False}})

    (found,) = checks(api, {"autoscalingDisabled": False})

    assert found.status is Status.SKIP
    assert "paused by command" in found.evidence


def test_an_image_that_somebody_added_to_a_namespace_is_told_and_one_of_a_failed_update_is_not(
    api: KubeApi, cluster: RecordedApi
) -> None:
    own, before, foreign = (f"{LISTED}{name}.0" for name in ("qwen", "before", "foreign"))
    wanted = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "models", "annotations": {own: "a"}}}
    engine: JSON = {"f:metadata": {"f:annotations": {f"f:{own}": {}, f"f:{before}": {}}}}
    somebody: JSON = {"f:metadata": {"f:annotations": {f"f:{foreign}": {}}}}
    entries = [entry("pulumi-kubernetes-1", engine, operation="Apply"), entry("kubectl-annotate", somebody, at=7)]
    there = {"name": "models", "annotations": {own: "a", before: "b", foreign: "c"}, "managedFields": entries}
    cluster.objects["/api/v1"] = {
        "metadata": {},
        "resources": [{"kind": "Namespace", "name": "namespaces", "namespaced": False}],
    }
    cluster.objects["/api/v1/namespaces/models"] = {**wanted, "metadata": there}
    # The manager's apply would take away what it does not say.
    applied = {**wanted, "metadata": {**there, "annotations": {own: "a", foreign: "c"}}}
    cluster.answers["PATCH", "/api/v1/namespaces/models"] = (200, applied)

    (check,) = drift(api, [Wanted(wanted)], [])

    assert check.status is Status.FAIL
    assert f"metadata.annotations['{foreign}'] is \"c\"" in check.evidence
    assert "kubectl-annotate" in check.evidence
    assert before not in check.evidence
