import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import modelimage
from components.settings.stack_file import find_project, read_config
from offline.program import Program
from policy.images import is_by_digest, repository_of, tag_of
from policy.rules import RULES, Violation, check
from tests.offline.typical_changes import changed
from tests.offline.typical_changes import plan as planned

ROOT = Path(__file__).parents[2]
CORPUS = {
    path.stem: yaml.safe_load(path.read_text()) for path in sorted((Path(__file__).parent / "bad").glob("*.yaml"))
}

DECLARED: dict[str, list[tuple[str, str, dict[str, Any]]]] = yaml.safe_load(
    (Path(__file__).parent / "declarations.yaml").read_text()
)


def mandatory(type_: str, inputs: dict[str, Any]) -> list[Violation]:
    plan = {"resources": [{"type": type_, "name": "x", "inputs": inputs}], "outputs": {}}
    return [violation for violation in check(plan, "dev") if violation.mandatory]


def broken(plan: dict[str, Any], rule: str, stack: str) -> list[Violation]:
    return [violation for violation in check(plan, stack) if violation.rule == rule]


def test_each_rule_has_an_example_that_breaks_it_and_one_of_that_type_that_does_not() -> None:
    declared = {(found.rule, type_) for _what, type_, inputs in DECLARED["bad"] for found in mandatory(type_, inputs)}
    types = {type_ for _what, type_, _inputs in DECLARED["good"]}
    examples = {example["rule"] for example in CORPUS.values()}  # each of a bad and a good plan

    assert examples | {rule for rule, type_ in declared if type_ in types or rule == "known-types"} == {
        rule.name for rule in RULES
    }


@pytest.mark.parametrize("name", CORPUS)
def test_a_bad_plan_breaks_its_rule_once_for_each_bad_resource(name: str) -> None:
    example = CORPUS[name]
    found = broken(example["bad"], example["rule"], "bad")
    assert sorted(violation.resource.split(" ", 1)[1] for violation in found) == sorted(example["expect"])


@pytest.mark.parametrize("name", CORPUS)
def test_the_message_holds_the_remedy(name: str) -> None:
    example = CORPUS[name]
    for violation in broken(example["bad"], example["rule"], "bad"):
        assert any(
            word in violation.message for word in ("set ", "write ", "name ", "use ", "need", "leave it out", "lacks")
        )


@pytest.mark.parametrize("name", CORPUS)
def test_a_good_plan_breaks_no_mandatory_rule_of_its_own(name: str) -> None:
    example = CORPUS[name]
    assert broken(example["good"], example["rule"], "good") == []


def test_a_production_stack_may_keep_gpus_warm() -> None:
    plan = CORPUS["gpu-pools-scale-to-zero"]["bad"]
    assert broken(plan, "gpu-pools-scale-to-zero", "prod") == []


def test_mandatory_violations_come_first_and_say_their_level() -> None:
    resources = [item for example in CORPUS.values() for item in example["bad"]["resources"]]
    found = check({"resources": resources, "outputs": {}}, "bad")
    levels = [violation.mandatory for violation in found]
    assert levels == sorted(levels, reverse=True)
    assert {str(violation).partition(":")[0] for violation in found} == {"mandatory", "advisory"}


