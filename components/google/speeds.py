"""How fast disks, networks, containerd and the server are: `speeds.csv`, the one place of these constants.

Each row has its source; one that rests on an estimate says so. A measurement corrects a number here, and nothing else.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Speed:
    """A constant with its unit and where it is from."""

    value: float
    unit: str
    source: str

    @property
    def base(self) -> float:
        """In bytes, bytes a second or seconds."""
        return self.value * _UNITS[self.unit]


@dataclass(frozen=True)
class Constant:
    """What a prediction rests on: the rows of the table that give it (`unpack`, `load_cold,default`), and their value.

    Attributes:
        name: the rows, as the table's first two columns spell them; "" where a setting decides and no row.
        value: in `unit`; of several rows what they come to.
        unit: as the table spells it.
    """

    name: str = ""
    value: float = 0.0
    unit: str = ""


_UNITS = {"MiB/s": 1 << 20, "MB/s": 1e6, "Gbit/s": 1e9 / 8, "GB": 1e9, "s": 1.0}


def _read(table: Path) -> dict[tuple[str, str], Speed]:
    with table.open(encoding="utf-8", newline="") as file:
        return {
            (row["what"], row["of"]): Speed(float(row["value"]), row["unit"], row["source"])
            for row in csv.DictReader(file)
        }


SPEEDS: Mapping[tuple[str, str], Speed] = _read(Path(__file__).with_name("speeds.csv"))
"""The constants by what they are, and of what."""


def of(what: str, kind: str = "") -> float:
    """A constant, in bytes, bytes a second or seconds."""
    return SPEEDS[what, kind].base


def find(what: str, kind: str) -> float | None:
    """A constant, or None where the table has none."""
    found = SPEEDS.get((what, kind))
    return found.base if found else None


def step(what: str, number: int) -> str:
    """Of what a constant is that is given from some numbers on: the largest that is not above `number`."""
    steps = [int(kind) for name, kind in SPEEDS if name == what]
    return str(max((step for step in steps if step <= number), default=min(steps)))


def constant(what: str, kind: str = "") -> Constant:
    """A row of the table, as a prediction names it."""
    row = SPEEDS[what, kind]
    return Constant(f"{what},{kind}" if kind else what, row.value, row.unit)
