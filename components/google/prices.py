"""What Google's machines and disks cost: `prices.csv`, or a table of the user's own. Pure.

The shipped table has list prices of us-central1, in US dollars, as Google's pages "VM instance pricing", "GPU pricing"
and "Disk and image pricing" had them at its date; discounts, other regions and what is not sold on demand (B200) are
not in it, and what is not in it is not guessed. Spot VMs cost 60 to 91 % less (page "Spot VMs pricing"), and their
price changes from day to day: a row `spot,MACHINE` says it.
"""

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.google.accelerators import Machine
from components.google.image_disk import ImageDisk
from oci_model_serving.errors import InputError

DATE = "2025-11"
"""When the shipped table was made."""
LIST_PRICE = f"list price us-central1 {DATE}"
SPOT_SHARE = (0.09, 0.40)
"""Of the price on demand (Google, "Spot VMs pricing": discounts of 60 to 91 %)."""

VARIABLE = "OMS_PRICES"
"""The environment's name for a file of the user's own prices: it reaches the engine's program and other revisions'."""

_HOURS = {"hour": 1.0, "month": 730.0}
_COLUMNS = ("kind", "name", "usd", "per")
_KINDS = frozenset(
    {"machine", "spot", "vcpu", "memory-gib", "gpu", "cluster", "disk-gb", "disk-iops", "disk-mib"},
)
_INCLUDED_IOPS, _INCLUDED_MIB = 3_000, 140
"""What a hyperdisk-balanced has without being paid for (Compute Engine, "Disk and image pricing")."""

Range = tuple[float, float]
"""US dollars an hour: least, most."""


@dataclass(frozen=True)
class Prices:
    """A table of prices, US dollars an hour by kind and name; `source` says whose they are."""

    rows: Mapping[tuple[str, str], float]
    source: str

    def machine(self, machine: Machine, *, spot: bool) -> Range | None:
        """A machine with its GPUs, without its disks; None where the table has no price."""
        named = machine.name.removesuffix("-nolssd")
        if spot and ("spot", named) in self.rows:
            return (self.rows["spot", named],) * 2
        full = self.rows.get(("machine", named)) or self._of_parts(machine)
        if full is None:
            return None
        least, most = SPOT_SHARE if spot else (1.0, 1.0)
        return full * least, full * most

    def _of_parts(self, machine: Machine) -> float | None:
        family = "n1" if machine.name.startswith(("n1-", "custom-")) else machine.name.partition("-")[0]
        parts = [("vcpu", family), ("memory-gib", family), ("gpu", machine.accelerator)]
        if any(part not in self.rows for part in parts):
            return None
        vcpu, memory, gpu = (self.rows[part] for part in parts)
        return machine.vcpus * vcpu + machine.memory_gib * memory + machine.count * gpu

    def named(self, kind: str, name: str) -> float | None:
        """A price by kind and name."""
        return self.rows.get((kind, name))

    def disk(self, disk: ImageDisk) -> float | None:
        """A disk, with what is provisioned on it."""
        size = self.rows.get(("disk-gb", disk.kind))
        if size is None:
            return None
        iops = max(0, (disk.provisioned_iops or 0) - _INCLUDED_IOPS)
        mib = max(0, (disk.provisioned_throughput or 0) - _INCLUDED_MIB)
        return (
            disk.size_gb * size
            + iops * self.rows.get(("disk-iops", disk.kind), 0.0)
            + mib * self.rows.get(("disk-mib", disk.kind), 0.0)
        )


def chosen() -> Prices:
    """The table that the variable OMS_PRICES names, or the shipped one.

    Raises:
        InputError: as `read`.
    """
    own = os.environ.get(VARIABLE)
    return read(Path(own)) if own else shipped()


def shipped() -> Prices:
    """The table that comes with the program."""
    return _read(Path(__file__).with_name("prices.csv"), LIST_PRICE)


def read(path: Path) -> Prices:
    """The shipped table with the rows of a file in their place.

    The file is CSV with the columns kind, name, usd, per; `per` is hour or month.

    Raises:
        InputError: it cannot be read, or holds what is no price; all problems at once.
    """
    own = _read(path, str(path))
    return Prices({**shipped().rows, **own.rows}, f"{path}, else {LIST_PRICE}")


def _read(path: Path, source: str) -> Prices:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from error
    found: dict[tuple[str, str], float] = {}
    problems = []
    for number, row in enumerate(rows, 2):
        problem = _problem(row)
        if problem:
            problems.append(f"{path}, line {number}: {problem}")
        else:
            found[row["kind"], row["name"]] = float(row["usd"]) / _HOURS[row["per"]]
    if not rows:
        problems.append(f"{path} has no prices: write lines of {','.join(_COLUMNS)}, that line first")
    if problems:
        raise InputError(*problems)
    return Prices(found, source)


def _problem(row: Mapping[str | None, str | None]) -> str | None:
    if missing := [name for name in _COLUMNS if not row.get(name)]:
        return f"{' and '.join(missing)} missing: write {','.join(_COLUMNS)}"
    if row["kind"] not in _KINDS:
        return f"kind {row['kind']!r} is unknown: write one of {', '.join(sorted(_KINDS))}"
    if row["per"] not in _HOURS:
        return f"per {row['per']!r} is unknown: write hour or month"
    try:
        usd = float(row["usd"] or "")
    except ValueError:
        usd = -1.0
    return None if 0 <= usd < 1e6 else f"usd {row['usd']!r} is no price: write a number of US dollars"
