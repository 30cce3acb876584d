"""What `make` runs to make `.venv` and to install a lock into it, and to say meanwhile how far it is.

`python -I oms/installing.py VENV [LOCK]`, by any Python 3.10 or newer: there is nothing here but the standard library,
as it runs before anything is installed. uv does it where it is on PATH (2.5 s of CPU against pip's 57, measured), else
pip. Either takes wheels alone, of the hashes that the lock names: a source package would run its own build, with tools
that no lock names.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SAYS_EVERY_SECONDS = 1.0
"""Between two lines, at most, while something goes on."""
CHECKED = ("--require-hashes", "--no-deps", "--only-binary", ":all:")
"""What pip and uv are both told: nothing but wheels whose hash the lock names."""
_PIP = ("-m", "pip", "install", "--no-input", "--no-color", "--progress-bar", "off", "--disable-pip-version-check")
_UV = ("pip", "install", "--color", "never", "--no-progress")
_ENTRY = re.compile(r"^[A-Za-z0-9][\w.-]*==", re.MULTILINE)
_FETCHED = re.compile(r"\bDownloading (\S+) \(([\d.]+) ?([kKMG]?i?)B\)")
"""As pip and uv both write it: `Downloading name-1.0-py3-none-any.whl (1.9 MB)`, `Downloading name (1.8MiB)`."""
_BYTES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_LAST_LINES = 40
_COLUMNS = 80
_INTERRUPTED = 130
_NO_VENV = (
    "a virtual environment could not be made: install Python's venv module (Debian: apt-get install python3-venv)"
)


class Ticker:
    """One line on how far something is, at least every second: on a terminal in place of the last, else a new one."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Tell how far it is."""
        line = f"{self._title}, {self.seconds:.0f} s{': ' if text else ''}{text}"
        # "Erase to the end of the line", which is no color.
        # The cursor stays at the line's beginning, so that whatever else is written takes its place: so it is one line.
        sys.stderr.write(f"{line[: _width()]}\x1b[K\r" if self._terminal else f"{line}\n")
        sys.stderr.flush()

    def done(self, text: str) -> None:
        """Tell how it ended, for good."""
        self.say(text)
        if self._terminal:
            sys.stderr.write("\n")

    def over(self) -> None:
        """Leave nothing of it on a terminal."""
        if self._terminal:
            sys.stderr.write("\x1b[K")
            sys.stderr.flush()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began


def _width() -> int:
    """Characters that fit into a line of the terminal."""
    try:
        return (os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS) - 1
    except (OSError, ValueError):
        return _COLUMNS - 1


class Installer:
    """pip or uv at work: what it has said, and what can be told from that."""

    def __init__(self, venv: Path, lock: Path) -> None:
        self._venv = venv
        self._entries = len(_ENTRY.findall(lock.read_text(encoding="utf-8")))
        self.lines: list[str] = []
        self._ignored = self._collected = 0
        self._bytes = 0.0

    def heard(self, line: str) -> None:
        """Take in a line of its output."""
        self.lines = [*self.lines[1 - _LAST_LINES :], line]
        self._ignored += line.startswith("Ignoring ")  # pip's word for what is for other platforms
        self._collected += line.startswith("Collecting ")
        if found := re.match(r"(?:Resolved|Prepared) (\d+) packages?", line):  # uv's
            self._ignored = self._entries - int(found[1])
        if found := _FETCHED.search(line):
            self._bytes += float(found[2]) * _BYTES[found[3]]

    @property
    def far(self) -> str:
        """How far it is."""
        whole = self._entries - self._ignored
        there = sum(1 for _ in self._venv.glob("lib/python*/site-packages/*.dist-info"))
        # In this order: 80 columns show the beginning only, and pip installs for long after all is fetched.
        step = f"{self._collected} of {whole} fetched" if self._collected else f"{whole} packages"
        return f"{step}, {there} installed, {self.downloaded}"

    @property
    def end(self) -> str:
        """What was done."""
        return f"{self._entries - self._ignored} packages, {self.downloaded}"

    @property
    def downloaded(self) -> str:
        """How much came over the network; what a cache already has is not downloaded."""
        return f"{self._bytes / 1e6:.0f} MB downloaded"


def make_venv(venv: Path) -> int:
    """Make the virtual environment, with pip, which the Pulumi CLI asks for what is installed. The exit code."""
    progress = Ticker(f"making {venv}")
    said: list[str] = []
    code = _wait([sys.executable, "-m", "venv", str(venv)], said.append, lambda: progress.say(""))
    if code:
        progress.done("failed")
        shutil.rmtree(venv, ignore_errors=True)
        sys.stderr.write("".join(f"{line}\n" for line in [*said[-_LAST_LINES:], _NO_VENV]))
        return code
    progress.done("done")
    return 0


def install(venv: Path, lock: Path) -> int:
    """Install a lock: by uv where it is on PATH, and by pip where it is not or has failed. The exit code.

    uv does not read pip's configuration: where only that names the mirror that a network allows, uv fails and pip does
    not.
    """
    python = str(venv / "bin" / "python")
    uv = shutil.which("uv")
    if uv:
        code = _install(venv, lock, "uv", [uv, *_UV, "--python", python])
        if code == 0:
            return 0
        sys.stderr.write("uv could not install it; pip, which has a configuration of its own, is tried\n")
    return _install(venv, lock, "pip", [python, *_PIP])


def _install(venv: Path, lock: Path, name: str, command: Sequence[str]) -> int:
    progress, installer = Ticker(f"installing {lock.name} by {name}"), Installer(venv, lock)
    progress.say(installer.far)
    code = _wait([*command, *CHECKED, "-r", str(lock)], installer.heard, lambda: progress.say(installer.far))
    progress.done("failed" if code else installer.end)
    if code:
        sys.stderr.write("".join(f"  {line}\n" for line in installer.lines))
    return code


def _wait(command: Sequence[str], heard: Callable[[str], object], tell: Callable[[], object]) -> int:
    """Run a command to its end, hear each line that it writes, and tell every second that it goes on."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:

        def hear() -> None:
            for line in child.stdout or ():
                heard(line.rstrip())

        listener = threading.Thread(target=hear, daemon=True)
        listener.start()
        try:
            while True:
                listener.join(SAYS_EVERY_SECONDS)
                if not listener.is_alive():
                    return child.wait()
                tell()
        except KeyboardInterrupt:
            child.terminate()
            raise


def main(arguments: Sequence[str]) -> int:
    """Make the environment, or install a lock into it."""
    venv, *locks = map(Path, arguments)
    os.environ["PYTHONUNBUFFERED"] = "1"  # pip would keep its lines back where nobody looks
    try:
        return install(venv, locks[0]) if locks else make_venv(venv)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: the same command again goes on\n")
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
