"""Faults and delays that a test asks for, and the log of calls: two files in the folder that the tests name.

`switches.json` is read at each call, so a test may change it between two runs of the engine.
"""

import fnmatch
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER = "ENGINE_TESTS_FOLDER"
"""The environment variable that names the folder."""


@dataclass(frozen=True)
class Switches:
    """What goes otherwise than well. Keys are patterns of URNs, as of `fnmatch`."""

    fails: dict[str, str] = field(default_factory=dict)
    """A create fails with this message, and makes nothing."""
    slow: dict[str, float] = field(default_factory=dict)
    """A create, update or delete takes so many seconds."""
    reported: dict[str, dict[str, Any]] = field(default_factory=dict)
    """A read finds these inputs beside those that were asked for."""
    instead: dict[str, str] = field(default_factory=dict)
    """A command is created and updated by this line: the far end of its own is not on this machine."""

    def write(self, folder: Path) -> None:
        """Put them where the providers look."""
        whole = folder / "switches.tmp"
        whole.write_text(json.dumps(asdict(self)), encoding="utf-8")
        whole.replace(folder / "switches.json")


def read() -> Switches:
    """The switches as they are now."""
    try:
        return Switches(**json.loads((_folder() / "switches.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Switches()


def matching(patterns: dict[str, Any], urn: str) -> Any:
    """What the first pattern that fits a URN asks for, or None."""
    return next((value for pattern, value in patterns.items() if fnmatch.fnmatchcase(urn, pattern)), None)


def note(method: str, urn: str, **said: Any) -> None:
    """Add a call to the log, with its time in seconds; whole lines only, as several providers write."""
    line = json.dumps({"method": method, "urn": urn, "time": time.time(), **said}) + "\n"
    descriptor = os.open(_folder() / "calls.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def note_process() -> None:
    """Add what anybody on this machine may see of the provider's process: its arguments and its environment."""
    note("start", "", arguments=sys.argv, environment=dict(os.environ))


def _folder() -> Path:
    return Path(os.environ[FOLDER])
