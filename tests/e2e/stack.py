"""A stack of this project on the test cluster, in a copy of the project: `make up`, its outputs, `smoke`."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from oci_model_serving.outputs import ModelOutput, StackOutputs, parse
from oms import engine
from tests.e2e.apply import STATE, State, destroy
from watch.pods import object_path

ROOT = Path(__file__).parents[2]
_LEFT_OUT = (".*", "tests", "bench", "docs", "__pycache__")
_NAME = "e2e"


def run(arguments: list[str], folder: Path, environment: dict[str, str] | None = None) -> str:
    """Run a command of the project and return what it says on stdout.

    Raises:
        AssertionError: it failed; with all that it said.
    """
    done = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **(environment or {})}
    )
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def modelimage(*arguments: str) -> dict[str, Any]:
    """Run `python -m modelimage … --json` and return its result."""
    result: dict[str, Any] = json.loads(run([sys.executable, "-m", "modelimage", *arguments, "--json"], ROOT))
    return result


@dataclass(frozen=True)
class Stack:
    """A copy of the project with one stack in it.

    Attributes:
        folder: the copy.
        weights: the model folder that is served.
        kubeconfig: for `smoke`: one whose server passes `exec` on to the kubelet.
    """

    folder: Path
    weights: Path
    kubeconfig: Path

    @classmethod
    def create(cls, folder: Path, settings: dict[str, Any], weights: Path, kubeconfig: Path) -> "Stack":
        """Copy the project to `folder` and write the stack's settings there."""
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        stamps = folder / "stamps"
        stamps.mkdir()
        # The interpreter that runs the tests has what the project needs: neither make nor the engine is to set up
        # another.
        for stamp in (".python", ".runtime"):
            (stamps / stamp).touch()
        (folder / ".venv").symlink_to(sys.prefix, target_is_directory=True)
        stack = cls(folder, weights, kubeconfig)
        stack.configure(settings)
        return stack

    @property
    def outputs(self) -> StackOutputs:
        """The outputs of the last `up`."""
        return parse(json.loads(self._outputs_file.read_text()))

    def configure(self, settings: dict[str, Any]) -> None:
        """Write the stack's settings."""
        config = {f"oci-model-serving:{key}": value for key, value in settings.items()}
        (self.folder / f"Pulumi.{_NAME}.yaml").write_text(yaml.safe_dump({"config": config}))

    def chart_values(self) -> dict[str, Any]:
        """The values that the program would install KubeAI's chart with; nothing where no model uses it."""
        settings = yaml.safe_load((self.folder / f"Pulumi.{_NAME}.yaml").read_text())
        settings["config"]["oci-model-serving:platforms"]["kubeai"]["install"] = True
        for model in settings["config"]["oci-model-serving:models"].values():
            if "source" in model:
                model["source"] = str(self.weights)  # `up` puts them in their place only later
        file = self.folder / "installed.yaml"
        file.write_text(yaml.safe_dump(settings))
        line = [
            sys.executable,
            "-m",
            "oms",
            "plan",
            "--stack",
            _NAME,
            "--config-file",
            str(file),
            "--preview",
            "--json",
        ]
        planned = json.loads(run(line, self.folder, self._environment))["resources"]
        releases = [one["inputs"]["values"] for one in planned if one["type"] == "kubernetes:helm.sh/v3:Release"]
        return {key: value for values in releases for key, value in values.items()}

    def up(self) -> StackOutputs:
        """Deploy with `make up`, or without it where there is no engine, and return the stack's outputs."""
        path = engine.find()
        if path:
            settings = (self.folder / f"Pulumi.{_NAME}.yaml").read_text()
            given = [f"MODEL={self.weights}"] if "source: .local/model" in settings else []
            variables = [f"STACK={_NAME}", *given, f"RUN={sys.executable}", "VENV=stamps"]
            run(["make", "up", *variables], self.folder, self._environment)
            line = [path, "stack", "output", "--json", "--show-secrets", "--stack", _NAME]
        else:
            shutil.copytree(self.weights, self.folder / ".local" / "model", dirs_exist_ok=True)
            line = [sys.executable, "-m", "tests.e2e.apply", _NAME]
        self._outputs_file.write_text(run(line, self.folder, self._environment))
        return self.outputs

    def oms(self, action: str) -> bool:
        """Run `oms pause` or `oms resume` where there is an engine, whose state it takes the change into."""
        if not engine.find():
            return False
        line = [sys.executable, "-m", "oms", action, "--stack", _NAME, "--kubeconfig", str(self.kubeconfig)]
        run(line, self.folder, self._environment)
        return True

    def refresh(self, model: ModelOutput) -> None:
        """Take a model's object into the state of the apply that stands in for the engine."""
        state = State.read(self._applied_file)
        state.refresh(object_path(model))
        state.write(self._applied_file)

    def destroy(self, kubeconfig: Path) -> None:
        """Delete all that the stack has."""
        path = engine.find()
        if path:
            run([path, "destroy", "--stack", _NAME, "--yes"], self.folder, self._environment)
            return
        state = State.read(self._applied_file)
        destroy(kubeconfig, state)
        state.write(self._applied_file)

    def smoke(self, *arguments: str, seconds: int = 90) -> tuple[int, dict[str, Any]]:
        """Run `python -m smoke --json` on the stack; its exit code and what it reports."""
        given = ["--stack", _NAME, "--outputs", str(self._outputs_file), "--kubeconfig", str(self.kubeconfig)]
        line = [sys.executable, "-m", "smoke", *arguments, *given, "--timeout", str(seconds), "--json"]
        done = subprocess.run(line, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    @property
    def _applied_file(self) -> Path:
        return self.folder / STATE

    @property
    def _outputs_file(self) -> Path:
        return self.folder / "outputs.json"

    @property
    def _environment(self) -> dict[str, str]:
        state = self.folder / "state"
        state.mkdir(exist_ok=True)
        return {"PULUMI_BACKEND_URL": state.as_uri(), "PULUMI_CONFIG_PASSPHRASE": "e2e", "PYTHONPATH": str(ROOT)}
