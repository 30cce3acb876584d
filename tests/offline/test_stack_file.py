import itertools
import json
from pathlib import Path

import pytest

from components.settings.stack_file import find_project, read_config
from components.settings.types import Target
from oci_model_serving.errors import InputError

from .conftest import MakeProject

DECLARED = """
  target: {type: string, default: gke}
  models: {type: object, default: {}}
  gcp:region: {value: us-central1}
  plain: literal
"""


def test_defaults_of_the_project_fill_what_the_stack_leaves_out(project: MakeProject) -> None:
    project("", DECLARED, dev="config:\n  oci-model-serving:target: local\n")
    config = read_config(find_project(Path.cwd()), "dev")
    assert config.values == {
        "oci-model-serving:target": "local",
        "oci-model-serving:models": "{}",
        "gcp:region": "us-central1",
        "oci-model-serving:plain": "literal",
    }


def test_structured_values_are_json_as_the_engine_hands_them_over(project: MakeProject) -> None:
    project(
        "", dev="config:\n  oci-model-serving:pools: {l4: {count: 1, spot: true, version: '1.35', when: 2026-01-01}}\n"
    )
    config = read_config(find_project(Path.cwd()), "dev")
    pools = json.loads(config.values["oci-model-serving:pools"])
    assert pools == {"l4": {"count": 1, "spot": True, "version": "1.35", "when": "2026-01-01"}}


@pytest.mark.parametrize(
    ("written", "read"), [("true", "true"), ("yes", "yes"), ("12", "12"), ("1.5", "1.5"), ("on", "on")]
)
def test_scalars_become_the_text_that_the_engine_gives(project: MakeProject, written: str, read: str) -> None:
    project("", dev=f"config:\n  a:b: {written}\n")
    assert read_config(find_project(Path.cwd()), "dev").values == {"a:b": read}


def test_ciphertext_is_replaced_wherever_it_is_nested(project: MakeProject) -> None:
    project(
        "",
        dev="""
        config:
          a:token: {secure: v1:AAAA}
          a:pulls: {private: {server: r.example, password: {secure: v1:BBBB}}, list: [{secure: v1:CCCC}]}
          a:plain: {secure: not-text, other: 1}
        """,
    )
    config = read_config(find_project(Path.cwd()), "dev")
    assert config.secret_keys == {"a:token", "a:pulls"}
    assert config.values["a:token"] == "[secret]"
    assert json.loads(config.values["a:pulls"]) == {
        "private": {"server": "r.example", "password": "[secret]"},
        "list": ["[secret]"],
    }
    assert json.loads(config.values["a:plain"]) == {"secure": "not-text", "other": 1}


def test_all_missing_keys_are_named_at_once(project: MakeProject) -> None:
    project("", "{first: {type: string}, second: {type: object}, aws:region: {type: string}}", dev="config: {}\n")
    with pytest.raises(InputError, match=r"(?s)'first' is not set.*'second' is not set") as raised:
        read_config(find_project(Path.cwd()), "dev")
    assert "aws" not in str(raised.value)


def test_a_secret_key_in_plain_text_is_refused(project: MakeProject) -> None:
    project("", "{pw: {type: string, secret: true}}", dev="config:\n  oci-model-serving:pw: hunter2\n")
    with pytest.raises(InputError, match="config set --secret") as raised:
        read_config(find_project(Path.cwd()), "dev")
    assert "hunter2" not in str(raised.value)


def test_an_unknown_stack_is_answered_with_those_that_exist(project: MakeProject) -> None:
    project("", dev="config: {}\n", prod="config: {}\n")
    with pytest.raises(InputError, match=r"stacks here: dev, prod"):
        read_config(find_project(Path.cwd()), "staging")


@pytest.mark.parametrize(
    ("content", "said"),
    [("- a\n", "must be a mapping"), ("config: [1]\n", "must be a mapping"), ("a: [\n", "not YAML")],
)
def test_a_file_of_another_form_is_named(project: MakeProject, content: str, said: str) -> None:
    project("", dev=content)
    with pytest.raises(InputError, match=rf"Pulumi\.dev\.yaml.*{said}"):
        read_config(find_project(Path.cwd()), "dev")


