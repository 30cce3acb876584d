"""Gzip is read a bounded piece at a time, and taken up again where it was left."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelimage.archives import ArchiveError
from modelimage.inflating import Inflated


def chunked(data: bytes, size: int = 700) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def noise(size: int) -> bytes:
    return hashlib.shake_128(b"").digest(size)


@given(st.lists(st.binary(max_size=4000), min_size=1, max_size=4), st.integers(1, 5000), st.integers(0, 600))
@settings(max_examples=80, deadline=None)
def test_members_one_after_the_other_are_one_stream(parts: list[bytes], size: int, padding: int) -> None:
    stored = b"".join(gzip.compress(part) for part in parts) + bytes(padding)
    assert b"".join(Inflated(chunked(stored, size))) == b"".join(parts)


def test_a_bomb_comes_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(40 << 20))
    tracemalloc.start()
    try:
        total = sum(len(piece) for piece in Inflated(chunked(bomb, 1 << 16)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 40 << 20
    assert peak < 8 << 20


@pytest.mark.parametrize("size", [100, 5000, 1 << 20])
def test_it_goes_on_from_each_checkpoint(size: int) -> None:
    content = b"".join(noise(200_000 + number) + bytes(1_500_000) for number in range(3))
    stored = gzip.compress(content[:2_000_000]) + gzip.compress(content[2_000_000:])
    inflated = Inflated(chunked(stored, size))
    checkpoints = [inflated.checkpoint(), *(inflated.checkpoint() for _ in inflated)]
    assert len(checkpoints) > 4
    for one in checkpoints[:: len(checkpoints) // 5]:
        again = b"".join(Inflated(chunked(stored[one.compressed :], size), one))
        assert again == content[one.plain :]


@pytest.mark.parametrize("cut", [1, 5, 15, 200, -9, -1])
def test_a_stream_that_is_cut_short_is_told(cut: int) -> None:
    stored = gzip.compress(noise(5000))
    with pytest.raises(ArchiveError, match="cut short"):
        list(Inflated(chunked(stored[:cut])))


@given(st.binary(min_size=1, max_size=300).filter(lambda data: data.strip(b"\0") != b""))
@settings(max_examples=200, deadline=None)
def test_bytes_that_are_no_gzip_are_told(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        list(Inflated(iter([b"\x00" + data])))
