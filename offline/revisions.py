"""Plans of git revisions: each is checked out to a temporary worktree and planned there, with its own code."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components import commands
from components.settings.stack_file import find_project, is_file
from modelimage.variables import without_secrets
from oci_model_serving.errors import InputError
from offline.errors import RunFailedError
from offline.plan import is_plan, load

NO_PLAN: Mapping[str, Any] = {"resources": [], "outputs": {}}
"""The plan of a stack that is not there."""


def plan_of(source: str, stack: str, folder: Path, *, may_lack: bool = False) -> dict[str, Any]:
    """The plan that `source` names: a file with a plan in JSON, or a git revision of the repository at `folder`.

    Args:
        source: the file or the revision.
        stack: whose plan of a revision is made.
        folder: of the project, in the repository.
        may_lack: the revision may be from before the stack, which then has nothing there (`NO_PLAN`).

    Raises:
        InputError: it is neither, or the revision has no such stack.
        RunFailedError: the plan of the revision cannot be made.
    """
    path = Path(source)
    if is_file(path):
        return load(path)
    neither = f"{source!r} is neither a file with a plan nor a git revision"
    root = Path(_git(folder, "rev-parse", "--show-toplevel", problem=neither).strip())
    commit = _git(folder, "rev-parse", "--verify", "--quiet", f"{source}^{{commit}}", problem=neither).strip()
    with _worktree(root, commit) as tree:
        planned = tree / folder.resolve().relative_to(root.resolve())
        if may_lack and not _has(planned, stack):
            return dict(NO_PLAN)
        _link_local(folder.resolve(), planned)
        return _plan_in(planned, source, stack)


def _has(planned: Path, stack: str) -> bool:
    """Whether a revision's project, if it is there at all, has settings of the stack."""
    return (planned / "Pulumi.yaml").is_file() and stack in find_project(planned).stacks()


def _link_local(folder: Path, planned: Path) -> None:
    # Settings name files there (the local stack's model), which no revision holds. Removing the worktree removes
    # the link only.
    local, link = folder / ".local", planned / ".local"
    if local.is_dir() and planned.is_dir() and not link.exists():
        link.symlink_to(local, target_is_directory=True)


def _plan_in(folder: Path, source: str, stack: str) -> dict[str, Any]:
    # The revision's own package runs, not the one that is imported here: `-m` looks in the working directory first.
    command = [sys.executable, *commands.words(commands.PLAN, "--stack", stack, "--format", "json")[1:]]
    environment = commands.inherited(os.environ)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        message = done.stderr.strip() or "no message"
        kind = InputError if done.returncode == InputError.exit_code else RunFailedError
        raise kind(f"stack {stack!r} of revision {source}:\n{message}")
    data = json.loads(done.stdout)
    if not is_plan(data):
        raise RunFailedError(f"stack {stack!r} of revision {source}: its plan has another form")
    return dict(data)


@contextmanager
def _worktree(root: Path, commit: str) -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="offline-diff-"))
    tree = parent / "tree"
    try:
        _git(
            root, "worktree", "add", "--detach", "--quiet", str(tree), commit, problem=f"{commit} cannot be checked out"
        )
        yield tree
    finally:
        shutil.rmtree(parent, ignore_errors=True)
        _run_git(root, "worktree", "prune")


def _run_git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = without_secrets(commands.inherited(os.environ))  # a repository's hooks and filters see it
    line = ["git", "-C", str(folder), *arguments]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


def _git(folder: Path, *arguments: str, problem: str) -> str:
    done = _run_git(folder, *arguments)
    if done.returncode != 0:
        detail = done.stderr.strip()
        raise InputError(f"{problem}{f' ({detail})' if detail else ''}")
    return done.stdout