def test_a_folder_without_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no Pulumi\.yaml"):
        find_project(tmp_path)


LAUGHS = "config:\n  a:a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"  a:{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in itertools.pairwise("abcdefghij")
)
MERGED_LAUGHS = "config:\n  a:a: &a {x: 1}\n" + "".join(
    f"  a:{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 10)}]}}\n"
    for before, name in itertools.pairwise("abcdefghij")
)
"""References to references: a billion values in a thousand letters."""


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("config:\n  a:b: &x [1, *x]\n", r"config\.a:b\[1\]: refers to itself"),
        ("config: &x\n  a:b: *x\n", r"config\.a:b: refers to itself"),
        ("config:\n  a:b: !!binary aGk=\n", r"config\.a:b: a value of the type bytes"),
        ("config:\n  a:b: !!set {x, y}\n", r"config\.a:b: a value of the type set"),
        ("config:\n  a:b: {!!binary aGk=: 1}\n", "a key of the type bytes"),
        ("config:\n  a:b: !!int x\n", "not of its tag"),
        ("config:\n  a:b: !!bool x\n", "not of its tag"),
        ("config:\n  a:b: " + "[" * 2000 + "]" * 2000 + "\n", "nested too deeply"),
        ("config:\n  a:b: " + "[" * 150 + "]" * 150 + "\n", "nested more than 100 deep"),
        (LAUGHS, r"comes to more than 200000 values, references to anchors counted"),
        (MERGED_LAUGHS, r"comes to more than 200000 values, references to anchors counted"),
        ('config:\n  a:b: "\\ud800"\n', r"config\.a:b: a text with half of a character"),
        ('config:\n  "a:\\udc00": 1\n', r"a text with half of a character"),
        ("config:\n  a:b: .nan\n", r"config\.a:b: nan is no number of JSON"),
        ("config:\n  a:b: [-.inf]\n", r"config\.a:b\[0\]: -inf is no number of JSON"),
        ("config:\n  a:b: 18446744073709551616\n", r"config\.a:b: a whole number of more than 64 bits"),
        ("config:\n  a:b: 0x" + "f" * 9000 + "\n", r"config\.a:b: a whole number of more than 64 bits"),
        ("config:\n  a:b: " + "9" * 9000 + "\n", r"not of its tag|a whole number of more than 64 bits"),
        ("#" * (1 << 20) + "\n", r"cannot be read: it has more than 1048576 bytes"),
        ("config:\n\ta:b: 1\n", "is not YAML"),
        ("config:\n  a:b: 1\nconfig:\n  a:c: 2\n", "the key 'config' is there twice"),
        ("config:\n  a:b: 1\n  a:b: 2\n", "the key 'a:b' is there twice"),
        ("config:\n  b: 1\n  oci-model-serving:b: 2\n", "'oci-model-serving:b' twice"),
    ],
)
def test_what_the_engine_could_not_hold_is_refused_by_name(project: MakeProject, content: str, said: str) -> None:
    folder = project("")
    (folder / "Pulumi.dev.yaml").write_text(content)
    with pytest.raises(InputError, match=rf"Pulumi\.dev\.yaml.*{said}"):
        read_config(find_project(Path.cwd()), "dev")


def test_an_anchor_that_is_used_twice_and_merged_is_read(project: MakeProject) -> None:
    project("", dev="config:\n  a:b: &x {n: 1, m: 2}\n  a:c: {<<: *x, n: 3}\n  a:d: [*x, *x]\n")
    values = read_config(find_project(Path.cwd()), "dev").values
    assert json.loads(values["a:c"]) == {"n": 3, "m": 2}
    assert json.loads(values["a:d"]) == [{"n": 1, "m": 2}] * 2


