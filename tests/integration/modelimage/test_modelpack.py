"""ModelPack in others' hands: the specification's own schema, modctl, and a registry with both names of the blobs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from modelimage import ImageError, cache, copy, inspect, pack
from modelimage.forecast import Prospect, forecasts
from modelimage.patience import RetryPolicy
from modelimage.tiny import write_tiny_model
from oci_model_serving.errors import InputError
from oci_model_serving.reference import DIGEST_TAG_PREFIX, digest_tag, packed_tag
from tests.integration.modelimage.proxy import Fault, FaultProxy
from tests.registry import RegistryServer

pytestmark = pytest.mark.integration

SPECIFICATION = "github.com/modelpack/model-spec@v0.0.7"
Modctl = Callable[..., str]


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The specification's schema of configurations, as its Go module has it."""
    if not shutil.which("go"):
        pytest.skip("go is not installed, which fetches the specification")
    done = subprocess.run(
        ["go", "mod", "download", "-json", SPECIFICATION],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path_factory.mktemp("go"),
        env={**os.environ, "GOFLAGS": "-mod=mod"},
    )
    if done.returncode:
        pytest.skip(f"{SPECIFICATION} cannot be had here: {(done.stdout + done.stderr)[-300:]}")
    found: dict[str, Any] = json.loads((Path(json.loads(done.stdout)["Dir"]) / "schema/config-schema.json").read_text())
    return found


@pytest.fixture
def modctl(tmp_path: Path) -> Modctl:
    """Run modctl with a storage of its own."""
    if not shutil.which("modctl"):
        pytest.skip("modctl is not installed (Go: github.com/modelpack/modctl v0.2.2)")

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            ["modctl", *(str(word) for word in words), "--storage-dir", str(tmp_path / "modctl"), "--no-progress"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written just now count as settled, so that a second run knows their layers' digests."""
    monkeypatch.setattr(cache, "RACY_SECONDS", 0.0)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = write_tiny_model(str(tmp_path / "tiny"))
    (folder / "nested").mkdir()
    (folder / "nested" / "extra.json").write_text("{}")
    (folder / "README.md").write_text("A model.")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def configuration(registry: RegistryServer, repository: str, name: str) -> Any:
    digest = registry.manifest(repository, name).json()["config"]["digest"]
    return httpx.get(f"http://{registry.host}/v2/{repository}/blobs/{digest}").json()


def wrong(schema: dict[str, Any], said: Any) -> list[str]:
    validator: Any = jsonschema.Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(said)]


def blobs(registry: RegistryServer) -> set[str]:
    return {path.parent.name for path in registry.storage.rglob("blobs/sha256/*/*/data")}


def test_its_configuration_is_valid_by_the_specifications_schema(
    registry: RegistryServer, schema: dict[str, Any], tiny: Path, model: Path
) -> None:
    for name, folder in (("tiny", tiny), ("plain", model)):
        pack(str(folder), f"{registry.host}/{name}:v1", modelpack=True)
        said = configuration(registry, name, "v1-modelpack")
        assert wrong(schema, said) == []
        assert wrong(schema, {**said, "more": 1})
        assert wrong(schema, {key: part for key, part in said.items() if key != "modelfs"})
    assert configuration(registry, "tiny", "v1-modelpack")["config"] == {
        "architecture": "Qwen2ForCausalLM",
        "format": "safetensors",
        "paramSize": "1.1M",
        "precision": "bfloat16",
        "capabilities": {"outputTypes": ["text"]},
    }


@pytest.mark.usefixtures("remembered")
def test_a_registry_has_one_copy_of_the_weights_under_both_names_and_keeps_both(
    registry: RegistryServer, tiny: Path
) -> None:
    image = pack(str(tiny), f"{registry.host}/tiny:v1")
    before = blobs(registry)
    again = pack(str(tiny), f"{registry.host}/tiny:v1", modelpack=True)
    artifact = again.modelpack.partition("@")[2]
    assert (again.digest, any(layer.uploaded for layer in again.layers)) == (image.digest, False)
    config = registry.manifest("tiny", artifact).json()["config"]["digest"]
    assert {f"sha256:{name}" for name in blobs(registry) - before} == {artifact, config}
    tags = {"v1": image.digest, "v1-modelpack": artifact}
    tags |= {digest_tag(digest): digest for digest in (image.digest, artifact)}
    tags[packed_tag(image.digest)] = image.digest
    assert set(registry.tags("tiny")) == set(tags)
    assert {tag: registry.manifest("tiny", tag).headers["docker-content-digest"] for tag in tags} == tags
    assert digest_tag(artifact).startswith(DIGEST_TAG_PREFIX)
    assert inspect(image.reference, require_digest_tag=True).digest == image.digest
    assert pack(str(tiny), f"{registry.host}/untagged", modelpack=True).modelpack.endswith(artifact)
    assert set(registry.tags("untagged")) == {
        packed_tag(image.digest),
        *(digest_tag(digest) for digest in (image.digest, artifact)),
    }


def test_modctl_pulls_the_files_of_the_model(
    registry: RegistryServer, modctl: Modctl, tiny: Path, tmp_path: Path
) -> None:
    pack(str(tiny), f"{registry.host}/tiny:v1", modelpack=True)
    name, out = f"{registry.host}/tiny:v1-modelpack", tmp_path / "out"
    modctl("pull", "--plain-http", "--extract-from-remote", "--extract-dir", out, name)
    assert files(out / "models") == files(tiny)
    assert [path.name for path in out.iterdir()] == ["models"]
    modctl("fetch", "--plain-http", "--output", tmp_path / "some", "--patterns", "models/*.safetensors", name)
    assert set(files(tmp_path / "some")) == {f"models/{path}" for path in files(tiny) if path.endswith(".safetensors")}
    said = json.loads(modctl("inspect", "--remote", "--plain-http", name))
    assert (said["Family"], said["Format"], said["ParamSize"]) == ("qwen2", "safetensors", "1.1M")


