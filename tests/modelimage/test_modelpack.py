"""A ModelPack artifact over the layers of an image: what its documents say, and that it costs no weights."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage import hub_address, inspect, pack, repack
from modelimage import modelpack as modelpack_module
from modelimage.artifacts import ArtifactError
from modelimage.documents import MANIFEST_TYPE, Descriptor
from modelimage.layers import Layer, plan_layers
from modelimage.modelpack import ModelPack
from modelimage.refusals import RegistryError
from modelimage.source import SourceFile
from oci_model_serving.errors import InputError
from tests.hub import COMMIT, FakeHub
from tests.modelimage.handmade import TAR, make, shell, tar
from tests.modelimage.oci_registry import MemoryRegistry
from tests.modelimage.test_gguf_header import write_gguf

TYPE = "application/vnd.cncf.model."
V = ".v1.tar"
CONFIG = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}


def safetensors(**tensors: tuple[str, list[int], int]) -> bytes:
    """A file of tensors by name: dtype, shape, and bytes a value."""
    header: dict[str, Any] = {}
    at = 0
    for name, (dtype, shape, width) in tensors.items():
        size = width
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def documents(files: dict[str, bytes], **annotations: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration and the manifest over the layers that these files become."""
    layers = plan_layers([SourceFile.of(path, content) for path, content in files.items()])
    return of_layers(layers, **annotations)


def of_layers(layers: list[Layer], **annotations: str) -> tuple[dict[str, Any], dict[str, Any]]:
    from modelimage.documents import LAYER_TYPE
    from modelimage.streams import digest_of

    described = [
        Descriptor(mediaType=LAYER_TYPE, digest=digest_of(b"".join(layer.chunks())), size=layer.size)
        for layer in layers
    ]
    noted = {f"org.opencontainers.image.{key}": text for key, text in annotations.items()}
    config, manifest = ModelPack.of(layers, noted).written(described)
    return json.loads(b"".join(config.chunks())), json.loads(manifest.content)


def facts(**files: bytes) -> dict[str, Any]:
    found: dict[str, Any] = documents({path.replace("__", "."): content for path, content in files.items()})[0][
        "config"
    ]
    return found


def blobs(layout: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in (layout / "blobs" / "sha256").iterdir()}


def stored(layout: Path, digest: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes())
    return content


def test_it_names_the_images_own_blobs_and_adds_a_configuration_and_a_manifest_alone(
    tmp_path: Path, model: Path
) -> None:
    plain = pack(str(model), f"oci:{tmp_path / 'plain'}")
    image = pack(str(model), f"oci:{tmp_path / 'image'}", modelpack=True)
    assert image.digest == plain.digest
    artifact = image.modelpack.partition("@")[2]
    manifest = stored(tmp_path / "image", artifact)
    assert manifest["artifactType"] == f"{TYPE}manifest.v1+json"
    assert manifest["config"]["mediaType"] == f"{TYPE}config.v1+json"
    # The chunk lists are of the image: whoever unpacks the artifact wants the model's files alone.
    assert [layer["digest"] for layer in manifest["layers"]] == [layer.digest for layer in image.layers[:-1]]
    assert blobs(tmp_path / "image") - blobs(tmp_path / "plain") == {artifact, manifest["config"]["digest"]}
    assert "modelpack" not in plain.as_json()
    assert image.as_json()["modelpack"] == image.modelpack


def test_each_layer_says_its_kind_and_its_path_as_it_is_in_the_archive() -> None:
    weights = safetensors(w=("BF16", [2, 2], 2))
    _, manifest = documents({"a/model.safetensors": weights, "config.json": b"{}", "README.md": b"hello"})
    assert [(layer["mediaType"], layer["annotations"]["org.cncf.model.filepath"]) for layer in manifest["layers"]] == [
        (f"{TYPE}weight{V}", "models/a/model.safetensors"),
        (f"{TYPE}weight.config{V}", "models"),
    ]
    attributes = [json.loads(layer["annotations"]["org.cncf.model.file.metadata+json"]) for layer in manifest["layers"]]
    times = {"uid": 0, "gid": 0, "mtime": "1970-01-01T00:00:00Z"}
    assert attributes == [
        {"name": "models/a/model.safetensors", "mode": 0o644, "size": len(weights), "typeflag": ord("0"), **times},
        {"name": "models", "mode": 0o755, "size": 0, "typeflag": ord("5"), **times},
    ]


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["README.md", "LICENSE"], "doc"),
        (["README.md", "modeling_x.py"], "code"),
        (["modeling_x.py", "vocab.txt"], "weight.config"),
        (["LICENSE", "tokenizer.json"], "weight.config"),
        ([], "doc"),
    ],
)
def test_small_files_together_are_what_a_server_needs_most_of_them(files: list[str], kind: str) -> None:
    _, manifest = of_layers([Layer(tuple(SourceFile.of(path, b"x") for path in files))])
    assert [layer["mediaType"] for layer in manifest["layers"]] == [f"{TYPE}{kind}{V}"]


