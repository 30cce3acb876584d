"""A pickle is told by its bytes whatever its name, and what is none is not."""

from __future__ import annotations

import bz2
import collections
import gzip
import io
import json
import lzma
import os
import pickle
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.pickles import HEAD_BYTES, looks_pickled
from modelimage.rules import pickle_findings
from modelimage.source import Selection
from oci_model_serving.errors import InputError
from tests.weights import safetensors_bytes

Compress = Callable[[bytes], bytes]


class Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.getpid, ()


def judged(content: bytes) -> bool:
    return looks_pickled(content[:HEAD_BYTES], whole=len(content) <= HEAD_BYTES)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def numpy_file(descr: str) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (2,), }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(16)


VALUES: dict[str, object] = {
    "code": Runs(),
    "an ordered table": collections.OrderedDict(a=[1, 2]),
    "plain": {"a": 1},
    "plain and long": {"a": list(range(60_000))},
}
COMPRESSED: list[Compress] = [bytes, gzip.compress, bz2.compress, lzma.compress, zlib.compress]
# Plain values in the protocols that look like text run nothing, and compressed they look like any text.
KINDS = [
    pytest.param(value, protocol, compress, id=f"{name}, protocol {protocol}, {compress.__module__}")
    for name, value in VALUES.items()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    for compress in COMPRESSED
    if compress is bytes or protocol > 1 or not name.startswith("plain")
]


@pytest.mark.parametrize(("value", "protocol", "compress"), KINDS)
def test_a_pickle_of_any_protocol_is_one_and_compressed_too(value: object, protocol: int, compress: Compress) -> None:
    assert judged(compress(pickle.dumps(value, protocol)))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=20) | st.binary(max_size=20) | st.floats(allow_nan=False),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    ),
    st.integers(2, pickle.HIGHEST_PROTOCOL),
    st.binary(max_size=50),
)
def test_whatever_was_pickled_and_whatever_follows_it_is_one(value: object, protocol: int, more: bytes) -> None:
    assert judged(pickle.dumps(value, protocol) + more)


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cos\nsystem\n(S'true'\ntRX broken on purpose",
        b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R\xff\xff",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.",  # PyTorch before 1.6
        zipped({"archive/data.pkl": b"\x80\x02}.", "archive/data/0": bytes(64)}),
        zipped({"notes.txt": b"text", "payload": pickle.dumps(Runs())}, zipfile.ZIP_DEFLATED),
        zipped({"a.npy": numpy_file("'|O'")}),
        tarred({"sys_info": b"{}", "pickle": b"\x80\x02}.", "storages": b""}),
        tarred({"model_config.yaml": b"a: 1", "model_weights.ckpt": zipped({"m/data.pkl": b"\x80\x02}."})}),
        numpy_file("'|O'"),
        numpy_file("[('a', '<f4'), ('b', '|O')]"),
        b"\x80\x04.",
    ],
)
def test_what_runs_code_when_it_is_loaded_is_one_even_if_the_rest_is_broken(content: bytes) -> None:
    assert judged(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"{}",
        b". { color: red }",
        b"(c) 2024 the authors\n",
        b"class\ncolour\n(see the notes)\n",
        b"I am text\n.",
        b"0" * 100_000,
        b"(((((((",
        b"lmggml" + bytes(200),
        b"GGUF\x03\x00\x00\x00" + bytes(40),
        b"\xba\x16O/\x0c\x00\x00\x00" + bytes(400),  # fastText
        safetensors_bytes(b"weights"),
        json.dumps({"a": "cos\nsystem\n(S'true'\ntR."}).encode(),
        numpy_file("'<f4'"),
        zipped({"a.npy": numpy_file("'<f4'"), "b.npy": numpy_file("'<i8'")}),
        zipped({"config.json": b"{}", "empty/": b"", "site.pth": b"import a"}, zipfile.ZIP_DEFLATED),
        tarred({"a.txt": b"text"}),
        gzip.compress(b"words of a corpus\n" * 5000),
    ],
)
def test_what_is_none_is_not_taken_for_one(content: bytes) -> None:
    assert not judged(content)


