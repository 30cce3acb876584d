"""An image of any layout becomes one that all deliveries take, and of the very bytes that its digest stands for."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelimage import ImageError, inspect, pack, repack
from modelimage import image_source as image_source_module
from modelimage import layers as layers_module
from modelimage.errors import DigestMismatchError
from modelimage.layout import Layout
from modelimage.rules import RESERVED_NAMES
from oci_model_serving.delivery import Delivery
from oci_model_serving.errors import InputError
from tests.modelimage.handmade import (
    GZIP,
    MODEL,
    TAR,
    Made,
    digest_of,
    file,
    folder,
    link,
    make,
    model_in,
    packed,
    shell,
    tar,
)
from tests.weights import safetensors_bytes, write_model

V = "application/vnd.cncf.model."


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept of the first reading: every file is read from its layer again."""
    monkeypatch.setattr(image_source_module, "LARGE_FILE_BYTES", 0)


def unpacked(reference: str) -> dict[str, bytes | str]:
    """The files and links of an image of ours without its chunk lists, by tarfile."""
    place = Path(reference.removeprefix("oci:").partition("@")[0])
    found: dict[str, bytes | str] = {}
    for layer in inspect(reference).layers:
        content = (place / "blobs" / "sha256" / layer.digest.removeprefix("sha256:")).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for entry in archive:
                if entry.isfile() and not entry.name.startswith(".chunks/"):
                    found[entry.name] = archive.extractfile(entry).read()  # type: ignore[union-attr]
                elif entry.issym():
                    found[entry.name] = entry.linkname
    return found


def in_our_layout(**more: bytes) -> dict[str, bytes | str]:
    files = {**MODEL, **more}
    top = {name.partition("/")[0] for name in files}
    return {
        **{f"models/{name}": content for name, content in files.items()},
        **{name: f"models/{name}" for name in top},
    }


def one_layer(place: Path, *entries: Any, kind: str = "plain") -> Made:
    content = tar(*entries)
    return make(place, [(GZIP, packed(content)) if kind == "gzip" else (TAR, content)])


@pytest.mark.parametrize("kind", ["plain", "gzip"])
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("place", ["", "models/", "opt/qwen/"])
def test_a_model_anywhere_in_an_image_becomes_one_for_all_deliveries(
    tmp_path: Path, kind: str, kept: bool, place: str, request: pytest.FixtureRequest
) -> None:
    if not kept:
        request.getfixturevalue("all_large")
    more = {"nested/extra.txt": b"extra", "tokenizer.json": b"{" + b" " * 9998 + b"}"}
    made = one_layer(tmp_path / "made", *shell(), *model_in(place, **more), file(".dockerenv"), kind=kind)
    image = repack(made.reference, f"oci:{tmp_path / 'image'}")
    assert unpacked(image.reference) == in_our_layout(**more)
    for delivery in (Delivery.NATIVE, Delivery.FETCH, Delivery.KUBEAI):
        inspect(image.reference, purpose=delivery)


def test_the_digest_is_the_same_however_the_image_was_compressed_and_wherever_it_lay(tmp_path: Path) -> None:
    layers = set()
    for number, (kind, place) in enumerate((("plain", ""), ("gzip", ""), ("gzip", "models/"))):
        made = one_layer(tmp_path / f"made-{number}", *model_in(place), kind=kind)
        image = repack(made.reference, f"oci:{tmp_path / f'image-{number}'}")
        layers.add(tuple(layer.digest for layer in image.layers))
    assert len(layers) == 1


def test_our_own_image_stays_as_it_is_layer_by_layer(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    again = repack(image.reference, f"oci:{tmp_path / 'again'}")
    assert [layer.digest for layer in again.layers] == [layer.digest for layer in image.layers]


def test_it_says_what_it_was_made_of(tmp_path: Path) -> None:
    said = {"org.opencontainers.image.revision": "abc", "org.opencontainers.image.created": "now", "other": "x"}
    made = make(tmp_path / "made", [(TAR, tar(*model_in("")))], annotations=said)
    image = repack(made.reference, f"oci:{tmp_path / 'image'}")
    noted = inspect(image.reference).annotations
    assert noted["org.opencontainers.image.revision"] == "abc"
    assert noted["oci-model-serving.repacked-from"] == made.digest
    assert noted["org.opencontainers.image.created"].startswith("1970")
    assert "other" not in noted


def test_it_can_be_put_upon_a_base_with_a_shell(tmp_path: Path) -> None:
    base = make(tmp_path / "base", [(TAR, tar(*shell()))])
    base.manifest["config"] = {**base.manifest["config"], **base.put(_config(base))}
    (base.folder / "blobs" / "sha256" / base.digest.removeprefix("sha256:")).write_bytes(
        json.dumps(base.manifest).encode()
    )
    made = one_layer(tmp_path / "made", *model_in(""))
    image = repack(made.reference, f"oci:{tmp_path / 'image'}", base=base.reference)
    inspect(image.reference, purpose=Delivery.MODELCAR)


def _config(base: Made) -> bytes:
    layer = base.manifest["layers"][0]["digest"]
    rootfs = {"type": "layers", "diff_ids": [layer]}
    return json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).encode()


