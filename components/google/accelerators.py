"""The GPU types that GKE offers and the machine types that carry them: `accelerators.csv` and look-ups in it.

Sources of the table, read in November 2026; the preferred machine type for each count comes first:

* accelerator names, counts, vCPUs, memory and boot disk types: the machine families of GKE's own cluster autoscaler
  (`machinetypes` of k8s.io/gke-autoscaling, 2026), which agree with the Compute Engine pages "GPU machine types" and
  "Accelerator-optimized machine family";
* memory of a GPU, and how many vCPUs a number of T4s allows on N1: "GPU machine types"; memory of N1: "General-purpose
  machine family";
* how capacity can be had: "Consumption options" of AI Hypercomputer (spot and flex-start on any GPU machine except
  A4X; A4 and A3 Ultra by reservation), "GPU machine types" (a3-highgpu-1g, -2g and -4g only as spot or flex-start) and
  the autoscaler (no flex-start on a3-edgegpu-8g).

Left out on purpose: A4X and A4X Max (`_REFUSED` says why), the fractional g4-standard-6, -12 and -24 (they report
one whole GPU that they do not have) and the retired K80, P4, P100 and V100.
"""

import csv
import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from components.google import custom_machines


class AcceleratorError(ValueError):
    """No machine type fits what was asked; the message names those that would."""


@dataclass(frozen=True)
class Machine:
    """A machine type together with the GPUs that it carries.

    `memory_gib` is the host's, `gpu_memory_gb` one GPU's. `disk_types` are the types a boot disk may have, the default
    first. `on_demand`, `reservable`, `spot` and `flex_start` say how capacity can be had.
    """

    name: str
    accelerator: str
    count: int
    vcpus: int
    memory_gib: float
    gpu_memory_gb: int
    disk_types: tuple[str, ...]
    on_demand: bool = True
    reservable: bool = True
    spot: bool = True
    flex_start: bool = True

    @property
    def total_gpu_memory_gb(self) -> int:
        """Memory of all GPUs of one node, in GB."""
        return self.count * self.gpu_memory_gb


@dataclass(frozen=True)
class Accelerator:
    """A GPU type: GKE's name, the usual one, and its machine types, the preferred first for each count."""

    name: str
    title: str
    machines: tuple[Machine, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of GPUs that a node can have."""
        return tuple(sorted({machine.count for machine in self.machines}))

    def with_count(self, count: int) -> tuple[Machine, ...]:
        """The machine types that carry `count` GPUs."""
        return tuple(machine for machine in self.machines if machine.count == count)


def _machine(row: Mapping[str, str]) -> Machine:
    refused = row["not_by"].split()
    return Machine(
        name=row["machine"],
        accelerator=row["accelerator"],
        count=int(row["gpus"]),
        vcpus=int(row["vcpus"]),
        memory_gib=float(row["memory_gib"]),
        gpu_memory_gb=int(row["gpu_memory_gb"]),
        disk_types=tuple(row["disk_types"].split()),
        on_demand="on_demand" not in refused,
        reservable="reservable" not in refused,
        flex_start="flex_start" not in refused,
    )


def _read(table: Path) -> Iterator[Accelerator]:
    with table.open(encoding="utf-8", newline="") as file:
        for (name, title), group in groupby(csv.DictReader(file), key=itemgetter("accelerator", "title")):
            machines = tuple(map(_machine, group))
            yield Accelerator(name, title, machines)


ACCELERATORS: Mapping[str, Accelerator] = {
    accelerator.name: accelerator for accelerator in _read(Path(__file__).with_name("accelerators.csv"))
}
"""The GPU types by GKE's name for them (the value of the node label `cloud.google.com/gke-accelerator`)."""


_REFUSED = {
    **dict.fromkeys(
        ("nvidia-gb200", "nvidia-gb300"),
        "is on A4X machines: their hosts are Arm, which models' images are not built for by default, and 4 GPUs "
        "of each are a part of a rack of 72 (NVLink domain), had as a whole only, by reservation: write nvidia-b200",
    ),
    **dict.fromkeys(
        ("nvidia-tesla-k80", "nvidia-tesla-p4", "nvidia-tesla-p100", "nvidia-tesla-v100"),
        "is of a generation that today's servers no longer run on: write nvidia-tesla-t4 or nvidia-l4",
    ),
}
"""GPU types of GKE's that are left out, and why."""


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)


