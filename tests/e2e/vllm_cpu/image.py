"""The server's image with the real vLLM in it, in place of the stand-in: its packages are a second layer."""

import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.e2e import server_image
from tests.e2e.vllm_cpu.install import SITE

_PLACE = "opt/vllm"
ENVIRONMENT = {
    "PYTHONPATH": f"/{_PLACE}",
    # A compiler is no part of the image, and what would be compiled is done without (the sampler, at every start).
    "TORCH_COMPILE_DISABLE": "1",
    # GiB; vLLM takes half of the machine's memory otherwise.
    "VLLM_CPU_KVCACHE_SPACE": "1",
}
"""The image's own, as that of vLLM's images: nothing of it is in the manifests."""
# Headers and archives are for building on it; a server imports no tests.
_LEFT_OUT = {"include", "test", "tests"}


def push(registry: str, repository: str, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Build the image in `folder`, push it, and return its reference by digest.

    Args:
        registry: its host.
        repository: where in it.
        folder: for what is written meanwhile.
        environment: more of the image's own.
    """
    layer = folder / "packages.tar"
    with tarfile.open(layer, "w") as tar:
        for file in _files(SITE):
            server_image.add(tar, file, f"/{_PLACE}/{file.relative_to(SITE)}")
    try:
        return server_image.push(
            registry,
            repository,
            folder,
            _add,
            modules=None,
            layers=[layer],
            environment={**ENVIRONMENT, **(environment or {})},
        )
    finally:
        layer.unlink()


def _files(folder: Path) -> Iterator[Path]:
    for found in sorted(folder.iterdir()):
        if found.is_dir() and found.name not in _LEFT_OUT:
            yield from _files(found)
        elif found.is_file() and found.suffix != ".a":
            yield found


def _add(tar: tarfile.TarFile) -> None:
    # How vLLM learns of the processors.
    lscpu = Path(shutil.which("lscpu") or "")
    server_image.add(tar, lscpu, "/bin/lscpu")
    linked = server_image.shared_libraries([lscpu, *(file for file in _files(SITE) if ".so" in file.suffixes)])
    for library in linked - server_image.interpreters_libraries():
        if not library.is_relative_to(SITE):
            server_image.add(tar, library, str(library))
