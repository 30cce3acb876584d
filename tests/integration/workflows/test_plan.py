"""The plan job's steps, on a merge commit as GitHub makes it for a pull request."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.workflows import ROOT, install, run, script

pytestmark = pytest.mark.integration

GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]


def git(folder: Path, *arguments: str) -> None:
    subprocess.run([*GIT, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A merge of a branch that gives dev's nodes a larger disk and adds an environment."""
    folder = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith(("tests/", "bench/")) and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder, "init")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "base")
    git(folder, "checkout", "-b", "topic")
    settings = yaml.safe_load((folder / "Pulumi.dev.yaml").read_text())
    settings["config"]["oci-model-serving:nodePools"]["l4"]["bootDisk"]["sizeGb"] = 321
    (folder / "Pulumi.dev.yaml").write_text(yaml.safe_dump(settings))
    (folder / "Pulumi.staging.yaml").write_text(yaml.safe_dump(settings))
    git(folder, "add", ".")
    git(folder, "commit", "-m", "topic")
    git(folder, "checkout", "main")
    git(folder, "merge", "--no-ff", "-m", "merge", "topic")
    install(folder, folder)
    return folder


def plan(folder: Path, stack: str) -> str:
    for step in ("Write the comment", "Check the policy"):
        done = run(script("checks", "plan", step), folder, STACK=stack, GITHUB_STEP_SUMMARY=os.devnull)
        assert done.returncode == 0, f"{step}: {done.stderr}"
    return (folder / "plan.md").read_text()


def test_the_comment_shows_what_the_branch_changes(checkout: Path) -> None:
    text = plan(checkout, "dev")
    assert text.startswith("<!-- oci-model-serving plan dev -->")
    assert "### `dev`: the nodes of pool `l4` are recreated; model `qwen2.5-0.5b-instruct` stops for " in text
    assert "| **nodes recreated** | pool `l4` | `disk GB`: `200` → `321`, recreates the nodes |" in text
    assert "in the engine's words: 1 to update, 1 output value changed</summary>" in text


def test_a_new_environment_is_all_creation(checkout: Path) -> None:
    text = plan(checkout, "staging")
    assert "### `staging`: a new stack: 1 cluster, " in text
    assert "| created | cluster `cluster` |" in text
    told = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ") and "`" in line.split(" | ")[1]]
    assert set(told) == {"| created"}


def test_the_local_stack_is_planned_on_the_same_weights_on_both_sides(checkout: Path) -> None:
    assert "No differences." in plan(checkout, "local")
