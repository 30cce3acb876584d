"""An image, or a model's artifact, as a source by its digest: packed, foretold and fetched without the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelimage import ImageError, fingerprint, inspect, pack, write_context
from modelimage import forecast as forecast_module
from modelimage.artifacts import ArtifactError
from modelimage.errors import DigestMismatchError
from modelimage.forecast import Forecast, Prospect, forecasts
from modelimage.origins import check_source
from modelimage.patience import RetryPolicy
from modelimage.registry import Registry
from modelimage.source import Selection
from oci_model_serving.errors import InputError
from tests.modelimage.handmade import GZIP, MODEL, TAR, make, model_in, packed, tar
from tests.weights import write_model

V = "application/vnd.cncf.model."
DIGEST = "sha256:" + "a" * 64


def raw(files: dict[str, bytes]) -> list[tuple[str, bytes, dict[str, str]]]:
    """Layers as modctl and docker model write them: each a file as it stands."""
    return [(f"{V}weight.v1.raw", content, {"org.cncf.model.filepath": path}) for path, content in files.items()]


def artifact(place: Path, files: dict[str, bytes]) -> str:
    return make(place, raw(files), config_type=f"{V}config.v1+json").reference


def told(source: str, selection: Selection | None = None) -> Forecast | None:
    return forecasts({"": Prospect(source, selection or Selection())})[""]


def test_an_artifact_becomes_the_image_that_its_files_in_a_folder_become(tmp_path: Path) -> None:
    files = {**MODEL, "nested/extra.txt": b"extra"}
    folder = tmp_path / "folder"
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    expected = pack(str(folder), f"oci:{tmp_path / 'expected'}")
    image = pack(artifact(tmp_path / "made", files), f"oci:{tmp_path / 'image'}")
    assert [layer.digest for layer in image.layers] == [layer.digest for layer in expected.layers]
    assert image.traits == expected.traits
    assert inspect(image.reference).annotations["oci-model-serving.repacked-from"].startswith("sha256:")


def test_files_are_chosen_and_cut_as_of_any_source(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    chosen = pack(image.reference, f"oci:{tmp_path / 'chosen'}", ignore=["nested/"])
    assert {file.path for file in inspect(chosen.reference, files=True).files if "nested" in file.path} == set()
    with pytest.raises(InputError, match="is no adapter"):
        pack(image.reference, f"oci:{tmp_path / 'adapter'}", adapter=True)


def test_an_adapter_is_packed_as_one_only_if_it_is_said_to_be_one(tmp_path: Path) -> None:
    files = {"adapter_config.json": b'{"r": 8}', "adapter_model.safetensors": MODEL["model.safetensors"]}
    reference = artifact(tmp_path / "made", {f"models/{path}": content for path, content in files.items()})
    with pytest.raises(InputError, match="--adapter"):
        pack(reference, f"oci:{tmp_path / 'image'}")
    assert pack(reference, f"oci:{tmp_path / 'image'}", adapter=True).traits.lora_rank == 8


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("oci://localhost:1/models", "there is no digest: write oci://localhost:1/models@sha256:<64 hex digits>"),
        (
            "oci://localhost:1/models:v1",
            "'v1' is a tag, which may mean another image tomorrow: write oci://localhost:1",
        ),
        ("oci://models@sha256:abc", "write oci://HOST/REPO@sha256:…: "),
        ("oci://", "write oci://HOST/REPO@sha256:…: "),
        ("oci:", "write oci:FOLDER@sha256:…: "),
        (f"oci://localhost:1/Models@{DIGEST}", "lower-case"),
    ],
)
def test_what_names_no_image_by_digest_is_refused_with_what_to_write(tmp_path: Path, text: str, said: str) -> None:
    for attempt in (lambda: pack(text, f"oci:{tmp_path / 'image'}"), lambda: check_source(text)):
        with pytest.raises(InputError) as caught:
            attempt()
        assert len(caught.value.problems) == 1
        assert said in str(caught.value)


def test_a_layouts_own_digest_is_what_to_write(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    with pytest.raises(InputError) as caught:
        pack(f"oci:{tmp_path / 'image'}", f"oci:{tmp_path / 'again'}")
    assert f"there is no digest: write {image.reference}" in str(caught.value)


def test_a_bad_destination_is_told_before_an_image_is_read(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        pack(f"oci:{tmp_path / 'nothing'}@{DIGEST}", "nowhere", platform="x")
    assert len(caught.value.problems) == 2


def test_bytes_that_are_not_the_digests_are_packed_nowhere(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    layer = tmp_path / "image" / "blobs" / "sha256" / image.layers[0].digest.removeprefix("sha256:")
    layer.write_bytes(layer.read_bytes()[:-1] + b"x")
    with pytest.raises(DigestMismatchError):
        pack(image.reference, f"oci:{tmp_path / 'again'}")
    assert not (tmp_path / "again").exists()


def test_what_is_foretold_of_an_image_is_what_is_packed(tmp_path: Path, model: Path) -> None:
    sources = [
        pack(str(model), f"oci:{tmp_path / 'image'}").reference,
        make(tmp_path / "plain", [(TAR, tar(*model_in("")))]).reference,
        artifact(tmp_path / "artifact", {**MODEL, "tokenizer.json": b"{}"}),
    ]
    for number, source in enumerate(sources):
        foretold = told(source)
        image = pack(source, f"oci:{tmp_path / f'packed-{number}'}")
        assert foretold is not None
        assert not foretold.problems
        assert foretold.layer_sizes == tuple(layer.size_bytes for layer in image.layers)
        assert foretold.traits == image.traits
        assert foretold.format == "safetensors"


def test_a_plan_reads_no_weights_of_an_image(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = pack(str(model), f"oci:{tmp_path / 'image'}").reference

    def read(*_: object, **__: object) -> None:
        raise AssertionError("the layers were read")

    monkeypatch.setattr("modelimage.image_source.CheckedImage.read", read)
    assert told(reference) is not None


def test_what_cannot_be_packed_is_told_in_the_plan_and_what_cannot_be_told_is_not(tmp_path: Path) -> None:
    no_model = make(tmp_path / "none", [(TAR, tar(*model_in("a/"), *model_in("b/")))]).reference
    refused = told(no_model)
    assert refused is not None
    assert "holds several models" in refused.problems[0]
    large = make(tmp_path / "zstd", [(f"{TAR}+zstd", b"x" * 100)]).reference
    assert told(large) is None
    assert told(f"oci:{tmp_path / 'nothing'}@{DIGEST}") is None


def test_a_compressed_image_is_foretold_where_its_files_can_be_listed(tmp_path: Path) -> None:
    reference = make(tmp_path / "made", [(GZIP, packed(tar(*model_in(""))))]).reference
    foretold = told(reference)
    assert foretold is not None
    assert foretold.traits.architecture == "Qwen2ForCausalLM"


def test_a_registry_that_is_silent_keeps_no_plan_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast_module, "_silent", set())
    source = f"oci://no-such-host.invalid/models@{DIGEST}"
    assert forecasts({"": Prospect(source)}, seconds=0.2) == {"": None}
    assert forecast_module._silent == {"https://no-such-host.invalid"}


def test_an_address_by_digest_is_hashed_as_it_is_written() -> None:
    one, two = (fingerprint(f"oci://host.example/models@sha256:{letter * 64}") for letter in "ab")
    assert one != two
    assert one == fingerprint(f"oci://host.example/models@{DIGEST}")


def test_a_docker_context_has_the_images_files(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    reference = pack(str(model), f"oci:{tmp_path / 'image'}").reference
    expected = write_context(str(model), str(tmp_path / "expected"))
    found = write_context(reference, str(tmp_path / "context"))
    assert found.size_bytes == expected.size_bytes

    def files(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert files(tmp_path / "context") == files(tmp_path / "expected")


def test_a_model_that_became_an_artifact_of_nothing_else_is_no_source(tmp_path: Path) -> None:
    chart = make(
        tmp_path / "chart",
        [("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"x")],
        config_type="application/vnd.cncf.helm.config.v1+json",
    )
    with pytest.raises(ImageError, match="a Helm chart"):
        pack(chart.reference, f"oci:{tmp_path / 'image'}")


def test_annotations_of_where_the_model_came_from_are_kept(tmp_path: Path) -> None:
    noted = {"org.opencontainers.image.source": "https://hub/qwen", "org.opencontainers.image.created": "now"}
    made = make(tmp_path / "made", [(TAR, tar(*model_in("models/")))], annotations=noted)
    image = pack(made.reference, f"oci:{tmp_path / 'image'}", modelpack=True)
    assert inspect(image.reference).annotations["org.opencontainers.image.source"] == "https://hub/qwen"
    manifest = json.loads((tmp_path / "image" / "blobs" / "sha256" / image.modelpack.rpartition(":")[2]).read_text())
    config = json.loads((tmp_path / "image/blobs/sha256" / manifest["config"]["digest"][7:]).read_text())
    assert config["descriptor"]["sourceURL"] == "https://hub/qwen"


def test_what_looks_at_an_image_aside_sends_the_destinations_credentials_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "secret")
    owned: list[bool] = []
    real = Registry.__init__

    def opened(self: Registry, *arguments: Any, own: bool = True, **more: Any) -> None:
        owned.append(own)
        real(self, *arguments, own=own, **more)

    monkeypatch.setattr(Registry, "__init__", opened)
    with pytest.raises(InputError):
        check_source("oci://localhost:1/models:v1")
    assert told(f"oci://localhost:1/models@{DIGEST}") is None
    with pytest.raises(ImageError):
        pack(f"oci://localhost:1/models@{DIGEST}", "localhost:2/models", policy=RetryPolicy(attempts=1))
    assert owned == [False, False, False]


def test_an_artifact_as_an_image_is_told_how_a_stack_takes_it(tmp_path: Path) -> None:
    reference = artifact(tmp_path / "made", MODEL)
    with pytest.raises(ArtifactError) as caught:
        inspect(reference)
    assert f"(a stack: source: {reference})" in str(caught.value)
    assert pack(reference, f"oci:{tmp_path / 'image'}")


@pytest.mark.parametrize("title", ["config.json", "model.safetensors"])
def test_what_oras_pushes_without_a_type_is_the_file_that_it_is_titled(tmp_path: Path, title: str) -> None:
    layers = [(TAR, content, {"org.opencontainers.image.title": path}) for path, content in MODEL.items()]
    made = make(
        tmp_path / "made", layers, config_type="application/vnd.oci.empty.v1+json", artifactType="application/vnd.x"
    )
    image = pack(made.reference, f"oci:{tmp_path / 'image'}")
    assert f"models/{title}" in {file.path for file in inspect(image.reference, files=True).files}
    foretold = told(made.reference)
    assert foretold is not None
    assert foretold.layer_sizes == tuple(layer.size_bytes for layer in image.layers)


@pytest.mark.parametrize("noted", [{}, {"org.opencontainers.image.title": "model.tar"}])
def test_an_archive_that_oras_pushes_is_read_as_one(tmp_path: Path, noted: dict[str, str]) -> None:
    made = make(
        tmp_path / "made",
        [(TAR, tar(*model_in("")), noted)],
        config_type="application/vnd.oci.empty.v1+json",
        artifactType="application/vnd.x",
    )
    assert pack(made.reference, f"oci:{tmp_path / 'image'}").traits.architecture == "Qwen2ForCausalLM"


def test_a_title_on_an_images_layer_makes_no_file_of_it(tmp_path: Path) -> None:
    made = make(tmp_path / "made", [(TAR, tar(*model_in("")), {"org.opencontainers.image.title": "model.safetensors"})])
    image = pack(made.reference, f"oci:{tmp_path / 'image'}")
    assert image.traits.architecture == "Qwen2ForCausalLM"
    assert told(made.reference)


def test_an_artifact_with_a_layer_that_names_no_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    layers = [*raw(MODEL), (f"{V}weight.v1.raw", b"weights", {})]
    reference = make(tmp_path / "made", layers, config_type=f"{V}config.v1+json").reference
    with pytest.raises(ArtifactError, match="unpack its files into a folder with its own tool"):
        pack(reference, f"oci:{tmp_path / 'image'}")
    assert not (tmp_path / "image").exists()
