from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelimage import layers
from modelimage.layers import LAYER_COUNT_LIMIT, LAYER_LIMIT_BYTES, Layer, notes_on, plan_layers
from modelimage.source import SourceFile
from oci_model_serving.errors import InputError

GB = 10**9


def file(path: str, content: bytes) -> SourceFile:
    return SourceFile.of(path, content)


def sized(path: str, size: int) -> SourceFile:
    """A file of any size that nobody reads."""

    def read(start: int, end: int) -> Iterator[bytes]:
        raise AssertionError("planning must not read")

    return SourceFile(path, size, f"id:{path}:{size}", read)


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=120).filter(
    lambda name: not name.startswith(".")
)
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
trees = st.dictionaries(paths, st.binary(max_size=3000), min_size=1, max_size=6).filter(
    lambda tree: (
        not any(one != other and other.startswith(f"{one}/") for one in tree for other in tree)
        and not any(path.split("/")[0] == "models" for path in tree)  # a reserved name: its link would hide the folder
    )
)


@settings(max_examples=150)
@given(trees)
def test_a_tar_reader_finds_the_very_files_folders_and_links(tree: dict[str, bytes]) -> None:
    link_names = sorted({path.split("/")[0] for path in tree})
    layer = Layer(
        tuple(file(path, content) for path, content in sorted(tree.items())),
        tuple((name, f"models/{name}") for name in link_names),
    )
    stream = b"".join(layer.chunks())
    assert len(stream) == layer.size
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        members = archive.getmembers()
        contents = {m.name: archive.extractfile(m).read() for m in members if m.isreg()}  # type: ignore[union-attr]
    assert contents == {f"models/{path}": content for path, content in tree.items()}
    assert {m.name: m.linkname for m in members if m.issym()} == {name: f"models/{name}" for name in link_names}
    folders = [m.name for m in members if m.isdir()]
    needed = {"models"} | {
        "models/" + "/".join(path.split("/")[:depth]) for path in tree for depth in range(1, path.count("/") + 1)
    }
    assert set(folders) == needed
    for member in members:
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
        assert member.mode == (0o755 if member.isdir() else 0o777 if member.issym() else 0o644)
    positions = {m.name: number for number, m in enumerate(members)}
    assert all(positions[n.rsplit("/", 1)[0]] < positions[n] for n in positions if n.startswith("models/"))


def test_a_file_above_eight_gibibytes_is_announced_with_its_size() -> None:
    layer = Layer((sized("model.safetensors", 9 * GB),))
    header = layer._parts[1][0]
    with tarfile.open(fileobj=io.BytesIO(header + bytes(1024)), ignore_zeros=True) as archive:
        member = archive.next()
    assert member is not None
    assert (member.name, member.size) == ("models/model.safetensors", 9 * GB)


def test_each_shard_is_a_layer_and_the_small_files_come_last_together() -> None:
    files = [
        sized("config.json", 100),
        sized("model-00001-of-00002.safetensors", 5 * GB),
        sized("model-00002-of-00002.safetensors", 4 * GB),
        sized("tokenizer.json", 7_000_000),
        sized("blob.dat", 64 << 20),
    ]
    planned = plan_layers(files)
    assert [[f.path for f in layer.files] for layer in planned] == [
        ["blob.dat"],
        ["model-00001-of-00002.safetensors"],
        ["model-00002-of-00002.safetensors"],
        ["config.json", "tokenizer.json"],
    ]
    assert [bool(layer.links) for layer in planned] == [False, False, False, True]
    assert dict(planned[-1].links)["blob.dat"] == "models/blob.dat"


def test_a_model_of_shards_alone_still_gets_its_links() -> None:
    planned = plan_layers([sized("model.gguf", 5 * GB)])
    assert [layer.title for layer in planned] == ["model.gguf", "root links"]


def test_a_file_that_no_layer_can_hold_and_that_cannot_be_split_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="max_shard_size") as caught:
        plan_layers([sized("a.bin", 10 * GB), sized("b.npz", 11 * GB), sized("c.safetensors", 1)])
    assert len(caught.value.problems) == 2


def shards(count: int, size: int) -> list[SourceFile]:
    return [sized(f"model-{number:05d}-of-{count:05d}.safetensors", size) for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("published", "layers"),
    [
        pytest.param(shards(59, 4_900_000_000), 60, id="59 shards of 5 GB"),
        pytest.param(shards(118, 3_985_000_000), 119, id="Qwen3-235B in bf16"),
        pytest.param(shards(163, 4_300_000_000), 83, id="DeepSeek-R1, two shards a layer"),
        pytest.param(shards(191, 4_300_000_000), 97, id="Llama-405B, two shards a layer"),
        pytest.param(shards(200, 9 * GB), 201, id="more than Docker reads"),
    ],
)
def test_published_shapes_are_planned_without_reading(published: list[SourceFile], layers: int) -> None:
    planned = plan_layers([*published, sized("config.json", 700)])
    assert len(planned) == layers
    assert all(layer.size <= LAYER_LIMIT_BYTES for layer in planned)


def test_what_docker_cannot_read_is_said_and_what_it_can_is_not() -> None:
    assert notes_on(plan_layers(shards(118, 9 * GB)), base_layers=1) == []
    (note,) = notes_on(plan_layers(shards(118, 9 * GB)), base_layers=2)
    assert "the image has 121 layers" in note
    assert "docker" in note


def test_more_weights_than_nodes_can_mount_are_refused() -> None:
    assert len(plan_layers(shards(449, 9 * GB))) == 450
    with pytest.raises(InputError, match="do not fit into 449 layers"):
        plan_layers(shards(450, 9 * GB))


@given(
    sizes=st.lists(st.integers(1, 2 * GB), min_size=1, max_size=200),
    base_layers=st.integers(0, 10),
)
def test_any_number_of_shards_fits_the_limits_in_order_and_evenly(sizes: list[int], base_layers: int) -> None:
    files = [sized(f"model-{number:05d}.safetensors", size) for number, size in enumerate(sizes)]
    planned = plan_layers(files, base_layers=base_layers)
    assert len(planned) + base_layers <= LAYER_COUNT_LIMIT
    assert all(layer.size <= LAYER_LIMIT_BYTES for layer in planned)
    assert [f for layer in planned for f in layer.files] == files
    if len(files) < LAYER_COUNT_LIMIT - base_layers:
        assert all(len(layer.files) <= 1 for layer in planned)


def test_small_files_beyond_one_layer_are_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "LAYER_LIMIT_BYTES", 200_000)
    planned = plan_layers([sized(f"part-{number}.txt", 60_000) for number in range(5)])
    assert [len(layer.files) for layer in planned] == [3, 2]
    assert [bool(layer.links) for layer in planned] == [False, True]


def test_the_key_of_a_layer_changes_with_name_content_and_links() -> None:
    one = Layer((file("a", b"1"),))
    keys = {
        one.key,
        Layer((file("b", b"1"),)).key,
        Layer((file("a", b"2"),)).key,
        Layer((file("a", b"1"),), (("a", "models/a"),)).key,
    }
    assert len(keys) == 4
    assert one.key == Layer((file("a", b"1"),)).key
