"""Really runs the model image builds of a program: the part of `pulumi up` that needs no engine.

A build is a `command:local:Command` whose `create` is `PYTHON -m modelimage VERB …`. Any other command, and an image
built by Docker, stays a matter of the engine.
"""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import commands
from components.settings.stack_file import MASK
from offline.errors import RunFailedError
from offline.recording import Resource
from offline.values import reveal, unknowns

_VERBS = {"pack", "copy", "tag", "inspect", "sign", "attest", "verify"}
"""The verbs of `modelimage` that answer with an image. `context` only prepares what Docker builds, and a build in the
cloud is the engine's."""


_GRACE_SECONDS = 1.0


class Builds:
    """Runs each build once, however often the program runs, and gives its standard output.

    Use it as the `answer` of `offline.recording.record`, whose worker threads call it, and its `stop` as the `stop`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._done: dict[str, str] = {}
        self._running: subprocess.Popen[str] | None = None
        self._stopped = threading.Event()

    def __call__(self, resource: Resource) -> Mapping[str, Any] | None:
        """The outputs of the build that `resource` is; none for other resources or when its inputs are not known.

        Raises:
            RunFailedError: the build failed, was stopped, or needs a secret that only the engine can decrypt.
        """
        own = resource.runs
        if own is None or own.module != commands.IMAGE or unknowns(resource.inputs):
            return None
        if not own.arguments or own.arguments[0] not in _VERBS:
            return None
        arguments = shlex.split(reveal(resource.inputs["create"]))
        environment = {key: str(value) for key, value in reveal(resource.inputs.get("environment", {})).items()}
        withheld = sorted(key for key, value in environment.items() if MASK in value)
        if withheld:
            raise RunFailedError(
                f"{resource.name}: {', '.join(withheld)} is encrypted in the stack's settings, which only "
                "the engine can read: run `oms up`, or log in to the registry and leave the setting out"
            )
        folder = self._folder / str(resource.inputs.get("dir", "."))
        key = repr((arguments, sorted(environment.items()), folder))
        with self._lock:  # one at a time: each shows its progress and uses all cores
            if key not in self._done:
                self._done[key] = self._run(resource.name, arguments, environment, folder)
            return {"stdout": self._done[key], "stderr": ""}

    def stop(self) -> None:
        """End the build that runs, by force if it does not go, and start no other."""
        self._stopped.set()
        if self._running is not None:
            self._running.terminate()
            try:
                self._running.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._running.kill()

    def _run(self, name: str, arguments: list[str], environment: Mapping[str, str], folder: Path) -> str:
        if self._stopped.is_set():
            raise RunFailedError(f"{name} was not started")
        sys.stderr.write(f"running {name}\n")
        sys.stderr.flush()
        try:
            self._running = subprocess.Popen(
                arguments,
                cwd=folder,
                env={**commands.inherited(os.environ), **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                # Ctrl-C in the terminal is for `stop`: the build would say a traceback of its own.
                start_new_session=True,
            )
        except OSError as error:
            raise RunFailedError(f"{name}: {arguments[0]} cannot be started: {error}") from error
        if self._stopped.is_set():
            self._running.kill()
        said, _ = self._running.communicate()
        if self._running.returncode != 0:
            raise RunFailedError(f"{name} failed with exit code {self._running.returncode}; its message is above")
        return said.removesuffix("\n")
