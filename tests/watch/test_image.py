"""An image's files are listed from the headers of its layers, without reading the weights."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oci_model_serving.reference import ImageReference
from tests.smoke import stacks
from watch import image
from watch.causes import NotHeldError
from watch.image import ImageFiles, _Headers, _inflated, _starts, files_of

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


OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


def pushed(monkeypatch: pytest.MonkeyPatch, *layers: tuple[str, bytes]) -> ImageReference:
    """An image of layers, each a media type and its content, behind the registry's client."""
    blobs = {f"sha256:{number:064x}": (kind, data) for number, (kind, data) in enumerate(layers)}
    records = [
        SimpleNamespace(digest=digest, media_type=kind, size=len(data)) for digest, (kind, data) in blobs.items()
    ]
    monkeypatch.setattr("watch.image.Registry.read_blob", lambda _, digest, size: chunked(blobs[digest][1]))
    monkeypatch.setattr(
        image, "load_image", lambda *_: SimpleNamespace(manifest=SimpleNamespace(layers=records)), raising=True
    )
    return ImageReference.parse(stacks.IMAGE)


def test_a_layer_of_another_compression_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = layer({"config.json": 10})
    reference = pushed(monkeypatch, (f"{OCI_LAYER}+zstd", b"\x28\xb5\x2f\xfd"), (OCI_LAYER, weights))

    assert files_of(reference) == ImageFiles({"config.json": 10}, complete=False)


@pytest.mark.parametrize(
    ("kind", "data"),
    [(OCI_LAYER, b"no tar" * 500), (f"{OCI_LAYER}+gzip", b"no gzip" * 500)],
    ids=["no tar", "no gzip"],
)
def test_a_damaged_layer_fails_and_is_named(monkeypatch: pytest.MonkeyPatch, kind: str, data: bytes) -> None:
    reference = pushed(monkeypatch, (kind, data))

    with pytest.raises(NotHeldError, match=r"layer sha256:0{64} of .* is damaged"):
        files_of(reference)


@given(contents, st.integers(0, 6000), st.integers(1, 900))
@settings(max_examples=60, deadline=None)
def test_the_beginning_of_every_file_is_read_as_it_is(files: dict[str, int], length: int, size: int) -> None:
    with io.BytesIO() as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        written = {name: bytes(at % 251 for at in range(count)) for name, count in files.items()}
        for name, content in written.items():
            info = tarfile.TarInfo(f"./models/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        tar.close()
        data = stream.getvalue()

    starts = dict(_starts(_Headers(chunked(data, size), len(data)), length))

    assert starts == {name: content[:length] for name, content in written.items()}
