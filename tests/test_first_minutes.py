"""The first minutes in a clone: something is said all the time, what is written works, and what is left can go."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from modelimage.cache import default_folder
from oms.installing import CHECKED, Installer
from tests.serving import ROOT
from tests.test_commands_named import wrong

LONGEST_SILENCE = 2
SCRIPT = ROOT / "oms" / "installing.py"
LOCK = "".join(f"name-{number}==1.0 \\\n    --hash=sha256:{number:064x}\n" for number in range(4))

PIP = """\
Looking in links: /wheels
Ignoring name-3: markers 'python_full_version < "3.11"' don't match your environment
Collecting name-0==1.0 (from -r requirements.lock (line 1))
  Downloading name_0-1.0-py3-none-any.whl (13.5 MB)
Collecting name-1==1.0 (from -r requirements.lock (line 2))
  Using cached name_1-1.0-py3-none-any.whl (500 kB)
Collecting name-2==1.0 (from -r requirements.lock (line 3))
  Downloading name_2-1.0-py3-none-any.whl (500 kB)
Installing collected packages: name-0, name-1, name-2
Successfully installed name-0-1.0 name-1-1.0 name-2-1.0
"""
"""As pip 23.0.1 writes it off a terminal with `--progress-bar off`, shortened."""
UV = """\
Using Python 3.11.7 environment at: .venv
Resolved 3 packages in 431ms
Downloading name-0 (2.9MiB)
Downloading name-1 (1.1MiB)
 Downloaded name-0
 Downloaded name-1
Prepared 3 packages in 3.85s
Installed 3 packages in 209ms
 + name-0==1.0
"""
"""As uv 0.13.9 writes it off a terminal, shortened."""


@dataclass
class Heard:
    """What a command has written, and how it ended."""

    text: str
    code: int

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def heard(line: list[str], environment: dict[str, str], *, terminal: bool = False, interrupt: str = "") -> Heard:
    """Run a command, off a terminal or on one, and interrupt it once it has said something."""
    reading, writing = pty.openpty() if terminal else os.pipe()
    began, text = time.monotonic(), ""
    child = subprocess.Popen(line, cwd=ROOT, env=environment, stdout=writing, stderr=writing, start_new_session=True)
    os.close(writing)
    while time.monotonic() - began < 60:
        ready = select.select([reading], [], [], 0.2)[0]
        try:
            came = os.read(reading, 65536) if ready else b" "
        except OSError:  # the other end of a terminal is closed
            came = b""
        if ready:
            text += came.decode(errors="replace")
        if not came:
            break
        if interrupt and interrupt in text:
            os.killpg(child.pid, signal.SIGINT)
            interrupt = ""
    os.close(reading)
    return Heard(text, child.wait(20))


@dataclass
class Place:
    """A folder with a lock, an environment that pretends to have pip, and perhaps a uv on PATH."""

    folder: Path

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    def tool(self, path: Path, says: str, *, code: int = 0, seconds: float = 0.0) -> None:
        """A program that says so, line by line, and notes what it was told."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f"#!{sys.executable}\nimport json, sys, time\n"
            f"open({str(self.folder / 'told')!r}, 'a').write(json.dumps([{path.name!r}, *sys.argv[1:]]) + '\\n')\n"
            f"print({says!r}, flush=True)\ntime.sleep({seconds})\nsys.exit({code})\n"
        )
        path.chmod(0o755)

    def pip(self, **more: float) -> None:
        self.tool(self.venv / "bin" / "python", PIP, **more)  # type: ignore[arg-type]

    def uv(self, **more: float) -> None:
        self.tool(self.folder / "bin" / "uv", UV, **more)  # type: ignore[arg-type]

    @property
    def told(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "told").read_text().splitlines()]

    def install(self, **how: object) -> Heard:
        lock = self.folder / "requirements.lock"
        lock.write_text(LOCK)
        line = [sys.executable, "-I", str(SCRIPT), str(self.venv), str(lock)]
        return heard(line, {"PATH": f"{self.folder / 'bin'}:/nowhere"}, **how)  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_uv_installs_where_it_is_on_path_by_hashes_and_from_wheels_alone(place: Place) -> None:
    place.pip()
    place.uv()
    done = place.install()

    assert done.code == 0
    ((name, *arguments),) = place.told
    assert name == "uv"
    assert arguments[-2:] == ["-r", str(place.folder / "requirements.lock")]
    assert arguments[-6:-2] == list(CHECKED) == ["--require-hashes", "--no-deps", "--only-binary", ":all:"]
    assert str(place.venv / "bin" / "python") in arguments
    assert re.fullmatch(r"installing requirements.lock by uv, \d+ s: 3 packages, 4 MB downloaded", done.lines[-1])


def test_pip_installs_where_there_is_no_uv_as_strictly(place: Place) -> None:
    place.pip()
    done = place.install()

    assert done.code == 0
    ((_, *arguments),) = place.told
    assert arguments[:3] == ["-m", "pip", "install"]
    assert arguments[-6:-2] == list(CHECKED)
    assert re.fullmatch(r"installing requirements.lock by pip, \d+ s: 3 packages, 14 MB downloaded", done.lines[-1])


def test_pip_is_tried_where_uv_has_failed_and_what_uv_said_is_told(place: Place) -> None:
    place.pip()
    place.tool(place.folder / "bin" / "uv", "error: no way to the index", code=2)
    done = place.install()

    assert done.code == 0
    assert [call[0] for call in place.told] == ["uv", "python"]
    assert "  error: no way to the index" in done.lines
    assert "uv could not install it; pip, which has a configuration of its own, is tried" in done.lines


