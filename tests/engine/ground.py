"""Runs the project's program by the real engine: the project, its state and providers, in a folder of a test.

The program runs as an inline program of the Automation API (`tests.engine.host`), so the engine needs no language host.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine.provider.switches import FOLDER, Switches

ROOT = Path(__file__).parents[2]
ENGINE = Path(os.environ.get("ENGINE_HOME", Path.home() / ".cache" / "test-engine")) / "bin"
PULUMI = shutil.which("pulumi", path=str(ENGINE)) or shutil.which("pulumi")
NEEDS_PULUMI = pytest.mark.skipif(
    PULUMI is None, reason="the Pulumi CLI is neither on PATH nor built (../shared/engine/build)"
)
"""Skips a test where there is no engine."""
PACKAGES = ("gcp", "kubernetes", "docker", "command")
PROJECT = "oci-model-serving"
PASSPHRASE = "of the engine tests"
_PROJECT = (
    "__main__.py",
    "Pulumi.yaml",
    "components",
    "modelimage",
    "oci_model_serving",
    "offline",
    "oms",
    "policy",
    "smoke",
    "watch",
)
_CHANGING = ("state", "project/.local", "project/Pulumi.*.yaml", "calls.jsonl", "switches.json", "*.plan", "own.yaml")
_SECONDS = 240
_QUIET = {"same", "refresh", "read"}


@dataclass(frozen=True)
class Done:
    """What a command of the engine did. `events` are those of its event stream."""

    code: int
    said: str
    events: list[dict[str, Any]] = field(repr=False)

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Each step that the engine planned or took, as its operation and the resource's URN, in order."""
        found = [event["resourcePreEvent"]["metadata"] for event in self.events if "resourcePreEvent" in event]
        return [(one["op"], one["urn"]) for one in found]

    @property
    def changes(self) -> list[tuple[str, str]]:
        """The steps that change something."""
        return [(operation, urn) for operation, urn in self.steps if operation not in _QUIET]

    @property
    def drift(self) -> dict[str, int]:
        """What a refresh has found changed, by operation: its steps are all refreshes, so only the summary tells."""
        (summary,) = [event["summaryEvent"] for event in self.events if "summaryEvent" in event]
        return {operation: count for operation, count in summary["resourceChanges"].items() if operation not in _QUIET}

    def well(self) -> "Done":
        """The same, where the command went well; an `AssertionError` with what the engine said otherwise."""
        assert self.code == 0, self.said
        return self


