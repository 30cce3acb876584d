"""Weights that are cut while they stream: what is made of them, and that it is what was published, bit for bit."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st

from modelimage import ImageError, cutting, layers, pack, reshard, safetensors_header, write_context
from modelimage.cache import default_folder
from modelimage.errors import collecting
from modelimage.gguf_header import Place
from modelimage.layers import LAYER_LIMIT_BYTES, notes_on, plan_layers
from modelimage.patience import RetryPolicy
from modelimage.source import SourceFile, Whole
from modelimage.streams import Expected
from oci_model_serving.errors import InputError
from tests.google.endpoints import loopback
from tests.google.faults import Faults
from tests.hub import COMMIT, FakeHub
from tests.modelimage.servers import Answer, Request

GB = 10**9
SOURCE = f"hf://org/name@{COMMIT}"
QUICK = RetryPolicy(attempts=2, first_seconds=0.01)
LARGE = "model-00001-of-00002.safetensors"
DTYPES = {"F32": 4, "BF16": 2, "F8_E4M3": 1, "I64": 8}


@pytest.fixture
def tiny_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GB is 100 kB here, for what is cut at all; the limits of layers stay."""
    monkeypatch.setattr(reshard, "GB", 100_000)
    monkeypatch.setattr(reshard, "_SMALLEST_PART", 200_000)
    monkeypatch.setattr(reshard, "_LARGEST_PART", 500_000)


