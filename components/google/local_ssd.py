"""The Local SSDs that a machine type brings or takes: `local_ssd.csv` and look-ups in it. Pure.

Sources of the table, read in November 2026:

* numbers, and which are attached by themselves (`bundled`): the machine families of GKE's own cluster autoscaler
  (`machinetypes` of k8s.io/gke-autoscaling, 2026: "allowed" and "automatic ephemeral Local SSD counts"), which agree
  with the Compute Engine page "Add Local SSD disks": every machine type of A4, A3 and A2 Ultra comes with Local SSDs,
  for G4 and the first two generations the number is chosen;
* 375 GB each: page "About Local SSD disks";
* that GKE makes bundled ones the node's ephemeral storage without being asked: page "About Local SSD for GKE" and the
  API's `EphemeralStorageLocalSsdConfig.localSsdCount` (unset: the number that a machine type with a fixed one comes
  with; none where the number is chosen). For A2 Ultra, a second generation, only the autoscaler says so.

N1 custom machine types take as many as other N1 types (page "About Local SSD disks"). The `-nolssd` types have none,
and A4X is left out as in `accelerators.csv`.
"""

import csv
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path


@dataclass(frozen=True)
class LocalSsd:
    """The Local SSDs of a machine type: the numbers it can have, GB of one, and whether it always comes with them."""

    counts: tuple[int, ...]
    size_gb: int
    bundled: bool


def _read(table: Path) -> dict[str, LocalSsd]:
    with table.open(encoding="utf-8", newline="") as file:
        return {
            row["machine"]: LocalSsd(
                tuple(map(int, row["counts"].split())), int(row["size_gb"]), row["attached"] == "bundled"
            )
            for row in csv.DictReader(file)
        }


_TABLE = _read(Path(__file__).with_name("local_ssd.csv"))
WITHOUT = "-nolssd"
"""How the machine types are called that are like others, without their Local SSDs."""


def of(machine_type: str) -> LocalSsd | None:
    """The Local SSDs that a machine type can have; None where it has none, or is not in the table."""
    if machine_type.endswith(WITHOUT):
        return None
    return next((found for name, found in _TABLE.items() if fnmatchcase(machine_type, name)), None)


def count(machine_type: str, asked: int | None) -> int:
    """How many hold a node's ephemeral storage, images included: those asked for, or those it always comes with."""
    found = of(machine_type)
    if asked is not None:
        return asked
    return found.counts[0] if found and found.bundled else 0


def problem(machine_type: str, asked: int | str) -> str | None:
    """What is wrong with a pool's `localSsd` on that machine type, with the remedy, or None."""
    found = of(machine_type)
    if asked == "auto":
        return None
    if asked == "none":
        if found is None or not found.bundled:
            return None
        return (
            f"is none, but {machine_type} always comes with {found.counts[0]} Local SSDs: write machineType: "
            f"{machine_type}{WITHOUT}, or remove it"
        )
    if found is None:
        twin = machine_type.removesuffix(WITHOUT)
        other = f"write machineType: {twin}, or remove it" if twin != machine_type else "remove it"
        return f"is {asked}, but {machine_type} takes no Local SSD: {other}"
    if asked in found.counts:
        return None
    *others, last = map(str, found.counts)
    numbers = f"{', '.join(others)} or {last}" if others else last
    return f"is {asked}, but {machine_type} {'comes with' if found.bundled else 'takes'} {numbers}: write {numbers}"
