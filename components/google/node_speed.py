"""How fast what decides on a node is: the disk that holds its images, and its network, by machine type. Pure.

Constants are those of `speeds.csv`.
"""

from dataclasses import dataclass, field

from components.google import speeds
from components.google.accelerators import Machine
from components.google.image_disk import ImageDisk
from components.google.speeds import Constant


@dataclass(frozen=True)
class DiskSpeed:
    """A disk by its speed in bytes a second; `name` as it is told, and the constants that the speeds are from."""

    name: str
    read: float
    write: float
    read_by: Constant = field(default_factory=Constant)
    write_by: Constant = field(default_factory=Constant)


@dataclass(frozen=True)
class NodeSpeed:
    """What of a node decides: its disk, its network (bytes a second), its memory (bytes), the network's constant."""

    disk: DiskSpeed
    network: float
    memory: float
    network_by: Constant = field(default_factory=Constant)


def node_of(disk: ImageDisk, machine: Machine) -> NodeSpeed:
    """A node of a machine type, with the disk that holds its images."""
    network, network_by = _network(machine)
    return NodeSpeed(_disk(disk, machine), network, machine.memory_gib * (1 << 30), network_by)


def network(machine: Machine) -> float:
    """What a machine's network brings at most, in bytes a second."""
    return _network(machine)[0]


def _disk(disk: ImageDisk, machine: Machine) -> DiskSpeed:
    if disk.is_local:
        name = f"{disk.count} Local SSD{'s' if disk.count > 1 else ''}"
        read, write = (_row(what, speeds.step(what, disk.count)) for what in ("local_ssd_read", "local_ssd_write"))
        return DiskSpeed(name, read[0], write[0], read[1], write[1])
    name = f"{disk.kind} {disk.size_gb} GB"
    if disk.kind.startswith("hyperdisk"):
        mib = disk.provisioned_throughput
        given = (mib * (1 << 20), Constant()) if mib else _row("disk_base", disk.kind)
        speed, by = min(given, _row("disk_limit", disk.kind), key=lambda one: one[0])
        return DiskSpeed(f"{name}, {round(speed / (1 << 20))} MiB/s", speed, speed, by, by)
    gib = disk.size_gb * 1e9 / (1 << 30)
    (base, least), (each, more) = _row("disk_base", disk.kind), _row("disk_per_gib", disk.kind)
    by_size = base + gib * each
    both = Constant(f"{least.name} + {more.name}", by_size / (1 << 20), "MiB/s")
    limit = _row("disk_limit_vcpus", speeds.step("disk_limit_vcpus", machine.vcpus))
    read = min((by_size, both), limit, key=lambda one: one[0])
    limited = speeds.find("disk_limit_write", disk.kind)
    write = min(read, _row("disk_limit_write", disk.kind), key=lambda one: one[0]) if limited else read
    return DiskSpeed(name, read[0], write[0], read[1], write[1])


def _row(what: str, kind: str) -> tuple[float, Constant]:
    return speeds.of(what, kind), speeds.constant(what, kind)


def _network(machine: Machine) -> tuple[float, Constant]:
    name = machine.name.removesuffix("-nolssd")
    if speeds.find("network", name):
        return _row("network", name)
    each, constant = _row("network_per_vcpu", "n1")
    by_vcpus = max((machine.vcpus * each, constant), _row("network_least", "n1"), key=lambda one: one[0])
    return min(by_vcpus, _row("network_limit", "n1"), key=lambda one: one[0])
