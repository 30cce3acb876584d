"""GGUF files that are cut: what llama.cpp's own reader finds in the parts."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage import cutting, gguf_header, pack, reshard
from modelimage.errors import collecting
from modelimage.layers import plan_layers
from modelimage.source import SourceFile
from oci_model_serving.errors import InputError
from tests.modelimage.test_reshard import image_files

GB = 10**9
Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def write_gguf(path: Path, tensors: int = 30, alignment: int | None = None) -> Path:
    """A model as llama.cpp's converter writes one: metadata of all kinds, a vocabulary, tensors of several types."""
    writer = gguf.GGUFWriter(path, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_context_length(8192)
    writer.add_float64("a.double", 0.1)
    writer.add_bool("a.flag", True)
    writer.add_token_list([f"token {number} ä" for number in range(500)])
    writer.add_token_scores([number / 7 for number in range(500)])
    generator = np.random.default_rng(1)
    for number in range(tensors):
        kind = (np.float32, np.float16, np.int8)[number % 3]
        shape = (3 + number, 64)
        writer.add_tensor(f"blk.{number}.weight", (generator.random(shape) * 100).astype(kind))
    writer.add_tensor(
        "blk.quantised",
        generator.integers(0, 255, (64, 34 * 4), dtype=np.uint8),
        raw_dtype=gguf.GGMLQuantizationType.Q8_0,
    )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensors_of(*paths: Path) -> Tensors:
    return {
        tensor.name: (tensor.tensor_type.name, tuple(int(n) for n in tensor.shape), tensor.data.tobytes())
        for path in paths
        for tensor in gguf.GGUFReader(path).tensors
    }


def fields_of(path: Path) -> dict[str, object]:
    return {
        name: field.contents()
        for name, field in gguf.GGUFReader(path).fields.items()
        if not name.startswith(("GGUF.", "split."))
    }


def split_of(path: Path) -> tuple[int, int, int]:
    """What llama.cpp's loader compares: the part's number, how many there are, and the tensors of all."""
    fields = gguf.GGUFReader(path).fields
    kinds = {name: fields[name].types[0].name for name in ("split.no", "split.count", "split.tensors.count")}
    assert kinds == {"split.no": "UINT16", "split.count": "UINT16", "split.tensors.count": "INT32"}
    no, count, tensors = (int(fields[name].contents()) for name in kinds)
    return no, count, tensors


@pytest.fixture
def tiny_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GB is 100 kB here, for what is cut at all."""
    monkeypatch.setattr(reshard, "GB", 100_000)


def packed(model: Path, tmp_path: Path, shard_gb: reshard.ShardSize) -> list[Path]:
    files = image_files(pack(str(model), f"oci:{tmp_path / 'image'}", shard_gb=shard_gb).reference)
    out = tmp_path / f"out-{shard_gb}"
    out.mkdir()
    for name, content in files.items():
        (out / name).write_bytes(content)
    return sorted(out.glob("*.gguf"))


@pytest.mark.usefixtures("tiny_gigabytes")
@pytest.mark.parametrize("alignment", [None, 64, 8])
def test_the_parts_hold_every_tensor_bit_for_bit_and_the_first_one_the_metadata(
    tmp_path: Path, alignment: int | None
) -> None:
    (tmp_path / "model").mkdir()
    whole = write_gguf(tmp_path / "model" / "m-Q8_0.gguf", alignment=alignment)
    parts = packed(tmp_path / "model", tmp_path, 0.3)

    assert len(parts) > 3
    assert [part.name for part in parts] == [
        f"m-Q8_0-{number:05d}-of-{len(parts):05d}.gguf" for number in range(1, len(parts) + 1)
    ]
    assert tensors_of(*parts) == tensors_of(whole)
    assert fields_of(parts[0]) == fields_of(whole)
    aligned = {"general.alignment": alignment} if alignment else {}
    assert all(fields_of(part) == aligned for part in parts[1:])
    assert [split_of(part) for part in parts] == [(number, len(parts), 31) for number in range(len(parts))]
    for part in parts:  # as ggml's reader demands: each tensor where the one before ends, padded
        position = 0
        reader = gguf.GGUFReader(part)
        for tensor in reader.tensors:
            assert tensor.data_offset == reader.data_offset + position
            position += -(-int(tensor.n_bytes) // int(reader.alignment)) * int(reader.alignment)
        assert part.stat().st_size == reader.data_offset + position


@pytest.mark.usefixtures("tiny_gigabytes")
def test_a_file_that_is_split_already_is_split_into_smaller_parts(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    whole = write_gguf(tmp_path / "model" / "m.gguf")
    (tmp_path / "again").mkdir()
    for part in packed(tmp_path / "model", tmp_path, 0.5):
        part.rename(tmp_path / "again" / part.name)
    parts = packed(tmp_path / "again", tmp_path, 0.2)
    assert len(parts) > 4
    assert tensors_of(*parts) == tensors_of(whole)
    assert fields_of(parts[0]) == fields_of(whole)
    assert [split_of(part) for part in parts] == [(number, len(parts), 31) for number in range(len(parts))]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"GGUF\3\0\0\0" + bytes(100), "its header names no tensor"),
        (b"GGUF\0\0\0\3" + bytes(100), "its version is 50331648"),
        (b"GGUF\1\0\0\0" + bytes(100), "its version is 1,"),
        (b"version https://git-lfs.github.com/spec/v1", "it does not begin with GGUF"),
        (b"GGUF\3\0\0\0" + struct.pack("<QQ", 2**63, 0) + bytes(100), "longer than the file"),
        (b"GGUF\3\0\0\0" + struct.pack("<QQ", 1, 2**63) + bytes(100), "the unknown type|longer than the file"),
        (b"GGUF\3\0\0\0" + struct.pack("<QQQ", 1, 1, 2**62) + bytes(100), "longer than the file"),
        (
            b"GGUF\3\0\0\0" + struct.pack("<QQQ", 1, 1, 1) + b"k" + struct.pack("<IIQ", 9, 4, 2**62),
            "longer than the file",
        ),
        (
            b"GGUF\3\0\0\0" + struct.pack("<QQQ", 1, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 1),
            "array of the unknown type 9",
        ),
        (b"GGUF\3\0\0\0" + struct.pack("<QQQ", 1, 0, 1) + b"t" + struct.pack("<I", 2**31), "2147483648 dimensions"),
        (
            b"GGUF\3\0\0\0" + struct.pack("<QQQ", 1, 0, 1) + b"t" + struct.pack("<IIQ", 0, 0, 64) + bytes(60),
            "cut short",
        ),
    ],
)
def test_what_cannot_be_split_is_refused_with_the_command_that_can(content: bytes, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        gguf_header.read(SourceFile.of("a/m.gguf", content))
    assert "llama-gguf-split --split --split-max-size 9G a/m.gguf a/m`" in str(caught.value)
    assert "--ignore 'a/m.gguf'" in str(caught.value)


def test_a_large_file_without_tensors_is_refused_in_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "m.Q5_K_M.gguf"
    path.write_bytes(b"GGUF\3\0\0\0")
    with path.open("r+b") as file:
        file.truncate(48 * GB)
    with pytest.raises(InputError, match="llama-gguf-split --split --split-max-size 9G"):
        pack(str(tmp_path), f"oci:{tmp_path / 'image'}")


@given(st.data())
def test_no_damage_to_a_header_makes_parts_that_overlap_or_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = tmp_path_factory.getbasetemp() / "whole.gguf"
    if not whole.exists():
        write_gguf(whole, tensors=3)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content), 2500) - 1) | st.integers(0, 40))
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    made: list[cutting._Piece] = []
    refused: list[str] = []
    with collecting(refused):
        made += cutting._gguf_pieces(SourceFile.of("m.gguf", bytes(content)), 2, 10**9)
    if refused:
        assert "m.gguf" in refused[0]
        return
    assert made[0].start == 0
    assert made[-1].end == len(content)
    assert all(one.end == following.start for one, following in pairwise(made))


def test_planning_reads_no_more_than_the_header() -> None:
    content = b"GGUF\3\0\0\0" + struct.pack("<QQQ", 1, 0, 1) + b"t" + struct.pack("<IIQ", 0, 0, 0) + bytes(500)
    asked: list[int] = []

    def read_range(start: int, end: int):  # type: ignore[no-untyped-def]
        for at in range(start, end, 16):
            asked.append(at)
            yield content[at : min(at + 16, end)]

    gguf_header.read(SourceFile("m.gguf", len(content), "id", read_range))
    assert max(asked) <= 64
    assert len(plan_layers([SourceFile("m.gguf", 9 * GB, "id", read_range)])) == 2


@pytest.mark.usefixtures("tiny_gigabytes")
def test_a_split_whose_first_file_has_metadata_alone_is_split_again(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    # As `gguf-split --no-tensor-first-split` writes it.
    first = gguf.GGUFWriter(folder / "m-00001-of-00002.gguf", "llama")
    first.add_context_length(8192)
    for key, add in (("split.no", first.add_uint16), ("split.count", first.add_uint16)):
        add(key, 0 if key == "split.no" else 2)
    first.write_header_to_file()
    first.write_kv_data_to_file()
    first.write_tensors_to_file()
    first.close()
    whole = write_gguf(folder / "m-00002-of-00002.gguf")
    expected = tensors_of(whole)
    made = pack(str(folder), f"oci:{tmp_path / 'image'}", shard_gb=0.2)
    files = image_files(made.reference)
    parts = []
    for path, content in sorted(files.items()):
        if path.endswith(".gguf"):
            parts.append(tmp_path / path.replace("/", "_"))
            parts[-1].write_bytes(content)
    assert len(parts) > 2
    assert tensors_of(*parts) == expected
    assert fields_of(parts[0])["llama.context_length"] == 8192
    assert made.traits.weights_file == f"m-00001-of-{len(parts):05d}.gguf"


@pytest.mark.usefixtures("tiny_gigabytes")
def test_a_server_is_pointed_at_the_first_part_of_what_was_cut(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    write_gguf(folder / "m.gguf")
    made = pack(str(folder), f"oci:{tmp_path / 'image'}", shard_gb=0.2)
    names = {path for path in image_files(made.reference) if path.endswith(".gguf")}
    assert "m.gguf" not in names
    assert made.traits.weights_file in names