def find(name: str) -> Accelerator:
    """The GPU type of that name.

    Raises:
        AcceleratorError: no such type; the message has the closest names and the whole list.
    """
    if name in ACCELERATORS:
        return ACCELERATORS[name]
    if name in _REFUSED:
        raise AcceleratorError(f"{name} {_REFUSED[name]}")
    titles = {accelerator.title.lower(): accelerator.name for accelerator in ACCELERATORS.values()}
    wanted = name.lower()
    close = difflib.get_close_matches(wanted, [*ACCELERATORS, *titles], n=3, cutoff=0.7)
    # What people write is often a part of the name (h100, a100-80gb), which is far from it by edit distance.
    part = [known for known in ACCELERATORS if wanted.removeprefix("nvidia-") in known]
    names = list(dict.fromkeys(part + [titles.get(match, match) for match in close]))
    hint = f" (did you mean {' or '.join(names)}?)" if names else ""
    raise AcceleratorError(f"{name!r} is not an accelerator of GKE{hint}: write one of: {_listed(ACCELERATORS)}")


def machine_for(accelerator: str, count: int, machine_type: str | None = None) -> Machine:
    """The machine type for `count` GPUs of that type: the one named, or the first whose memory holds the GPUs' memory.

    Weights pass through the host's page cache on their way to the GPU, so a host with less memory than its GPUs would
    read them from the disk again and again; a smaller type is taken when it is named.

    Raises:
        AcceleratorError: unknown type, a count that is not offered, or a machine type that does not carry them.
    """
    found = find(accelerator)
    machines = found.with_count(count)
    if not machines:
        raise AcceleratorError(
            f"{count} GPUs of {accelerator} in one node are not offered: write a count of {_listed(found.counts)}"
        )
    if machine_type is None:
        return next(machine for machine in machines if machine.memory_gib >= machine.total_gpu_memory_gb)
    for machine in machines:
        if machine.name == machine_type:
            return machine
    if custom := custom_machines.read(machine_type):
        return _made(machine_type, custom, machines)
    carried = [
        f"{other.count} x {other.accelerator}"
        for entry in ACCELERATORS.values()
        for other in entry.machines
        if other.name == machine_type
    ]
    why = f"it carries {' or '.join(carried)}" if carried else "it is not a machine type with GPUs of this table"
    raise AcceleratorError(
        f"{machine_type} does not fit {count} x {accelerator} ({why}): leave machineType out, or write one of: "
        f"{_listed(machine.name for machine in machines)}"
    )


def _made(name: str, custom: custom_machines.CustomType, machines: tuple[Machine, ...]) -> Machine:
    """A machine that is made to measure, in all else like the predefined ones with these GPUs."""
    like = machines[0]
    family, vcpus = like.name.partition("-")[0], [machine.vcpus for machine in machines]
    problem = custom_machines.problem(custom, family=family, gpus=like.count, vcpus=vcpus)
    if problem:
        raise AcceleratorError(f"{name} does not fit {like.count} x {like.accelerator}: {problem}")
    return replace(like, name=name, vcpus=custom.vcpus, memory_gib=custom.memory_mb / 1024)


def provisioning_problem(machine: Machine, *, spot: bool, flex_start: bool, reservation: bool) -> str | None:
    """What is wrong with asking for this machine type in this way, with the remedy, or None."""
    offered = [
        text
        for text, available in (
            ("spot: true", machine.spot),
            ("flexStart: true", machine.flex_start),
            ("reservation: <name>", machine.reservable),
        )
        if available
    ]
    asked = (
        ("spot", spot, machine.spot),
        ("flexStart", flex_start, machine.flex_start),
        ("a reservation", reservation, machine.reservable),
    )
    refused = [name for name, wanted, available in asked if wanted and not available]
    if refused:
        return f"{machine.name} cannot be had by {' or '.join(refused)}: write {' or '.join(offered)}"
    if not (spot or flex_start or reservation or machine.on_demand):
        return f"{machine.name} cannot be had on demand: write {' or '.join(offered)}"
    return None
