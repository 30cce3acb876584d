from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.source import Selection
from modelimage.weights import HeaderCheck, checked
from oci_model_serving.errors import InputError
from tests.weights import safetensors_bytes


def judge(content: bytes, size: int | None = None) -> None:
    list(checked("model.safetensors", len(content) if size is None else size, iter((content,))))


def test_a_whole_file_passes() -> None:
    judge(safetensors_bytes(b"weights"))


def test_the_remedy_of_a_truncated_shard_names_the_pattern_that_leaves_it_out(model: Path) -> None:
    path = model / "part[1].safetensors"
    path.write_bytes(safetensors_bytes(b"weights")[:-1])
    with pytest.raises(InputError, match=r"--ignore 'part\[\[]1\]\.safetensors' \(a stack: files\.ignore\)"):
        open_source(str(model), Selection(), Patience())
    open_source(str(model), Selection(ignore=("part[[]1].safetensors",)), Patience())


@given(payload=st.binary(min_size=1, max_size=200), cut=st.integers(1, 300), step=st.integers(1, 50))
def test_a_truncated_file_is_refused_however_it_arrives(payload: bytes, cut: int, step: int) -> None:
    whole = safetensors_bytes(payload)
    content = whole[: max(len(whole) - cut, 0)]
    pieces = iter([content[start : start + step] for start in range(0, len(content), step)])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        list(checked("model.safetensors", len(content), pieces))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 9) + b'{"a": {}}',
        safetensors_bytes(b"weights") + b"more",
    ],
)
def test_what_is_no_safetensors_file_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="Fetch it again"):
        judge(content)


def test_the_check_keeps_no_weights() -> None:
    content = safetensors_bytes(bytes(1000))
    check = HeaderCheck("a.safetensors", len(content))
    check.feed(content)
    assert check._seen == b""


def test_a_truncated_shard_in_a_folder_is_refused_before_packing(model: Path) -> None:
    path = model / "model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"model-00002-of-00003.safetensors: not a whole"):
        open_source(str(model), Selection(), Patience())


def test_a_shard_that_the_index_names_must_be_there(model: Path) -> None:
    (model / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(InputError, match=r"names the shard model-00002-of-00003.safetensors, but it is not there"):
        open_source(str(model), Selection(), Patience())


def test_a_shard_that_a_pattern_leaves_out_is_told_as_such(model: Path) -> None:
    with pytest.raises(InputError, match="but --allow or --ignore leaves it out"):
        open_source(str(model), Selection(ignore=("*-00003-*",)), Patience())


def test_a_broken_index_is_refused(model: Path) -> None:
    (model / "model.safetensors.index.json").write_text("{")
    with pytest.raises(InputError, match="not a safetensors index"):
        open_source(str(model), Selection(), Patience())
