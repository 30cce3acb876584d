"""The plans of the stacks in the repository, as committed beside this file: what a change of code or settings does.

`python -m tests.plans.golden` (`make plans`) writes them anew. A plan is what `oms plan --json` prints.
"""

import subprocess
import sys
from pathlib import Path

STACKS = ("dev", "prod")
_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parent.parent


def path(stack: str) -> Path:
    """The file of a stack's plan."""
    return _FOLDER / f"{stack}.json"


def plan(stack: str) -> str:
    """The plan of a stack, as the program makes it now.

    Raises:
        RuntimeError: the program or the stack's settings are wrong; with what was said.
    """
    run = subprocess.run(
        [sys.executable, "-m", "offline", "--stack", stack, "--format", "json"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"no plan of stack {stack}: {run.stderr.strip()}")
    return run.stdout


def main() -> None:
    """Write the plans of all stacks."""
    for stack in STACKS:
        path(stack).write_text(plan(stack), encoding="utf-8")
        print(path(stack).relative_to(_ROOT), file=sys.stderr)


if __name__ == "__main__":
    main()
