import pulumi
import pytest

from components.serving import disruption
from tests.mocks import KnownAfter, Recording, record

BUDGET = "kubernetes:policy/v1:PodDisruptionBudget"
PODS = {"app": "qwen", disruption.REVISION_LABEL: "0123"}


def make(replicas: int, wait_seconds: int | None = 60) -> Recording:
    return record(
        lambda: disruption.budget(
            "qwen", "models", PODS, replicas=replicas, wait_seconds=wait_seconds, opts=pulumi.ResourceOptions()
        )
    )


@pytest.mark.parametrize(("replicas", "kept"), [(0, 0), (1, 0), (2, 1), (5, 4)])
def test_a_drain_takes_one_pod_at_a_time_and_the_only_pod_when_there_is_one(replicas: int, kept: int) -> None:
    spec = make(replicas).only(BUDGET).inputs["spec"]

    assert spec == {"minAvailable": kept, "selector": {"matchLabels": PODS}}


@pytest.mark.parametrize("replicas", [1, 2, 10])
def test_pulumi_waits_until_as_many_pods_of_the_revision_are_ready(replicas: int) -> None:
    annotations = make(replicas).only(BUDGET).inputs["metadata"]["annotations"]

    assert annotations == {
        "pulumi.com/waitFor": f"jsonpath={{$[?@.currentHealthy > {replicas - 1}]}}",
        "pulumi.com/timeoutSeconds": "60",
    }


def test_the_expression_is_whole_where_the_provider_splits_it() -> None:
    # pkg/jsonpath of pulumi-kubernetes v4: "==" is kept, every other "=" after the prefix separates path and value.
    expression = make(3).only(BUDGET).inputs["metadata"]["annotations"]["pulumi.com/waitFor"]

    assert "=" not in expression.removeprefix("jsonpath=").replace("==", "")


@pytest.mark.parametrize(("replicas", "wait_seconds"), [(0, 60), (1, None)])
def test_nothing_is_waited_for_where_no_pod_is_asked_for_or_nobody_waits(
    replicas: int, wait_seconds: int | None
) -> None:
    assert make(replicas, wait_seconds).only(BUDGET).inputs["metadata"]["annotations"] == {
        "pulumi.com/skipAwait": "true"
    }


def revision(pod: object) -> object:
    return record(lambda: pulumi.export("revision", disruption.revision(pod))).outputs["revision"]


def test_a_revision_is_the_same_for_the_same_pod_only_and_fits_a_label() -> None:
    name = revision({"a": 1, "b": [2]})

    assert revision({"b": [2], "a": 1}) == name
    assert revision({"a": 1, "b": [3]}) != name
    assert isinstance(name, str)
    assert 0 < len(name) <= 63
    assert name.isalnum()


def test_a_revision_of_an_image_that_is_not_built_yet_is_not_known_yet() -> None:
    def program() -> None:
        unknown: pulumi.Output[str] = pulumi.Output.from_input("x").apply(lambda _: "y")
        secretless = pulumi.Output.all(unknown, pulumi.StackReference("s", stack_name="a/b/c").get_output("image"))
        pulumi.export("revision", disruption.revision({"image": secretless}))

    outputs = record(program, stack_outputs={"a/b/c": {"image": KnownAfter("build of m")}}).outputs

    assert isinstance(outputs["revision"], KnownAfter)
