"""Images of other tools in a real registry: listed by ranges, held against deliveries, and repacked."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from modelimage import inspect, pack, repack
from oci_model_serving.delivery import Delivery
from oci_model_serving.errors import InputError
from tests.integration.modelimage.proxy import Fault, FaultProxy
from tests.registry import RegistryServer

pytestmark = pytest.mark.integration


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def need(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed (Debian: {program})")


def test_an_image_in_a_registry_is_listed_without_its_weights(proxy: FaultProxy, model: Path) -> None:
    (model / "config.json").write_text('{"architectures": ["Qwen2ForCausalLM"]}')
    (model / "model-00004.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}" + bytes(3_000_000))
    image = pack(str(model), f"{proxy.host}/m:v1", ignore=["model-00004*"])
    proxy.log.clear()
    found = inspect(image.reference, files=True)
    assert {file.path for file in found.files} >= {"models/config.json", "models/nested/extra.txt"}
    assert (found.traits.architecture, found.unread) == ("Qwen2ForCausalLM", ())
    # The manifest, the configuration, the tag, and at most two parts of each layer.
    assert len(proxy.log) <= 3 + 2 * len(image.layers)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_an_image_that_another_tool_has_compressed_is_listed_or_said_not_to_be(
    registry: RegistryServer, tmp_path: Path, model: Path, compression: str
) -> None:
    need("skopeo")
    (model / "config.json").write_text("{}")
    pack(str(model), f"oci:{tmp_path / 'image'}")
    target = f"{registry.host}/{compression}:v1"
    run("skopeo", "copy", "--dest-tls-verify=false", "--dest-compress-format", compression, "--dest-compress",
        f"oci:{tmp_path / 'image'}", f"docker://{target}")  # fmt: skip
    found = inspect(target, files=True, purpose=Delivery.NATIVE)
    if compression == "gzip":
        assert found.unread == ()
        again = repack(target, f"{registry.host}/again:v1")
        assert [layer.digest for layer in again.layers] == [
            layer.digest for layer in pack(str(model), f"oci:{tmp_path / 'other'}").layers
        ]
    else:
        assert "is not read here" in found.unread[0]


def test_an_image_that_buildah_has_built_is_held_against_deliveries_and_repacked(
    registry: RegistryServer, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("buildah")
    monkeypatch.delenv("DOCKER_CONFIG")  # buildah insists that the file is there
    (model / "config.json").write_text("{}")
    (model / "stale.txt").write_text("stale")
    storage = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "runroot"), "--storage-driver", "vfs"]
    container = run("buildah", *storage, "from", "scratch").strip()
    run("buildah", *storage, "copy", container, model, "/")
    run("buildah", *storage, "commit", container, "localhost/first:v1")
    second = run("buildah", *storage, "from", "localhost/first:v1").strip()
    mounted = Path(run("buildah", *storage, "mount", second).strip())
    (mounted / "stale.txt").unlink()
    (mounted / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    run("buildah", *storage, "umount", second)
    run("buildah", *storage, "commit", second, "localhost/second:v1")
    target = f"{registry.host}/built:v1"
    run("buildah", *storage, "push", "--tls-verify=false", "localhost/second:v1", f"docker://{target}")
    found = inspect(target, files=True)
    assert len(found.layers) == 2
    assert "stale.txt" not in {file.path for file in found.files}
    assert (found.traits.architecture, found.model_folder) == ("LlamaForCausalLM", "/")
    with pytest.raises(InputError, match="a model lies in the root"):
        inspect(found.reference, purpose=Delivery.NATIVE)
    image = repack(found.reference, f"{registry.host}/repacked")
    for delivery in (Delivery.NATIVE, Delivery.KUBEAI):
        inspect(image.reference, purpose=delivery, require_digest_tag=True)


def test_a_broken_connection_does_not_end_a_repack(proxy: FaultProxy, model: Path) -> None:
    image = pack(str(model), f"{proxy.host}/m:v1")
    largest = max(image.layers, key=lambda layer: layer.size_bytes).digest
    proxy.faults = [Fault("GET", f"/blobs/{largest}", cut_answer_after=50_000, times=2)]
    again = repack(image.reference, f"{proxy.host}/again")
    assert [layer.digest for layer in again.layers] == [layer.digest for layer in image.layers]
    assert json.dumps(again.as_json())
