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

from offline.errors import RunFailedError
from offline.recording import Resource, modelimage_arguments
from offline.values import MASK, reveal, unknowns

_VERBS = {"pack", "copy", "tag", "inspect"}
"""The verbs of `modelimage` that answer with an image. `context` only prepares what Docker builds, and a build in the
cloud is the engine's."""


class Builds:
    """Runs each build once, however often the program runs, and gives its standard output.

    Use it as the `answer` of `offline.recording.record`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._done: dict[str, str] = {}

    def __call__(self, resource: Resource) -> Mapping[str, Any] | None:
        """The outputs of the build that `resource` is; none for other resources or when its inputs are not known.

        Raises:
            RunFailedError: the build failed, or needs a secret that only the engine can decrypt.
        """
        modelimage = modelimage_arguments(resource)
        if modelimage is None or modelimage[0] not in _VERBS or unknowns(resource.inputs):
            return None
        arguments = shlex.split(reveal(resource.inputs["create"]))
        environment = {key: str(value) for key, value in reveal(resource.inputs.get("environment", {})).items()}
        withheld = sorted(key for key, value in environment.items() if MASK in value)
        if withheld:
            raise RunFailedError(
                f"{resource.name}: {', '.join(withheld)} is encrypted in the stack's settings, which only "
                "the engine can read: run `pulumi up`, or log in to the registry and leave the setting out"
            )
        folder = self._folder / str(resource.inputs.get("dir", "."))
        key = repr((arguments, sorted(environment.items()), folder))
        with self._lock:  # one at a time: each shows its progress and uses all cores
            if key not in self._done:
                self._done[key] = _run(resource.name, arguments, environment, folder)
            return {"stdout": self._done[key], "stderr": ""}


def _run(name: str, arguments: list[str], environment: Mapping[str, str], folder: Path) -> str:
    sys.stderr.write(f"running {name}\n")
    sys.stderr.flush()
    try:
        done = subprocess.run(
            arguments,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    except OSError as error:
        raise RunFailedError(f"{name}: {arguments[0]} cannot be started: {error}") from error
    if done.returncode != 0:
        raise RunFailedError(f"{name} failed with exit code {done.returncode}; its message is above")
    return done.stdout.removesuffix("\n")
