import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offline.comment import as_markdown, as_text, marker
from offline.diff import compare
from oms.main import main

from .conftest import MakeProject

POOL = "gcp:container/nodePool:NodePool"
CLUSTER = "gcp:container/cluster:Cluster"
ISVC = "kubernetes:serving.kserve.io/v1beta1:InferenceService"


def plan(*resources: tuple[str, str, dict[str, Any]], **outputs: Any) -> dict[str, Any]:
    listed = [{"type": type_, "name": name, "parent": None, "inputs": inputs} for type_, name, inputs in resources]
    return {"resources": listed, "outputs": outputs}


def service(digest: str) -> tuple[str, str, dict[str, Any]]:
    uri = f"oci://r.example/m@sha256:{digest * 64}"
    return ISVC, "m", {"metadata": {"name": "m"}, "spec": {"predictor": {"model": {"storageUri": uri}}}}


def test_a_changed_digest_is_exactly_one_change() -> None:
    diff = compare(plan(service("a"), (POOL, "l4", {"name": "l4"})), plan(service("b"), (POOL, "l4", {"name": "l4"})))
    assert diff.counts() == {"create": 0, "update": 1, "replace": 0, "delete": 0}
    (change,) = diff.resources[0].changes
    assert change.path == "spec.predictor.model.storageUri"
    assert (change.before[-3:], change.after[-3:], change.replaces) == ("aaa", "bbb", False)
    assert diff.outputs == []


def test_added_and_removed_resources_and_outputs_are_told_apart() -> None:
    diff = compare(plan((POOL, "old", {}), a=1, b=2), plan((POOL, "new", {}), b=3, c=4))
    assert [(change.name, change.action) for change in diff.resources] == [("new", "create"), ("old", "delete")]
    assert [(change.path, change.before, change.after) for change in diff.outputs] == [
        ("a", 1, "(not set)"),
        ("b", 2, 3),
        ("c", "(not set)", 4),
    ]


@pytest.mark.parametrize(
    ("type_", "before", "after", "action"),
    [
        (POOL, {"name": "a"}, {"name": "b"}, "replace"),
        (POOL, {"nodeConfig": {"oauthScopes": ["a"]}}, {"nodeConfig": {"oauthScopes": ["a", "b"]}}, "replace"),
        (POOL, {}, {"autoscaling": {"maxNodeCount": 1}}, "update"),
        (POOL, {}, {"queuedProvisioning": {"enabled": True}}, "replace"),
        (CLUSTER, {"network": "a"}, {"network": "b"}, "replace"),
        (CLUSTER, {"releaseChannel": {"channel": "a"}}, {"releaseChannel": {"channel": "b"}}, "update"),
        ("gcp:compute/router:Router", {"region": "a"}, {"region": "b"}, "replace"),
        ("gcp:compute/routerNat:RouterNat", {"router": "a"}, {"router": "b"}, "replace"),
        ("gcp:compute/routerNat:RouterNat", {"minPortsPerVm": 1}, {"minPortsPerVm": 2}, "update"),
        ("gcp:projects/service:Service", {"service": "a"}, {"service": "b"}, "replace"),
        ("gcp:projects/iAMMember:IAMMember", {"member": "a"}, {"member": "b"}, "replace"),
        (POOL, {"nodeConfig": {"machineType": "a"}}, {"nodeConfig": {"machineType": "b"}}, "update"),
        (POOL, {"nodeConfig": {"bootDisk": {"sizeGb": 200}}}, {"nodeConfig": {"bootDisk": {"sizeGb": 300}}}, "update"),
        (POOL, {"autoscaling": {"maxNodeCount": 1}}, {"autoscaling": {"maxNodeCount": 2}}, "update"),
        (POOL, {"nodeConfig": {"spot": True}}, {"nodeConfig": {}}, "replace"),
        (
            POOL,
            {"nodeConfig": {"guestAccelerators": [{"type": "nvidia-l4", "count": 1}]}},
            {"nodeConfig": {"guestAccelerators": [{"type": "nvidia-l4", "count": 2}]}},
            "replace",
        ),
        (POOL, {"nodeConfig": {"serviceAccount": "a"}}, {"nodeConfig": {"serviceAccount": "b"}}, "replace"),
        ("gcp:container/cluster:Cluster", {"location": "a"}, {"location": "b"}, "replace"),
        ("gcp:container/cluster:Cluster", {"minMasterVersion": "1.35"}, {"minMasterVersion": "1.36"}, "update"),
        ("gcp:artifactregistry/repository:Repository", {"repositoryId": "a"}, {"repositoryId": "b"}, "replace"),
        ("gcp:artifactregistry/repositoryIamMember:RepositoryIamMember", {"role": "a"}, {"role": "b"}, "replace"),
        (ISVC, {"metadata": {"namespace": "a"}}, {"metadata": {"namespace": "b"}}, "replace"),
        (ISVC, {"metadata": {"labels": {"name": "a"}}}, {"metadata": {"labels": {"name": "b"}}}, "update"),
        ("kubernetes:core/v1:ConfigMap", {"data": {"a": "1"}}, {"data": {"a": "2"}}, "replace"),
        ("command:local:Command", {"triggers": ["a"]}, {"triggers": ["a", "b"]}, "replace"),
        ("kubernetes:helm.sh/v3:Release", {"version": "1"}, {"version": "2"}, "update"),
        ("kubernetes:helm.sh/v3:Release", {"namespace": "a"}, {"namespace": "b"}, "replace"),
    ],
)
def test_inputs_that_force_a_replacement_are_marked(
    type_: str, before: dict[str, Any], after: dict[str, Any], action: str
) -> None:
    (change,) = compare(plan((type_, "x", before)), plan((type_, "x", after))).resources
    assert change.action == action


