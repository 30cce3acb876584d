"""What is installed is what the locks name: each file by its hash, each direct requirement at its version."""

import importlib.metadata
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .workflows import steps

ROOT = Path(__file__).parents[1]
OURS = ["requirements", "requirements-dev", "requirements-convert"]
SERVER = "tests/e2e/vllm_cpu/requirements"
"""Of an environment of its own."""
_ENTRY = re.compile(
    r"(?P<pin>\S+==\S+)(?: ; (?P<marker>.+?))? \\\n(?P<hashes>(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
)


def asked(name: str) -> list[Requirement]:
    """The requirements of a file and of those that it includes."""
    found = []
    for line in (ROOT / f"{name}.txt").read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            found += asked(Path(text[3:]).stem)
        elif text:
            found.append(Requirement(text))
    return found


@cache
def locked(name: str) -> dict[str, frozenset[str]]:
    """`name==version` of each entry of a lock, with its hashes."""
    text = (ROOT / f"{name}.lock").read_text()
    entries = list(_ENTRY.finditer(text))
    # Nothing but entries: no address, no index, no option, nothing that is installed without a hash.
    assert "".join(line for line in _ENTRY.sub("", text).splitlines() if not line.startswith("#")) == ""
    return {match["pin"]: frozenset(re.findall(r"[0-9a-f]{64}", match["hashes"])) for match in entries}


@pytest.mark.parametrize(("name", "fewest"), [*((name, 11) for name in OURS), (SERVER, 3)])
def test_a_lock_has_every_requirement_at_its_version(name: str, fewest: int) -> None:
    assert len(asked(name)) >= fewest
    for requirement in asked(name):
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        wanted = f"{canonicalize_name(requirement.name)}=={specifier.version}"
        assert wanted in locked(name), f"{wanted} is not in {name}.lock: make lock"


@pytest.mark.parametrize("name", OURS[1:])
def test_what_all_environments_share_has_one_version_and_the_same_files(name: str) -> None:
    shared = locked("requirements")
    assert {pin: locked(name).get(pin) for pin in shared} == shared


@pytest.mark.parametrize("name", OURS[:2])
def test_a_lock_is_closed_so_that_pip_need_not_look_for_more(name: str) -> None:
    there = {pin.partition("==")[0] for pin in locked(name)}
    missing = {
        f"{wanted.name} of {pin}"
        for pin in locked(name)
        for text in _required_by(pin)
        if (wanted := Requirement(text)) and canonicalize_name(wanted.name) not in there
        if not wanted.marker or wanted.marker.evaluate({"extra": ""})
    }
    assert missing == set()


def _required_by(pin: str) -> list[str]:
    name, _, version = pin.partition("==")
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return []
    return installed.requires or [] if installed.version == version else []


def test_nothing_is_installed_without_its_hash() -> None:
    """By a line of a shell; what `make` installs is told so by oms/installing.py (tests/test_first_minutes.py)."""
    texts = [(ROOT / name).read_text() for name in ("Makefile", ".ci/run")]
    texts += [step["run"] for _, _, step in steps() if "run" in step]
    lines = [
        line for text in texts for line in re.sub(r"\\\n", "", text).splitlines() if re.search(r"pip3? install", line)
    ]
    assert lines
    assert [line for line in lines if "--require-hashes" not in line or "--only-binary :all:" not in line] == []


@pytest.mark.parametrize(
    "elsewhere",
    [
        "platform.python_implementation = lambda: 'PyPy'",
        "platform.machine = lambda: 'riscv64'",
        "sys.platform = 'win32'",
        "sys.version_info = (3, 14, 0)",
        "sys.version_info = (3, 9, 0)",
    ],
)
def test_where_no_lock_fits_make_says_what_is_needed_and_installs_nothing(tmp_path: Path, elsewhere: str) -> None:
    """There pip would pass over every line of a lock, and find nothing wrong in that."""
    other = tmp_path / "python"
    other.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "import platform, sys; {elsewhere}; exec(sys.argv[2])" "$@"\n'
    )
    other.chmod(0o755)
    line = ["make", f"PYTHON={other}", f"VENV={tmp_path}/venv", f"{tmp_path}/venv/.python"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "CPython 3.10 to 3.13 on Linux or macOS, x86-64 or ARM64, is needed, this is" in done.stderr
    assert not (tmp_path / "venv").exists()
