"""The package that consumers install: what is in it, and what their type checker sees."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """\
import pulumi
from components import mine
from oci_model_serving import outputs

stack = outputs.read(pulumi.StackReference("acme/oci-model-serving/dev"))
url: pulumi.Output[str] = stack.apply(lambda read: read.model(mine.KEY).url)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("the build backend cannot be fetched here")
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("oci_model_serving-*.whl")
    return file


@pytest.fixture(scope="module")
def consumer(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with a `components` of its own, and an environment that has the wheel beside what it depends on."""
    folder = tmp_path_factory.mktemp("consumer")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    (folder / "components").mkdir()
    (folder / "components" / "__init__.py").touch()
    (folder / "components" / "mine.py").write_text('KEY = "chat"\n')
    return folder


def checked(consumer: Path, program: str) -> str:
    (consumer / "program.py").write_text(program)
    python = str(consumer / "venv" / "bin" / "python")
    line = [sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "program.py"]
    environment = {**os.environ, "MYPY_CACHE_DIR": str(consumer / "cache")}
    return subprocess.run(
        line, cwd=consumer, env=environment, capture_output=True, text=True, check=False
    ).stdout.strip()


def test_the_wheel_holds_the_ground_and_its_types_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"oci_model_serving"}
    assert "oci_model_serving/py.typed" in names


def test_a_consumers_strict_type_check_sees_real_types(consumer: Path) -> None:
    assert "Success" in checked(consumer, PROGRAM)
    assert '"ModelOutput" has no attribute "urll"' in checked(consumer, PROGRAM.replace(".url)", ".urll)"))


def test_a_consumers_own_components_stay_its_own(consumer: Path) -> None:
    code = (
        "from components import mine; from oci_model_serving import outputs; print(mine.KEY, outputs.CONTRACT_VERSION)"
    )
    line = [str(consumer / "venv" / "bin" / "python"), "-c", code]
    done = subprocess.run(line, cwd=consumer, capture_output=True, text=True, check=False)
    assert done.stdout == "chat 1\n", done.stderr