@pytest.mark.parametrize("module", ["modelimage pack a b", "watch.rollout --timeout 60", "smoke.rollout --timeout 60"])
@pytest.mark.parametrize("place", ["'/home/me/my venv/bin/python3.12'", ".venv/bin/python", "python"])
def test_where_the_interpreter_of_our_own_commands_is_makes_no_difference(module: str, place: str) -> None:
    command = "command:local:Command"
    diff = compare(
        plan((command, "c", {"create": f".venv/bin/python -m {module}"})),
        plan((command, "c", {"create": f"{place} -m {module}"})),
    )
    assert not diff


def test_another_command_is_compared_as_it_is() -> None:
    command = "command:local:Command"
    assert compare(
        plan((command, "c", {"create": "/a/python -m http.server"})),
        plan((command, "c", {"create": "/b/python -m http.server"})),
    )


def with_options(type_: str, name: str, inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"resources": [{"type": type_, "name": name, "parent": None, "inputs": inputs, "options": options}]}


def test_an_input_that_the_engine_ignores_is_no_change() -> None:
    def pool(minimum: int) -> dict[str, Any]:
        inputs = {"initialNodeCount": minimum, "autoscaling": {"minNodeCount": minimum, "maxNodeCount": 2}}
        return {**with_options(POOL, "l4", inputs, ignoreChanges=["initialNodeCount"]), "outputs": {}}

    (change,) = compare(pool(0), pool(1)).resources
    assert change.action == "update"
    assert [one.path for one in change.changes] == ["autoscaling.minNodeCount"]
    old = plan((POOL, "l4", pool(0)["resources"][0]["inputs"]))
    assert [one.path for one in compare(old, pool(1)).resources[0].changes] == ["autoscaling.minNodeCount"]


def test_an_input_that_the_program_wants_to_replace_for_replaces() -> None:
    def config(value: str) -> dict[str, Any]:
        inputs = {"spec": {"rules": [{"a": value, "b": "1"}]}}
        return {**with_options(ISVC, "m", inputs, replaceOnChanges=["spec.rules[*].a"]), "outputs": {}}

    (change,) = compare(config("1"), config("2")).resources
    assert change.action == "replace"