def test_what_modctl_has_built_is_packed_as_the_folder_is(
    registry: RegistryServer, modctl: Modctl, tiny: Path, tmp_path: Path
) -> None:
    expected = pack(str(tiny), f"oci:{tmp_path / 'expected'}")
    modctl("modelfile", "generate", tiny, "--output", tmp_path)
    built = f"{registry.host}/built:v1"
    modctl("build", "-t", built, "-f", tmp_path / "Modelfile", tiny, "--output-remote", "--plain-http", "--raw")
    digest = registry.manifest("built", "v1").headers["docker-content-digest"]
    with pytest.raises(InputError, match=rf"write oci://{registry.host}/built@{digest}"):
        pack(f"oci://{built}", f"{registry.host}/models")
    source = f"oci://{registry.host}/built@{digest}"
    told = forecasts({"": Prospect(source)})[""]
    image = pack(source, f"{registry.host}/models")
    assert [layer.digest for layer in image.layers] == [layer.digest for layer in expected.layers]
    assert told is not None
    assert told.layer_sizes == tuple(layer.size_bytes for layer in image.layers)
    assert told.traits == image.traits


def test_an_image_by_a_tag_is_refused_with_the_digest_that_the_registry_tells(
    registry: RegistryServer, model: Path, tmp_path: Path
) -> None:
    image = pack(str(model), f"{registry.host}/tiny:v1")
    with pytest.raises(InputError, match=rf"'v1' is a tag.*: write oci://{image.reference}$"):
        pack(f"oci://{registry.host}/tiny:v1", f"oci:{tmp_path / 'image'}")
    again = pack(f"oci://{image.reference}", f"oci:{tmp_path / 'image'}")
    assert [layer.digest for layer in again.layers] == [layer.digest for layer in image.layers]


def test_a_plan_asks_a_registry_once(registry: RegistryServer, model: Path) -> None:
    image = pack(str(model), f"{registry.host}/tiny:v1")
    source = f"oci://{image.reference}"
    told = forecasts({"": Prospect(source)})[""]
    assert told is not None
    assert told.layer_sizes == tuple(layer.size_bytes for layer in image.layers)
    registry.stop()
    assert forecasts({"": Prospect(source)})[""] == told


def test_a_files_artifact_of_oras_is_a_source(registry: RegistryServer, tiny: Path, tmp_path: Path) -> None:
    if not shutil.which("oras"):
        pytest.skip("oras is not installed (Go: oras.land/oras/cmd/oras)")
    names = sorted(files(tiny))
    done = subprocess.run(
        ["oras", "push", "--plain-http", f"{registry.host}/oras:v1", *names],
        capture_output=True,
        text=True,
        check=False,
        cwd=tiny,
    )
    assert done.returncode == 0, done.stderr
    digest = registry.manifest("oras", "v1").headers["docker-content-digest"]
    image = pack(f"oci://{registry.host}/oras@{digest}", f"oci:{tmp_path / 'image'}")
    expected = pack(str(tiny), f"oci:{tmp_path / 'expected'}")
    assert [layer.digest for layer in image.layers] == [layer.digest for layer in expected.layers]


@pytest.mark.usefixtures("remembered")
def test_an_image_for_arm_gets_its_tag_and_is_copied_and_read(registry: RegistryServer, model: Path) -> None:
    arm = pack(str(model), f"{registry.host}/tiny:arm", platform="linux/arm64")
    intel = pack(str(model), f"{registry.host}/tiny:intel")
    assert not any(layer.uploaded for layer in intel.layers)
    found = inspect(arm.reference, require_digest_tag=True)
    assert (found.platform, found.digest) == ("linux/arm64", arm.digest)
    assert copy(arm.reference, f"{registry.host}/other").digest == arm.digest


@pytest.mark.usefixtures("remembered")
def test_an_artifact_that_is_refused_leaves_the_image_without_a_name_and_the_next_run_completes_it(
    registry: RegistryServer, proxy: FaultProxy, model: Path
) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"no artifacts here"}]}'
    proxy.faults = [Fault("PUT", "/manifests/v1-modelpack", times=99, status=400, body=body)]
    with pytest.raises(ImageError, match="no artifacts here"):
        pack(str(model), f"{proxy.host}/m:v1", modelpack=True, policy=RetryPolicy(attempts=2, first_seconds=0.01))
    assert {"v1", "v1-modelpack"}.isdisjoint(registry.tags("m"))
    proxy.faults = []
    again = pack(str(model), f"{proxy.host}/m:v1", modelpack=True)
    assert not any(layer.uploaded for layer in again.layers)
    assert registry.manifest("m", "v1").headers["docker-content-digest"] == again.digest
    assert registry.manifest("m", "v1-modelpack").headers["docker-content-digest"] == again.modelpack.partition("@")[2]


def test_a_source_that_breaks_off_each_time_becomes_no_image(
    registry: RegistryServer, proxy: FaultProxy, model: Path
) -> None:
    image = pack(str(model), f"{registry.host}/source:v1")
    proxy.faults = [Fault("GET", "/blobs/", times=999, cut_answer_after=100)]
    policy = RetryPolicy(attempts=2, first_seconds=0.01)
    with pytest.raises(ImageError):
        pack(f"oci://{proxy.host}/source@{image.digest}", f"{registry.host}/made:v1", policy=policy)
    assert registry.tags("made") == []
