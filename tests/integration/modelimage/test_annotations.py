"""What `oras pull` makes of an image of ours: one archive a layer, under the name that its title says."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from modelimage import pack
from modelimage.streams import digest_of
from tests.registry import RegistryServer
from tests.weights import safetensors_bytes

pytestmark = pytest.mark.integration


def test_oras_pulls_each_layer_as_the_archive_that_its_title_names(
    registry: RegistryServer, tmp_path: Path, model: Path
) -> None:
    if not shutil.which("oras"):
        pytest.skip("oras is not installed (Go: oras.land/oras/cmd/oras)")
    # A folder that is called as an archive is, and a name that leaves no room for an ending.
    (model / "a.tar").mkdir()
    for name in ("a", "a.tar/b.gguf", f"{'n' * 250}.gguf"):
        (model / name).write_bytes(
            b"GGUF" + bytes([3, 0, 0, 0]) + bytes(16) if name.endswith("gguf") else bytes(70 << 20)
        )
    (model / "nested" / "model.safetensors").write_bytes(safetensors_bytes(b"x"))
    image = pack(str(model), f"{registry.host}/m:v1", allow=["*"])
    pulled = tmp_path / "pulled"
    subprocess.run(
        ["oras", "pull", "--plain-http", f"{registry.host}/m:v1", "-o", str(pulled)], check=True, capture_output=True
    )
    archives = [path for path in pulled.rglob("*") if path.is_file()]
    *layers, _ = image.layers  # that of the chunk lists has no title
    assert {digest_of(path.read_bytes()) for path in archives} == {layer.digest for layer in layers}
    files: set[str] = set()
    for path in archives:
        with tarfile.open(path) as archive:
            files |= {entry.name for entry in archive if entry.isfile()}
    packed = [path for path in model.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert files == {f"models/{path.relative_to(model).as_posix()}" for path in packed}
    assert (pulled / "model-00001-of-00003.safetensors.tar").is_file()
    assert (pulled / "nested" / "model.safetensors.tar").is_file()
