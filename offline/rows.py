"""Where the parts of a picture stand: in rows from weights to cluster, none wider than the page."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from offline.picture import Lead, Picture, PlanPart

_SWEEPS = 4
"""Over all rows, each way: the parts of a stack cross no lead after two, and more change nothing."""


@dataclass(frozen=True)
class Spot:
    """What takes a place in a row: a part, or the way of leads past the row, without width, to `target`."""

    row: int
    key: str
    width: float = 0.0

    @property
    def passes(self) -> bool:
        """Whether it is no part."""
        return not self.width


@dataclass
class Rows:
    """Rows of spots, the middle of each spot, and the spots that each lead goes through."""

    rows: list[list[Spot]]
    middles: dict[Spot, float] = field(default_factory=dict)
    ways: dict[Lead, list[Spot]] = field(default_factory=dict)


def rows_of(parts: Sequence[PlanPart], widths: Mapping[str, float], most: float, gap: float) -> list[list[PlanPart]]:
    """The parts, which are in the order of their ranks, in rows of one rank each that are at most so wide."""
    found: list[list[PlanPart]] = []
    for _, rank in groupby(parts, key=lambda part: part.rank):
        found.append([])
        for part in rank:
            row = [*found[-1], part]
            if len(row) > 1 and sum(widths[one.key] for one in row) + gap * (len(row) - 1) > most:
                found.append([part])
            else:
                found[-1] = row
    return found


def placed(picture: Picture, widths: Mapping[str, float], most: float, gap: float) -> Rows:
    """Place the parts so that leads are short and cross little.

    Args:
        picture: what is drawn.
        widths: of the parts, in pixels.
        most: of pixels that a row has.
        gap: pixels between two parts, less where leads pass between them.
    """
    listed = rows_of(picture.parts, widths, most, gap)
    rows = [[Spot(number, part.key, widths[part.key]) for part in row] for number, row in enumerate(listed)]
    at = {spot.key: spot for row in rows for spot in row}
    found = Rows(rows)
    for lead in picture.leads:
        source, target = at[lead.source], at[lead.target]
        way = [source]
        for number in range(source.row + 1, target.row):
            spot = Spot(number, lead.target)  # leads to one part go past a row together
            if spot not in rows[number]:
                rows[number].append(spot)
            way.append(spot)
        found.ways[lead] = [*way, target]
    above, below = _neighbours(found.ways.values())
    for row in rows:
        _line_up(found, row, above, most, gap)
    for _ in range(_SWEEPS):
        for row in reversed(rows):
            _line_up(found, row, below, most, gap)
        for row in rows:
            _line_up(found, row, above, most, gap)
    for row in reversed(rows):
        _line_up(found, row, below, most, gap)
    return found


def _neighbours(ways: Iterable[list[Spot]]) -> tuple[dict[Spot, list[Spot]], dict[Spot, list[Spot]]]:
    above: dict[Spot, list[Spot]] = {}
    below: dict[Spot, list[Spot]] = {}
    for way in ways:
        for upper, lower in pairwise(way):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    return above, below


def _line_up(found: Rows, row: list[Spot], beside: Mapping[Spot, list[Spot]], most: float, gap: float) -> None:
    """Order a row by what its spots lead to, and put each as near to that as its neighbours let it."""

    def wanted(spot: Spot) -> float:
        others = [found.middles[one] for one in beside.get(spot, ()) if one in found.middles]
        return sum(others) / len(others) if others else found.middles.get(spot, most / 2)

    row.sort(key=wanted)
    widths = sum(spot.width for spot in row)
    spaces = [gap if not (one.passes or other.passes) else gap / 2 for one, other in pairwise(row)]
    tight = min(1.0, (most - widths) / sum(spaces)) if sum(spaces) else 1.0
    starts = [0.0]
    for (one, other), space in zip(pairwise(row), spaces, strict=True):
        starts.append(starts[-1] + (one.width + other.width) / 2 + space * tight)
    # The row as one block would stand at `wanted - start`; blocks that would overlap stand where both want it together.
    blocks: list[list[float]] = []
    for spot, start in zip(row, starts, strict=True):
        blocks.append([wanted(spot) - start])
        while len(blocks) > 1 and _mean(blocks[-2]) > _mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    first, last = row[0].width / 2, most - starts[-1] - row[-1].width / 2
    moved = [min(max(_mean(block), first), last) for block in blocks for _ in block]
    found.middles.update({spot: start + move for spot, start, move in zip(row, starts, moved, strict=True)})


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
