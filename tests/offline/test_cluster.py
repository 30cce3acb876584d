import json
from collections.abc import Callable

import pulumi
import pulumi_command as command
import pulumi_kubernetes as k8s
import pytest

from offline.cluster import apply, is_met
from offline.errors import InputError, RunFailedError
from offline.plan import Plan
from offline.recording import record

KUBECONFIG = json.dumps(
    {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
)


def plan(program: Callable[[], object]) -> Plan:
    return Plan("p", "s", record(program))


def namespace() -> None:
    k8s.core.v1.Namespace("models", metadata={"name": "models"})


def test_values_that_are_known_later_are_refused_before_the_cluster_is_asked() -> None:
    def program() -> None:
        run = command.local.Command("c", create="x")
        k8s.core.v1.ConfigMap("c", metadata={"name": "c", "namespace": "models"}, data={"image": run.stdout})

    with pytest.raises(InputError, match=r"ConfigMap models/c cannot be applied: .* known after command c .*--build"):
        apply(plan(program))


def test_a_secret_that_only_the_engine_can_decrypt_is_refused() -> None:
    def program() -> None:
        password = pulumi.Config("a").require_secret("password")
        k8s.core.v1.Secret("s", metadata={"name": "s"}, string_data={"auth": pulumi.Output.concat("u:", password)})

    recording = record(program, config={"a:password": "[secret]"}, secret_keys=["a:password"])
    with pytest.raises(InputError, match="Secret s cannot be applied: only the engine can decrypt"):
        apply(Plan("p", "s", recording))


def test_the_ambient_kubeconfig_is_never_used() -> None:
    with pytest.raises(InputError, match=r"names none: set cluster\.kubeconfig"):
        apply(plan(namespace))


def test_a_stack_that_only_renders_manifests_has_no_cluster() -> None:
    def program() -> None:
        k8s.Provider("p", render_yaml_to_directory="manifests")
        namespace()

    with pytest.raises(InputError, match="only renders manifests"):
        apply(plan(program))


def test_several_clusters_are_refused() -> None:
    def program() -> None:
        k8s.Provider("a", kubeconfig=KUBECONFIG)
        k8s.Provider("b", kubeconfig=KUBECONFIG)

    with pytest.raises(InputError, match="several: a, b"):
        apply(plan(program))


@pytest.mark.parametrize("kubeconfig", ["/nowhere/kubeconfig", "not: [a, kubeconfig]\n", "{}"])
def test_a_kubeconfig_that_is_none_is_a_clear_error(kubeconfig: str) -> None:
    def program() -> None:
        k8s.Provider("p", kubeconfig=kubeconfig)
        namespace()

    with pytest.raises(InputError, match="the stack's kubeconfig cannot be used"):
        apply(plan(program))


def test_a_cluster_that_does_not_answer_is_a_clear_error() -> None:
    def program() -> None:
        k8s.Provider("p", kubeconfig=KUBECONFIG)
        namespace()

    with pytest.raises(RunFailedError, match="the cluster cannot be reached"):
        apply(plan(program))


STATE = {
    "status": {
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Stopped", "status": "False"}],
        "phase": "Running",
        "replicas": {"ready": 1},
        "done": True,
    }
}


@pytest.mark.parametrize(
    ("expression", "met"),
    [
        ("condition=Ready", True),
        ("condition=ready", True),
        ("condition=Ready=False", False),
        ("condition=Stopped=False", True),
        ("condition=Other", False),
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath={.status.phase}=Pending", False),
        ("jsonpath={.status.replicas.ready}=1", True),
        ("jsonpath={.status.done}=true", True),
        ("jsonpath={.status.phase}", True),
        ("jsonpath={.status.missing}", False),
        ("jsonpath={.status.conditions.0.type}=Ready", True),
        ("jsonpath={$.status[?@.ready > 0]}", True),
        ("jsonpath={$.status[?@.ready > 1]}", False),
        ("jsonpath={$[?@.phase > 0]}", False),
        ("jsonpath={$[?@.missing > 0]}", False),
    ],
)
def test_wait_for_expressions_are_read_as_the_provider_reads_them(expression: str, met: bool) -> None:
    assert is_met(expression, STATE) is met
    assert is_met(expression, {}) is False


def test_the_status_of_an_older_spec_meets_nothing() -> None:
    def state(observed: int) -> dict[str, object]:
        return {"metadata": {"generation": 2}, "status": {"observedGeneration": observed, "currentHealthy": 1}}

    assert is_met("jsonpath={$[?@.currentHealthy > 0]}", state(2))
    assert not is_met("jsonpath={$[?@.currentHealthy > 0]}", state(1))


@pytest.mark.parametrize("expression", ["Ready", "jsonpath=.status.phase", "condition"])
def test_another_expression_is_refused(expression: str) -> None:
    if expression == "condition":
        assert is_met(expression, STATE) is False
    else:
        with pytest.raises(InputError, match="neither condition"):
            is_met(expression, STATE)
