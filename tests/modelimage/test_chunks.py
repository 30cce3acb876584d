"""Chunk lists: what is written is read back, and what others write is held to its bounds."""

import hashlib
import io
import tarfile
from pathlib import PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelimage import chunks
from modelimage.chunks import CHUNK_BYTES, CHUNKS, OFFSET, SIZE, Chunked
from modelimage.documents import LAYER_TYPE, Descriptor
from modelimage.errors import ImageError
from modelimage.layers import LAYER_COUNT_END, LAYER_LIMIT_BYTES
from modelimage.streams import Blob

SMALL = 64 << 10


def digest_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def layer(name: str, size: int, **notes: str) -> Descriptor:
    return Descriptor(mediaType=LAYER_TYPE, digest=digest_of(name), size=size, annotations=notes or None)


def holder(said: str = str(CHUNK_BYTES), media_type: str = LAYER_TYPE) -> Descriptor:
    return Descriptor(mediaType=media_type, digest=digest_of("lists"), size=0, annotations={CHUNKS: said})


def tar(*entries: tuple[str, bytes, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, content in entries:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def list_name(name: str) -> str:
    return f".chunks/{digest_of(name)[7:]}"


@settings(max_examples=20)
@given(st.lists(st.integers(0, 3 * CHUNK_BYTES // 4), max_size=5))
def test_a_list_is_the_hash_of_each_chunk_however_the_bytes_come_in_pieces(lengths: list[int]) -> None:
    pieces = [bytes([number]) * length for number, length in enumerate(lengths)]
    chunked = Chunked(pieces)
    assert list(chunked) == pieces
    whole = b"".join(pieces)
    parts = [whole[start : start + CHUNK_BYTES] for start in range(0, len(whole), CHUNK_BYTES)]
    assert chunked.found == b"".join(hashlib.sha256(part).digest() for part in parts) == chunks.list_of(whole)
    assert len(chunked.found) == chunks.list_bytes(len(whole), CHUNK_BYTES)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 5 * CHUNK_BYTES), max_size=6))
def test_what_is_written_is_read_back_and_has_the_size_that_was_foretold(sizes: dict[str, int]) -> None:
    layers = [layer(name, size) for name, size in sizes.items()]
    lists = {one.digest: one.digest.encode()[-32:] * (chunks.list_bytes(one.size, CHUNK_BYTES) // 32) for one in layers}
    content = chunks.written(lists)
    assert len(content) == chunks.layer_size(sizes.values())
    found = chunks.read(content, chunks.described(Blob.of("lists", content)), layers)
    assert found == chunks.Lists(CHUNK_BYTES, lists)


def test_the_layer_unpacks_as_a_folder_of_files_that_everybody_may_read() -> None:
    content = chunks.written({digest_of("a"): b"1" * 32, digest_of("b"): b""})
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        found = [(entry.name, entry.type, entry.mode, entry.size, entry.mtime, entry.uid) for entry in archive]
    assert found == [
        (".chunks", tarfile.DIRTYPE, 0o755, 0, 0, 0),
        (list_name("a"), tarfile.REGTYPE, 0o644, 32, 0, 0),
        (list_name("b"), tarfile.REGTYPE, 0o644, 0, 0, 0),
    ]
    assert PurePosixPath(list_name("a")).parts[0] == chunks.FOLDER


def test_a_chunk_is_found_by_its_number() -> None:
    lists = chunks.Lists(SMALL, {"sha256:x": b"a" * 32 + b"b" * 32})
    assert lists.digest("sha256:x", 1) == b"b" * 32


def test_of_an_image_upon_another_the_last_layer_that_holds_lists_counts() -> None:
    below, own = layer("below", 5, **{CHUNKS: "65536"}), layer("own", 5, **{CHUNKS: "65536"})
    assert chunks.list_layer([layer("a", 1), below, layer("b", 1), own, layer("c", 1)]) == own
    assert chunks.list_layer([layer("a", 1)]) is None


def test_other_chunk_sizes_and_lists_of_layers_that_the_image_lacks_are_read() -> None:
    content = tar((list_name("a"), tarfile.REGTYPE, b"1" * 64), (list_name("gone"), tarfile.REGTYPE, b"2" * 7))
    assert chunks.read(content, holder(str(SMALL)), [layer("a", SMALL + 1)]).of == {digest_of("a"): b"1" * 64}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([(list_name("a"), tarfile.REGTYPE, b"1" * 31)], "the list of layer sha256:"),
        ([(list_name("a"), tarfile.REGTYPE, b"1" * 64)], "has 64 bytes"),
        ([(list_name("a"), tarfile.REGTYPE, b"1" * 32)] * 2, "two lists of layer"),
        ([(".chunks/x", tarfile.REGTYPE, b"")], "an entry '.chunks/x', which is no list"),
        ([(list_name("a").upper(), tarfile.REGTYPE, b"1" * 32)], "which is no list"),
        ([(f"../{list_name('a')}", tarfile.REGTYPE, b"1" * 32)], "which is no list"),
        ([(list_name("a"), tarfile.SYMTYPE, b"")], "which is no list"),
        ([("models/config.json", tarfile.REGTYPE, b"{}")], "which is no list"),
    ],
)
def test_what_is_no_list_of_the_image_is_refused(entries: list[tuple[str, bytes, bytes]], said: str) -> None:
    with pytest.raises(ImageError, match="the chunk lists sha256:") as refused:
        chunks.read(tar(*entries), holder(), [layer("a", 5)])
    assert said in str(refused.value)


@pytest.mark.parametrize("said", ["", "0", "-1", "65535", "16777217", "1e6", "١٠٤٨٥٧٦", "9" * 30, "1048576 "])
def test_chunks_of_a_size_that_is_none_or_does_not_fit_into_a_sidecar_are_refused(said: str) -> None:
    with pytest.raises(ImageError, match="are not read"):
        chunks.read(chunks.written({}), holder(said), [])


def test_lists_in_a_compressed_layer_are_refused() -> None:
    with pytest.raises(ImageError, match="their layer's type"):
        chunks.read(chunks.written({}), holder(media_type=f"{LAYER_TYPE}+gzip"), [])


@given(st.binary(max_size=3000), st.integers(0, 3000))
def test_damaged_lists_are_refused_or_read_and_end_in_no_other_error(noise: bytes, at: int) -> None:
    content = chunks.written({digest_of("a"): b"1" * 32, digest_of("b"): b"2" * 64})
    for damaged in (noise, content[:at], content[:at] + noise + content[at + len(noise) :]):
        try:
            found = chunks.read(damaged, holder(), [layer("a", 5), layer("b", CHUNK_BYTES + 5)])
        except ImageError:
            continue
        assert {name: len(listed) for name, listed in found.of.items()}.items() <= {
            digest_of("a"): 32,
            digest_of("b"): 64,
        }.items()


def test_a_layer_says_where_its_file_lies() -> None:
    assert chunks.place_of(layer("a", 2000, **{OFFSET: "1024", SIZE: "5"})) == (1024, 5)
    assert chunks.place_of(layer("a", 2000, **{OFFSET: "1024", SIZE: "976"})) == (1024, 976)
    assert chunks.place_of(layer("a", 2000)) is None


@pytest.mark.parametrize(
    ("offset", "size"), [("1024", "977"), ("-1", "5"), ("1024", ""), ("", "5"), ("0x1", "5"), ("1" * 40, "5")]
)
def test_a_place_that_the_layer_does_not_have_is_refused(offset: str, size: str) -> None:
    with pytest.raises(ImageError, match="no place in its 2000 bytes"):
        chunks.place_of(layer("a", 2000, **{OFFSET: offset, SIZE: size}))


def test_the_lists_of_the_largest_image_that_there_can_be_are_read() -> None:
    assert chunks.layer_size([LAYER_LIMIT_BYTES] * LAYER_COUNT_END) <= chunks.LIMIT_BYTES
