import pulumi

from components.serving import rollout
from tests.mocks import KnownAfter, record


def revision(pod: dict[str, object]) -> object:
    return record(lambda: pulumi.export("revision", rollout.revision(pod))).outputs["revision"]


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
        pulumi.export("revision", rollout.revision({"image": secretless}))

    outputs = record(program, stack_outputs={"a/b/c": {"image": KnownAfter("build of m")}}).outputs

    assert isinstance(outputs["revision"], KnownAfter)