def test_what_is_known_of_a_model_is_said_and_nothing_else() -> None:
    files = {
        "config.json": json.dumps(CONFIG).encode(),
        "model.safetensors": safetensors(
            big=("BF16", [1200, 1000], 2), small=("F32", [10], 4), positions=("I64", [512], 8)
        ),
    }
    config, manifest = documents(files, source="https://hub/qwen", revision="abc", licenses="Apache-2.0", title="Qwen")
    assert config["config"] == {
        "architecture": "Qwen2ForCausalLM",
        "format": "safetensors",
        "paramSize": "1.2M",
        "precision": "bfloat16,float32",
        "capabilities": {"outputTypes": ["text"]},
    }
    assert config["descriptor"] == {
        "family": "qwen2",
        "name": "Qwen",
        "sourceURL": "https://hub/qwen",
        "revision": "abc",
        "licenses": ["Apache-2.0"],
    }
    layers = [layer["digest"] for layer in manifest["layers"]]
    assert config["modelfs"] == {"type": "layers", "diffIds": layers}
    assert documents({"x.txt": b"x"})[0] == {
        "config": {},
        "descriptor": {},
        "modelfs": {"type": "layers", "diffIds": config_layers({"x.txt": b"x"})},
    }


def config_layers(files: dict[str, bytes]) -> list[str]:
    return [layer["digest"] for layer in documents(files)[1]["layers"]]


def test_packed_values_are_not_counted_as_parameters() -> None:
    quantised = {**CONFIG, "quantization_config": {"quant_method": "gptq", "bits": 4}}
    found = facts(
        config__json=json.dumps(quantised).encode(),
        model__safetensors=safetensors(qweight=("I32", [100, 10], 4), scales=("F16", [100], 2)),
    )
    assert found["quantization"] == "gptq"
    assert found["precision"] == "float16"
    assert "paramSize" not in found


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("BertModel", {"outputTypes": ["embedding"]}),
        ("WhisperForConditionalGeneration", {"inputTypes": ["audio"], "outputTypes": ["text"]}),
        ("", None),
    ],
)
def test_what_a_model_puts_out_is_said_where_its_architecture_is_named(architecture: str, said: Any) -> None:
    config = {"architectures": [architecture]} if architecture else {"model_type": "x"}
    found = facts(config__json=json.dumps(config).encode(), model__safetensors=safetensors(w=("F16", [2], 2)))
    assert found.get("capabilities") == said


@pytest.mark.parametrize("config", [b"", b"[]", b"\xff", b'{"model_type": 7, "quantization_config": []}'])
def test_a_configuration_that_says_nonsense_says_nothing(config: bytes) -> None:
    files = {"config.json": config, "model.safetensors": safetensors(w=("F16", [1000], 2))}
    said = documents(files)[0]
    assert said["descriptor"] == {}
    assert said["config"] == {"format": "safetensors", "paramSize": "1K", "precision": "float16"}


def test_a_header_that_cannot_be_read_leaves_the_size_unknown() -> None:
    found = facts(model__safetensors=b"\x00" * 100, pytorch_model__bin=b"x")
    assert "paramSize" not in found
    assert facts(pytorch_model__bin=b"x") == {"format": "pt"}


def test_a_gguf_is_counted_by_its_shapes_and_its_quantised_values_have_no_precision(tmp_path: Path) -> None:
    found = facts(model__gguf=write_gguf(tmp_path / "model.gguf").read_bytes())
    values = sum((3 + number) * 64 for number in range(30)) + 64 * 32 * 4
    assert found == {"format": "gguf", "paramSize": f"{values / 1000:.1f}K"}


@given(st.integers(1, 10**18))
def test_a_number_of_parameters_is_written_as_the_specification_has_it(count: int) -> None:
    text = modelpack_module._scaled(count)
    match = re.fullmatch(r"(\d+(?:\.\d)?)([KMBTQ])", text)
    assert match
    scale = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "Q": 1e15}[match[2]]
    assert abs(float(match[1]) * scale - count) <= 0.051 * scale


def test_it_is_the_same_for_every_base_platform_and_time(tmp_path: Path, model: Path) -> None:
    def based(platform: str) -> str:
        layer = tar(*shell())
        made = make(tmp_path / platform.replace("/", "-"), [(TAR, layer)])
        said = {
            "os": "linux",
            "architecture": platform.partition("/")[2],
            "rootfs": {"type": "layers", "diff_ids": [made.manifest["layers"][0]["digest"]]},
        }
        made.manifest["config"] = {**made.manifest["config"], **made.put(json.dumps(said).encode())}
        made.put(json.dumps(made.manifest).encode())
        return made.reference

    images = [
        pack(str(model), f"oci:{tmp_path / 'a'}", modelpack=True),
        pack(str(model), f"oci:{tmp_path / 'b'}", modelpack=True, base=based("linux/amd64")),
        pack(str(model), f"oci:{tmp_path / 'c'}", modelpack=True, base=based("linux/arm64"), platform="linux/arm64"),
    ]
    assert len({image.digest for image in images}) == 3
    assert len({image.modelpack.partition("@")[2] for image in images}) == 1