def test_a_resource_that_was_renamed_or_moved_is_matched_by_its_alias() -> None:
    def item(name: str, parent: str | None, type_: str = ISVC, **options: Any) -> dict[str, Any]:
        return {"type": type_, "name": name, "parent": parent, "inputs": {"x": 1}, "options": options}

    base = {"resources": [item("old", None), item("g-child", "x:y:Group::g"), item("g", None, "x:y:Group")]}
    head = {
        "resources": [
            item("new", "x:y:Group::h", aliases=[f"{ISVC}::old"]),
            item("h-child", "x:y:Group::h"),
            item("h", None, "x:y:Group", aliases=["x:y:Group::g"]),
        ]
    }
    assert not compare({**base, "outputs": {}}, {**head, "outputs": {}})
    assert compare({**base, "outputs": {}}, {"resources": [item("new", None)], "outputs": {}}).counts() == {
        "create": 1,
        "update": 0,
        "replace": 0,
        "delete": 3,
    }


@pytest.mark.parametrize(
    ("before", "after", "stops"),
    [
        ({"nodeConfig": {"machineType": "a"}}, {"nodeConfig": {"machineType": "b"}}, True),
        ({"nodeConfig": {"bootDisk": {"sizeGb": 1}}}, {"nodeConfig": {"bootDisk": {"sizeGb": 2}}}, True),
        ({"nodeConfig": {"labels": {"a": "1"}}}, {"nodeConfig": {"labels": {"a": "2"}}}, False),
        ({"autoscaling": {"maxNodeCount": 1}}, {"autoscaling": {"maxNodeCount": 2}}, False),
    ],
)
def test_an_update_that_recreates_nodes_says_that_models_stop(
    before: dict[str, Any], after: dict[str, Any], stops: bool
) -> None:
    diff = compare(plan((POOL, "l4", before)), plan((POOL, "l4", after)))
    said = "recreates the nodes: models on them stop"
    assert diff.resources[0].action == "update"
    assert diff.data()["resources"][0]["changes"][0]["recreatesNodes"] is stops
    assert (said in as_text(diff)) is stops
    assert (said in as_markdown(diff, "dev")) is stops


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
plans = st.builds(
    lambda inputs, outputs: plan(*((ISVC, name, value) for name, value in inputs.items()), o=outputs),
    st.dictionaries(st.text(min_size=1), st.dictionaries(st.text(), json_values, max_size=3), max_size=3),
    json_values,
)


@given(plans, plans)
def test_a_difference_is_found_exactly_where_plans_differ(base: dict[str, Any], head: dict[str, Any]) -> None:
    def normal(one: dict[str, Any]) -> str:
        resources = sorted(one["resources"], key=lambda item: str(item["name"]))
        return json.dumps([resources, one["outputs"]], sort_keys=True)

    assert bool(compare(base, head)) is (normal(base) != normal(head))
    assert not compare(base, base)


def test_text_says_what_changes_and_counts_it() -> None:
    text = as_text(compare(plan(service("a")), plan(service("b"), (POOL, "l4", {}))))
    lines = text.splitlines()
    assert lines[0].startswith(
        "resource InferenceService m is updated; resource gcp:container:NodePool l4 is created; "
    )
    assert lines[2] == "+  gcp:container:NodePool l4  (create)"
    assert "     spec.predictor.model.storageUri: oci://" in text
    assert text.splitlines()[-1] == "1 to create, 1 to update"
    assert as_text(compare(plan(), plan())) == "No differences.\n"


def test_a_comment_starts_with_its_marker_and_its_verdict_and_holds_the_picture() -> None:
    text = as_markdown(compare(plan(service("a")), plan(service("b"))), "dev")
    lines = text.splitlines()
    assert lines[0] == marker("dev") == "<!-- oci-model-serving plan dev -->"
    assert lines[1] == "### `dev`: resource `InferenceService m` is updated; nothing is replaced or deleted"
    (row,) = [line for line in lines if line.startswith("| updated |")]
    assert row.count("|") == 6
    assert "```mermaid" in lines
    assert "<details>" not in text.split("| updated |")[0]