def test_a_failure_is_the_commands_and_its_last_words_are_shown(place: Place) -> None:
    said = "".join(f"line {number}\n" for number in range(100)) + "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"
    place.tool(place.venv / "bin" / "python", said, code=1)
    done = place.install()

    assert done.code == 1
    assert "  ERROR: THESE PACKAGES DO NOT MATCH THE HASHES" in done.lines
    assert "  line 99" in done.lines
    assert "  line 9" not in done.lines


@pytest.mark.parametrize("terminal", [False, True])
def test_something_is_said_at_least_every_two_seconds(place: Place, terminal: bool) -> None:
    place.uv(seconds=3.2)
    done = place.install(terminal=terminal)

    assert done.code == 0
    told = [int(seconds) for seconds in re.findall(r"by uv, (\d+) s", done.text)]
    assert len(told) >= 4
    assert all(later - before <= LONGEST_SILENCE for before, later in pairwise([*told, 3]))
    if terminal:
        assert "\x1b[K\r" in done.text
        assert max(len(line) for line in re.split(r"\x1b\[K|\r|\n", done.text)) < 80, "a longer line would stay"
        assert set(re.findall(r"\x1b\[.*?[A-Za-z]", done.text)) == {"\x1b[K"}, "no color"
    else:
        assert "\x1b" not in done.text
        assert "\r" not in done.text


def test_an_interrupt_ends_what_installs_and_says_so(place: Place) -> None:
    place.uv(seconds=50)
    done = place.install(interrupt="s: 3 packages")

    assert done.code == 130
    assert "interrupted: the same command again goes on" in done.text
    assert "Traceback" not in done.text


def test_how_far_an_installation_is_counts_what_is_there(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text(LOCK)
    (tmp_path / "lib" / "python3.11" / "site-packages" / "name-1.0.dist-info").mkdir(parents=True)
    installer = Installer(tmp_path, lock)
    assert installer.far == "4 packages, 1 installed, 0 MB downloaded"
    for line in PIP.splitlines()[:6]:
        installer.heard(line)
    assert installer.far == "2 of 3 fetched, 1 installed, 14 MB downloaded"


def test_a_virtual_environment_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("")
    line = [sys.executable, "-I", str(SCRIPT), str(tmp_path / "in-the-way" / "venv")]
    done = heard(line, {"PATH": os.defpath})

    assert done.code == 1
    assert "install Python's venv module" in done.text


# What is kept outside the folder.


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = ["make", "--no-print-directory", *arguments]
    return subprocess.run(
        line, cwd=ROOT, env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("base", ["{}/of its own", "relative", ""])
def test_make_knows_the_folder_of_what_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str
) -> None:
    """Whatever says where it is, and with a space in it."""
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": base.format(tmp_path)}
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    folder = default_folder()
    (folder / "layers").mkdir(parents=True)
    beside = folder.parent / "other"
    beside.mkdir()

    done = make("clean-cache", **home)
    assert (done.returncode, done.stderr) == (0, "")
    assert not folder.exists()
    assert beside.is_dir()


def test_clean_says_what_it_leaves_and_how_that_goes(tmp_path: Path) -> None:
    """In a folder of its own: this one's environment is in use."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "home" / ".cache" / "oci-model-serving").mkdir(parents=True)
    (tmp_path / ".local").mkdir()
    done = make("-C", str(tmp_path), "clean", HOME=str(tmp_path / "home"))

    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".local").exists()
    left = re.search(r"left: (\S+) \(.*\), .*: make clean-cache removes it", done.stdout)
    assert left
    assert left[1] == str(tmp_path / "home" / ".cache" / "oci-model-serving")
    assert "~/.pulumi" in done.stdout
    assert (tmp_path / "home" / ".cache" / "oci-model-serving").is_dir()


# What `make up` ends with.


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone whose environment is this one's."""
    folder = tmp_path_factory.mktemp("clone")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in {one.partition("/")[0] for one in names if one} - {".gitignore"}:
        (folder / name).symlink_to(ROOT / name)
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    # As make writes it.
    (binaries / "oms").write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.path[0] = sys.argv.pop(1); '
        f'from oms.main import start; start()" "{folder}" "$@"\n'
    )
    (binaries / "oms").chmod(0o755)
    (binaries / "python").symlink_to(sys.executable)
    return folder


def fresh(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command as somebody types it in a new shell, with nothing but a home."""
    environment = {"PATH": os.defpath, "HOME": str(folder.parent / "home"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        ["sh", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_make_up_ends_with_three_commands_that_work_as_they_are_written(clone: Path) -> None:
    up = fresh(".venv/bin/oms up", clone)
    assert up.returncode == 0, up.stderr
    before, _, after = up.stderr.partition("Next:\n")
    assert "wrote" in before
    look, serve, write = (line.partition("#")[0].strip() for line in after.splitlines())

    looked = fresh(look, clone)
    assert (looked.returncode, "digest: sha256:" in looked.stdout) == (0, True), looked.stderr
    served = fresh(serve, clone)
    assert (served.returncode, "cold start" in served.stdout) == (0, True), served.stderr
    assert write == ".venv/bin/oms init"
    asked = fresh(write, clone)  # off a terminal, where nothing can be asked for: it says how
    assert (asked.returncode, "--model is missing" in asked.stderr) == (2, True), asked.stderr


def test_each_line_of_the_readmes_shells_is_a_command_that_there_is() -> None:
    """In their order: `oms` is on PATH from the line on that puts it there."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    kinds = [line.split()[0] for line in lines]

    assert set(kinds) == {"make", ".", "oms", "pulumi"}
    assert [line for line in lines if line.startswith("make") and line.split()[1] not in targets] == []
    assert kinds.index(".") < kinds.index("oms")
    assert {said for line in lines for said in wrong(f"`{line}`")} == set()
