"""Every stack of this project compared with itself, in a clone with an environment of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from modelimage import write_tiny_model
from offline.comment import as_text
from offline.diff import compare
from offline.revisions import plan_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "project"
    subprocess.run(["git", "clone", "--quiet", "--shared", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    (folder / ".local").mkdir()
    write_tiny_model(str(folder / ".local" / "model"))
    return folder


@pytest.mark.parametrize("stack", ["local", "dev", "prod"])
def test_a_revision_and_itself_do_not_differ_wherever_the_interpreter_is(
    clone: Path, tmp_path: Path, stack: str
) -> None:
    line = [str(clone / ".venv" / "bin" / "python"), "-m", "offline", "--stack", stack, "--format", "json"]
    done = subprocess.run(line, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here = tmp_path / "here.json"
    here.write_text(done.stdout)

    committed = plan_of("HEAD", stack, clone)
    assert as_text(compare(committed, plan_of("HEAD", stack, clone))) == "No differences.\n"
    assert as_text(compare(committed, plan_of(str(here), stack, clone))) == "No differences.\n"
