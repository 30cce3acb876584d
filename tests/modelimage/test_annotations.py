"""What layers say of themselves, to `oras pull`, to tools that know olot's annotations, and to the next packing."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage import pack
from modelimage.annotations import KEY, layer_annotations
from modelimage.layers import Layer
from modelimage.source import SourceFile
from tests.google.endpoints import loopback
from tests.google.faults import Faults
from tests.hub import COMMIT, FakeHub
from tests.weights import safetensors_bytes

TITLE = "org.opencontainers.image.title"
OLOT = "olot.layer.content."


def unread(start: int, end: int) -> Iterator[bytes]:
    raise AssertionError("annotations must not read")


def listed(path: str, identity: str = "file:here") -> SourceFile:
    return SourceFile(path, 5, identity, unread)


def layers_of(layout: Path) -> list[dict[str, Any]]:
    blobs = layout / "blobs" / "sha256"
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    layers: list[dict[str, Any]] = json.loads((blobs / digest.removeprefix("sha256:")).read_text())["layers"]
    return layers


def test_a_layer_of_one_file_says_which_file_it_is_and_the_title_that_it_is_an_archive() -> None:
    sha256 = f"sha256:{'a' * 64}"
    assert layer_annotations([Layer((listed("nested/model.gguf", sha256),))]) == [
        {
            TITLE: "nested/model.gguf.tar",
            f"{OLOT}type": "file",
            f"{OLOT}inlayerpath": "/models/nested/model.gguf",
            f"{OLOT}name": "model.gguf",
            f"{OLOT}digest": sha256,
            "oci-model-serving.layer.offset": "1536",  # behind the headers of models/, models/nested/ and the file
            "oci-model-serving.layer.size": "5",
            KEY: Layer((listed("nested/model.gguf", sha256),)).key,
        }
    ]


def test_several_files_have_a_title_together_and_no_hash_of_one() -> None:
    (noted,) = layer_annotations([Layer((listed("config.json", "git:ab"), listed("x.json", f"sha256:{'a' * 64}")))])
    assert set(noted) == {TITLE, KEY}
    assert noted[TITLE] == "config.json and 1 more.tar"
    assert layer_annotations([Layer((), (("a", "models/a"),))])[0][TITLE] == "root links.tar"


@pytest.mark.parametrize(
    "identity", ["file:/x:1:2:3:4:5", "gs:bucket/model#17", "converted:ab:model", "gs:bucket/model#17#0-9:ab"]
)
def test_what_is_not_known_by_its_content_has_neither_key_nor_digest(identity: str) -> None:
    (noted,) = layer_annotations([Layer((listed("a.gguf", identity),))])
    assert not {KEY, f"{OLOT}digest"} & set(noted)
    (noted,) = layer_annotations([Layer((listed("a.json", "git:ab"), listed("b.json", identity)))])
    assert KEY not in noted


def test_a_part_of_a_file_that_is_known_by_its_content_has_a_key_and_no_digest() -> None:
    (noted,) = layer_annotations([Layer((listed("model-00001-of-00002.gguf", f"sha256:{'a' * 64}#0-9:{'b' * 64}"),))])
    assert KEY in noted
    assert f"{OLOT}digest" not in noted


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=255)
paths = (
    st.lists(names | st.sampled_from(["a", "a.tar", "a-2.tar", "a and 1 more"]), min_size=1, max_size=3)
    .map("/".join)
    .filter(
        lambda path: {".", ".."}.isdisjoint(path.split("/")) and all(len(p.encode()) < 256 for p in path.split("/"))
    )
)


@given(st.lists(paths, min_size=1, max_size=12, unique=True), st.integers(1, 3))
def test_titles_can_be_pulled_side_by_side_into_one_folder(found: list[str], together: int) -> None:
    model = [path for path in found if not any(other.startswith(f"{path}/") for other in found)]
    layers = [Layer(tuple(listed(path) for path in model[at : at + together])) for at in range(0, len(model), together)]
    titles = [noted[TITLE] for noted in layer_annotations(layers)]
    folders = {str(folder) for title in titles for folder in PurePosixPath(title).parents}
    assert len(set(titles)) == len(titles)
    assert not set(titles) & folders
    for title in titles:
        assert title.endswith(".tar")
        assert not title.startswith("/")
        assert {"", ".", ".."}.isdisjoint(title.split("/"))
        assert all(len(part.encode()) <= 255 for part in title.split("/"))


def test_a_folders_layers_say_nothing_that_another_machine_would_not(tmp_path: Path, model: Path) -> None:
    first = pack(str(model), f"oci:{tmp_path / 'one'}")
    for path in model.rglob("*"):
        os.utime(path, (1, 1))
    assert pack(str(model), f"oci:{tmp_path / 'two'}", cache=tmp_path / "other").digest == first.digest
    noted = [layer["annotations"] for layer in layers_of(tmp_path / "one")]
    assert [note[TITLE] for note in noted[:3]] == [
        f"model-0000{number}-of-00003.safetensors.tar" for number in (1, 2, 3)
    ]
    assert not any(KEY in note or f"{OLOT}digest" in note for note in noted)


def test_a_buckets_generations_are_not_in_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {"model.safetensors": safetensors_bytes(b"x" * 100), "config.json": b"{}"}
    digests = []
    with loopback(Faults()) as google:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.address("storage"))
        for number in range(2):
            for name, one in content.items():
                google.state.upload("bucket", f"model/{name}", one)  # anew: another generation
            place = f"oci:{tmp_path / str(number)}"
            digests.append(pack("gs://bucket/model", place, cache=tmp_path / f"cache-{number}").digest)
    assert digests[0] == digests[1]


def test_the_annotations_of_a_base_are_not_taken_over(tmp_path: Path, model: Path) -> None:
    below = pack(str(model), f"oci:{tmp_path / 'below'}")
    (model / "config.json").write_text('{"other": 1}')
    pack(str(model), f"oci:{tmp_path / 'image'}", base=below.reference)
    layers = layers_of(tmp_path / "image")
    assert ["annotations" in layer for layer in layers] == [False] * 5 + [True] * 5


def test_the_digest_of_a_hubs_file_is_that_of_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = safetensors_bytes(b"x" * 100)
    with FakeHub() as hub:
        hub.add("org/name", {"model.safetensors": weights, "config.json": b"{}"})
        hub.used_by(monkeypatch, tmp_path / "hub-cache")
        pack(f"hf://org/name@{COMMIT}", f"oci:{tmp_path / 'image'}")
    large, small, _ = layers_of(tmp_path / "image")
    assert large["annotations"][f"{OLOT}digest"] == f"sha256:{hashlib.sha256(weights).hexdigest()}"
    assert KEY in large["annotations"]
    assert KEY in small["annotations"]
    assert f"{OLOT}digest" not in small["annotations"]  # git's hash of a small file is no SHA-256 of its content