def test_what_later_layers_change_is_what_is_packed(tmp_path: Path) -> None:
    below, above = tar(*model_in(""), file("old.txt")), tar(file(".wh.old.txt", b""), file("config.json", b"{}"))
    made = make(tmp_path / "made", [(TAR, below), (GZIP, packed(above))])
    image = repack(made.reference, f"oci:{tmp_path / 'image'}")
    assert unpacked(image.reference) == in_our_layout(**{"config.json": b"{}"})


def test_a_link_becomes_the_file_that_it_leads_to(tmp_path: Path) -> None:
    blobs = [file(f"blobs/{number}", content) for number, content in enumerate(MODEL.values())]
    links = [link(f"snapshots/abc/{name}", f"../../blobs/{number}") for number, name in enumerate(MODEL)]
    hard = link("snapshots/abc/same.json", "blobs/0", hard=True)
    made = one_layer(tmp_path / "made", *blobs, *links, hard)
    image = repack(made.reference, f"oci:{tmp_path / 'image'}", from_folder="/snapshots/abc/")
    assert unpacked(image.reference) == in_our_layout(**{"same.json": MODEL["config.json"]})


def test_a_folder_is_chosen_by_its_name_where_there_are_several(tmp_path: Path) -> None:
    made = one_layer(tmp_path / "made", *model_in("a/"), *model_in("b/", **{"b.txt": b"b"}))
    with pytest.raises(InputError, match=r"holds several models \(/a, /b\): choose one with --from"):
        repack(made.reference, f"oci:{tmp_path / 'image'}")
    image = repack(made.reference, f"oci:{tmp_path / 'image'}", from_folder="/b")
    assert unpacked(image.reference) == in_our_layout(**{"b.txt": b"b"})
    with pytest.raises(InputError, match=r"--from /c: .* has no such folder"):
        repack(made.reference, f"oci:{tmp_path / 'image'}", from_folder="/c")


def test_at_the_root_the_operating_system_is_no_part_of_the_model(tmp_path: Path) -> None:
    system = [file(f"{name}/x") for name in sorted(RESERVED_NAMES - {"models"})]
    made = one_layer(tmp_path / "made", *system, *model_in(""))
    assert unpacked(repack(made.reference, f"oci:{tmp_path / 'image'}").reference) == in_our_layout()


def test_an_image_without_a_model_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    made = one_layer(tmp_path / "made", *shell(), folder("models"))
    with pytest.raises(InputError, match="no folder that holds a model"):
        repack(made.reference, f"oci:{tmp_path / 'image'}")
    assert not (tmp_path / "image").exists()