def test_long_tables_fold_from_the_bottom_and_nothing_dangerous_in_them() -> None:
    old = [(POOL, f"p{number}", {"nodeConfig": {"machineType": "a"}}) for number in range(20)]
    new = [(POOL, f"p{number}", {"nodeConfig": {"machineType": "b"}}) for number in range(20)]
    made = [(POOL, f"q{number}", {"name": "q"}) for number in range(30)]
    text = as_markdown(compare(plan(*old), plan(*new, *made)), "dev")
    shown, _, folded = text.partition("<details><summary>30 more: created</summary>")
    assert shown.count("\n| **nodes recreated** |") == 20
    assert folded.count("\n| created |") == 30
    assert "| created |" not in shown
    short = as_markdown(compare(plan(), plan(*made[:12])), "dev")
    assert "more: created" not in short


def test_a_comment_is_never_longer_than_github_takes_and_says_what_it_leaves_out() -> None:
    many = [(POOL, f"p{number}", {"nodeConfig": {"labels": {"a": "x" * 900}}}) for number in range(400)]
    others = [(POOL, name, {"nodeConfig": {"labels": {"a": "y" * 900}}}) for _, name, _ in many]
    text = as_markdown(compare(plan(*many), plan(*others)), "dev")
    assert 30_000 < len(text) < 61_000
    assert "more, left out here: `oms diff` has all" in text
    assert text.count("<details>") == text.count("</details>")
    recreated = [(POOL, name, {"nodeConfig": {"machineType": f"m{name}"}}) for _, name, _ in many]
    text = as_markdown(compare(plan(*many), plan(*recreated, *((POOL, f"z{n}", {}) for n in range(900)))), "dev")
    assert len(text) < 61_000
    assert text.splitlines()[1].startswith("### `dev`: the nodes of 400 resources are recreated")


def test_a_value_cannot_break_out_of_its_cell() -> None:
    nasty = "a|b`c\n| d"
    text = as_markdown(
        compare(plan((ISVC, "m", {"spec": {"x": "1"}})), plan((ISVC, "m", {"spec": {"x": nasty}}))), "dev"
    )
    (row,) = [line for line in text.splitlines() if line.startswith("| updated |")]
    assert row.replace("\\|", "").count("|") == 6
    assert "`a\\|b'c \\| d`" in row


def lists(before: list[Any], after: list[Any]) -> list[tuple[str, Any, Any]]:
    """What differs between two lists, as people are told it."""
    (one,) = compare(plan((ISVC, "m", {"x": before})), plan((ISVC, "m", {"x": after}))).resources
    return [(change.path, change.before, change.after) for change in one.changes]


NONE = "(not set)"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            [{"name": "A", "value": "1"}, {"name": "Z", "value": "1"}],
            [{"name": "A", "value": "1"}, {"name": "HF_HOME", "value": "/x"}, {"name": "Z", "value": "2"}],
            [("x.Z", "1", "2"), ("x.HF_HOME", NONE, "/x")],
        ),
        (["--a=1", "--b"], ["--new=2", "--a=1"], [("x.--b", True, NONE), ("x.--new", NONE, "2")]),
        (["--a=1"], ["--a"], [("x.--a", "1", True)]),
        (
            [{"name": "A", "value": "1"}],
            [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}],
            [("x.A.value", "1", NONE), ("x.A.valueFrom", NONE, {"secretKeyRef": {"name": "s"}})],
        ),
        ([{"name": "c", "image": "1"}], [{"name": "c", "image": "2"}], [("x.c.image", "1", "2")]),
        ([], [{"name": "c", "image": "2"}], [("x.c", NONE, {"name": "c", "image": "2"})]),
        # The order of variables counts (`$(NAME)` sees those before it), and that of arguments.
        (["--a", "--b"], ["--b", "--a"], [("x (order)", "--a, --b", "--b, --a")]),
        (["sh", "-c", "run"], ["sh", "-e", "-c", "run"], [("x[1]", NONE, "-e")]),
        (["a", "b", "c"], ["b", "c"], [("x[0]", "a", NONE)]),
        ([{"name": "A"}, {"name": "A"}], [{"name": "A"}], [("x[1]", {"name": "A"}, NONE)]),
        (["--a"], [{"name": "--a", "value": True}], [("x[0]", "--a", {"name": "--a", "value": True})]),
        (
            [{"name": "A", "value": {"b": 1}}],
            [{"name": "A", "b": 1}],
            [("x.A.b", NONE, 1), ("x.A.value", {"b": 1}, NONE)],
        ),
        (['{"a": 1, "b": [1]}'], ['{"a": 2, "b": [1]}'], [("x[0].a", 1, 2)]),
        (['{"a": 1}'], ['{"a":1}'], [("x[0]", '{"a": 1}', '{"a":1}')]),
        (['{"a": 1}'], ['{"a": true}'], [("x[0]", '{"a": 1}', '{"a": true}')]),
        (["{"], ["{}"], [("x[0]", "{", "{}")]),
    ],
)
def test_items_of_lists_are_told_by_their_names(
    before: list[Any], after: list[Any], said: list[tuple[str, Any, Any]]
) -> None:
    assert sorted(lists(before, after), key=str) == sorted(said, key=str)


