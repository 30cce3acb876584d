"""What is no image is told by its name, and how to get an image of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelimage import ImageError, copy, inspect, pack
from modelimage.artifacts import ArtifactError
from tests.modelimage.handmade import GZIP, TAR, make, tar

V = "application/vnd."
DOCKER_CONFIG = f"{V}docker.container.image.v1+json"
PATH = {"org.cncf.model.filepath": "model.safetensors"}
TITLE = {"org.opencontainers.image.title": "model.gguf"}
PACK = "a ModelPack artifact (modctl, docker model, KitOps)"
MODELS = [
    (f"{V}cncf.model.manifest.v1+json", f"{V}cncf.model.config.v1+json", f"{V}cncf.model.weight.v1.raw", PATH, PACK),
    ("", f"{V}cncf.model.config.v1+json", f"{V}cncf.model.weight.v1.tar", {}, PACK),
    ("", f"{V}kitops.modelkit.config.v1+json", f"{V}kitops.modelkit.model.v1.tar+gzip", {}, "a ModelKit"),
    ("", f"{V}docker.ai.model.config.v0.2+json", f"{V}docker.ai.safetensors", PATH, "Docker Model Runner"),
    ("", DOCKER_CONFIG, f"{V}ollama.image.model", {}, "an Ollama model"),
    (f"{V}example+type", f"{V}oci.empty.v1+json", f"{V}example", TITLE, f"(ORAS) of type '{V}example+type'"),
    (f"{V}example+type", f"{V}oci.empty.v1+json", GZIP, {}, "an artifact (ORAS)"),
    ("", f"{V}unknown.config.v1+json", "application/octet-stream", TITLE, "an artifact (ORAS)"),
]  # fmt: skip
OTHERS = [
    ("", f"{V}cncf.helm.config.v1+json", f"{V}cncf.helm.chart.content.v1.tar+gzip", "a Helm chart"),
    ("", "application/vnd.oci.image.config.v1+json", f"{V}dev.cosign.simplesigning.v1+json", "a signature"),
    (f"{V}dev.sigstore.bundle.v0.3+json", f"{V}oci.empty.v1+json", f"{V}dev.sigstore.bundle.v0.3+json", "a signature"),
    ("", "application/vnd.oci.image.config.v1+json", f"{V}in-toto+json", "an attestation"),
    ("", f"{V}wasm.config.v0+json", "application/wasm", "a WebAssembly module"),
]


def made(place: Path, artifact: str, config: str, layer: str, noted: dict[str, str]) -> str:
    more: dict[str, Any] = {"artifactType": artifact} if artifact else {}
    return make(place, [(layer, b"w" * 100, noted)], config_type=config, **more).reference


@pytest.mark.parametrize(("artifact", "config", "layer", "noted", "name"), MODELS)
def test_a_model_that_is_no_image_is_named_and_told_how_to_become_one(
    tmp_path: Path, artifact: str, config: str, layer: str, noted: dict[str, str], name: str
) -> None:
    reference = made(tmp_path / "made", artifact, config, layer, noted)
    with pytest.raises(ArtifactError) as caught:
        inspect(reference)
    said = str(caught.value)
    assert name in said
    assert "containerd mounts images only: pack it as an image" in said
    assert ("oms image repack" in said) == bool(noted or "tar" in layer)
    assert "\n" not in said


@pytest.mark.parametrize(("artifact", "config", "layer", "name"), OTHERS)
def test_what_holds_no_model_is_not_to_be_packed(
    tmp_path: Path, artifact: str, config: str, layer: str, name: str
) -> None:
    with pytest.raises(ArtifactError, match=rf"this is {name}.*give the reference of the image itself"):
        inspect(made(tmp_path / "made", artifact, config, layer, {}))


@pytest.mark.parametrize("config", ["application/vnd.oci.image.config.v1+json", DOCKER_CONFIG])
@pytest.mark.parametrize("layer", [TAR, GZIP, f"{TAR}+zstd", f"{V}docker.image.rootfs.diff.tar.gzip"])
def test_an_image_of_any_maker_is_one(tmp_path: Path, config: str, layer: str) -> None:
    found = inspect(make(tmp_path / "made", [(layer, tar())], config_type=config).reference)
    assert found.platform == "linux/amd64"


def test_an_artifact_is_neither_copied_as_an_image_nor_built_upon(tmp_path: Path, model: Path) -> None:
    reference = made(tmp_path / "made", *MODELS[0][:4])
    with pytest.raises(ImageError, match="ModelPack"):
        copy(reference, f"oci:{tmp_path / 'copied'}")
    with pytest.raises(ImageError, match="ModelPack"):
        pack(str(model), f"oci:{tmp_path / 'image'}", base=reference)
    assert not (tmp_path / "copied").exists()
    assert not (tmp_path / "image").exists()


def test_a_type_of_any_length_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        inspect(made(tmp_path / "made", f"{V}\x1b[31m" + "x" * 100_000, f"{V}oci.empty.v1+json", f"{V}x", {}))
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)
