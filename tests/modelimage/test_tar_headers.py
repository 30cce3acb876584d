from __future__ import annotations

import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelimage.errors import ImageError
from modelimage.tar_headers import header, header_size, padding

texts = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=130)
names = st.lists(texts, min_size=1, max_size=9).map("/".join)
plain = st.text(st.sampled_from("abz09-_./"), min_size=1, max_size=230)
edges = st.integers(95, 105).map(lambda length: "n" * length)
sizes = st.one_of(st.integers(0, 8**11), st.integers(8**11 - 2, 8**11 + 2), st.integers(0, 1 << 70))
kinds = st.sampled_from([(tarfile.REGTYPE, 0o644), (tarfile.DIRTYPE, 0o755)])


def by_tarfile(name: str, kind: bytes, mode: int, size: int = 0, target: str = "") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.size, info.linkname = kind, mode, size, target
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


@settings(max_examples=400)
@given(st.one_of(names, plain, edges), sizes, kinds)
def test_headers_are_byte_for_byte_what_tarfile_writes(name: str, size: int, kind: tuple[bytes, int]) -> None:
    name = f"{name}/" if kind[0] == tarfile.DIRTYPE else name
    assert header(name, kind[0], mode=kind[1], size=size) == by_tarfile(name, *kind, size)


@given(names, names)
def test_links_are_what_tarfile_writes(name: str, target: str) -> None:
    made = header(name, tarfile.SYMTYPE, mode=0o777, target=target)
    assert made == by_tarfile(name, tarfile.SYMTYPE, 0o777, target=target)


@pytest.mark.parametrize("length", range(1, 1100, 7))
def test_a_record_counts_its_own_length_whatever_its_digits(length: int) -> None:
    for name in ("n" * length, "\N{LATIN SMALL LETTER E WITH ACUTE}" * length):
        assert header(name, tarfile.REGTYPE, mode=0o644) == by_tarfile(name, tarfile.REGTYPE, 0o644)


@given(st.one_of(names, plain, edges), sizes)
def test_a_headers_size_is_known_without_making_it(name: str, size: int) -> None:
    assert header_size(name, size) == len(header(name, tarfile.REGTYPE, mode=0o644, size=size))
    assert (size + padding(size)) % 512 == 0


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(ImageError, match="is not UTF-8: rename it"):
        header("caf\udce9", tarfile.REGTYPE, mode=0o644)
