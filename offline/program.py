"""Runs a project's `__main__.py` for a stack, and the stacks that it refers to, and gives the plan."""

import os
import runpy
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.prediction import Prediction, predict
from components.settings.stack import Settings
from components.settings.stack_file import Project, StackConfig, read_config
from components.settings.types import GB
from oci_model_serving.errors import InputError
from offline.builds import Builds
from offline.plan import Plan, is_plan, read_json
from offline.promotion import promoted, ways
from offline.recording import Answer, Recording, UnansweredReferenceError, record
from offline.values import parse, plain


class Program:
    """A project's program. `outputs` answers references to stacks, by full or short name, in place of a run."""

    def __init__(self, project: Project, outputs: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self._project = project
        self._given = dict(outputs or {})
        self._builds = Builds(project.folder)
        self._settings: dict[str, Settings] = {}
        self._made: dict[str, dict[str, str]] = {}

    def plan(
        self, stack: str, config: StackConfig | None = None, *, build: bool = False, answer: Answer | None = None
    ) -> Plan:
        """Run the program for `stack`, as its file says or `config`.

        With `build` its model images are really built, else `answer` may know them.

        Raises:
            InputError: the settings, or those of a stack that is referred to, are wrong or missing.
            RunFailedError: a build failed.
            Exception: whatever the program itself raises.
        """
        recording = self._run(stack, config, build=build, through=(), answer=answer)
        return Plan(self._project.name, stack, recording, self._predicted(stack, recording), self._promoted(stack))

    def settings(self, stack: str) -> Settings:
        """The settings that the program has read for a stack that was planned.

        Raises:
            InputError: it has read none.
        """
        if stack not in self._settings:
            raise InputError(f"the program in {self._project.folder} does not read this project's settings")
        return self._settings[stack]

    def _predicted(self, stack: str, recording: Recording) -> Prediction:
        """What is predicted of the settings that the program has read; another stack's images have known sizes here."""
        settings = self._settings.get(stack)
        if settings is None:
            return Prediction()
        found = recording.outputs.get("models")
        models = plain(found) if isinstance(found, Mapping) else {}
        sizes = {key: model.get("size_bytes") for key, model in models.items() if isinstance(model, Mapping)}
        return predict(settings, sizes_gb={key: size / GB for key, size in sizes.items() if isinstance(size, int)})

    def _promoted(self, stack: str) -> dict[str, str]:
        settings = self._settings.get(stack)
        return promoted(settings, self._made) if settings else {}

    def _run(
        self,
        stack: str,
        given: StackConfig | None,
        *,
        build: bool,
        through: tuple[str, ...],
        answer: Answer | None = None,
    ) -> Recording:
        if stack in through:
            raise InputError(f"stacks refer to each other in a circle: {' -> '.join((*through, stack))}")
        config = given or read_config(self._project, stack)
        answers: dict[str, Mapping[str, Any]] = {}

        def attempt(*, build: bool) -> Recording:
            with _in_folder(self._project.folder):
                return record(
                    lambda: self._execute(stack),
                    project=self._project.name,
                    stack_name=stack,
                    config=config.values,
                    secret_keys=config.secret_keys,
                    stack_outputs=answers,
                    answer=self._builds if build else answer,
                    stop=self._builds.stop if build else None,
                )

        while True:
            try:
                recording = attempt(build=False)
                break
            except UnansweredReferenceError as reference:
                for name in reference.stack_names:
                    answers[name] = self._outputs_of(name, (*through, stack))
        return attempt(build=True) if build else recording

    def _execute(self, stack: str) -> None:
        # The program takes Ctrl-C away from Python for the engine's sake; here there is none.
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            left = runpy.run_path(str(self._project.folder / "__main__.py"), run_name="__main__")
            # A program of another project may read none.
            read = [found for found in left.values() if isinstance(found, Settings)]
            if read:
                self._settings[stack] = read[0]
        finally:
            signal.signal(signal.SIGINT, interrupt)

    def _outputs_of(self, name: str, through: tuple[str, ...]) -> Mapping[str, Any]:
        short = name.rsplit("/", 1)[-1]
        for given in (name, short):
            if given in self._given:
                return self._given[given]
        parts = name.split("/")
        project = parts[-2] if len(parts) > 1 else self._project.name
        if project != self._project.name or short not in self._project.stacks():
            raise InputError(
                f"stack {through[-1]!r} refers to stack {name!r}, which is not of this project: give its outputs with "
                f"--outputs {name}=FILE (what `pulumi stack output --json --stack {name}` prints)"
            )
        recording = self._run(short, None, build=False, through=through)
        self._made[name] = ways(recording, self._promoted(short))
        return recording.outputs


def read_outputs(path: Path) -> dict[str, Any]:
    """The outputs in a file: what `pulumi stack output --json` prints, or a plan of this package.

    Raises:
        InputError: the file is neither.
    """
    data = read_json(path)
    outputs = data["outputs"] if is_plan(data) else data
    if not isinstance(outputs, dict):
        raise InputError(f"{path} must be one JSON object: the outputs of a stack")
    return dict(parse(outputs))


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Make a folder the working directory: a program's is that of its plan, and of paths in a stack's file.

    Python has it from 3.11 on (`contextlib.chdir`).
    """
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    """What the engine does for a program: its folder is the working directory and first on the import path."""
    with working_in(folder):
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))
