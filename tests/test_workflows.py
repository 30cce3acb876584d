import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from offline.comment import as_markdown
from offline.diff import compare

from .offline import typical_changes
from .workflows import FOLDER, NAMES, ROOT, install, jobs, run, script, steps, workflow

needs_jq = pytest.mark.skipif(not shutil.which("jq"), reason="jq is not on PATH")
REMOTE = re.compile(r"uses: (?P<action>[\w.-]+/[\w./-]+)@(?P<commit>\S+)(?P<comment>.*)")


def test_there_are_the_workflows_that_the_documentation_describes() -> None:
    said = set(re.findall(r"\.\./\.github/workflows/(\w+)\.yml", (ROOT / "docs" / "ci.md").read_text()))
    assert said | {"stacks"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_action_is_pinned_by_commit_and_says_its_version(name: str) -> None:
    text = (FOLDER / f"{name}.yml").read_text()
    for match in REMOTE.finditer(text):
        assert re.fullmatch(r"[0-9a-f]{40}", match["commit"]), match[0]
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", match["comment"]), match[0]
    uses = [step["uses"] for where, _, step in steps() if where == name and "uses" in step]
    assert len(uses) == len(REMOTE.findall(text))


def test_an_action_has_the_same_commit_everywhere() -> None:
    pins: dict[str, set[str]] = {}
    for _, _, step in steps():
        if "uses" in step:
            action, _, commit = step["uses"].partition("@")
            pins.setdefault(action, set()).add(commit)
    assert pins
    assert all(len(commits) == 1 for commits in pins.values()), pins


def test_tokens_write_only_where_it_is_needed() -> None:
    written = {}
    for name, job, content in jobs():
        # A reusable workflow's jobs have at most what the calling job has.
        if name == "pulumi":
            assert "permissions" not in content
            continue
        assert workflow(name)["permissions"] == {}, name
        granted = content["permissions"]
        assert isinstance(granted, dict), (name, job)
        if writes := sorted(scope for scope, level in granted.items() if level != "read"):
            written[name, job] = writes
    assert written == {
        ("comment", "comment"): ["pull-requests"],
        ("preview", "preview"): ["id-token", "pull-requests"],
        ("deploy", "preview-build"): ["id-token"],
        ("deploy", "build"): ["id-token"],
        ("deploy", "preview-promote"): ["id-token"],
        ("deploy", "promote"): ["id-token"],
    }


def test_no_secret_is_stored_and_no_trusted_trigger_checks_out_a_fork() -> None:
    for name in NAMES:
        text = (FOLDER / f"{name}.yml").read_text()
        assert "secrets." not in text
        assert "secrets: inherit" not in text
        assert "pull_request_target" not in text
        if "workflow_run" in workflow(name)["on"]:
            assert not [step for where, _, step in steps() if where == name and "uses" in step]


def test_no_checkout_leaves_its_token_behind() -> None:
    checkouts = [step for _, _, step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_nothing_from_outside_is_pasted_into_a_script() -> None:
    scripts = [step["run"] for _, _, step in steps() if "run" in step]
    assert scripts
    assert not [text for text in scripts if "${{" in text]


def test_a_branchs_code_gets_credentials_for_the_stacks_that_are_named_only() -> None:
    """Never those of a fork, and of no stack by default: production is previewed by main's code."""
    (job,) = workflow("preview")["jobs"].values()
    assert "vars.PULUMI_PREVIEWS != ''" in job["if"]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]
    assert job["with"] == {"command": "preview", "stacks": "${{ vars.PULUMI_PREVIEWS }}"}
    taking = {
        (name, job)
        for name, job, content in jobs()
        if content.get("permissions", {}).get("id-token") and name != "preview"
    }
    assert {name for name, _ in taking} == {"deploy"}
    assert "github.ref == 'refs/heads/main'" in workflow("deploy")["jobs"]["stacks"]["if"]
    assert all("stacks" in workflow("deploy")["jobs"][job]["needs"] for _, job in taking)


def test_every_wave_is_previewed_by_mains_code_before_its_gate() -> None:
    deploy = workflow("deploy")["jobs"]
    for wave, stacks in (("build", "building"), ("promote", "promoting")):
        preview, update = deploy[f"preview-{wave}"], deploy[wave]
        assert preview["with"] == {"command": "preview", "stacks": f"${{{{ needs.stacks.outputs.{stacks} }}}}"}
        assert update["with"] == {**preview["with"], "command": "up"}
        assert f"preview-{wave}" in update["needs"]
    assert "build" in deploy["preview-promote"]["needs"]


def test_what_judges_a_pull_request_is_the_base_branchs_policy() -> None:
    pulumi = workflow("pulumi")["jobs"]["pulumi"]["steps"]
    (base,) = [step for step in pulumi if step.get("with", {}).get("path") == "base"]
    assert base["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
    (update,) = [step for step in pulumi if step.get("uses", "").startswith("pulumi/actions@")]
    assert update["with"]["policyPacks"] == "${{ github.event_name == 'pull_request' && 'base/policy' || 'policy' }}"
    shell = script("checks", "plan", "Check the policy of the base branch")
    assert "HEAD^1" in shell
    assert '"$RUNNER_TEMP/base/.venv/bin/oms" policy --stack "$STACK" --plan head.json' in shell


def test_each_environment_names_its_own_state(tmp_path: Path) -> None:
    """There is no variable for all of them, by which an environment without its own would take another's."""
    texts = {name: (FOLDER / f"{name}.yml").read_text() for name in NAMES}
    assert [name for name, text in texts.items() if "PULUMI_BACKEND_URL" in text] == ["pulumi"]
    text = script("pulumi", "pulumi", "Check the environment's variables")
    told = run(text, tmp_path, BACKEND="", ENVIRONMENT="prod-preview")
    assert told.returncode == 1
    assert "the GitHub environment prod-preview has no variable PULUMI_BACKEND_URL" in told.stdout
    assert run(text, tmp_path, BACKEND="gs://x", ENVIRONMENT="prod").returncode == 0


def test_each_stack_has_its_own_lane_and_an_update_is_never_cancelled() -> None:
    plan, pulumi = workflow("checks")["jobs"]["plan"], workflow("pulumi")["jobs"]["pulumi"]
    for job in (plan, pulumi):
        assert "${{ matrix.stack }}" in job["concurrency"]["group"]
    assert pulumi["concurrency"]["cancel-in-progress"] == "${{ inputs.command == 'preview' }}"
    assert {workflow("comment")["concurrency"]["cancel-in-progress"]} == {False}
    assert "concurrency" in workflow("checks")


def test_updates_are_gated_by_the_environment_of_the_stacks_name() -> None:
    environment = workflow("pulumi")["jobs"]["pulumi"]["environment"]
    assert environment == "${{ matrix.stack }}${{ inputs.command == 'preview' && '-preview' || '' }}"
    deploy = workflow("deploy")["jobs"]
    assert {name for name, job in deploy.items() if job.get("with", {}).get("command") == "up"} == {"build", "promote"}
    assert workflow("deploy")["on"]["push"]["branches"] == ["main"]


def test_the_engine_is_of_the_sdks_version_and_enforces_the_policy() -> None:
    (step,) = [step for _, _, step in steps() if step.get("uses", "").startswith("pulumi/actions@")]
    pinned = re.search(r"^pulumi==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned
    assert step["with"]["pulumi-version"] == pinned[1]
    for pack in re.findall(r"'(?:base/)?(\w+)'", step["with"]["policyPacks"].partition("&&")[2]):
        assert (ROOT / pack / "PulumiPolicy.yaml").is_file()
    assert f"/oci-model-serving/{'${{ matrix.stack }}'}" in step["with"]["stack-name"]


def scripts_of_gitlab() -> list[str]:
    text = (ROOT / "docs" / "ci.md").read_text()
    (block,) = re.findall(r"^```yaml\n# .gitlab-ci.yml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    found = [line for job in yaml.safe_load(block).values() if isinstance(job, dict) for line in job.get("script", [])]
    assert found
    return found


RISKY = re.compile(
    r"\$\{\{[^}]*\bgithub\.(?:event\.(?!pull_request\.(?:number|base\.sha)|workflow_run\.(?:id|head_sha|event))|head_ref)"
)
"""What somebody else words: titles, bodies, branches, names."""


def test_what_others_word_reaches_environment_variables_and_groups_only() -> None:
    for name in NAMES:
        for _, _, step in [found for found in steps() if found[0] == name]:
            assert not RISKY.search(json.dumps({key: value for key, value in step.items() if key != "env"})), step
        for job in workflow(name)["jobs"].values():
            given = {
                key: job.get(key)
                for key in ("runs-on", "container", "services", "strategy", "uses", "with", "environment")
            }
            assert not RISKY.search(json.dumps(given)), name


def test_nothing_writes_into_the_environment_of_later_steps_but_lists_of_stacks() -> None:
    """`GITHUB_ENV` and `GITHUB_PATH` would let a line of a plan become a variable or a program."""
    for name, _, step in steps():
        assert not re.search(r"GITHUB_(?:ENV|PATH)\b|::set-|::add-", step.get("run", "")), name
        assert ("GITHUB_OUTPUT" in step.get("run", "")) == (step.get("name") == "List the stacks")
        assert "continue-on-error" not in step


def test_runners_are_githubs_of_a_named_version_and_every_job_has_an_end() -> None:
    for name, job, content in jobs():
        if "uses" in content:
            assert content["uses"].startswith("./.github/workflows/"), name
            continue
        assert content["runs-on"] == "ubuntu-24.04", (name, job)
        assert content["timeout-minutes"] <= 180
        assert "container" not in content
        assert "services" not in content


def test_no_cache_carries_anything_from_a_pull_request_to_a_deployment() -> None:
    for _, _, step in steps():
        assert "cache" not in step.get("uses", "")
        assert not [key for key in step.get("with", {}) if "cache" in key]


@pytest.mark.skipif(not (ZIZMOR := Path(sys.executable).with_name("zizmor")).exists(), reason="zizmor is not installed")
def test_zizmor_finds_nothing() -> None:
    line = [
        str(ZIZMOR),
        "--offline",
        "--no-progress",
        "--persona",
        "pedantic",
        "--format",
        "plain",
        str(ROOT / ".github"),
    ]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_pinned_is_kept_up_to_date_after_a_while() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert {one["package-ecosystem"] for one in updates} == {"github-actions", "pip"}
    assert all(one["cooldown"]["default-days"] >= 7 for one in updates)


def test_every_file_that_decides_over_production_has_an_owner() -> None:
    lines = [
        line.split() for line in (ROOT / ".github" / "CODEOWNERS").read_text().splitlines() if line[:1] not in {"", "#"}
    ]
    assert all(len(line) == 2 and line[1].startswith("@ORG/") for line in lines)
    assert lines[0][0] == "*"
    owned = {path for path, _ in lines[1:]}
    assert all(list(ROOT.glob(path.strip("/"))) for path in owned)
    deciding = {"/.github/", "/policy/", "/Makefile", "/requirements*.lock", "/Pulumi.prod.yaml", "/SECURITY.md"}
    assert deciding <= owned


def test_every_make_target_that_is_called_exists(tmp_path: Path) -> None:
    hooks = [
        hook["entry"]
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    ]
    called = [step["run"] for _, _, step in steps() if "run" in step] + scripts_of_gitlab() + hooks
    documents = [(ROOT / name).read_text() for name in ("CONTRIBUTING.md", "docs/environments.md", "docs/ci.md")]
    targets = {found for text in called for found in re.findall(r"^(?:.* )?make ([\w./-]+)", text, re.MULTILINE)}
    targets |= {found for text in documents for found in re.findall(r"(?:^|`)make ([a-z][\w-]*)", text, re.MULTILINE)}
    assert {"lint", "test", "plans", "replacements", ".venv/bin/oms"} <= targets
    for target in targets:
        # Targets below the virtual environment are named by its folder: this one has nothing yet.
        own = target.replace(".venv", str(tmp_path))
        done = subprocess.run(
            ["make", "--dry-run", f"VENV={tmp_path}", own], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"make {target}: {done.stderr}"


def stacks_in(folder: Path) -> dict[str, list[str]]:
    output = folder / "output"
    install(folder)
    done = run(script("stacks", "stacks", "List the stacks"), folder, GITHUB_OUTPUT=str(output))
    assert done.returncode == 0, done.stderr
    assert done.stdout == output.read_text()
    return {key: json.loads(value) for key, value in (line.split("=", 1) for line in output.read_text().splitlines())}


def test_the_matrices_are_the_stacks_of_the_repository(tmp_path: Path) -> None:
    for file in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(file, tmp_path)
    listed = stacks_in(tmp_path)
    for key, expected in (("cloud", {"dev", "prod"}), ("building", {"dev"}), ("promoting", {"prod"})):
        assert set(listed[key]) & {"dev", "prod", "local"} == expected
    assert set(listed["all"]) == {file.name.split(".")[1] for file in ROOT.glob("Pulumi.*.yaml")}


@pytest.mark.parametrize(
    ("files", "listed"),
    [
        ({"a": "oci-model-serving:target: local"}, (["a"], [], [], [])),
        ({"a": "oci-model-serving:target: 'gke'"}, (["a"], ["a"], ["a"], [])),
        ({"a": "oci-model-serving:target: gke\n  models: {m: {fromStack: x/y/b}}"}, (["a"], ["a"], [], ["a"])),
        (
            {
                "a-1": "target: gke",
                "b.c": 'target: "gke"\n  models:\n    m:\n      fromStack: a-1',
                "z": "gcp:region: x",
            },
            (["a-1", "b.c", "z"], ["a-1", "b.c"], ["a-1"], ["b.c"]),
        ),
        # What only a comment, a description or another key says is no setting.
        ({"a": "# not target: gke yet\n  target: local"}, (["a"], [], [], [])),
        ({"a": "target: gke # fromStack: x\n  # fromStack: x/y/b"}, (["a"], ["a"], ["a"], [])),
        ({"a": "target: gke\n  other:note: 'fromStack: x'"}, (["a"], ["a"], ["a"], [])),
        ({"a": "{target: gke, models: {m: {fromStack: x}}}"}, (["a"], ["a"], [], ["a"])),
    ],
)
def test_stacks_are_told_apart_by_their_settings(
    tmp_path: Path, files: dict[str, str], listed: tuple[list[str], ...]
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: oci-model-serving\n")
    for name, text in files.items():
        (tmp_path / f"Pulumi.{name}.yaml").write_text(f"config:\n  {text}\n")
    found = stacks_in(tmp_path)
    assert tuple(found[key] for key in ("all", "cloud", "building", "promoting")) == listed


def test_a_stack_that_cannot_be_read_stops_the_workflow(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: oci-model-serving\n")
    (tmp_path / "Pulumi.a.yaml").write_text("config: {target: GKE}\n")
    (tmp_path / "Pulumi.b.yaml").write_text("config: [\n")
    install(tmp_path)
    done = run(script("stacks", "stacks", "List the stacks"), tmp_path, GITHUB_OUTPUT=str(tmp_path / "output"))
    assert done.returncode == 2
    assert "oci-model-serving:target: is 'GKE'" in done.stderr
    assert "Pulumi.b.yaml is not YAML" in done.stderr


def test_the_workflows_and_make_call_the_one_command_only() -> None:
    called = [step["run"] for _, _, step in steps() if "run" in step] + [(ROOT / "Makefile").read_text()]
    assert not [text for text in called if re.search(r"-m (modelimage|offline|smoke|policy|oms)\b", text)]


GH = """#!{python}
import json, pathlib, sys
state = pathlib.Path({folder!r})
words = sys.argv[1:]
with (state / "calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
given = json.loads((state / "given.json").read_text())
target = next(word for word in words if word.startswith("repos/"))
if target.endswith("/artifacts"):
    (name,) = (word.partition("=")[2] for word in words if word.startswith("name="))
    print(json.dumps({{"artifacts": [one for one in given["artifacts"] if one["name"] == name]}}))
elif target.endswith("/zip"):
    sys.stdout.buffer.write((state / target.split("/")[-2]).read_bytes())
elif target.endswith("/contents"):
    print(json.dumps([{{"name": name}} for name in given["files"]]))
elif "--input" in words:
    method, body = words[words.index("--method") + 1], json.loads(pathlib.Path(words[-1]).read_text())
    with (state / "written").open("a") as written:
        written.write(json.dumps([method, target, body["body"]]) + "\\n")
elif "/comments" in target:
    for page in given["pages"]:
        print(json.dumps(page))
else:
    print(json.dumps(given["pulls"]))
"""
PLAN: dict[str, Any] = {"resources": [{"type": "t:m:T", "name": "n", "parent": None, "inputs": {}}], "outputs": {}}
EMPTY: dict[str, Any] = {"resources": [], "outputs": {}}
BOT = "github-actions[bot]"


def zipped(text: bytes, name: str = "plan.md") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


def comment(folder: Path, **given: Any) -> tuple[Any, list[list[str]], list[list[str]]]:
    """Run the comment's step with a `gh` that answers what is given; what it was called with and what was written.

    `plans` are texts of the stacks' plans, `archives` the archives of artifacts by their names.
    """
    plans = given.pop("plans", {"dev": as_markdown(compare(EMPTY, PLAN), "dev")})
    archives = {f"plan-{stack}": zipped(text.encode()) for stack, text in plans.items()} | given.pop("archives", {})
    artifacts = []
    for number, (name, content) in enumerate(archives.items()):
        (folder / str(number)).write_bytes(content)
        artifacts.append({"id": number, "name": name, "expired": False, "size_in_bytes": len(content)})
    known = {
        "pulls": [{"number": 7, "head": {"sha": "abc"}}],
        "pages": [[]],
        "artifacts": artifacts,
        "files": ["README.md", "Pulumi.yaml", "Pulumi.dev.yaml", "Pulumi.prod.yaml"],
        **given,
    }
    (folder / "given.json").write_text(json.dumps(known))
    (folder / "bin").mkdir()
    gh = folder / "bin" / "gh"
    gh.write_text(GH.format(python=sys.executable, folder=str(folder)))
    gh.chmod(0o755)
    work = folder / "work"
    work.mkdir()
    environment = {"RUN_ID": "1", "HEAD_SHA": "abc", "HEAD_BRANCH": "topic $(x)", "HEAD_OWNER": "someone"}
    text = script("comment", "comment", "Write or update one comment for each stack")
    done = run(text, work, folder / "bin", GITHUB_REPOSITORY="acme/repo", **environment)

    def lines(name: str) -> list[list[str]]:
        file = folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    return done, lines("calls"), lines("written")


@needs_jq
def test_a_first_comment_is_posted_and_the_pull_request_is_found_by_its_head(tmp_path: Path) -> None:
    done, calls, written = comment(tmp_path)
    assert done.returncode == 0, done.stderr
    assert calls[0][-1] == "head=someone:topic $(x)"
    ((method, target, body),) = written
    assert (method, target) == ("POST", "repos/acme/repo/issues/7/comments")
    assert body.startswith("<!-- oci-model-serving plan dev -->\n### `dev`: a new stack: ")


@needs_jq
def test_a_later_comment_takes_the_place_of_the_bots_own_on_whatever_page_it_is(tmp_path: Path) -> None:
    marked = "<!-- oci-model-serving plan dev -->\nold"
    other = "<!-- oci-model-serving plan prod -->\nold"
    pages = [
        [{"id": 1, "user": {"login": "someone"}, "body": marked}, {"id": 2, "user": {"login": BOT}, "body": other}],
        [{"id": 3, "user": {"login": BOT}, "body": marked}],
    ]
    done, _, written = comment(tmp_path, pages=pages)
    assert done.returncode == 0, done.stderr
    assert [item[:2] for item in written] == [["PATCH", "repos/acme/repo/issues/comments/3"]]


@needs_jq
def test_a_plan_without_differences_says_so_in_a_comment_that_is_there_and_makes_none(tmp_path: Path) -> None:
    unchanged = as_markdown(compare(PLAN, PLAN), "dev")
    fresh, old = tmp_path / "fresh", tmp_path / "old"
    fresh.mkdir()
    old.mkdir()
    assert comment(fresh, plans={"dev": unchanged})[2] == []
    there = [[{"id": 3, "user": {"login": BOT}, "body": "<!-- oci-model-serving plan dev -->\nold"}]]
    (written,) = comment(old, plans={"dev": unchanged}, pages=there)[2]
    assert written[0] == "PATCH"
    assert "No differences." in written[2]


@needs_jq
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pulls": [{"number": 7, "head": {"sha": "newer"}}]}, "no open pull request has abc"),
        ({"pulls": []}, "no open pull request has abc"),
        ({"plans": {}}, "the checks have left no plans"),
    ],
)
def test_where_there_is_nothing_to_say_nothing_is_written(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    done, _, written = comment(tmp_path, **given)
    assert done.returncode == 0
    assert said in done.stdout
    assert written == []


@needs_jq
def test_an_artifact_without_its_stacks_marker_is_refused_and_the_others_are_told(tmp_path: Path) -> None:
    prod = as_markdown(compare(EMPTY, PLAN), "prod")
    done, _, written = comment(tmp_path, plans={"dev": prod, "prod": prod})
    assert done.returncode == 1
    assert "the plan of dev does not begin with its marker" in done.stdout
    assert [body.splitlines()[0] for _, _, body in written] == ["<!-- oci-model-serving plan prod -->"]


@needs_jq
def test_forged_artifacts_make_one_comment_a_stack_of_the_default_branch_at_most(tmp_path: Path) -> None:
    forged = [f"x{number}" for number in range(30)] + ["dev -->", "../prod", "$(touch pwned)", "dev\n::error::", "yaml"]
    plans = {stack: as_markdown(compare(EMPTY, PLAN), stack) for stack in ("dev", "prod", *forged)}
    done, _, written = comment(tmp_path, plans=plans)
    assert done.returncode == 0, done.stderr
    assert sorted(body.splitlines()[0] for _, _, body in written) == [
        "<!-- oci-model-serving plan dev -->",
        "<!-- oci-model-serving plan prod -->",
    ]
    assert not list(tmp_path.rglob("pwned"))


@needs_jq
@pytest.mark.parametrize(
    ("archives", "code"),
    [
        ({"plan-dev": b"no archive"}, 1),
        ({"plan-dev": zipped(b"x", "../../plan.md")}, 1),
        ({"plan-dev": zipped(b"")}, 1),
        ({"plan-dev": zipped(bytes(2_000_000))}, 1),
        ({"plan-dev": os.urandom(1_000_000)}, 0),  # too large: as if it were not there
    ],
)
def test_an_artifact_that_is_no_plan_is_nothing(tmp_path: Path, archives: dict[str, bytes], code: int) -> None:
    done, _, written = comment(tmp_path, plans={}, archives=archives)
    assert done.returncode == code, done.stderr
    assert written == []
    assert not (tmp_path.parent / "plan.md").exists()


@needs_jq
def test_a_small_archive_of_a_huge_plan_is_read_to_a_limit(tmp_path: Path) -> None:
    bomb = zipped(b"<!-- oci-model-serving plan dev -->\n" + b"a" * 300_000_000)
    done, _, written = comment(tmp_path, plans={}, archives={"plan-dev": bomb})
    assert done.returncode == 0, done.stderr
    assert len(written[0][2]) < 65_536
    assert (tmp_path / "work" / "plan.md").stat().st_size == 250_000


@needs_jq
def test_a_forged_plan_mentions_nobody_and_is_text(tmp_path: Path) -> None:
    forged = as_markdown(compare(EMPTY, PLAN), "dev") + (
        "@octocat (@org/team) _@a_ \\@b &#64;c &commat;d a@sha256:1 `x@y`\n"
        "<!-- oci-model-serving plan prod --><img src=x> <a href=y>z</a> <details open>\n"
        '<abbr title="see https://evil.example">x <abbr title="sha256:0" onclick=x>y <abbr class=z>\n'
        "![i](https://evil.example/a) [safe](https://evil.example) [r][1]\n> 1. [1]: https://evil.example\n"
        "\x1b[31m\x00\r\u202egnp.exe\u2066\n"
    )
    (_, _, body) = comment(tmp_path, plans={"dev": forged})[2][0]
    assert body.splitlines()[0] == "<!-- oci-model-serving plan dev -->"
    assert body.count("<!--") == 1
    assert set(re.findall(r"<[^>]*>", body[40:])) <= {"<details>", "</details>", "<summary>", "</summary>", "<br/>"}
    assert re.findall(r"(?<![A-Za-z0-9])@[A-Za-z0-9]", body) == []
    assert "&#" not in body
    assert "a@sha256:1 `x@y`" in body
    assert not re.search(r"\]\(|!\[|\]: ", body)
    assert not set("\x1b\x00\r\u202e\u2066") & set(body)


@needs_jq
def test_a_plan_of_our_own_is_posted_as_it_is(tmp_path: Path) -> None:
    plan = json.loads((ROOT / "tests" / "plans" / "dev.json").read_text())
    text = as_markdown(compare(EMPTY, plan), "dev")
    (_, _, body) = comment(tmp_path, plans={"dev": text})[2][0]
    assert body == text


@needs_jq
@pytest.mark.parametrize("name", typical_changes.CHANGES)
def test_the_comments_on_typical_changes_are_posted_as_they_are(tmp_path: Path, name: str) -> None:
    text = typical_changes.path(name).read_text(encoding="utf-8")
    stack = "dev" if "plan dev" in text.splitlines()[0] else "prod"
    (_, _, body) = comment(tmp_path, plans={stack: text})[2][0]
    assert body == text


@needs_jq
def test_a_comment_longer_than_github_takes_is_cut(tmp_path: Path) -> None:
    text = as_markdown(compare(EMPTY, PLAN), "dev") + "ä" * 70_000
    done, _, written = comment(tmp_path, plans={"dev": text})
    assert done.returncode == 0, done.stderr
    assert 65_000 < len(written[0][2]) < 65_536
    assert written[0][2].endswith("the job summary has all.")


# The plan that was reviewed.

FETCH = """#!{python}
import json, pathlib, sys
state = pathlib.Path({folder!r})
words = sys.argv[1:]
given = json.loads((state / "given.json").read_text())
if words[:2] == ["run", "download"]:
    found = given["artifacts"].get(words[2], dict())
    name, folder = words[words.index("--name") + 1], words[words.index("--dir") + 1]
    if name not in found:
        sys.exit("no artifact matches")
    pathlib.Path(folder, "plan.json").write_text(found[name])
elif words[-1].endswith("/pulls"):
    print(json.dumps(given["pulls"]))
else:
    (sha,) = (word.partition("=")[2] for word in words if word.startswith("head_sha="))
    assert "status=success" in words and "event=pull_request" in words
    print(json.dumps({{"workflow_runs": [run for run in given["runs"] if run["head_sha"] == sha]}}))
"""


def fetched(folder: Path, *, by_pull_request: bool = True, **given: Any) -> tuple[Any, str | None]:
    """Run the step that fetches a plan with a `gh` that answers what is given; and the plan that it has left."""
    known = {
        "pulls": [{"merged_at": None, "head": {"sha": "other"}}, {"merged_at": "2026", "head": {"sha": "abc"}}],
        "runs": [{"id": 8, "head_sha": "other"}, {"id": 9, "head_sha": "abc"}],
        "artifacts": {"9": {"update-dev": "reviewed"}},
        **given,
    }
    (folder / "given.json").write_text(json.dumps(known))
    for name in ("bin", "temp"):
        (folder / name).mkdir()
    gh = folder / "bin" / "gh"
    gh.write_text(FETCH.format(python=sys.executable, folder=str(folder)))
    gh.chmod(0o755)
    places = {"GITHUB_REPOSITORY": "acme/repo", "GITHUB_SHA": "merge", "RUNNER_TEMP": str(folder / "temp")}
    text = script("pulumi", "pulumi", "Fetch the plan that was reviewed")
    places |= {"GITHUB_RUN_ID": "20", "BY_PULL_REQUEST": "true" if by_pull_request else "false"}
    done = run(text, folder, folder / "bin", STACK="dev", **places)
    plan = folder / "temp" / "plan.json"
    return done, plan.read_text() if plan.exists() else None


@needs_jq
def test_an_update_takes_the_plan_of_the_pull_request_that_was_merged(tmp_path: Path) -> None:
    done, plan = fetched(tmp_path)

    assert done.returncode == 0, done.stderr
    assert plan == "reviewed"


@needs_jq
@pytest.mark.parametrize(
    "given",
    [
        {"pulls": []},
        {"pulls": [{"merged_at": None, "head": {"sha": "abc"}}]},
        {"runs": []},
        {"artifacts": {"9": {"update-prod": "reviewed"}}},
        {"artifacts": {}},
    ],
)
def test_without_a_reviewed_plan_nothing_is_updated(tmp_path: Path, given: dict[str, Any]) -> None:
    done, plan = fetched(tmp_path, **given)

    assert done.returncode == 1
    assert plan is None
    assert "::error::no plan of dev was reviewed for merge" in done.stdout


@needs_jq
def test_what_main_previews_is_held_to_that_runs_plan(tmp_path: Path) -> None:
    own, without = tmp_path / "own", tmp_path / "without"
    for folder in (own, without):
        folder.mkdir()
    plans = {"9": {"update-dev": "of the pull request"}}
    done, plan = fetched(own, by_pull_request=False, artifacts=plans | {"20": {"update-dev": "of the run"}})
    assert (done.returncode, plan) == (0, "of the run")
    done, plan = fetched(without, by_pull_request=False, artifacts=plans)
    assert (done.returncode, plan) == (1, None)


def test_plans_are_an_option_and_what_is_kept_is_what_is_fetched() -> None:
    pulumi = [found for found in steps() if found[0] == "pulumi"]
    by_name = {step.get("name") or step.get("uses", "").partition("@")[0]: step for _, _, step in pulumi}
    fetch, update = by_name["Fetch the plan that was reviewed"], by_name["pulumi/actions"]
    keep = by_name["actions/upload-artifact"]

    assert fetch["if"] == "inputs.command == 'up' && vars.PULUMI_PLANS == 'true' && github.event_name == 'push'"
    assert keep["if"] == "inputs.command == 'preview' && vars.PULUMI_PLANS == 'true'"
    assert update["with"]["plan"] == (
        "${{ vars.PULUMI_PLANS == 'true' && (inputs.command == 'preview' || github.event_name == 'push') "
        "&& format('{0}/plan.json', runner.temp) || '' }}"
    )
    assert keep["with"]["name"] == "update-${{ matrix.stack }}"
    assert keep["with"]["path"] == "${{ runner.temp }}/plan.json"
    for job in ("build", "promote"):
        reads = workflow("deploy")["jobs"][job]["permissions"]
        assert (reads["actions"], reads["pull-requests"]) == ("read", "read")


# What the documentation grants.

CI_PAGE = (ROOT / "docs" / "ci.md").read_text()
ROLE = re.compile(r"['\"`](roles/[\w.]+)['\"`]")


def bound() -> set[str]:
    """The roles that the program binds: what its components name, but for advice in messages."""
    files = [path for path in (ROOT / "components").rglob("*.py") if path.name != "refusals.py"]
    return {role for path in files for role in ROLE.findall(path.read_text())}


def on_projects() -> set[str]:
    """Those of them that the plans of the committed stacks bind on a project."""
    plans = [json.loads(path.read_text()) for path in (ROOT / "tests" / "plans").glob("*.json")]
    items = [item for plan in plans for item in plan["resources"] if item["type"] == "gcp:projects/iAMMember:IAMMember"]
    assert items
    return {item["inputs"]["role"] for item in items}


def test_the_deployer_may_grant_exactly_what_the_program_binds_on_a_project() -> None:
    (condition,) = re.findall(r"hasOnly\(\[(.*?)\]\)", CI_PAGE, re.DOTALL)
    granted = set(ROLE.findall(condition))
    assert granted <= bound()
    assert on_projects() <= granted
    (elsewhere,) = re.findall(r"All else that the\s+program binds \((.*?)\)", CI_PAGE, re.DOTALL)
    assert granted | set(ROLE.findall(elsewhere)) == bound()
    # None by which the account could grant itself more.
    assert not [role for role in granted if re.search(r"[aA]dmin|owner|editor|tokenCreator|serviceAccountUser", role)]


def test_the_identity_is_the_repositorys_number_and_mains_workflow() -> None:
    conditions = re.findall(r'--attribute-condition "(.*?)"', CI_PAGE, re.DOTALL)
    assert len(conditions) == 1
    for claim in ("repository_id", "repository_owner_id", "job_workflow_ref"):
        assert f"assertion.{claim}==" in conditions[0]
    assert "pulumi.yml@refs/heads/main" in conditions[0]
    assert "assertion.repository==" not in CI_PAGE


def test_every_environment_of_a_stack_but_that_of_branches_takes_main_only() -> None:
    (named,) = re.findall(r"for name in (.*?); do", CI_PAGE)
    assert set(named.split()) == {"dev", "prod", "prod-preview"}
    assert "deployment-branch-policies" in CI_PAGE
    for variable in re.findall(r"^   \| `([A-Z_]+)` \|", CI_PAGE, re.MULTILINE):
        assert f"vars.{variable} " in (FOLDER / "pulumi.yml").read_text()


def test_the_checks_that_main_requires_are_jobs_that_there_are() -> None:
    (listed,) = re.findall(r'"required_status_checks":\s*(\[\{"context".*?\])\}\}', CI_PAGE, re.DOTALL)
    names = {item["context"] for item in json.loads(listed)}
    checks = workflow("checks")["jobs"]
    patterns = [
        re.sub(r"\\\$\\{\\{.*?\\}\\}", r"[\\w.-]+", re.escape(job["name"])) for job in checks.values() if "name" in job
    ]
    assert all(any(re.fullmatch(pattern, name) for pattern in patterns) for name in names)
    assert {f"test {version}" for version in checks["test"]["strategy"]["matrix"]["python"]} <= names
