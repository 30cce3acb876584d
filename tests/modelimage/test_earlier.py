"""An empty cache, and an image of the same files at the destination: what is recognised there is not read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelimage import ImageError, copy, pack, reshard
from modelimage.annotations import KEY
from modelimage.images import Image
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter
from modelimage.streams import digest_of
from oci_model_serving.errors import InputError
from oci_model_serving.reference import packed_tag
from tests.hub import COMMIT, FakeHub
from tests.modelimage.servers import Request

SOURCE = f"hf://org/name@{COMMIT}"
QUICK = RetryPolicy(attempts=2, first_seconds=0.01)
LARGE = "model.safetensors"


def tensors(count: int, size: int) -> bytes:
    """A safetensors file that can be cut at many places."""
    header = {
        f"t{n:02d}": {"dtype": "U8", "shape": [size], "data_offsets": [n * size, (n + 1) * size]} for n in range(count)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(bytes([n]) * size for n in range(count))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.add("org/name", {LARGE: tensors(20, 50_000), "config.json": b'{"model_type": "qwen2"}', "a.txt": b"a"})
        yield fake.used_by(monkeypatch, tmp_path / "hub-cache")


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GB is 100 kB here, so that the model is cut into parts."""
    monkeypatch.setattr(reshard, "GB", 100_000)