class Ground:
    """A project with its stacks' settings, a state of its own, and the providers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.project = folder, folder / "project"
        self.events_file = folder / "events.jsonl"
        """Where the last command's event stream is."""
        for part in ("project", "state", "home", "bin", "cache", "tmp"):
            (folder / part).mkdir(parents=True)
        # As `oms` hands it over: in a variable, it would be in the environment of each provider and command.
        (folder / "passphrase").write_text(PASSPHRASE, encoding="utf-8")
        for name in _PROJECT:
            (self.project / name).symlink_to(ROOT / name)
        (self.project / ".venv").symlink_to(sys.prefix)
        for package in PACKAGES:
            install(folder / "bin", package)
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PULUMI_", "GOOGLE_", "XDG_"))},
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.defpath}",
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_BACKEND_URL": (folder / "state").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(folder / "passphrase"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "TMPDIR": str(folder / "tmp"),
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DEBUG_COMMANDS": "true",  # --event-log
            FOLDER: str(folder),
        }
        self._client = ""

    @contextmanager
    def served(self) -> Iterator["Ground"]:
        """Let the engine run the project's program on this ground."""
        host = [str(self.project / ".venv" / "bin" / "python"), "-c", module_code("tests.engine.host")]
        pipe, environment = subprocess.PIPE, {**self.environment, "PATH": os.defpath}
        with (
            (self.folder / "host.log").open("w") as log,
            subprocess.Popen(
                host, cwd=self.project, env=environment, stdin=pipe, stdout=pipe, stderr=log, text=True
            ) as process,
        ):
            try:
                assert process.stdout is not None
                self._client = process.stdout.readline().strip()
                assert self._client, (self.folder / "host.log").read_text(encoding="utf-8")
                yield self
            finally:
                process.kill()

    def switch(self, switches: Switches) -> None:
        """Let the providers do what is asked for, from now on."""
        switches.write(self.folder)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Put back, at the end, what there was: the state, the stacks' settings and files, the switches and the calls.

        So tests share a ground, whose program is loaded once, and what was deployed on it.
        """
        with tempfile.TemporaryDirectory() as saved:
            _copy(self.folder, Path(saved))
            try:
                yield
            finally:
                for path in _changing(self.folder):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                _copy(Path(saved), self.folder)

    def pulumi(self, *arguments: str, stdin: str = "") -> Done:
        """Run a command of the CLI on the project."""
        with self.started(*arguments) as process:
            said, _ = process.communicate(stdin, timeout=_SECONDS)
        events = self.events_file.read_text(encoding="utf-8").splitlines() if self.events_file.exists() else []
        return Done(process.returncode, said, [json.loads(line) for line in events])

    @contextmanager
    def started(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """The CLI as a process, which the caller waits for."""
        self.events_file.unlink(missing_ok=True)
        process = subprocess.Popen(
            [str(PULUMI), *arguments, "--non-interactive", "--color=never"],
            cwd=self.project,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def stack(self, name: str, settings_file: Path | None = None) -> "Stack":
        """A stack of the project, which is made with its committed settings or those of a file."""
        settings = (settings_file or ROOT / f"Pulumi.{name}.yaml").read_text(encoding="utf-8")
        if name == "dev":  # the tests' own Docker builds it; our builders would ask the hub
            settings = settings.replace("builder: direct", "builder: docker")
        # A state in a folder knows one organization.
        (self.project / f"Pulumi.{name}.yaml").write_text(settings.replace("acme/", "organization/"), encoding="utf-8")
        self.pulumi("stack", "init", name).well()
        return Stack(self, name)

    def calls(self) -> list[dict[str, Any]]:
        """What the providers were asked for so far, in order."""
        file = self.folder / "calls.jsonl"
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []

    def arguments(self, command: str, stack: str, *arguments: str) -> list[str]:
        """The arguments of a command that runs the program, for a stack."""
        client = [f"--client=127.0.0.1:{self._client}", "--exec-kind=auto.inline"]
        return [command, "--stack", stack, "--event-log", str(self.events_file), *client, *arguments]


@dataclass(frozen=True)
class Stack:
    """One stack on a ground."""

    ground: Ground
    name: str

    def up(self, *arguments: str) -> Done:
        return self.run("up", "--yes", "--skip-preview", *arguments)

    def preview(self, *arguments: str) -> Done:
        return self.run("preview", *arguments)

    def refresh(self, *arguments: str) -> Done:
        return self.run("refresh", "--yes", "--skip-preview", *arguments)

    def destroy(self, *arguments: str) -> Done:
        return self.run("destroy", "--yes", "--skip-preview", *arguments)

    def run(self, command: str, *arguments: str) -> Done:
        return self.ground.pulumi(*self.ground.arguments(command, self.name, *arguments))

    @contextmanager
    def started(self, command: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """A command on this stack as a process, which the caller waits for."""
        with self.ground.started(*self.ground.arguments(command, self.name, *arguments)) as process:
            yield process

    def set(self, *path: str, value: Any) -> None:
        """Write a setting of the project into the stack's file, as a user does."""
        file = self.ground.project / f"Pulumi.{self.name}.yaml"
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
        first, *rest = path
        at, last = settings["config"], f"{PROJECT}:{first}"
        for key in rest:
            at, last = at[last], key
        at[last] = value
        file.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")

    def export(self) -> dict[str, Any]:
        """The stack's checkpoint, with secrets encrypted."""
        exported: dict[str, Any] = json.loads(self.ground.pulumi("stack", "export", "--stack", self.name).well().said)
        return exported

    def outputs(self) -> dict[str, Any]:
        """What the stack exports, secrets masked."""
        found: dict[str, Any] = json.loads(
            self.ground.pulumi("stack", "output", "--json", "--stack", self.name).well().said
        )
        return found

    def resources(self) -> list[dict[str, Any]]:
        """The resources in the checkpoint."""
        found: list[dict[str, Any]] = self.export()["deployment"].get("resources", [])
        return found


def _changing(folder: Path) -> list[Path]:
    """What runs of the engine, and tests, write to a ground."""
    return [path for pattern in _CHANGING for path in folder.glob(pattern)]


def _copy(ground: Path, to: Path) -> None:
    for path in _changing(ground):
        copy = to / path.relative_to(ground)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(path, copy, symlinks=True) if path.is_dir() else shutil.copy2(path, copy)


def module_code(name: str) -> str:
    """A text for `python -c` that runs a module of the tests from anywhere, with the arguments that follow."""
    run = f"runpy.run_module('{name}', run_name='__main__', alter_sys=True)"
    return f"import runpy, sys; sys.path.insert(0, '{ROOT}'); {run}"


def install(folder: Path, package: str) -> None:
    """Put a package's provider of the tests into a folder: the name on PATH is what makes it the provider."""
    path = folder / f"pulumi-resource-{package}"
    path.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "{module_code("tests.engine.provider.alone")}" {package} "$@"\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