def test_a_missing_shard_is_told_as_when_packing(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    entries = [file(path.name, path.read_bytes()) for path in sorted(folder.glob("*")) if path.is_file()]
    made = one_layer(tmp_path / "made", *(entry for entry in entries if "00002" not in entry[0].name))
    with pytest.raises(InputError, match=r"names the shard model-00002-of-00003.safetensors"):
        repack(made.reference, f"oci:{tmp_path / 'image'}")


# Artifacts


def test_a_modelpack_artifact_becomes_an_image(tmp_path: Path) -> None:
    path = "org.cncf.model.filepath"
    layers: list[tuple[str, bytes, dict[str, str]]] = [
        (f"{V}weight.v1.raw", MODEL["model.safetensors"], {path: "model.safetensors"}),
        (f"{V}weight.config.v1.tar", tar(file("config.json", MODEL["config.json"])), {path: "config.json"}),
        (f"{V}doc.v1.tar+gzip", packed(tar(file("README.md", b"read"))), {path: "README.md"}),
    ]
    made = make(tmp_path / "made", layers, config_type=f"{V}config.v1+json", artifactType=f"{V}manifest.v1+json")
    image = repack(made.reference, f"oci:{tmp_path / 'image'}")
    assert unpacked(image.reference) == in_our_layout(**{"README.md": b"read"})


def test_an_oras_artifact_becomes_an_image(tmp_path: Path) -> None:
    title = "org.opencontainers.image.title"
    layers = [("application/octet-stream", content, {title: f"./{name}"}) for name, content in MODEL.items()]
    made = make(tmp_path / "made", layers, config_type="application/vnd.oci.empty.v1+json")
    assert unpacked(repack(made.reference, f"oci:{tmp_path / 'image'}").reference) == in_our_layout()


def test_an_artifact_whose_files_have_no_names_is_refused_with_what_to_do(tmp_path: Path) -> None:
    made = make(tmp_path / "made", [("application/vnd.ollama.image.model", b"GGUF")])
    with pytest.raises(ImageError, match=r"an Ollama model.*unpack its files into a folder with its own tool"):
        repack(made.reference, f"oci:{tmp_path / 'image'}")


# A store that is not to be believed


@pytest.mark.parametrize("kind", ["plain", "gzip"])
def test_a_layer_that_is_not_its_digest_is_refused_before_anything_is_written(tmp_path: Path, kind: str) -> None:
    made = one_layer(tmp_path / "made", *model_in(""), kind=kind)
    layer = made.blob(made.manifest["layers"][0]["digest"])
    content = tar(*model_in("", **{"config.json": b'{"architectures": ["EvilForCausalLM"]}'}))
    changed = packed(content) if kind == "gzip" else content
    layer.write_bytes(changed)
    made.manifest["layers"][0]["size"] = len(changed)
    entry = made.put(json.dumps(made.manifest).encode())
    index = {"schemaVersion": 2, "manifests": [{"mediaType": made.manifest["mediaType"], **entry}]}
    (made.folder / "index.json").write_text(json.dumps(index))
    with pytest.raises(DigestMismatchError, match="its digest is sha256:"):
        repack(made.reference, f"oci:{tmp_path / 'image'}")
    assert not (tmp_path / "image").exists()


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("kind", ["plain", "gzip"])
def test_a_second_reading_that_differs_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    made = one_layer(tmp_path / "made", *model_in(""), kind=kind)
    layer = made.manifest["layers"][0]["digest"]
    other = tar(*model_in("", **{"model.safetensors": safetensors_bytes(b"\x03" * 3000)}))
    changed = packed(other) if kind == "gzip" else other
    real, readings = Layout.read_blob, []

    def read(self: Layout, digest: str, size: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if digest != layer:
            return real(self, digest, size, start, end)
        readings.append(start)
        return iter([changed[start:end]]) if len(readings) > 1 else real(self, digest, size, start, end)

    monkeypatch.setattr(Layout, "read_blob", read)
    with pytest.raises(ImageError, match="second reading"):
        repack(made.reference, f"oci:{tmp_path / 'image'}")
    assert not (tmp_path / "image").exists()


def test_names_that_leave_the_image_or_hide_its_folders_do_not(tmp_path: Path) -> None:
    made = one_layer(
        tmp_path / "made", *model_in(""), file("../../etc/passwd"), file("../x.txt", b"x"), link("l", "/etc/passwd")
    )
    assert unpacked(repack(made.reference, f"oci:{tmp_path / 'image'}").reference) == in_our_layout(
        **{"x.txt": b"x", "l": b"x"}
    )


@pytest.mark.parametrize("content", [b"no archive" * 100, tar(file("a", bytes(5000)))[:3000]])
def test_a_damaged_layer_is_told(tmp_path: Path, content: bytes) -> None:
    made = make(tmp_path / "made", [(TAR, content)])
    with pytest.raises(ImageError, match="no container runtime could unpack it"):
        repack(made.reference, f"oci:{tmp_path / 'image'}")


def test_a_compression_that_is_not_read_is_told_with_what_to_do(tmp_path: Path) -> None:
    made = make(tmp_path / "made", [(f"{TAR}+zstd", b"x" * 100)])
    with pytest.raises(ImageError, match=r"is not read here: unpack the image with another tool"):
        repack(made.reference, f"oci:{tmp_path / 'image'}")


def test_all_that_is_wrong_with_the_arguments_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        repack("nonsense", "h.example/r@sha256:" + "a" * 64, base="busybox", jobs=0)
    assert len(caught.value.problems) == 4


def test_many_layers_that_share_a_target_keep_the_order_of_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers_module, "LARGE_FILE_BYTES", 1000)
    parts = {f"part-{number}.txt": bytes([65 + number]) * 2000 for number in range(9)}
    made = make(tmp_path / "made", [(TAR, tar(*model_in(""))), *((TAR, tar(file(*part))) for part in parts.items())])
    image = repack(made.reference, f"oci:{tmp_path / 'image'}", jobs=3)
    assert unpacked(image.reference) == in_our_layout(**parts)
    assert digest_of(b"") != image.digest
