from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage.errors import DigestMismatchError
from modelimage.patience import GaveUpError, Patience, RetryPolicy, TransientError
from modelimage.streams import no_more_than, resumed

QUICK = Patience(RetryPolicy(attempts=2, first_seconds=0.001))
MEGABYTE = bytes(range(256)) * 4096


def breaking(content: bytes, after: int, asked: list[int]) -> Iterator[bytes]:
    """What is read from byte `asked[-1]` on, until the connection breaks."""
    rest = content[asked[-1] :]
    for start in range(0, min(len(rest), after), 1 << 19):
        yield rest[start : min(start + (1 << 19), after)]
    if len(rest) > after:
        raise TransientError("reset")


def test_a_read_may_break_as_often_as_it_gets_on() -> None:
    content, asked = MEGABYTE * 9 + b"x", []

    def read(start: int) -> Iterator[bytes]:
        asked.append(start)
        return breaking(content, 1 << 20, asked)

    assert b"".join(resumed(QUICK, len(content), "reading", read)) == content
    assert asked == [number << 20 for number in range(10)]


def test_a_read_that_does_not_get_on_is_given_up() -> None:
    asked: list[int] = []

    def read(start: int) -> Iterator[bytes]:
        asked.append(start)
        return breaking(MEGABYTE, 100, asked)

    with pytest.raises(GaveUpError, match="gave up after 2 attempts"):
        list(resumed(QUICK, len(MEGABYTE), "reading", read))
    assert asked == [0, 100]


@given(st.binary(max_size=3000), st.integers(1, 4000))
def test_what_breaks_anywhere_is_read_whole(content: bytes, after: int) -> None:
    asked: list[int] = []

    def read(start: int) -> Iterator[bytes]:
        asked.append(start)
        return breaking(content, after, asked)

    patience = Patience(RetryPolicy(attempts=4000, first_seconds=0, longest_seconds=0))
    assert b"".join(resumed(patience, len(content), "reading", read)) == content


def test_what_is_longer_than_announced_is_not_used() -> None:
    assert list(no_more_than(4, iter((b"ab", b"cd")), "reading")) == [b"ab", b"cd"]
    with pytest.raises(DigestMismatchError, match="longer than was announced"):
        list(no_more_than(3, iter((b"ab", b"cd")), "reading"))
