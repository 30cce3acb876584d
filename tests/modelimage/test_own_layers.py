"""Every image of ours has the chunk lists of its layers, and they never hang on what happened to lie where."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelimage import ImageError, chunks, copy, pack, repack
from modelimage import cache as cache_module
from modelimage.cache import LayerCache
from modelimage.documents import Descriptor
from modelimage.layout import Layout
from modelimage.patience import RetryPolicy
from modelimage.shares import pack_share
from oci_model_serving.reference import LayoutReference
from tests.hub import COMMIT, FakeHub
from tests.modelimage.oci_registry import MemoryRegistry
from tests.modelimage.test_earlier import changed, read_of, tensors

CHUNK = 64 << 10
SOURCE = f"hf://org/name@{COMMIT}"
LARGE = "model.safetensors"
QUICK = RetryPolicy(attempts=2, first_seconds=0.01)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", CHUNK)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub() as fake:
        fake.add("org/name", {LARGE: tensors(20, 50_000), "config.json": b'{"model_type": "qwen2"}', "a.txt": b"a"})
        yield fake.used_by(monkeypatch, tmp_path / "hub-cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    (place / "nested").mkdir(parents=True)
    (place / LARGE).write_bytes(tensors(20, 50_000))
    (place / "nested" / ("name-" * 40 + "ü.safetensors")).write_bytes(tensors(2, 50_000))
    (place / "config.json").write_bytes(b'{"model_type": "qwen2"}')
    return place


def layers_in(place: Path) -> list[Descriptor]:
    content = Layout(LayoutReference(place, None)).manifest(None).content
    return [Descriptor.model_validate(layer) for layer in json.loads(content)["layers"]]


def blob_in(place: Path, digest: str) -> Path:
    return place / "blobs" / "sha256" / digest.removeprefix("sha256:")


def check(place: Path, below: int = 0) -> list[Descriptor]:
    """See that the layers above a base are as their lists say, and those of one file have it where they say."""
    layers = layers_in(place)
    holder = chunks.list_layer(layers)
    assert holder is layers[-1]
    lists = chunks.read(blob_in(place, holder.digest).read_bytes(), holder, layers)
    assert lists.chunk_bytes == CHUNK
    assert set(lists.of) == {layer.digest for layer in layers[below:-1]}
    for layer in layers[below:-1]:
        content = blob_in(place, layer.digest).read_bytes()
        parts = [content[start : start + CHUNK] for start in range(0, len(content), CHUNK)]
        assert lists.of[layer.digest] == b"".join(hashlib.sha256(part).digest() for part in parts)
    return layers


def test_each_layer_has_its_list_and_says_where_its_file_lies(tmp_path: Path, folder: Path) -> None:
    pack(str(folder), f"oci:{tmp_path / 'image'}", cache=tmp_path / "cache")
    said = 0
    for layer in check(tmp_path / "image"):
        place = chunks.place_of(layer)
        if place is None:
            continue
        said += 1
        path = (layer.annotations or {})["olot.layer.content.inlayerpath"].removeprefix("/models/")
        content = blob_in(tmp_path / "image", layer.digest).read_bytes()
        assert content[place[0] : place[0] + place[1]] == (folder / path).read_bytes()
    assert said == 3


def test_layers_of_a_base_have_no_list_here(tmp_path: Path, folder: Path) -> None:
    below = pack(str(folder), f"oci:{tmp_path / 'below'}", cache=tmp_path / "cache")
    (folder / "config.json").write_bytes(b'{"model_type": "llama"}')
    pack(str(folder), f"oci:{tmp_path / 'image'}", base=below.reference, cache=tmp_path / "cache")
    check(tmp_path / "image", below=len(below.layers))


def test_an_image_that_is_made_of_another_has_lists_whether_that_had_or_not(tmp_path: Path, folder: Path) -> None:
    made = pack(str(folder), f"oci:{tmp_path / 'made'}", cache=tmp_path / "cache")
    first = repack(made.reference, f"oci:{tmp_path / 'first'}", cache=tmp_path / "one")
    check(tmp_path / "first")
    changed(tmp_path / "made", without_lists)
    repack(f"oci:{tmp_path / 'made'}", f"oci:{tmp_path / 'second'}", cache=tmp_path / "two")
    assert check(tmp_path / "second") == layers_in(tmp_path / "first")
    assert [layer.digest for layer in first.layers] == [layer.digest for layer in made.layers]


def test_a_copy_has_the_lists_and_the_digest(tmp_path: Path, folder: Path) -> None:
    made = pack(str(folder), f"oci:{tmp_path / 'made'}", cache=tmp_path / "cache")
    with MemoryRegistry().running() as registry:
        there = copy(made.reference, f"{registry.host}/models", cache=tmp_path / "cache")
        back = copy(there.reference, f"oci:{tmp_path / 'back'}", cache=tmp_path / "cache")
    assert made.digest == there.digest == back.digest
    check(tmp_path / "back")


def without_lists(manifest: dict[str, Any]) -> None:
    """Make it an image of a version before."""
    del manifest["layers"][-1]


def with_other_chunks(manifest: dict[str, Any]) -> None:
    manifest["layers"][-1]["annotations"][chunks.CHUNKS] = str(2 * CHUNK)


def with_huge_lists(manifest: dict[str, Any]) -> None:
    manifest["layers"][-1]["size"] = chunks.LIMIT_BYTES + 1


def with_other_lists(manifest: dict[str, Any]) -> None:
    manifest["layers"][-1] = {**manifest["layers"][0], "annotations": manifest["layers"][-1]["annotations"]}


def as_it_is(_: dict[str, Any]) -> None:
    """The image has its lists."""


@pytest.mark.parametrize(
    "change",
    [as_it_is, without_lists, with_other_chunks, with_huge_lists, with_other_lists],
    ids=lambda one: one.__name__,
)
def test_what_is_recognised_has_the_same_lists_whatever_the_earlier_image_has(
    hub: FakeHub, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    first = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK, cache=tmp_path / "one")
    changed(tmp_path / "image", change)
    hub.forget()
    second = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK, cache=tmp_path / "two")
    assert second.digest == first.digest
    assert read_of(hub, LARGE) == 0  # where no list is there, the blob is read and not the hub
    check(tmp_path / "image")


def test_a_blob_that_is_read_for_its_list_must_be_what_its_digest_says(hub: FakeHub, tmp_path: Path) -> None:
    first = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK, cache=tmp_path / "one")
    changed(tmp_path / "image", without_lists)
    blob = blob_in(tmp_path / "image", first.layers[0].digest)
    content = bytearray(blob.read_bytes())
    content[-9_000] ^= 1
    blob.write_bytes(content)
    second = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK, cache=tmp_path / "two")
    assert second.digest == first.digest
    check(tmp_path / "image")  # the layer was read from the hub, and stored anew


def damage(cache: Path) -> None:
    for entry in (cache / "chunks").iterdir():
        known = json.loads(entry.read_text())
        first = known["list"][0]
        entry.write_text(json.dumps({**known, "list": ("1" if first == "0" else "0") + known["list"][1:]}))


def drop(cache: Path) -> None:
    shutil.rmtree(cache / "chunks")


def fill(cache: Path) -> None:
    for entry in (cache / "chunks").iterdir():
        entry.write_text('{"list": "no hex", "sha256": 7}')


@pytest.mark.parametrize("harm", [damage, drop, fill])
def test_what_the_cache_has_lost_is_read_again(
    tmp_path: Path, folder: Path, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "RACY_SECONDS", 0.0)
    first = pack(str(folder), f"oci:{tmp_path / 'image'}", cache=tmp_path / "cache")
    harm(tmp_path / "cache")
    second = pack(str(folder), f"oci:{tmp_path / 'other'}", cache=tmp_path / "cache")
    third = pack(str(folder), f"oci:{tmp_path / 'image'}", cache=tmp_path / "cache")
    assert first.digest == second.digest == third.digest
    check(tmp_path / "other")
    large = next(layer for layer in first.layers if layer.size_bytes > 1_000_000)
    kept = LayerCache(tmp_path / "cache").list_of(large.digest, chunks.list_bytes(large.size_bytes, CHUNK))
    assert kept  # what was read again is remembered in the place of what was lost


def test_a_remembered_digest_that_is_wrong_gets_no_list(hub: FakeHub, tmp_path: Path) -> None:
    first = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK, cache=tmp_path / "cache")
    drop(tmp_path / "cache")
    hub.forget()
    large = first.layers[0].digest
    wrong = f"sha256:{'0' * 64}"
    for entry in (tmp_path / "cache" / "layers").iterdir():
        entry.write_text(entry.read_text().replace(large, wrong))
    # It is there under that digest, so nothing has to be sent.
    shutil.copy(blob_in(tmp_path / "image", large), blob_in(tmp_path / "image", wrong))
    again = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK, cache=tmp_path / "cache")
    assert again.digest == first.digest
    check(tmp_path / "image")


def test_what_is_remembered_is_not_read_for_its_list(hub: FakeHub, tmp_path: Path) -> None:
    with MemoryRegistry().running() as registry:
        place = f"{registry.host}/models"
        first = pack(SOURCE, place, policy=QUICK, cache=tmp_path / "cache")
        registry.asked.clear()
        hub.forget()
        assert pack(SOURCE, place, policy=QUICK, cache=tmp_path / "cache").digest == first.digest
        assert read_of(hub, LARGE) == 0
        assert not [line for line in registry.asked if line.startswith(("PATCH", "POST")) or "tags/list" in line]
        assert not [line for line in registry.asked if line.startswith("GET") and "/blobs/" in line]


def test_an_image_in_shares_is_the_one_that_a_single_machine_makes(hub: FakeHub, tmp_path: Path) -> None:
    whole = pack(SOURCE, f"oci:{tmp_path / 'whole'}", policy=QUICK, cache=tmp_path / "whole-cache")
    with MemoryRegistry().running() as registry:
        place = f"{registry.host}/models"
        shares = [
            pack_share(SOURCE, place, f"{number}/3", policy=QUICK, cache=tmp_path / f"cache-{number}")
            for number in (1, 2, 3)
        ]
        assert shares[-1].image
        assert shares[-1].image.digest == whole.digest
        copy(shares[-1].image.reference, f"oci:{tmp_path / 'image'}", cache=tmp_path / "copied")
        assert read_of(hub, LARGE) > 0
    check(tmp_path / "image")


def test_a_record_of_a_share_that_lacks_a_list_is_none(hub: FakeHub, tmp_path: Path) -> None:
    assert hub.models
    with MemoryRegistry().running() as registry:
        place = f"{registry.host}/models"
        for number in (1, 2):
            pack_share(SOURCE, place, f"{number}/2", policy=QUICK, cache=tmp_path / f"cache-{number}")
        tag = next(tag for tag in registry.tags if tag.endswith("1-of-2"))
        document = json.loads(registry.manifests[registry.tags[tag]][1])
        empty = chunks.written({})
        digest = f"sha256:{hashlib.sha256(empty).hexdigest()}"
        registry.blobs[digest] = empty
        document["layers"][-1] |= {"digest": digest, "size": len(empty)}
        registry.put(document, tag)
        with pytest.raises(ImageError, match="is no record of this share"):
            pack_share(SOURCE, place, "2/2", policy=QUICK, cache=tmp_path / "cache-3")


def test_a_layer_no_larger_than_a_chunk_is_its_own_list(tmp_path: Path, folder: Path) -> None:
    (folder / LARGE).write_bytes(tensors(2, 500))
    pack(str(folder), f"oci:{tmp_path / 'image'}", cache=tmp_path / "cache")
    layers = check(tmp_path / "image")
    assert sum(layer.size <= CHUNK for layer in layers[:-1]) == 2
