import base64
import json

import pulumi
import pytest
from pydantic import SecretStr

from components.serving import egress, objects
from components.settings.serving import PullSecret
from offline.values import dumps, reveal
from tests.mocks import Secret, record

OPTS = pulumi.ResourceOptions()
LABELS = {"app.kubernetes.io/managed-by": "pulumi", "app.kubernetes.io/part-of": "oci-model-serving"}


def credentials(server: str) -> PullSecret:
    return PullSecret(server=server, username="reader", password=SecretStr("hunter2"))


def test_everything_says_what_it_is_part_of_and_a_models_objects_say_of_which() -> None:
    made = record(lambda: objects.namespace("models", "baseline", OPTS)).only("kubernetes:core/v1:Namespace")
    assert LABELS.items() <= made.inputs["metadata"]["labels"].items()

    denied = record(lambda: egress.deny("qwen", "models", {"a": "b"}, OPTS))
    metadata = denied.only("kubernetes:networking.k8s.io/v1:NetworkPolicy").inputs["metadata"]
    assert metadata["labels"] == {**LABELS, "oci-model-serving/model": "qwen"}
    assert "annotations" not in metadata


def test_a_namespace_enforces_its_level_and_warns_of_what_is_not_restricted() -> None:
    made = record(lambda: objects.namespace("models", "baseline", OPTS)).only("kubernetes:core/v1:Namespace")

    labels = made.inputs["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    assert labels["pod-security.kubernetes.io/warn"] == "restricted"
    # KServe's Pod webhook passes over namespaces with this label.
    assert "control-plane" not in labels


def test_a_pull_secret_is_dockers_configuration_and_a_secret_from_the_start() -> None:
    made = record(
        lambda: objects.pull_secret(
            "r", "oci-pull", "kubeai", [credentials("a.example"), credentials("b.example:5000")], OPTS
        )
    ).only("kubernetes:core/v1:Secret")

    assert made.inputs["type"] == "kubernetes.io/dockerconfigjson"
    assert isinstance(made.inputs["stringData"][".dockerconfigjson"], Secret)
    assert "hunter2" not in dumps(made.inputs)
    auths = json.loads(reveal(made.inputs["stringData"])[".dockerconfigjson"])["auths"]
    assert set(auths) == {"a.example", "b.example:5000"}
    assert base64.b64decode(auths["a.example"]["auth"]) == b"reader:hunter2"


def test_egress_is_denied_but_for_names() -> None:
    made = record(lambda: egress.deny("qwen", "models", {"model": "qwen"}, OPTS))

    spec = made.only("kubernetes:networking.k8s.io/v1:NetworkPolicy").inputs["spec"]
    assert spec["policyTypes"] == ["Egress"]
    assert spec["podSelector"] == {"matchLabels": {"model": "qwen"}}
    (rule,) = spec["egress"]
    assert {(port["protocol"], port["port"]) for port in rule["ports"]} == {("UDP", 53), ("TCP", 53)}
    assert all("ipBlock" in peer or "podSelector" in peer for peer in rule["to"])  # never a whole namespace
    assert [peer["ipBlock"]["cidr"] for peer in rule["to"] if "ipBlock" in peer] == [
        "169.254.20.10/32",
        "169.254.169.254/32",
    ]


@pytest.mark.parametrize(("replicas", "kept"), [(0, 0), (1, 0), (2, 1), (5, 4)])
def test_a_drain_takes_one_pod_at_a_time_and_the_only_pod_when_there_is_one(replicas: int, kept: int) -> None:
    pods = {"app": "qwen"}
    made = record(lambda: objects.disruption_budget("qwen", "models", pods, replicas=replicas, opts=OPTS))

    spec = made.only("kubernetes:policy/v1:PodDisruptionBudget").inputs["spec"]
    assert spec == {"minAvailable": kept, "selector": {"matchLabels": pods}}