@given(st.binary(max_size=2000))
def test_any_bytes_are_judged_without_an_error(content: bytes) -> None:
    looks_pickled(content)
    looks_pickled(content, whole=True)
    looks_pickled(b"PK\x03\x04" + content)


def test_the_standard_library_and_the_installed_packages_hold_no_false_pickle() -> None:
    """Some thousand real files: sources, binaries, data."""
    found = []
    for root in {Path(os.__file__).parent, Path(pytest.__file__).parents[1] / "hypothesis"}:
        for path in sorted(root.rglob("*"))[:6000]:
            if path.is_file() and path.suffix not in {".pickle", ".pck", ".pkl"} and "idlelib" not in path.parts:
                with path.open("rb") as file:
                    head = file.read(HEAD_BYTES)
                if looks_pickled(head, whole=path.stat().st_size <= HEAD_BYTES):
                    found.append(path.name)
    assert found == []


def model(folder: Path, name: str, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    "name", ["model.bin", "adapter_weights.bin", "weights.PT", "m.joblib", "data.p", "nothing", "notes.txt", "a.gz"]
)
def test_a_pickle_is_refused_whatever_its_name(tmp_path: Path, name: str) -> None:
    content = pickle.dumps(Runs())
    folder = model(tmp_path / "m", name, gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(InputError, match="run code when they are loaded") as caught:
        open_source(str(folder), Selection(), Patience())
    message = str(caught.value)
    assert name in message
    assert "--convert safetensors (a stack: files.convert: safetensors)" in message
    assert "--pickle allow (a stack: files.pickle: allow)" in message
    source = open_source(str(folder), Selection(pickle=True), Patience())
    assert any("packed because pickles are allowed" in note for note in source.notes)


@pytest.mark.parametrize("name", ["model.bin", "vocab.bin", "lid.176.bin", "weights.dat"])
def test_another_file_of_such_a_name_is_none(tmp_path: Path, name: str) -> None:
    folder = model(tmp_path / "m", name, b"lmggml" + bytes(range(256)) * 300)
    assert {file.path for file in open_source(str(folder), Selection(), Patience()).files} == {"config.json", name}


def test_who_takes_pickles_beside_safetensors_is_told_to_leave_them_out(tmp_path: Path) -> None:
    folder = model(tmp_path / "m", "pytorch_model.bin", pickle.dumps(Runs()))
    (folder / "model.safetensors").write_bytes(safetensors_bytes(b"weights"))
    with pytest.raises(InputError, match=r"leave it out with --ignore 'pytorch_model\.bin'"):
        open_source(str(folder), Selection(("*",)), Patience())
    open_source(str(folder), Selection(("*",), ("pytorch_model.bin",)), Patience())
    open_source(str(folder), Selection(("*",), pickle=True), Patience())


def test_a_zip_on_a_disk_is_looked_into_to_its_end(tmp_path: Path) -> None:
    content = zipped({"a.npy": numpy_file("'<f4'") + bytes(HEAD_BYTES), "b.npy": numpy_file("'|O'")})
    folder = model(tmp_path / "m", "arrays.npz", content)
    with pytest.raises(InputError, match=r"arrays\.npz"):
        open_source(str(folder), Selection(), Patience())


def test_a_zip_that_holds_itself_ends(tmp_path: Path) -> None:
    inner = zipped({"a": b"text"})
    for _ in range(50):
        inner = zipped({"a": inner})
    assert not judged(inner)


def test_pickles_are_noted_or_refused_by_what_was_asked() -> None:
    assert pickle_findings([], ["a.safetensors"], Selection()) == ([], [])
    assert "--ignore" in pickle_findings(["x.bin"], ["a.safetensors", "x.bin"], Selection())[0][0]
    assert "--convert" in pickle_findings(["x.bin"], ["x.bin"], Selection())[0][0]
    assert pickle_findings(["x.bin"], ["x.bin"], Selection(convert=True))[0] == []


@pytest.mark.skipif(sys.maxsize < 2**32, reason="a length of eight bytes needs 64 bits")
def test_a_length_without_end_takes_no_memory() -> None:
    looks_pickled(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc")