def safetensors_of(tensors: dict[str, tuple[str, bytes]], metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file with these tensors (dtype and bytes) in this order."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    position = 0
    for name, (dtype, content) in tensors.items():
        shape = [len(content) // DTYPES[dtype]]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + len(content)]}
        position += len(content)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(content for _, content in tensors.values())


def tensors_of(seed: int, count: int, size: int) -> dict[str, tuple[str, bytes]]:
    generator = random.Random(seed)  # noqa: S311 - test data
    return {
        f"model.layers.{seed}.{number}.weight": (
            generator.choice(list(DTYPES)),
            generator.randbytes(generator.randrange(size // 2, size) // 8 * 8),
        )
        for number in range(count)
    }


Loaded = dict[str, tuple[str, list[int], bytes]]


def loaded(content: bytes) -> Loaded:
    """All tensors of a safetensors file, by the format's own library."""
    read: Callable[[bytes], list[tuple[str, Any]]] = safetensors.deserialize
    return {name: (one["dtype"], one["shape"], bytes(one["data"])) for name, one in read(content)}


def published() -> dict[str, bytes]:
    """A model of two shards of about 1 and 0.5 MB, with an index that carries more than its map."""
    shards = {
        "model-00001-of-00002.safetensors": safetensors_of(tensors_of(1, 20, 100_000), {"format": "pt"}),
        "model-00002-of-00002.safetensors": safetensors_of(tensors_of(2, 9, 100_000), {"format": "pt"}),
    }
    weight_map = {name: path for path, content in shards.items() for name in loaded(content)}
    index = {"metadata": {"total_size": 1, "total_parameters": 7}, "weight_map": weight_map}
    return {
        **shards,
        "model.safetensors.index.json": json.dumps(index).encode(),
        "config.json": b'{"model_type": "qwen2"}',
    }


def image_files(reference: str) -> dict[str, bytes]:
    """The regular files of an image in a layout, below /models; its chunk lists are none."""
    layout = Path(reference.removeprefix("oci:").partition("@")[0])
    manifest = json.loads(blob(layout, reference.partition("@")[2]))
    found: dict[str, bytes] = {}
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(blob(layout, layer["digest"]))) as archive:
            for member in archive.getmembers():
                content = archive.extractfile(member) if member.isreg() else None
                if content and member.name.startswith("models/"):
                    found[member.name.removeprefix("models/")] = content.read()
    return found


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()


class StoppingHub(FakeHub):
    """A hub that can stop to give a file's content from a byte on."""

    until: int | None = None

    def _content_elsewhere(self, request: Request) -> Answer:
        start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if LARGE in request.path and self.until is not None and start >= self.until:
            return Answer(404)
        return super()._content_elsewhere(request)

    @property
    def files(self) -> dict[str, bytes]:
        return self.models["org/name"].files


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StoppingHub]:
    fake = StoppingHub()
    with fake:
        fake.add("org/name", published())
        fake.used_by(monkeypatch, tmp_path / "hub-cache")
        yield fake


@pytest.fixture(params=["folder", "hub", "bucket"])
def uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The published model as a source of each kind."""
    if request.param == "folder":
        for name, content in published().items():
            (tmp_path / "model").mkdir(exist_ok=True)
            (tmp_path / "model" / name).write_bytes(content)
        yield str(tmp_path / "model")
    elif request.param == "hub":
        request.getfixturevalue("hub")
        yield SOURCE
    else:
        with loopback(Faults()) as google:
            for name, content in published().items():
                google.state.upload("bucket", f"model/{name}", content)
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.address("storage"))
            yield "gs://bucket/model"


@pytest.mark.usefixtures("tiny_gigabytes")
def test_every_tensor_of_a_split_model_is_the_published_one_bit_for_bit(uri: str, tmp_path: Path) -> None:
    files = image_files(pack(uri, f"oci:{tmp_path / 'image'}", shard_gb=3, policy=QUICK).reference)
    before, after = published(), {path: loaded(files[path]) for path in files if path.endswith(".safetensors")}

    assert len(after) > 4
    assert sorted(after) == [f"model-{n:05d}-of-{len(after):05d}.safetensors" for n in range(1, len(after) + 1)]
    together = {name: tensor for part in after.values() for name, tensor in part.items()}
    assert together == {
        name: tensor
        for path in before
        if path.endswith(".safetensors")
        for name, tensor in loaded(before[path]).items()
    }
    assert all(len(files[path]) < 350_000 for path in after)
    assert all(
        json.loads(files[path][8 : 8 + int.from_bytes(files[path][:8], "little")])["__metadata__"] for path in after
    )
    index = json.loads(files["model.safetensors.index.json"])
    assert index["weight_map"] == {name: path for path, part in after.items() for name in part}
    assert index["metadata"] == {
        "total_size": sum(len(data) for _, _, data in together.values()),
        "total_parameters": 7,
    }
    assert files["config.json"] == before["config.json"]


@pytest.mark.usefixtures("tiny_gigabytes")
def test_the_same_files_make_the_same_layers_wherever_they_lie(hub: StoppingHub, tmp_path: Path) -> None:
    remote = pack(SOURCE, f"oci:{tmp_path / 'remote'}", shard_gb=3, policy=QUICK)
    (tmp_path / "model").mkdir()
    for name, content in hub.files.items():
        (tmp_path / "model" / name).write_bytes(content)
    local = pack(str(tmp_path / "model"), f"oci:{tmp_path / 'local'}", shard_gb=3, cache=tmp_path / "other")
    assert [layer.digest for layer in remote.layers] == [layer.digest for layer in local.layers]


def served_bytes(hub: StoppingHub, name: str) -> int:
    """How many bytes of a file were asked for, headers for the plan aside."""
    size, total = len(hub.files[name]), 0
    for request in hub.elsewhere:
        if request.method == "GET" and urlsplit(request.path).path.endswith(f"/{name}"):
            first, _, last = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
            length = (int(last) + 1 if last else size) - int(first)
            total += length if length > 10_000 else 0
    return total


@pytest.mark.usefixtures("tiny_gigabytes")
def test_a_split_file_is_read_once_and_a_second_packing_reads_none_of_it(hub: StoppingHub, tmp_path: Path) -> None:
    pack(SOURCE, f"oci:{tmp_path / 'image'}", shard_gb=3, policy=QUICK)
    assert served_bytes(hub, LARGE) == len(hub.files[LARGE])
    hub.forget()
    pack(SOURCE, f"oci:{tmp_path / 'image'}", shard_gb=3, policy=QUICK)
    assert served_bytes(hub, LARGE) == 0


@pytest.mark.usefixtures("tiny_gigabytes")
@pytest.mark.parametrize("place", ["first part", "last part"])
def test_a_byte_that_is_not_the_listed_one_makes_no_image_and_is_not_remembered(
    hub: StoppingHub, tmp_path: Path, place: str
) -> None:
    lie = bytearray(hub.files[LARGE])
    lie[-7 if place == "last part" else 100_000] ^= 1
    hub.lie[LARGE] = bytes(lie)
    with pytest.raises(ImageError, match="what came is not what the hub lists"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", shard_gb=3, policy=QUICK)
    assert not (tmp_path / "image" / "index.json").exists()

    hub.lie.clear()
    files = image_files(pack(SOURCE, f"oci:{tmp_path / 'image'}", shard_gb=3, policy=QUICK).reference)
    together = {
        name: one for path in files if path.endswith(".safetensors") for name, one in loaded(files[path]).items()
    }
    assert loaded(hub.files[LARGE]).items() <= together.items()


@pytest.mark.usefixtures("tiny_gigabytes")
@pytest.mark.parametrize("lying", [False, True])
def test_a_run_that_was_cut_short_is_taken_up_and_nothing_of_it_is_trusted_unread(
    hub: StoppingHub, tmp_path: Path, lying: bool
) -> None:
    # The store has every part already, so that what is sent again is seen, and no image that says what they are.
    pack(SOURCE, f"oci:{tmp_path / 'image'}", shard_gb=3, policy=QUICK, cache=tmp_path / "first")
    (tmp_path / "image" / "index.json").unlink()
    hub.until = 600_000
    if lying:
        lie = bytearray(hub.files[LARGE])
        lie[100_000] ^= 1
        hub.lie[LARGE] = bytes(lie)
    with pytest.raises(ImageError):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", shard_gb=3, policy=QUICK, jobs=1)
    hub.until = None
    hub.lie.clear()
    hub.forget()
    again = pack(SOURCE, f"oci:{tmp_path / 'image'}", shard_gb=3, policy=QUICK, jobs=1)
    fresh = pack(SOURCE, f"oci:{tmp_path / 'fresh'}", shard_gb=3, policy=QUICK, cache=tmp_path / "other")

    assert again.digest == fresh.digest
    assert not any(layer.uploaded for layer in again.layers)
    if not lying:
        assert served_bytes(hub, LARGE) == 2 * len(hub.files[LARGE])  # once by each of the two runs


@pytest.mark.usefixtures("tiny_gigabytes")
def test_a_part_that_is_read_alone_is_checked_with_all_that_lies_around_it(hub: StoppingHub, tmp_path: Path) -> None:
    first = pack(SOURCE, f"oci:{tmp_path / 'image'}", shard_gb=3, policy=QUICK)
    forgotten = first.layers[1].digest
    for entry in (default_folder() / "layers").iterdir():
        if json.loads(entry.read_bytes())["digest"] == forgotten:
            entry.unlink()
    lie = bytearray(hub.files[LARGE])
    lie[-7] ^= 1  # in the last part, whose digest is known
    hub.lie[LARGE] = bytes(lie)
    with pytest.raises(ImageError, match="what came is not what the hub lists"):
        pack(SOURCE, f"oci:{tmp_path / 'again'}", shard_gb=3, policy=QUICK)
    hub.lie.clear()
    assert pack(SOURCE, f"oci:{tmp_path / 'again'}", shard_gb=3, policy=QUICK).digest == first.digest


@pytest.mark.usefixtures("tiny_gigabytes")
def test_a_flipped_byte_of_a_buckets_file_is_found_although_no_part_has_a_checksum_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback(Faults()) as google:
        for name, content in published().items():
            google.state.upload("bucket", f"model/{name}", content)
        flipped = bytearray(published()[LARGE])
        flipped[-7] ^= 1
        google.state.contents["storage", f"b/bucket/o/model/{LARGE}"] = bytes(flipped)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.address("storage"))
        with pytest.raises(ImageError, match="CRC-32C"):
            pack("gs://bucket/model", f"oci:{tmp_path / 'image'}", shard_gb=3, policy=QUICK)
    assert not (tmp_path / "image" / "index.json").exists()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.data())
def test_a_whole_is_checked_whichever_parts_are_read_and_however_often(sizes: list[int], data: st.DataObject) -> None:
    content = bytes(number % 251 for number in range(sum(sizes)))
    digest = hashlib.sha256(content).digest()
    read: list[tuple[int, int]] = []

    def read_range(start: int, end: int) -> Iterator[bytes]:
        read.append((start, end))
        yield from (content[at : min(at + 7, end)] for at in range(start, end, 7))

    def whole(expected: bytes) -> Whole:
        made = SourceFile(
            "a", len(content), "id", read_range, checksum=lambda: Expected(hashlib.sha256(), expected.__eq__, "wrong")
        )
        return Whole(made)

    bounds = [sum(sizes[:number]) for number in range(len(sizes) + 1)]
    passes = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=12).map(sorted))
    right, wrong = whole(digest), whole(bytes(32))
    for number in passes:
        start, end = bounds[number], bounds[number + 1]
        assert b"".join(right.read(start, end)) == content[start:end] == b"".join(wrong.read(start, end))
    right.verify()
    with pytest.raises(ImageError, match="wrong"):
        wrong.verify()
    once = [number for number in passes if passes.count(number) == 1]
    if once == passes:  # no part was sent twice: no byte is read twice, by either
        assert sum(end - start for start, end in read) == 2 * len(content)


# Headers


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda n: n != "__metadata__")
pieces = st.tuples(st.sampled_from(list(DTYPES)), st.integers(0, 40))


@given(
    st.dictionaries(names, pieces, min_size=1, max_size=20),
    st.integers(1, 6),
    st.none() | st.dictionaries(names, names, max_size=2),
)
def test_parts_are_valid_files_that_hold_all_tensors_once_and_aligned(
    shapes: dict[str, tuple[str, int]], count: int, metadata: dict[str, str] | None
) -> None:
    generator = random.Random(1)  # noqa: S311 - test data
    # In the order of the format's own writer: the largest elements first, which is what aligns them.
    ordered = sorted(shapes.items(), key=lambda one: -DTYPES[one[1][0]])
    content = safetensors_of(
        {name: (dtype, generator.randbytes(n * DTYPES[dtype])) for name, (dtype, n) in ordered}, metadata
    )
    file = SourceFile.of("model.safetensors", content)
    made = cutting._safetensors_pieces(file, count, LAYER_LIMIT_BYTES)
    parts = [piece.file(f"{n}", Place(n, len(made), 0)) for n, piece in enumerate(made)]
    contents = [b"".join(part.read()) for part in parts]

    assert [len(one) for one in contents] == [part.size for part in parts]
    assert 1 <= len(parts) <= max(count + 2, 1)
    together: Loaded = {}
    for one in contents:
        header = json.loads(one[8 : 8 + int.from_bytes(one[:8], "little")])
        assert header.pop("__metadata__", None) == (metadata if metadata is not None else None)
        assert all(entry["data_offsets"][0] % DTYPES[entry["dtype"]] == 0 for entry in header.values())
        together |= loaded(one)
    assert together == loaded(content)
    for part, one in zip(parts, contents, strict=True):
        start, end = sorted((generator.randrange(len(one) + 1), generator.randrange(len(one) + 1)))
        assert b"".join(part.read_range(start, end)) == one[start:end]


def test_a_cut_never_moves_a_tensor_out_of_its_alignment() -> None:
    tensors = {
        "odd": ("F8_E4M3", bytes(3)),
        "one": ("F8_E4M3", bytes(1)),
        "wide": ("F32", bytes(400)),
        "end": ("F32", b"1234"),
    }
    header = safetensors_header.read(SourceFile.of("m", safetensors_of(tensors)))
    assert [header.tensors[number].name for number in header.cuts] == ["wide", "end"]


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["a", "__metadata__", "data_offsets", "dtype"]), inner)
        ),
    ).map(lambda document: (text := json.dumps(document).encode()) and struct.pack("<Q", len(text)) + text)
)
def test_a_header_that_is_none_is_refused_by_name(content: bytes) -> None:
    header = None
    refused: list[str] = []
    with collecting(refused):
        header = safetensors_header.read(SourceFile.of("x.safetensors", content))
    if header:
        assert sum(tensor.end - tensor.start for tensor in header.tensors) == len(content) - header.data_start
    else:
        assert refused[0].startswith("x.safetensors: not a whole safetensors file")


@pytest.mark.parametrize(
    "offsets",
    [[[0, 4], [8, 12]], [[0, 8], [4, 12]], [[4, 12]], [[0, 8]], [[0, 16]], [[-4, 12]], [[0, True]], [[0, 12.0]]],
)
def test_offsets_with_holes_overlaps_or_beyond_the_file_are_refused(offsets: Sequence[Sequence[int]]) -> None:
    header = {f"t{n}": {"dtype": "U8", "shape": [1], "data_offsets": list(one)} for n, one in enumerate(offsets)}
    text = json.dumps(header).encode()
    with pytest.raises(InputError, match="not a whole safetensors file"):
        safetensors_header.read(SourceFile.of("m", struct.pack("<Q", len(text)) + text + bytes(12)))


# What is cut, and how small


def sized(path: str, size: int) -> SourceFile:
    def read(start: int, end: int) -> Iterator[bytes]:
        raise AssertionError("sizes are enough")

    return SourceFile(path, size, f"id:{path}:{size}", read)


def set_of(count: int, size: int) -> list[SourceFile]:
    paths = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    index = {"weight_map": {str(number): path for number, path in enumerate(paths)}}
    return [
        *(sized(path, size) for path in paths),
        SourceFile.of("model.safetensors.index.json", json.dumps(index).encode()),
    ]


@pytest.mark.parametrize(
    ("files", "shard_gb", "parts", "largest_gb"),
    [
        pytest.param([sized("model.safetensors", 5 * GB)], "auto", 1, 5, id="5 GB alone stays"),
        pytest.param([sized("model.safetensors", 6 * GB)], "auto", 3, 2, id="6 GB alone is cut, none below 2 GB"),
        pytest.param([sized("model.safetensors", 200 * GB)], "auto", 40, 5, id="200 GB alone"),
        pytest.param([sized("model.safetensors", 9 * GB)], "keep", 1, 9, id="kept as it fits"),
        pytest.param([sized("model.safetensors", 20 * GB)], "keep", 8, 2.5, id="kept, but fits no layer"),
        pytest.param([sized("unet/diffusion_pytorch_model.safetensors", 8 * GB)], "auto", 4, 2, id="diffusers"),
        pytest.param([sized("flux1-dev.safetensors", 8 * GB)], "auto", 1, 8, id="a name that a server may be told"),
        pytest.param([sized("flux1-dev.safetensors", 24 * GB)], "auto", 8, 3, id="no layer holds it"),
        pytest.param(set_of(61, 17 * GB), "auto", 122, 8.5, id="Kimi-K2: the fewest that fit"),
        pytest.param(set_of(24, 10 * GB), "auto", 48, 5, id="Qwen3-235B in FP8"),
        pytest.param(set_of(20, 6 * GB), "auto", 20, 6, id="shards that fit stay"),
        pytest.param(set_of(20, 6 * GB), 3, 40, 3, id="shards above a given size"),
        pytest.param(set_of(30, 12 * GB), "auto", 90, 4, id="12 GB shards"),
        pytest.param(set_of(50, 12 * GB), "auto", 100, 6, id="larger parts where 120 layers would not do"),
        pytest.param([sized("m-Q4.gguf", 9 * GB)], "auto", 1, 9, id="GGUF that fits stays"),
        pytest.param([sized("m-Q4.gguf", 48 * GB)], "auto", 10, 4.8, id="GGUF"),
        pytest.param(
            [sized(f"q/m-0000{n}-of-00005.gguf", 48 * GB) for n in range(1, 6)], "auto", 50, 4.8, id="split GGUF"
        ),
    ],
)
def test_what_is_cut_depends_on_sizes_and_names(
    files: list[SourceFile], shard_gb: reshard.ShardSize, parts: int, largest_gb: float
) -> None:
    planned = [
        file
        for layer in plan_layers(files, base_layers=1, shard_gb=shard_gb, reading=False)
        for file in layer.files
        if file.path.endswith((".safetensors", ".gguf"))
    ]
    assert len(planned) == parts
    assert max(file.size for file in planned) == pytest.approx(largest_gb * GB, rel=0.01)


def test_parts_of_different_files_are_in_different_layers_so_that_files_are_read_side_by_side(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_gigabytes: None
) -> None:
    monkeypatch.setattr(layers, "LAYER_COUNT_LIMIT", 6)
    (tmp_path / "model").mkdir()
    for name, content in published().items():
        (tmp_path / "model" / name).write_bytes(content)
    image = pack(str(tmp_path / "model"), f"oci:{tmp_path / 'image'}", shard_gb=1)
    assert len(image.layers) == 7
    files = image_files(image.reference)
    assert len([path for path in files if path.endswith(".safetensors")]) > 12


@pytest.mark.parametrize("size", [0, -1, 0.05, 9.5, True, float("nan"), "large"])
def test_a_size_that_no_part_can_have_is_refused(size: reshard.ShardSize) -> None:
    with pytest.raises(InputError, match=r"give auto, keep, or GB from 0\.1 to 9\.4"):
        plan_layers([sized("config.json", 1)], shard_gb=size)


@pytest.mark.usefixtures("tiny_gigabytes")
def test_a_tensor_that_no_layer_holds_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "HEADROOM_BYTES", 1000)
    monkeypatch.setattr(layers, "_FILE_OVERHEAD_BYTES", 5000)
    monkeypatch.setattr(layers, "LAYER_LIMIT_BYTES", 300_000)
    tensors = {
        "small": ("BF16", bytes(1000)),
        "lm_head.weight": ("BF16", bytes(400_000)),
        "last": ("BF16", bytes(1000)),
    }
    with pytest.raises(InputError, match=r"model.safetensors: its tensor 'lm_head.weight' alone has 400000 bytes"):
        plan_layers([SourceFile.of("model.safetensors", safetensors_of(tensors))])


def test_parts_are_filled_where_equal_ones_would_not_fit(monkeypatch: pytest.MonkeyPatch, tiny_gigabytes: None) -> None:
    monkeypatch.setattr(cutting, "HEADROOM_BYTES", 1000)
    monkeypatch.setattr(layers, "_FILE_OVERHEAD_BYTES", 5000)
    monkeypatch.setattr(layers, "LAYER_LIMIT_BYTES", 300_000)
    tensors = {
        f"t{number}": ("BF16", bytes(size)) for number, size in enumerate([280_000, 40_000, 270_000, 250_000, 20_000])
    }
    planned = plan_layers([SourceFile.of("model.safetensors", safetensors_of(tensors))])
    assert all(layer.size <= 300_000 for layer in planned)
    assert sum(len(layer.files) for layer in planned) >= 5


def test_names_that_clash_are_refused_only_where_something_is_cut(tiny_gigabytes: None) -> None:
    content = safetensors_of(tensors_of(1, 20, 100_000))
    part = plan_layers([SourceFile.of("model.safetensors", content)], shard_gb=3)[0].title
    files = [SourceFile.of("model.safetensors", content), SourceFile.of(part, content)]
    with pytest.raises(InputError, match="a part of a larger file would get this name"):
        plan_layers(files, shard_gb=3)
    index = SourceFile.of("a.safetensors.index.json", b'{"weight_map": {"t": "model.safetensors"}}')
    other = SourceFile.of("b.safetensors.index.json", b'{"weight_map": {"t": "model.safetensors"}}')
    with pytest.raises(InputError, match=r"both a\.safetensors\.index\.json and b\.safetensors\.index\.json name it"):
        plan_layers([files[0], index, other], shard_gb=3)
    assert plan_layers([files[0], index, other], shard_gb="keep")


def test_a_split_is_told_in_one_line_a_file(tiny_gigabytes: None) -> None:
    planned = plan_layers([SourceFile.of("model.safetensors", safetensors_of(tensors_of(1, 40, 50_000)))], shard_gb=3)
    (note,) = notes_on(planned)
    assert note.startswith(
        "model.safetensors is split into 6 parts at tensors' bounds, model-00001-of-00006.safetensors"
    )


@pytest.mark.usefixtures("tiny_gigabytes")
def test_a_docker_context_holds_parts_as_files_and_links_the_rest(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name, content in {**published(), "other.safetensors": safetensors_of({"a": ("BF16", bytes(10))})}.items():
        (model / name).write_bytes(content)
    context = write_context(str(model), str(tmp_path / "context"), shard_gb=3)
    image = pack(str(model), f"oci:{tmp_path / 'image'}", shard_gb=3)
    written = {path.relative_to(path.parents[1]).as_posix(): path for path in (tmp_path / "context").rglob("models/*")}
    assert {path.removeprefix("models/"): one.read_bytes() for path, one in written.items()} == image_files(
        image.reference
    )
    assert written["models/other.safetensors"].stat().st_ino == (model / "other.safetensors").stat().st_ino
    assert {one.stat().st_mode & 0o777 for one in written.values()} == {0o644}
    assert context.size_bytes == image.size_bytes - image.layers[-1].size_bytes


def test_a_context_of_more_layers_than_docker_reads_is_refused(
    monkeypatch: pytest.MonkeyPatch, model: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("modelimage.build_context.LAYER_COUNT_LIMIT", 4)
    with pytest.raises(InputError, match="more than docker reads"):
        write_context(str(model), str(tmp_path / "context"))
    assert not (tmp_path / "context").exists()
