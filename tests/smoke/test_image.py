"""An image's files are listed from the headers of its layers, without reading the weights."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smoke import image
from smoke.image import _Headers, _inflated

names = st.text("abcdefghij-_.0123456789", min_size=1, max_size=120).filter(lambda name: name.strip("."))
contents = st.dictionaries(names, st.integers(0, 5000), max_size=8)


def layer(files: dict[str, int]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, size in files.items():
            info = tarfile.TarInfo(f"models/{name}")
            info.size = size
            tar.addfile(info, io.BytesIO(bytes(size)))
    # tarfile pads to 10 KiB, which modelimage does not.
    end = stream.getvalue().rstrip(b"\0")
    return end + bytes(-len(end) % 512 + 1024)


def chunked(data: bytes, size: int = 700) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def listed(headers: _Headers) -> dict[str, int]:
    with tarfile.open(fileobj=cast(Any, headers), mode="r:") as tar:
        return {entry.name.removeprefix("models/"): entry.size for entry in tar}


@given(contents)
@settings(max_examples=60, deadline=None)
def test_every_file_of_a_plain_layer_is_listed(files: dict[str, int]) -> None:
    with io.BytesIO() as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, size in files.items():
            info = tarfile.TarInfo(f"models/{name}")
            info.size = size
            tar.addfile(info, io.BytesIO(b"\x01" * size))
        tar.close()
        data = stream.getvalue()

    assert listed(_Headers(chunked(data), len(data))) == files


@given(contents)
@settings(max_examples=60, deadline=None)
def test_every_file_of_a_compressed_layer_is_listed(files: dict[str, int]) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, size in files.items():
            info = tarfile.TarInfo(f"models/{name}")
            info.size = size
            tar.addfile(info, io.BytesIO(b"\x01" * size))
    data = gzip.compress(stream.getvalue())

    assert listed(_Headers(_inflated(chunked(data)), None)) == files


def test_a_large_file_is_listed_without_being_read() -> None:
    size = 5_000_000_000
    info = tarfile.TarInfo("models/model.safetensors")
    info.size = size
    header = info.tobuf(tarfile.PAX_FORMAT)
    read: list[int] = []

    def chunks() -> Iterator[bytes]:
        yield header
        while True:
            read.append(1)
            yield bytes(1 << 20)

    headers = _Headers(chunks(), len(header) + size + -size % 512 + 1024)

    assert listed(headers) == {"model.safetensors": size}
    assert not headers.cut
    assert len(read) <= 1


def test_what_follows_a_large_file_is_left_unread_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_LARGE_BYTES", 4096)
    data = layer({"model.safetensors": 100_000, "config.json": 10})
    headers = _Headers(chunked(data), len(data))

    assert listed(headers) == {"model.safetensors": 100_000}
    assert headers.cut
