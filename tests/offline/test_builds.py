import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import EXTENDED, MakeProject

PROGRAM = """
    import sys

    import pulumi_command as command

    for name in ("one", "two"):
        command.local.Command(f"{name}-build", create=f"{sys.executable} -m modelimage pack weights oci:images/{name}")
"""
PATIENT = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, STUBBORN)
open(f"started-{sys.argv[-1].rpartition('/')[2]}", "w").write(str(os.getpid()))
time.sleep(60)
"""
CALLER = """
import sys
from pathlib import Path
from components.settings.stack_file import find_project
from offline import Program
try:
    Program(find_project(Path.cwd())).plan("dev", build=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("term", ["signal.SIG_DFL", "signal.SIG_IGN"])
def test_an_interrupt_ends_the_build_that_runs_and_starts_no_other(project: MakeProject, term: str) -> None:
    folder = project(PROGRAM, dev="config: {}\n")
    (folder / "modelimage").mkdir()
    (folder / "modelimage" / "__init__.py").write_text(EXTENDED)
    (folder / "modelimage" / "__main__.py").write_text(PATIENT.replace("STUBBORN", term))
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (started := [file for file in folder.glob("started-*") if file.read_text()]):
        assert caller.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    interrupted = time.monotonic()
    caller.send_signal(signal.SIGINT)
    _, said = caller.communicate(timeout=30)

    assert time.monotonic() - interrupted < 2
    assert caller.returncode == 130
    assert len(said.splitlines()) == 1
    assert said.startswith("running ")
    assert list(folder.glob("started-*")) == started
    assert not Path(f"/proc/{started[0].read_text()}").exists()
