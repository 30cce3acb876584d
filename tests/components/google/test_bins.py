"""Bounds of how many nodes pods need: neither refuses what fits, nor promises what does not."""

from hypothesis import given
from hypothesis import strategies as st

from components.google.bins import at_least, enough

CAPACITY = 8
SIZES = st.lists(st.integers(1, CAPACITY), max_size=7)


def fewest(sizes: list[int]) -> int:
    """The fewest nodes of eight, by trying everything."""

    def placed(left: list[int], nodes: tuple[int, ...]) -> int:
        if not left:
            return len(nodes)
        size, *rest = left
        tried = [
            placed(rest, tuple(sorted((*nodes[:at], free - size, *nodes[at + 1 :]))))
            for at, free in enumerate(nodes)
            if free >= size and nodes.index(free) == at
        ]
        return min([*tried, placed(rest, tuple(sorted((*nodes, CAPACITY - size))))])

    return placed(sorted(sizes, reverse=True), ())


@given(SIZES)
def test_the_one_is_never_above_and_the_other_never_below_what_is_needed(sizes: list[int]) -> None:
    needed = fewest(sizes)
    promised = enough([(float(size), 1.0) for size in sizes], (float(CAPACITY), 100.0))
    assert promised is not None
    assert at_least([float(size) for size in sizes], CAPACITY) <= needed <= promised


def test_what_shares_no_node_is_counted_for_sure() -> None:
    assert at_least([5, 5], 8) == 2
    assert at_least([3, 3, 3, 3, 3], 8) == 3  # 15 of 16, and two in a node
    assert at_least([6, 6, 3, 3], 8) == 3
    assert at_least([0.5, 0.5], 1.0) == 1
    assert at_least([], 8) == 0


def test_a_pod_that_no_node_holds_finds_none() -> None:
    assert enough([(1.0, 9.0)], (8.0, 8.0)) is None
    assert enough([(1.0, 5.0), (1.0, 5.0)], (8.0, 8.0)) == 2
