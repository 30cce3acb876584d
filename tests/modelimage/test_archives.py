"""Tar archives are read by their headers as tarfile reads them, and anything else ends in one of two errors."""

from __future__ import annotations

import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelimage.archives import ArchiveError, Kind, UnreadableError, headers
from tests.modelimage.handmade import Bytes, file, folder, link, tar

names = st.text("abcdefghij-_.0123456789ü/ ", min_size=1, max_size=300).filter(
    lambda name: not name.startswith("/") and not name.endswith("/") and name.strip("./ ")
)


def listed(content: bytes) -> list[tuple[str, Kind, int, str]]:
    return [(header.path, header.kind, header.size, header.target) for header in headers(Bytes(content))]


@given(
    st.lists(st.tuples(names, st.integers(0, 3000)), max_size=8),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
@settings(max_examples=80, deadline=None)
def test_every_entry_is_read_as_tarfile_reads_it(files: list[tuple[str, int]], form: int) -> None:
    content = tar(
        *(file(name, bytes(size)) for name, size in files), link("l" * 150, "t" * 150), folder("d"), form=form
    )
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        expected = [(entry.name, entry.size if entry.isfile() else 0, entry.linkname) for entry in archive]
    assert [(path, size, target) for path, _, size, target in listed(content)] == expected


def test_kinds_are_told_apart() -> None:
    content = tar(file("a"), folder("b"), link("c", "a"), link("d", "a", hard=True))
    assert [(path, kind) for path, kind, *_ in listed(content)] == [
        ("a", Kind.FILE), ("b", Kind.FOLDER), ("c", Kind.SYMBOLIC_LINK), ("d", Kind.HARD_LINK),
    ]  # fmt: skip


def test_content_may_be_read_or_passed_over() -> None:
    stream = Bytes(tar(file("a", b"one"), file("b", b"two")))
    assert [stream.read(header.size) for header in headers(stream)] == [b"one", b"two"]
    assert [path for path, *_ in listed(stream.content)] == ["a", "b"]


def test_sizes_above_what_octal_digits_hold_are_read() -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        info = tarfile.TarInfo("large")
        info.size = 20 << 30
        stream = Bytes(info.tobuf(form))
        assert next(headers(stream)).size == 20 << 30


def test_an_archive_that_ends_without_its_marker_is_read_and_one_that_is_cut_is_not() -> None:
    content = tar(file("a", b"1" * 600), file("b", b"2" * 600))
    assert [path for path, *_ in listed(content[: 2 * (512 + 1024)])] == ["a", "b"]
    for end in (300, 512 + 100, 1536 + 100, 1536 + 512 + 10):
        with pytest.raises(ArchiveError):
            listed(content[:end])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ((124, 136), b"-0000000001\0"),
        ((124, 136), b"\xff" * 12),
        ((148, 156), b"0000000\0"),
        ((124, 136), b"zzzzzzzzzzz\0"),
    ],
)
def test_a_header_that_is_none_is_told(field: tuple[int, int], value: bytes) -> None:
    content = bytearray(tar(file("a")))
    content[field[0] : field[1]] = value
    if field[0] != 148:
        content[148:156] = b" " * 8
        content[148:156] = b"%06o\0 " % sum(content[:512])
    with pytest.raises(ArchiveError):
        listed(bytes(content))


def test_extended_headers_are_bounded() -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    with pytest.raises(ArchiveError, match="an extended header of"):
        listed(info.tobuf(tarfile.GNU_FORMAT))
    info.size = 0
    with pytest.raises(ArchiveError, match="without end"):
        listed(info.tobuf() * 1000)
    with pytest.raises(ArchiveError, match="a path of"):
        listed(tar(file("p" * 5000)))


@pytest.mark.parametrize(
    "record", [b"9 path\n", b"x path=a\n", b"99 path=a\n", b"11 size=1x\n", b"0 path=a\n", b"-9 path=a\n"]
)
def test_records_that_are_none_are_told(record: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(record)
    with pytest.raises(ArchiveError):
        listed(info.tobuf() + record.ljust(512, b"\0") + tar(file("a")))


def test_sparse_files_are_not_read_on() -> None:
    record = b"22 GNU.sparse.major=1\n"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(record)
    with pytest.raises(UnreadableError, match="sparse"):
        listed(info.tobuf() + record.ljust(512, b"\0") + tar(file("a")))


@given(st.binary(max_size=3000))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_archive_or_one_of_two_errors(content: bytes) -> None:
    with suppress(ArchiveError, UnreadableError):
        listed(content)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_archive_is_read_or_told(data: st.DataObject) -> None:
    content = bytearray(tar(file("a" * 120, b"1" * 700), link("c", "a"), file("b/c", b"")))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ArchiveError, UnreadableError):
        assert all(size >= 0 for _, _, size, _ in listed(bytes(content)))
