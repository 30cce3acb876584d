"""Command-line tools that tests use where they are there: on PATH, or where `.ci/run` builds them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BUILT = Path.home() / ".cache" / "test-tools"


def run(tool: str, *arguments: str, stdin: str | None = None, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a tool with further variables; the test is skipped where there is none."""
    found = shutil.which(tool, path=f"{os.environ['PATH']}{os.pathsep}{BUILT}")
    if not found:
        pytest.skip(f"no {tool} on PATH or in {BUILT}")
    return subprocess.run(
        [found, *arguments], input=stdin, capture_output=True, text=True, check=False, env={**os.environ, **variables}
    )
