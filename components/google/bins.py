"""How many nodes a set of pods needs: a number that surely is not too large, and one that surely is enough. Pure."""

import math
from collections.abc import Sequence

_SLACK = 1e-9


def at_least(sizes: Sequence[float], capacity: float) -> int:
    """No fewer nodes than these hold pods of those sizes, however they are placed.

    Of pods of one size and more, a node holds a whole number; and those above half a node share none with each other,
    nor with others that are larger than what they leave (Martello and Toth's bound L2).
    """
    found = [math.ceil(math.fsum(sizes) / capacity - _SLACK), sum(one > capacity / 2 + _SLACK for one in sizes)]
    for size in {one for one in sizes if one > 0}:
        larger = sum(one >= size for one in sizes)
        found.append(math.ceil(larger / max(math.floor(capacity / size + _SLACK), 1)))
        if size <= capacity / 2:
            found.append(_beside(sizes, capacity, size))
    return max(found)


def _beside(sizes: Sequence[float], capacity: float, size: float) -> int:
    """Nodes for those that leave no room for `size`, for the others above half a node, and for what is then left."""
    alone = sum(one > capacity - size + _SLACK for one in sizes)
    half = [one for one in sizes if capacity / 2 + _SLACK < one <= capacity - size + _SLACK]
    small = [one for one in sizes if size <= one <= capacity / 2 + _SLACK]
    over = math.fsum(small) - (len(half) * capacity - math.fsum(half))
    return alone + len(half) + max(math.ceil(over / capacity - _SLACK), 0)


def enough(pods: Sequence[tuple[float, ...]], capacities: tuple[float, ...]) -> int | None:
    """Nodes on which these pods, each of several sizes, find room, largest first; None where one fits on no node."""
    nodes: list[list[float]] = []
    for pod in sorted(pods, reverse=True):
        if any(size > capacity + _SLACK for size, capacity in zip(pod, capacities, strict=True)):
            return None
        for left in nodes:
            if all(size <= free + _SLACK for size, free in zip(pod, left, strict=True)):
                break
        else:
            left = list(capacities)
            nodes.append(left)
        left[:] = [free - size for free, size in zip(left, pod, strict=True)]
    return len(nodes)
