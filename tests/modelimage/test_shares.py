"""How an image is divided into shares, and what is refused before anything is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage.shares import MOST_SHARES, Share, _Plan, pack_share
from modelimage.streams import Blob
from modelimage.writing import Chain, Part
from oci_model_serving.errors import InputError


def part(key: str, size: int, chain: Chain | None = None, digest: str | None = None) -> Part:
    return Part(Blob(key, size, lambda: iter(()), digest), chain=chain, key=key)


@st.composite
def drafts(draw: st.DrawFn) -> list[Part]:
    """Parts of a base, layers of their own and runs of layers that are cut out of one file."""
    parts = [part("", 10, digest="sha256:" + "a" * 64)] * draw(st.integers(0, 2))
    for length in draw(st.lists(st.integers(1, 4), max_size=12)):
        chain = Chain(lambda: None) if length > 1 else None
        sizes = draw(st.lists(st.integers(0, 10**10), min_size=length, max_size=length))
        parts += [part(f"key-{len(parts)}-{number}", size, chain) for number, size in enumerate(sizes)]
    return parts


@given(drafts(), st.integers(1, 9))
def test_each_layer_is_in_one_share_and_the_parts_of_a_file_are_in_the_same_one_in_order(
    parts: list[Part], count: int
) -> None:
    plan = _Plan.of(parts, count)

    assert len(plan.shares) == count
    assert sorted(index for share in plan.shares for index in share) == [
        index for index, one in enumerate(parts) if one.key
    ]
    for share in plan.shares:
        assert list(share) == sorted(share)
        for chain in {parts[index].chain for index in share} - {None}:
            assert {index for index, one in enumerate(parts) if one.chain is chain} <= set(share)


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=60), st.integers(1, 9))
def test_no_share_is_much_larger_than_another_layer_makes_it(sizes: list[int], count: int) -> None:
    plan = _Plan.of([part(str(number), size) for number, size in enumerate(sizes)], count)

    largest = max(sum(sizes[index] for index in share) for share in plan.shares)
    assert largest <= sum(sizes) / count + max(sizes)


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: [*parts[:-1], replace(parts[-1], key="another commit")],
        lambda parts: [*parts[:-1], replace(parts[-1], blob=replace(parts[-1].blob, size=8))],
        lambda parts: parts[:-1],
        lambda parts: [parts[0], *reversed(parts[1:])],
        lambda parts: [part("", 5, digest="sha256:" + "b" * 64), *parts[1:]],
    ],
    ids=["content", "size", "fewer files", "order", "base"],
)
def test_a_plan_is_called_by_all_that_the_digests_hang_on(change: Callable[[list[Part]], list[Part]]) -> None:
    parts = [part("", 5, digest="sha256:" + "a" * 64), part("x", 6), part("y", 7)]

    assert _Plan.of(parts, 2).name == _Plan.of(list(parts), 2).name
    assert _Plan.of(change(parts), 2).name != _Plan.of(parts, 2).name
    assert _Plan.of(parts, 3).name != _Plan.of(parts, 2).name


@given(st.integers(1, MOST_SHARES), st.data())
def test_a_share_is_read_as_it_is_written(of: int, data: st.DataObject) -> None:
    share = Share(data.draw(st.integers(1, of)), of)
    assert Share.parse(str(share)) == share


@given(
    st.one_of(st.text(max_size=12), st.sampled_from(["0/2", "3/2", "1/451", "1/0", "1 / 2", "-1/2", "1/2/3", "²/2"]))
)
def test_any_text_is_a_share_or_is_told_how_one_is_written(text: str) -> None:
    digits = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    if digits and 1 <= int(digits[1]) <= int(digits[2]) <= MOST_SHARES:
        assert Share.parse(text) == Share(int(digits[1]), int(digits[2]))
    else:
        with pytest.raises(InputError, match="write NUMBER/OF, for example 2/8"):
            Share.parse(text)


def test_what_no_share_can_make_is_refused_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        pack_share(str(tmp_path), "oci:folder", "3", convert=True)
    assert len(refused.value.problems) == 3
