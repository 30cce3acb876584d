"""`command:local:Command`: really runs commands, as pulumi-command 1.2.1 does (provider/pkg/provider/local/run.go)."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tests.engine.provider import switches

TYPE = "command:local:Command"
OUTPUTS = ("stdout", "stderr")
_SHELL = ["/bin/sh", "-c"]


class CommandFailedError(Exception):
    """A command ended with an error; with what it said."""


class Commands:
    """Runs commands, and ends those that run when the engine cancels."""

    def __init__(self, log: Callable[[str, str], None]) -> None:
        """`log` takes a URN and a line that a command has printed."""
        self._log = log
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def run(self, urn: str, step: str, inputs: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, str]:
        """The outputs of a step (`create`, `update` or `delete`); those before it where there is nothing to run.

        Raises:
            CommandFailedError: it ended with another code than 0.
        """
        said = {key: str(before.get(key, "")) for key in OUTPUTS}
        # As the real one: what is no `update` is done by `create`.
        line = inputs.get(step) or (inputs.get("create") if step == "update" else None)
        if line is None:
            return said
        environment = dict(os.environ, **(inputs.get("environment") or {}))
        if inputs.get("addPreviousOutputInEnv", True):
            environment |= {f"PULUMI_COMMAND_{key.upper()}": text for key, text in said.items() if text}
        instead = switches.matching(switches.read().instead, urn) if step != "delete" else None
        return self._run(urn, str(line), inputs, environment, instead)

    def stop(self) -> None:
        """End what runs."""
        with self._lock:
            for process in self._running:
                process.kill()

    def _run(
        self, urn: str, line: str, inputs: Mapping[str, Any], environment: Mapping[str, str], instead: str | None
    ) -> dict[str, str]:
        shell = inputs.get("interpreter") or _SHELL
        switches.note("run", urn, arguments=[*shell, line], environment=dict(environment))
        process = subprocess.Popen(
            [*shell, instead or line],
            cwd=inputs.get("dir"),
            env=environment,
            stdin=subprocess.PIPE if inputs.get("stdin") else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with self._lock:
            self._running.add(process)
        try:
            stdout, stderr = process.communicate(inputs.get("stdin") or None)
        finally:
            with self._lock:
                self._running.discard(process)
        for name, text in zip(OUTPUTS, (stdout, stderr), strict=True):
            if name in str(inputs.get("logging", "stdoutAndStderr")).lower():
                for said in text.splitlines():
                    self._log(urn, said)
        if process.returncode:
            raise CommandFailedError(f"exit status {process.returncode}: running {json.dumps(line)}:\n{stdout}{stderr}")
        return {"stdout": stdout.removesuffix("\n"), "stderr": stderr.removesuffix("\n")}
