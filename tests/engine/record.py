"""Writes the states of the committed stacks as this version makes them: `python -m tests.engine.record`.

To be run at each release, on the commit that is released (CONTRIBUTING.md). The set grows with each version.
Secrets in a state are encrypted with the passphrase of the tests, and are none that open anything.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

from tests.engine import stacks
from tests.engine.ground import ROOT, Ground, Stack

STATES = Path(__file__).parent / "states"
"""A folder a version, with a stack's checkpoint (`NAME.json`) and the settings that made it (`Pulumi.NAME.yaml`)."""


def versions() -> list[str]:
    """The versions whose states are recorded."""
    return sorted(path.name for path in STATES.iterdir() if path.is_dir())


def taken_over(on: Ground, version: str, name: str) -> Stack:
    """A stack with the state and the settings of a version."""
    stack = on.stack(name, STATES / version / f"Pulumi.{name}.yaml")
    on.pulumi("stack", "import", "--stack", name, "--file", str(STATES / version / f"{name}.json")).well()
    return stack


def main() -> None:
    """Deploy the stacks with the tests' provider, and write what the engine knows of them."""
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    folder = STATES / version
    if folder.exists():
        raise SystemExit(f"the states of {version} are recorded and stay: a release has a version of its own")
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary, stacks.ground(Path(temporary) / "ground") as ground:
        for stack in stacks.deployed(ground, *stacks.COMMITTED):
            state = stack.export()
            for resource in state["deployment"]["resources"]:
                # Where this machine keeps the program.
                resource.pop("sourcePosition", None)
                resource.pop("stackTrace", None)
            text = json.dumps(state, indent=1, sort_keys=True) + "\n"
            (folder / f"{stack.name}.json").write_text(text, encoding="utf-8")
            settings = (ROOT / f"Pulumi.{stack.name}.yaml").read_text(encoding="utf-8")
            (folder / f"Pulumi.{stack.name}.yaml").write_text(settings, encoding="utf-8")
            print(f"wrote {folder / stack.name}.json", file=sys.stderr)


if __name__ == "__main__":
    main()
