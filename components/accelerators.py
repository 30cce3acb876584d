"""The GPU types that GKE offers and the machine types that carry them. Pure data and look-ups, no Pulumi.

Sources, read in November 2026:

* accelerator names, counts, vCPUs, memory and boot disk types: the machine families of GKE's own cluster autoscaler
  (`machinetypes` of k8s.io/gke-autoscaling, 2026), which agree with the Compute Engine pages "GPU machine types" and
  "Accelerator-optimized machine family";
* memory of a GPU: "GPU machine types";
* how capacity can be had: "Consumption options" of AI Hypercomputer (spot and flex-start on any GPU machine except
  A4X; A4 and A3 Ultra by reservation), "GPU machine types" (a3-highgpu-1g, -2g and -4g only as spot or flex-start) and
  the autoscaler (no flex-start on a3-edgegpu-8g).

Left out on purpose: A4X (Arm: the images here are linux/amd64), the fractional g4-standard-6, -12 and -24 (they report
one whole GPU that they do not have) and the retired K80, P4, P100 and V100.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

_PERSISTENT_DISKS = ("pd-balanced", "pd-ssd", "pd-standard")
_NO_STANDARD = ("pd-balanced", "pd-ssd")
_A3_DISKS = ("pd-balanced", "pd-ssd", "hyperdisk-balanced")
_HYPERDISK = ("hyperdisk-balanced",)

_N1_MEMORY_GIB = {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9}
"""GiB for each vCPU (Compute Engine, "General-purpose machine family")."""
_T4_MAX_VCPUS = {1: 48, 2: 48, 4: 96}
"""By number of T4s ("GPU machine types")."""


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
    memory_gb: int
    machines: tuple[Machine, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of GPUs that a node can have."""
        return tuple(sorted({machine.count for machine in self.machines}))

    def with_count(self, count: int) -> tuple[Machine, ...]:
        """The machine types that carry `count` GPUs."""
        return tuple(machine for machine in self.machines if machine.count == count)


def _accelerator(name: str, title: str, memory_gb: int, machines: Iterable[Machine]) -> Accelerator:
    return Accelerator(
        name,
        title,
        memory_gb,
        tuple(replace(machine, accelerator=name, gpu_memory_gb=memory_gb) for machine in machines),
    )


def _machine(
    name: str,
    count: int,
    vcpus: int,
    memory_gib: float,
    disk_types: tuple[str, ...],
    *,
    on_demand: bool = True,
    reservable: bool = True,
    flex_start: bool = True,
) -> Machine:
    """A row of the table; `_accelerator` fills in what all rows of one GPU type share."""
    return Machine(
        name=name,
        accelerator="",
        count=count,
        vcpus=vcpus,
        memory_gib=memory_gib,
        gpu_memory_gb=0,
        disk_types=disk_types,
        on_demand=on_demand,
        reservable=reservable,
        flex_start=flex_start,
    )


def _and_without_ssd(*machines: Machine) -> tuple[Machine, ...]:
    """The machine types, then the same without the local SSDs that come with them (`…-nolssd`)."""
    return (*machines, *(replace(machine, name=f"{machine.name}-nolssd") for machine in machines))


def _n1_machines() -> tuple[Machine, ...]:
    """N1 machine types that a T4 may be attached to: custom ones aside, all up to the count's vCPU limit."""
    return tuple(
        _machine(f"n1-{family}-{vcpus}", count, vcpus, round(vcpus * memory, 2), _PERSISTENT_DISKS)
        for count, limit in _T4_MAX_VCPUS.items()
        for family, memory in _N1_MEMORY_GIB.items()
        for vcpus in (2, 4, 8, 16, 32, 64, 96)
        if vcpus <= limit
    )