class Teller(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def read_of(hub: FakeHub, name: str) -> int:
    """How many bytes of a file were asked for, a header for the plan aside."""
    ranges = [request.headers.get("range", "bytes=0-") for request in hub.reads(f"/{name}") if at_content(request)]
    total = 0
    for one in ranges:
        first, _, last = one.removeprefix("bytes=").partition("-")
        length = (int(last) + 1 if last else len(hub.models["org/name"].files[name])) - int(first)
        total += length if length > 10_000 else 0
    return total


def at_content(request: Request) -> bool:
    return "Signature=" in request.path


def changed(layout: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest of the layout's image, as who may write there can."""
    index = json.loads((layout / "index.json").read_text())
    blobs = layout / "blobs" / "sha256"
    manifest = json.loads((blobs / index["manifests"][0]["digest"].removeprefix("sha256:")).read_text())
    change(manifest)
    content = json.dumps(manifest).encode()
    (blobs / digest_of(content).removeprefix("sha256:")).write_bytes(content)
    index["manifests"][0] |= {"digest": digest_of(content), "size": len(content)}
    index["manifests"][0]["annotations"]["oci-model-serving.packed"] = digest_of(content)
    (layout / "index.json").write_text(json.dumps(index))


def packed(place: Path, cache: Path, **more: Any) -> Image:
    return pack(SOURCE, f"oci:{place}", policy=QUICK, cache=cache, jobs=2, **more)


def test_the_hubs_files_are_recognised_by_their_keys_and_not_read(hub: FakeHub, tmp_path: Path) -> None:
    first = packed(tmp_path / "image", tmp_path / "one")
    hub.forget()
    teller = Teller()
    second = packed(tmp_path / "image", tmp_path / "two", reporter=teller)
    assert second.digest == first.digest
    assert not any(layer.uploaded for layer in second.layers)
    assert hub.elsewhere == []
    assert hub.reads("a.txt") == []
    assert any(
        re.match(r"note: 2 of 2 layers are known from images at .*--fresh reads all anew", line)
        for line in teller.lines
    )


def test_fresh_reads_all_anew(hub: FakeHub, tmp_path: Path) -> None:
    first = packed(tmp_path / "image", tmp_path / "one")
    hub.forget()
    assert packed(tmp_path / "image", tmp_path / "one", fresh=True).digest == first.digest
    assert read_of(hub, LARGE) == len(hub.models["org/name"].files[LARGE])
    hub.lie[LARGE] = hub.models["org/name"].files[LARGE][:-1] + b"!"
    with pytest.raises(ImageError, match="what came is not what the hub lists"):
        packed(tmp_path / "image", tmp_path / "one", fresh=True)


def test_another_file_of_the_same_size_is_not_recognised(hub: FakeHub, tmp_path: Path) -> None:
    first = packed(tmp_path / "image", tmp_path / "one")
    files = hub.models["org/name"].files
    files[LARGE] = files[LARGE][:-1] + b"!"
    second = packed(tmp_path / "image", tmp_path / "two")
    assert [a.digest == b.digest for a, b in zip(first.layers, second.layers, strict=True)] == [False, True, False]


def test_what_is_recognised_at_one_place_counts_for_no_other(hub: FakeHub, tmp_path: Path) -> None:
    right = packed(tmp_path / "right", tmp_path / "one")
    other = bytes(right.layers[0].size_bytes)

    def lie(manifest: dict[str, Any]) -> None:
        manifest["layers"][0]["digest"] = digest_of(other)

    packed(tmp_path / "lying", tmp_path / "two")
    (tmp_path / "lying" / "blobs" / "sha256" / digest_of(other).removeprefix("sha256:")).write_bytes(other)
    changed(tmp_path / "lying", lie)
    # Who writes there decides what is served from there; the same cache then serves a place of others.
    assert packed(tmp_path / "lying", tmp_path / "shared").layers[0].digest == digest_of(other)
    assert packed(tmp_path / "honest", tmp_path / "shared").digest == right.digest


def test_a_key_with_a_digest_that_nothing_has_is_found_out(hub: FakeHub, tmp_path: Path) -> None:
    right = packed(tmp_path / "image", tmp_path / "one")

    def lie(manifest: dict[str, Any]) -> None:
        for layer in manifest["layers"]:
            layer["digest"] = "sha256:" + "0" * 64

    changed(tmp_path / "image", lie)
    assert packed(tmp_path / "image", tmp_path / "two").digest == right.digest
    assert packed(tmp_path / "image", tmp_path / "two").digest == right.digest


@pytest.mark.parametrize("content", [b"{}", b'{"layers": 7}', b"\xff", b"[]"])
def test_an_image_there_that_cannot_be_read_is_no_hindrance(hub: FakeHub, tmp_path: Path, content: bytes) -> None:
    right = packed(tmp_path / "image", tmp_path / "one")
    blobs = tmp_path / "image" / "blobs" / "sha256"
    (blobs / right.digest.removeprefix("sha256:")).write_bytes(content)
    assert packed(tmp_path / "image", tmp_path / "two").digest == right.digest


def test_a_folder_that_is_hashed_first_is_not_written_again(tmp_path: Path, model: Path) -> None:
    first = pack(str(model), f"oci:{tmp_path / 'image'}", cache=tmp_path / "one")
    second = pack(str(model), f"oci:{tmp_path / 'image'}", cache=tmp_path / "two")
    assert second.digest == first.digest
    assert not any(layer.uploaded for layer in second.layers)


# A file that is cut: its checksum is of the whole


@pytest.mark.usefixtures("cut")
def test_a_cut_file_whose_parts_are_all_recognised_is_not_read(hub: FakeHub, tmp_path: Path) -> None:
    first = packed(tmp_path / "image", tmp_path / "one", shard_gb=3)
    assert len(first.layers) == 6
    hub.forget()
    second = packed(tmp_path / "image", tmp_path / "two", shard_gb=3)
    assert second.digest == first.digest
    assert read_of(hub, LARGE) == 0
    hub.forget()
    # Remembered for this place: the manifests there are not needed either.
    (tmp_path / "image" / "index.json").unlink()
    assert packed(tmp_path / "image", tmp_path / "two", shard_gb=3).digest == first.digest
    assert read_of(hub, LARGE) == 0


def without_key(number: int) -> Callable[[dict[str, Any]], None]:
    """Let nothing be known of a layer."""

    def change(manifest: dict[str, Any]) -> None:
        del manifest["layers"][number]["annotations"][KEY]

    return change


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("unknown", [0, 1, 3])
@pytest.mark.parametrize("lying", [0, 1, 2, 3])
def test_a_part_that_must_be_read_is_checked_with_the_whole_file(
    hub: FakeHub, tmp_path: Path, unknown: int, lying: int
) -> None:
    first = packed(tmp_path / "image", tmp_path / "one", shard_gb=3)
    changed(tmp_path / "image", without_key(unknown))
    content = bytearray(hub.models["org/name"].files[LARGE])
    content[(lying * 2 + 1) * len(content) // 8] ^= 1
    hub.lie[LARGE] = bytes(content)
    with pytest.raises(ImageError, match="what came is not what the hub lists"):
        packed(tmp_path / "image", tmp_path / "two", shard_gb=3)
    hub.lie.clear()
    hub.forget()
    again = packed(tmp_path / "image", tmp_path / "two", shard_gb=3)
    assert again.digest == first.digest
    assert not any(layer.uploaded for layer in again.layers)


@pytest.mark.usefixtures("cut")
def test_a_file_of_which_one_part_is_unknown_is_read_once(hub: FakeHub, tmp_path: Path) -> None:
    first = packed(tmp_path / "image", tmp_path / "one", shard_gb=3)
    changed(tmp_path / "image", without_key(2))
    hub.forget()
    assert packed(tmp_path / "image", tmp_path / "two", shard_gb=3).digest == first.digest
    assert read_of(hub, LARGE) == pytest.approx(len(hub.models["org/name"].files[LARGE]), abs=2_000)


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("lying", [False, True])
def test_a_recognised_part_that_is_gone_is_read_and_must_be_what_it_was(
    hub: FakeHub, tmp_path: Path, lying: bool
) -> None:
    first = packed(tmp_path / "image", tmp_path / "one", shard_gb=3)
    (tmp_path / "image" / "blobs" / "sha256" / first.layers[1].digest.removeprefix("sha256:")).unlink()
    if lying:
        content = bytearray(hub.models["org/name"].files[LARGE])
        content[3 * len(content) // 8] ^= 1
        hub.lie[LARGE] = bytes(content)
        with pytest.raises(ImageError, match="what came is not what the hub lists"):
            packed(tmp_path / "image", tmp_path / "two", shard_gb=3)
        hub.lie.clear()
    again = packed(tmp_path / "image", tmp_path / "two", shard_gb=3)
    assert again.digest == first.digest
    assert [layer.uploaded for layer in again.layers] == [False, True, False, False, False, False]


def test_the_keys_of_an_image_that_was_copied_into_a_layout_are_not_believed(hub: FakeHub, tmp_path: Path) -> None:
    first = packed(tmp_path / "image", tmp_path / "one")
    copy(f"oci:{tmp_path / 'image'}@{first.digest}", f"oci:{tmp_path / 'copied'}")
    hub.forget()
    assert packed(tmp_path / "copied", tmp_path / "two").digest == first.digest
    assert read_of(hub, LARGE) == len(hub.models["org/name"].files[LARGE])


def test_a_copy_cannot_be_called_as_what_was_packed_is(tmp_path: Path) -> None:
    name = packed_tag("sha256:" + "a" * 64)
    with pytest.raises(InputError, match="say that an image was packed there"):
        copy(f"registry.example/m@sha256:{'a' * 64}", f"registry.example/n:{name}")