def test_numbers_that_the_engine_holds_are_read(project: MakeProject) -> None:
    project("", dev="config:\n  a:b: [18446744073709551615, -9223372036854775808, 1.5e+300, true]\n")
    values = read_config(find_project(Path.cwd()), "dev").values
    assert json.loads(values["a:b"]) == [18446744073709551615, -9223372036854775808, 1.5e300, True]


def test_a_name_that_no_file_can_have_is_an_unknown_stack(project: MakeProject) -> None:
    project("", dev="config: {}\n")
    with pytest.raises(InputError, match="has no settings"):
        read_config(find_project(Path.cwd()), "x" * 300)


@pytest.mark.parametrize(
    ("declared", "content", "target"),
    [
        ("{}", "config:\n  target: gke\n", Target.GKE),
        ("{}", "config:\n  oci-model-serving:target: gke\n", Target.GKE),
        ("{target: {value: gke}}", "config: {}\n", Target.GKE),
        ("{target: {default: gke}}", "config: {}\n", Target.GKE),
        ("{target: gke}", "config: {}\n", Target.GKE),
        ("{target: {default: gke}}", "config:\n  target: local\n", Target.LOCAL),
        ("{}", "config:\n  gcp:target: gke\n", Target.LOCAL),
    ],
)
def test_a_target_is_what_the_engine_would_hand_over(
    project: MakeProject, declared: str, content: str, target: Target
) -> None:
    project("", declared, dev=content)
    assert read_config(find_project(Path.cwd()), "dev").target is target


@pytest.mark.parametrize("written", ["GKE", "{secure: v1:abc}", "[gke]", "{value: gke}", "1"])
def test_a_target_that_cannot_be_told_is_refused_and_never_local(project: MakeProject, written: str) -> None:
    project("", dev=f"config:\n  target: {written}\n")
    config = read_config(find_project(Path.cwd()), "dev")
    with pytest.raises(InputError, match=r"oci-model-serving:target: is .*: write gke or local"):
        _ = config.target


def test_an_environment_that_may_set_the_target_is_refused_unless_the_file_does(project: MakeProject) -> None:
    project("", dev="environment: [gke-prod]\nconfig: {}\n", prod="environment: [x]\nconfig: {target: gke}\n")
    with pytest.raises(InputError, match="write oci-model-serving:target into the file"):
        read_config(find_project(Path.cwd()), "dev")
    assert read_config(find_project(Path.cwd()), "prod").target is Target.GKE


@pytest.mark.parametrize("key", ["stackConfigDir", "config"])
def test_stacks_are_looked_for_where_the_project_says(project: MakeProject, key: str) -> None:
    folder = project("", dev="config: {target: local}\n")
    (folder / "Pulumi.yaml").write_text(f"name: oci-model-serving\n{key}: stacks\n")
    (folder / "stacks").mkdir()
    (folder / "stacks" / "Pulumi.dev.yaml").write_text("config: {target: gke}\n")
    found = find_project(Path.cwd())
    assert found.stacks() == ["dev"]
    assert read_config(found, "dev").target is Target.GKE


def test_a_stacks_full_name_leads_to_its_file(project: MakeProject) -> None:
    project("", dev="config: {target: gke}\n")
    assert read_config(find_project(Path.cwd()), "acme/oci-model-serving/dev").target is Target.GKE


@pytest.mark.parametrize(
    ("models", "promotes"),
    [("{m: {fromStack: a/b/c}}", True), ("{m: {source: x}, n: {fromStack: y}}", True), ("{m: {source: x}}", False)],
)
def test_a_stack_promotes_where_a_model_comes_from_another(project: MakeProject, models: str, promotes: bool) -> None:
    project("", dev=f"config:\n  models: {models}\n")
    assert read_config(find_project(Path.cwd()), "dev").promotes is promotes


@pytest.mark.parametrize("models", ["[m]", "text", "{m: text}"])
def test_models_of_another_form_are_refused(project: MakeProject, models: str) -> None:
    project("", dev=f"config:\n  models: {models}\n")
    with pytest.raises(InputError, match="oci-model-serving:models: write a map"):
        _ = read_config(find_project(Path.cwd()), "dev").promotes