ACCELERATORS: Mapping[str, Accelerator] = {
    accelerator.name: accelerator
    for accelerator in (
        _accelerator("nvidia-tesla-t4", "NVIDIA T4", 16, _n1_machines()),
        _accelerator(
            "nvidia-l4",
            "NVIDIA L4",
            24,
            (
                _machine("g2-standard-4", 1, 4, 16, _NO_STANDARD),
                _machine("g2-standard-8", 1, 8, 32, _NO_STANDARD),
                _machine("g2-standard-12", 1, 12, 48, _NO_STANDARD),
                _machine("g2-standard-16", 1, 16, 64, _NO_STANDARD),
                _machine("g2-standard-32", 1, 32, 128, _NO_STANDARD),
                _machine("g2-standard-24", 2, 24, 96, _NO_STANDARD),
                _machine("g2-standard-48", 4, 48, 192, _NO_STANDARD),
                _machine("g2-standard-96", 8, 96, 384, _NO_STANDARD),
            ),
        ),
        _accelerator(
            "nvidia-tesla-a100",
            "NVIDIA A100 40 GB",
            40,
            (
                _machine("a2-highgpu-1g", 1, 12, 85, _PERSISTENT_DISKS),
                _machine("a2-highgpu-2g", 2, 24, 170, _PERSISTENT_DISKS),
                _machine("a2-highgpu-4g", 4, 48, 340, _PERSISTENT_DISKS),
                _machine("a2-highgpu-8g", 8, 96, 680, _PERSISTENT_DISKS),
                _machine("a2-megagpu-16g", 16, 96, 1360, _PERSISTENT_DISKS),
            ),
        ),
        _accelerator(
            "nvidia-a100-80gb",
            "NVIDIA A100 80 GB",
            80,
            _and_without_ssd(
                _machine("a2-ultragpu-1g", 1, 12, 170, _PERSISTENT_DISKS),
                _machine("a2-ultragpu-2g", 2, 24, 340, _PERSISTENT_DISKS),
                _machine("a2-ultragpu-4g", 4, 48, 680, _PERSISTENT_DISKS),
                _machine("a2-ultragpu-8g", 8, 96, 1360, _PERSISTENT_DISKS),
            ),
        ),
        _accelerator(
            "nvidia-h100-80gb",
            "NVIDIA H100 80 GB",
            80,
            _and_without_ssd(
                _machine("a3-highgpu-1g", 1, 26, 234, _A3_DISKS, on_demand=False, reservable=False),
                _machine("a3-highgpu-2g", 2, 52, 468, _A3_DISKS, on_demand=False, reservable=False),
                _machine("a3-highgpu-4g", 4, 104, 936, _A3_DISKS, on_demand=False, reservable=False),
                _machine("a3-highgpu-8g", 8, 208, 1872, _A3_DISKS),
                _machine("a3-edgegpu-8g", 8, 208, 1872, _A3_DISKS, flex_start=False),
            ),
        ),
        _accelerator(
            "nvidia-h100-mega-80gb",
            "NVIDIA H100 Mega 80 GB",
            80,
            _and_without_ssd(_machine("a3-megagpu-8g", 8, 208, 1872, _A3_DISKS)),
        ),
        _accelerator(
            "nvidia-h200-141gb",
            "NVIDIA H200 141 GB",
            141,
            _and_without_ssd(_machine("a3-ultragpu-8g", 8, 224, 2952, _HYPERDISK, on_demand=False)),
        ),
        _accelerator(
            "nvidia-b200",
            "NVIDIA B200",
            180,
            _and_without_ssd(_machine("a4-highgpu-8g", 8, 224, 3968, _HYPERDISK, on_demand=False)),
        ),
        _accelerator(
            "nvidia-rtx-pro-6000",
            "NVIDIA RTX PRO 6000",
            96,
            (
                _machine("g4-standard-48", 1, 48, 180, _HYPERDISK),
                _machine("g4-standard-96", 2, 96, 360, _HYPERDISK),
                _machine("g4-standard-192", 4, 192, 720, _HYPERDISK),
                _machine("g4-standard-384", 8, 384, 1440, _HYPERDISK),
            ),
        ),
    )
}
"""The GPU types by GKE's name for them (the value of the node label `cloud.google.com/gke-accelerator`)."""


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)


def find(name: str) -> Accelerator:
    """The GPU type of that name.

    Raises:
        AcceleratorError: no such type; the message has the closest names and the whole list.
    """
    if name in ACCELERATORS:
        return ACCELERATORS[name]
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