def test_a_name_in_a_path_hides_no_replacement() -> None:
    """The providers' tables know places, not names."""

    def rules(port: str) -> dict[str, Any]:
        inputs = {"rules": [{"name": "a", "port": port}]}
        return {**with_options(ISVC, "m", inputs, replaceOnChanges=["rules[*].port"]), "outputs": {}}

    (change,) = compare(rules("1"), rules("2")).resources
    assert (change.action, change.changes[0].path) == ("replace", "rules.a.port")


def test_text_says_values_as_json_has_them() -> None:
    before, after = ({"spec": {"a": a, "b": b}} for a, b in ((True, {"x": None}), (False, ["y", 1])))
    text = as_text(compare(plan((ISVC, "m", before)), plan((ISVC, "m", after))))
    assert "spec.a: true -> false\n" in text
    assert 'spec.b: {"x": null} -> ["y", 1]\n' in text


def test_what_takes_a_resources_protection_away_is_a_change() -> None:
    kept, loose = (
        {**with_options(POOL, "l4", {}, **options), "outputs": {}}
        for options in ({"protect": True, "retainOnDelete": True}, {})
    )
    (change,) = compare(kept, loose).resources
    assert [(one.path, one.before, one.after) for one in change.changes] == [
        ("protect", True, False),
        ("retainOnDelete", True, False),
    ]


def test_plans_whose_parents_lead_in_a_circle_are_compared_all_the_same() -> None:
    circle = [
        {"type": "a:b:A", "name": "x", "parent": "a:b:B::y", "inputs": {}},
        {"type": "a:b:B", "name": "y", "parent": "a:b:A::x", "inputs": {}},
    ]
    before = {"resources": circle, "outputs": {}}
    assert not compare(before, before)
    assert "resource" in as_markdown(compare(plan(), before), "dev")


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        ("known after build of a", "known after build of a and build of b", False),
        ("known after build of a", "known after copy of a", False),
        ("known after build of a", "known after an update of stack x", True),
        ("known after an update of stack x", "known after an update of stack y", True),
        ("known after build of a", "r.example/m@sha256:1", True),
        ("known after creation of Cluster a", "known after creation of Cluster b", True),
    ],
)
def test_what_is_known_after_one_build_more_does_not_differ_by_that(before: str, after: str, differs: bool) -> None:
    assert bool(compare(plan(x=before), plan(x=after))) is differs


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.email=t@example.com", "-c", "user.name=t", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose second commit changes only the digest in the stack's settings."""
    program = """
        import pulumi
        import pulumi_kubernetes as k8s

        digest = pulumi.Config().require("digest")
        k8s.apiextensions.CustomResource(
            "m", api_version="serving.kserve.io/v1beta1", kind="InferenceService",
            metadata={"name": "m", "namespace": "models"},
            spec={"predictor": {"model": {"storageUri": f"oci://r.example/m@sha256:{digest * 64}"}}},
        )
    """
    folder = project(program, dev="config:\n  oci-model-serving:digest: a\n")
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "one")
    (folder / "Pulumi.dev.yaml").write_text("config:\n  oci-model-serving:digest: b\n")
    git(folder, "commit", "-am", "two")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return folder