def test_an_image_is_still_the_folders_own_and_the_artifact_goes_with_it(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}", modelpack=True)
    assert inspect(f"oci:{tmp_path / 'image'}").digest == image.digest
    with pytest.raises(ArtifactError, match="a ModelPack artifact"):
        inspect(image.modelpack)
    assert pack(str(model), f"oci:{tmp_path / 'image'}", modelpack=True).modelpack == image.modelpack
    assert pack(str(model), f"oci:{tmp_path / 'image'}").digest == image.digest
    assert blobs(tmp_path / "image") == blobs_of_plain(tmp_path, model)


def blobs_of_plain(tmp_path: Path, model: Path) -> set[str]:
    pack(str(model), f"oci:{tmp_path / 'plain'}")
    return blobs(tmp_path / "plain")


def test_it_is_packed_again_as_the_image_that_it_lies_beside(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}", modelpack=True)
    for again in (
        pack(image.modelpack, f"oci:{tmp_path / 'again'}", modelpack=True),
        repack(image.modelpack, f"oci:{tmp_path / 'repacked'}", modelpack=True),
    ):
        assert [layer.digest for layer in again.layers] == [layer.digest for layer in image.layers]
        assert again.modelpack


def test_a_tag_that_has_no_room_for_the_ending_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give one of at most 118, or none"):
        pack(str(tmp_path / "nothing"), f"localhost:1/m:{'a' * 119}", modelpack=True)


def test_of_the_hubs_models_the_page_and_the_commit_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = safetensors(w=("BF16", [1000, 1000], 2))
    with FakeHub() as hub:
        hub.add("org/name", {"model.safetensors": weights, "config.json": json.dumps(CONFIG).encode()})
        hub.used_by(monkeypatch, tmp_path / "hub-cache")
        monkeypatch.setattr("modelimage.hub_address.HUB", hub_address.endpoint())
        image = pack(f"hf://org/name@{COMMIT}", f"oci:{tmp_path / 'image'}", modelpack=True)
    manifest = stored(tmp_path / "image", image.modelpack.partition("@")[2])
    said = stored(tmp_path / "image", manifest["config"]["digest"])
    assert said["descriptor"]["sourceURL"].endswith("/org/name")
    assert said["descriptor"]["revision"] == COMMIT
    assert said["config"]["paramSize"] == "1M"


def test_an_artifact_whose_tag_is_refused_leaves_the_image_without_one(model: Path) -> None:
    with MemoryRegistry(immutable="v1-modelpack").running() as registry:
        other = registry.put({"schemaVersion": 2, "mediaType": MANIFEST_TYPE})
        registry.tags["v1-modelpack"] = other
        with pytest.raises(RegistryError) as refused:
            pack(str(model), f"{registry.host}/m:v1", modelpack=True)
        (artifact,) = {digest for tag, digest in registry.tags.items() if tag.startswith("digest-sha256-")}
        assert f"the artifact itself is pushed, as {registry.host}/m@{artifact}" in str(refused.value)
        assert json.loads(registry.manifests[artifact][1])["artifactType"] == f"{TYPE}manifest.v1+json"
        # The image is there in whole, without a name.
        assert "v1" not in registry.tags
        assert len(registry.manifests) == 3


def test_an_image_whose_tag_is_refused_is_named_as_the_image(model: Path) -> None:
    with MemoryRegistry(immutable="v1$").running() as registry:
        registry.tags["v1"] = registry.put({"schemaVersion": 2, "mediaType": MANIFEST_TYPE})
        with pytest.raises(RegistryError, match="the image itself is pushed, as") as refused:
            pack(str(model), f"{registry.host}/m:v1", modelpack=True)
        digest = registry.tags["v1-modelpack"]
        assert digest not in str(refused.value)


def test_the_same_image_packed_again_keeps_its_artifact_in_a_layout_and_another_brings_its_own(
    tmp_path: Path, model: Path
) -> None:
    first = pack(str(model), f"oci:{tmp_path / 'image'}", modelpack=True)
    assert pack(str(model), f"oci:{tmp_path / 'image'}", modelpack=True).modelpack == first.modelpack
    (model / "config.json").write_text("{}")
    second = pack(str(model), f"oci:{tmp_path / 'image'}", modelpack=True)
    index = json.loads((tmp_path / "image" / "index.json").read_text())
    artifact = second.modelpack.partition("@")[2]
    assert [entry["digest"] for entry in index["manifests"]] == [second.digest, artifact]
    config = stored(tmp_path / "image", artifact)["config"]["digest"]
    assert config in blobs(tmp_path / "image")
    assert first.modelpack.partition("@")[2] not in blobs(tmp_path / "image")