@settings(deadline=None, max_examples=50)
@given(
    st.recursive(
        st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_rule_stumbles_over_inputs_of_another_form(value: Any) -> None:
    types = {item["type"] for example in CORPUS.values() for item in example["bad"]["resources"]}
    keys = ("spec", "metadata", "nodeConfig", "autoscaling", "dockerConfig", "values", "members", "role", "member")
    resources = [{"type": type_, "name": "x", "inputs": dict.fromkeys(keys, value)} for type_ in sorted(types)]
    check({"resources": resources, "outputs": {"models": value, "node_pools": value}}, "dev")


@given(
    st.from_regex(r"[a-z]{1,9}\.example(:[0-9]{4})?/[a-z]{1,5}(/[a-z]{1,5})?", fullmatch=True),
    st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True),
    st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True),
)
def test_repository_and_tag_are_told_apart_from_a_port_and_a_digest(repository: str, tag: str, digest: str) -> None:
    assert repository_of(f"oci://{repository}:{tag}") == repository_of(f"{repository}@{digest}") == repository
    assert (tag_of(f"{repository}:{tag}"), tag_of(repository), tag_of(f"{repository}@{digest}")) == (tag, "", "")
    assert is_by_digest(f"{repository}@{digest}")
    assert not is_by_digest(f"{repository}:{tag}")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model where `make up` would have made one for the local stack."""
    folder = tmp_path_factory.mktemp("weights") / "model"
    modelimage.write_tiny_model(str(folder))
    return folder


@pytest.mark.parametrize("stack", find_project(ROOT).stacks())
def test_every_committed_stack_breaks_no_mandatory_rule(
    stack: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / f"Pulumi.{stack}.yaml"
    own.write_text((ROOT / own.name).read_text().replace("source: .local/model", f"source: {weights}"))
    monkeypatch.chdir(ROOT)
    project = find_project(ROOT)
    plan = Program(project).plan(stack, read_config(project, stack, own))
    assert [str(violation) for violation in check(plan.data(), stack) if violation.mandatory] == []


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*/Pulumi.*.yaml")), ids=lambda file: file.parent.name)
def test_every_example_breaks_no_mandatory_rule(file: Path) -> None:
    project, stack = find_project(ROOT), file.name.split(".")[1]
    plan = Program(project).plan(stack, read_config(project, stack, file))
    assert [str(violation) for violation in check(plan.data(), stack) if violation.mandatory] == []


def test_the_rules_can_be_used_without_the_policy_engine() -> None:
    code = "import sys, policy.rules; assert not [name for name in sys.modules if name.startswith('pulumi')]"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.mark.parametrize("kind", ["bad", "good"])
def test_what_is_declared_one_by_one_is_refused_or_accepted(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    stopped = {what: mandatory(type_, inputs) for what, type_, inputs in DECLARED[kind]}
    refused = [what for what, found in stopped.items() if found]

    with capsys.disabled():
        print(f"\n{len(refused)} of {len(stopped)} {kind} declarations are refused")
    assert len(stopped) == len(DECLARED[kind]), "two have the same name"
    assert refused == (list(stopped) if kind == "bad" else [])


def test_each_refusal_of_a_declaration_says_what_to_write() -> None:
    remedies = ("set ", "write ", "name ", "use ", "leave it out", "allowed.py", "lacks", "need")

    assert [
        str(found)
        for _what, type_, inputs in DECLARED["bad"]
        for found in mandatory(type_, inputs)
        if not any(word in found.message for word in remedies)
    ] == []


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_no_rule_stumbles_over_a_declaration_with_another_value_somewhere(data: st.DataObject) -> None:
    _what, type_, inputs = data.draw(st.sampled_from([*DECLARED["bad"], *DECLARED["good"]]))
    changed = copy.deepcopy(inputs)
    at: Any = changed
    while isinstance(at, dict | list) and at:
        key = data.draw(st.sampled_from([*at] if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], dict | list) or data.draw(st.booleans()):
            at[key] = data.draw(st.sampled_from([None, True, 0, -1.5, "", "x", [], {}, [[]], [{}], {"x": []}, [None]]))
            break
        at = at[key]
    check({"resources": [{"type": type_, "name": "x", "inputs": changed}], "outputs": {}}, "dev")


@pytest.mark.parametrize(("collector", "kind"), [("managed", "Rules"), ("operator", "PrometheusRule")])
def test_the_policy_passes_what_the_settings_of_monitoring_make(collector: str, kind: str) -> None:
    found = planned("prod", changed(platforms__monitoring={"collector": collector, "alerts": True, "dashboard": True}))

    assert any(one["type"].endswith(f":{kind}") for one in found["resources"])
    assert [str(one) for one in check(found, "prod") if one.mandatory] == []