def test_two_revisions_that_differ_in_a_digest_differ_in_exactly_that(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", "HEAD~1", "HEAD", "--stack", "dev", "--format", "json"]) == 0
    diff = json.loads(capsys.readouterr().out)
    assert diff["counts"] == {"create": 0, "update": 1, "replace": 0, "delete": 0}
    (change,) = diff["resources"][0]["changes"]
    assert change["path"] == "spec.predictor.model.storageUri"
    assert diff["outputs"] == []
    listed = subprocess.run(["git", "worktree", "list"], cwd=repository, capture_output=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


def test_a_revision_is_compared_with_a_plan_in_a_file(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", "--stack", "dev", "--format", "json"])
    (repository / "head.json").write_text(capsys.readouterr().out)
    assert main(["diff", "HEAD~1", "head.json", "--stack", "dev"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 to update"


def test_a_revision_whose_plan_fails_is_a_clear_error_and_leaves_no_worktree(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", "HEAD~1", "HEAD", "--stack", "prod"]) == 2
    message = capsys.readouterr().err
    assert "stack 'prod' of revision HEAD:" in message
    assert "has no settings" in message
    assert "Traceback" not in message
    listed = subprocess.run(["git", "worktree", "list"], cwd=repository, capture_output=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


def test_a_stack_is_compared_with_a_revision_from_before_it(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "Pulumi.prod.yaml").write_text("config:\n  oci-model-serving:digest: c\n")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "a new stack")
    assert main(["diff", "HEAD~1", "HEAD", "--stack", "prod", "--format", "markdown"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[1].startswith("### `prod`: a new stack: ")
    assert main(["plan", "--stack", "prod", "--json"]) == 0
    (repository / "head.json").write_text(capsys.readouterr().out)
    assert main(["diff", "HEAD~1", "head.json", "--format", "markdown"]) == 0
    assert capsys.readouterr().out == said


def test_a_project_is_compared_with_a_revision_from_before_it(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = repository / "inner"
    inner.mkdir()
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml", "__main__.py"):
        (inner / name).write_text((repository / name).read_text())
        (repository / name).unlink()
    git(repository, "add", "-A")
    git(repository, "commit", "-m", "moved")
    os.chdir(inner)
    assert main(["diff", "HEAD~1", "HEAD", "--stack", "dev"]) == 0
    assert capsys.readouterr().out.startswith("a new stack: ")


def test_files_say_of_which_stack_they_are(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", "--stack", "dev", "--json"])
    (repository / "a.json").write_text(capsys.readouterr().out)
    assert main(["diff", "a.json", "a.json", "--format", "markdown"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [marker("dev"), "### `dev`: no differences"]
    assert main(["diff", "a.json", "a.json", "--stack", "prod"]) == 2
    assert "a.json is a plan of stack 'dev': leave out --stack, or write --stack dev" in capsys.readouterr().err
    other = json.loads((repository / "a.json").read_text())
    (repository / "b.json").write_text(json.dumps({**other, "stack": "prod"}))
    assert main(["diff", "a.json", "b.json", "--format", "markdown"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("### `prod` against `dev`: ")


def test_a_file_of_a_version_that_names_no_stack_is_of_the_one_that_is_asked_for(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "old.json").write_text('{"resources": [], "outputs": {}}')
    assert main(["diff", "old.json", "old.json", "--stack", "prod", "--format", "markdown"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == marker("prod")


@pytest.mark.parametrize(
    "broken",
    [{"stack": 1}, {"stack": ""}, {"stack": "a --> b"}, {"promoted": []}, {"promoted": {"m": 1}}],
)
def test_a_plan_that_says_anything_of_its_stack_is_none(
    repository: Path, capsys: pytest.CaptureFixture[str], broken: dict[str, Any]
) -> None:
    (repository / "old.json").write_text(json.dumps({"resources": [], "outputs": {}, **broken}))
    assert main(["diff", "old.json", "old.json", "--stack", "prod"]) == 2
    assert "old.json is not a plan" in capsys.readouterr().err


@pytest.mark.parametrize("base", ["nope", "missing.json", "x" * 300])
def test_what_is_neither_file_nor_revision_is_refused(
    repository: Path, capsys: pytest.CaptureFixture[str], base: str
) -> None:
    assert main(["diff", base, "HEAD", "--stack", "dev"]) == 2
    assert f"'{base}' is neither a file with a plan nor a git revision" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "[]",
        "{",
        '{"resources": [{}], "outputs": {}}',
        '{"resources": [{"type": "t", "name": "n", "inputs": null}], "outputs": {}}',
        '{"resources": [{"type": 1, "name": "n", "inputs": {}}], "outputs": {}}',
        '{"resources": [{"type": "t", "name": null, "inputs": {}}], "outputs": {}}',
        '{"resources": [{"type": "t", "name": "n", "parent": 1, "inputs": {}}], "outputs": {}}',
    ],
)
def test_a_file_that_is_no_plan_is_refused(
    project: MakeProject, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    folder = project("", dev="config: {}\n")
    (folder / "base.json").write_text(content)
    assert main(["diff", "base.json", "base.json"]) == 2
    assert "base.json" in capsys.readouterr().err


def test_a_revisions_settings_may_name_files_of_the_checkouts_local_folder(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = "import pathlib, pulumi; pulumi.export('model', pathlib.Path('.local/model/config.json').read_text())"
    (repository / "__main__.py").write_text(program)
    git(repository, "commit", "-am", "read the local model")
    model = repository / ".local" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    assert main(["diff", "HEAD", "HEAD", "--stack", "dev"]) == 0
    assert capsys.readouterr().out == "No differences.\n"
    assert (model / "config.json").read_text() == "{}"


def predicted(pull: float, at_max: float) -> dict[str, Any]:
    start = {"total": [180 + pull, 480 + pull], "limiting": {"stage": "image_pull", "bound": "pd-balanced 400 GB"}}
    cost = {"at_min": [0, 0], "at_max": [at_max, at_max], "paused": [0, 0], "unpriced": [], "source": "my.csv"}
    return {**plan(), "predictions": {"models": {"m": {"cold_start": start}}, "cost": cost}}


def test_predictions_stand_side_by_side_in_the_comment() -> None:
    text = as_markdown(compare(predicted(1090, 88.5), predicted(90, 90)), "prod")
    assert "| cold start of m | 21 to 26 min (image pull: pd-balanced 400 GB) | 4.5 to 9.5 min" in text
    assert "| cost an hour at max | $88.50 | $90.00 |" in text
    assert "| cost an hour paused | $0.00 | = |" in text


def test_the_text_says_only_which_predictions_change() -> None:
    text = as_text(compare({**predicted(90, 88.5), "outputs": {"a": 1}}, predicted(90, 90)))
    assert "predicted  cost an hour at max: $88.50 -> $90.00" in text
    assert "cold start" not in text


def test_a_plan_of_a_version_without_predictions_is_compared_all_the_same() -> None:
    text = as_markdown(compare({**plan(), "outputs": {"a": 1}}, predicted(90, 90)), "prod")
    assert "| cost an hour at max | - | $90.00 |" in text
    assert compare(plan(), plan()).predictions.rows() == []


def test_a_change_of_predictions_alone_is_no_difference_and_is_told() -> None:
    found = compare(predicted(90, 88.5), predicted(90, 90))
    assert not found
    assert "$88.50 | $90.00" in as_markdown(found, "prod")
    assert "predicted  cost an hour at max" in as_text(found)
    assert found.data()["predictions"]["after"]["cost"]["at_max"] == [90, 90]
