"""The workflows as data, and their scripts run as the runner would."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(file.stem for file in FOLDER.glob("*.yml"))


def workflow(name: str) -> dict[str, Any]:
    """A workflow; the key `on`, which YAML 1.1 reads as true, is spelled `on` again."""
    data = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
    return {("on" if key is True else key): value for key, value in data.items()}


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Workflow's name, job's name and job, of all."""
    for name in NAMES:
        for job, content in workflow(name)["jobs"].items():
            yield name, job, content


def steps() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Workflow's name, job's name and step, of all."""
    for name, job, content in jobs():
        for step in content.get("steps", []):
            yield name, job, step


def script(name: str, job: str, step: str) -> str:
    """The shell of a named step."""
    (found,) = [item for item in workflow(name)["jobs"][job]["steps"] if item.get("name") == step]
    return str(found["run"])


def install(folder: Path, root: Path = ROOT) -> None:
    """Put `.venv/bin/oms` into a folder as the Makefile does, for the interpreter that runs the tests."""
    venv = folder / ".venv"
    venv.mkdir(exist_ok=True)
    for stamp in (".python", ".runtime"):
        (venv / stamp).touch()
    line = ["make", "--silent", f"VENV={venv}", f"RUN={sys.executable}", f"CURDIR={root}", f"{venv}/bin/oms"]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True)


def run(text: str, folder: Path, path: Path | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a step's shell with the options of GitHub's runners (workflow syntax, `jobs.<job_id>.steps[*].shell`)."""
    search = os.pathsep.join([*([str(path)] if path else []), os.environ["PATH"]])
    known: Mapping[str, str] = {"PATH": search, "HOME": str(folder), **environment}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
        cwd=folder,
        env=dict(known),
        capture_output=True,
        text=True,
        check=False,
    )
