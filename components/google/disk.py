"""How large a GPU node's boot disk must be, and what may be provisioned on it. Pure.

A pulled image is on the disk twice: containerd keeps the blobs of its layers in the content store and unpacks them
into a snapshot (containerd, "Data flow"). The kubelet starts to delete images when the disk is filled to the pool's
high threshold (Kubernetes, "Garbage collection"; 85 % by default), so that an image that fits only above it would be
pulled and deleted in turns. What remains has to hold the node's system and the server's image as well.
"""

import math
from collections.abc import Iterable, Mapping

from components.google.accelerators import Machine
from components.settings.google import BootDisk, NodePoolSettings

MINIMUM_GB = 200
SYSTEM_GB = 40
"""Node OS (about 8 GB) and the inference server's image, twice as well (vLLM: about 10 GB of layers, 22 unpacked).
Estimated, not from a document."""
GC_HIGH_PERCENT = 85
"""The kubelet's default of imageGCHighThresholdPercent."""

_HYPERDISK = "hyperdisk-balanced"
_IOPS = (3_000, 160_000)
_IOPS_PER_GB = 500
_THROUGHPUT = (140, 2_400)
_IOPS_PER_MIB_S = (4, 256)
"""Compute Engine, "About Hyperdisk Balanced": at least 3,000 IOPS and 140 MiB/s, at most 500 IOPS for each GiB and
160,000, 2,400 MiB/s; a MiB/s takes between 4 and 256 IOPS."""


def used_gb(image_sizes_gb: Iterable[float], *, gc_high_percent: int = GC_HIGH_PERCENT) -> int:
    """The disk that just holds these images at once: each counted twice, and the system, below the threshold.

    Args:
        image_sizes_gb: sizes of the images as stored in the registry, in GB.
        gc_high_percent: how full, in percent, the disk may be before images are deleted.
    """
    held = 2 * math.fsum(image_sizes_gb) + SYSTEM_GB
    return math.ceil(round(held * 100 / gc_high_percent, 6))


def needed_gb(image_sizes_gb: Iterable[float], *, gc_high_percent: int = GC_HIGH_PERCENT) -> int:
    """The boot disk to have for these images, in GB: what they use, and no less than the minimum for any model."""
    return max(MINIMUM_GB, used_gb(image_sizes_gb, gc_high_percent=gc_high_percent))


def problems(pool: NodePoolSettings, machine: Machine, image_sizes_gb: Mapping[str, float | None]) -> list[str]:
    """What is wrong with a pool's boot disk, each with the number or the word to write instead.

    Args:
        pool: its settings.
        machine: its machine type, which decides on the types of disk.
        image_sizes_gb: model -> size of its image in GB; None where it is not known yet, which is not counted.
    """
    boot_disk = pool.boot_disk
    found = [
        too_small(pool, image_sizes_gb),
        _type_problem(boot_disk, machine),
        _iops_problem(boot_disk, machine),
        _throughput_problem(boot_disk, machine),
    ]
    return [problem for problem in found if problem]


def too_small(pool: NodePoolSettings, image_sizes_gb: Mapping[str, float | None]) -> str | None:
    """The complaint that a pool's boot disk cannot hold the known images below the pool's own threshold, or None."""
    known = {key: size for key, size in image_sizes_gb.items() if size is not None}
    size_gb, threshold = pool.boot_disk.size_gb, pool.image_gc_high_threshold_percent
    needed = needed_gb(known.values(), gc_high_percent=threshold)
    if size_gb >= needed:
        return None
    images = ", ".join(f"{key} {size:g} GB" for key, size in sorted(known.items())) or "none"
    return (
        f"sizeGb is {size_gb}, the images that may land on a node ({images}) need {needed}: twice their size and "
        f"{SYSTEM_GB} GB for the system, at most {threshold} % full; write sizeGb: {needed} or more"
    )


def type_of(boot_disk: BootDisk, machine: Machine) -> str:
    """The type of the boot disk: the one asked for, or the machine family's default."""
    return boot_disk.type or machine.disk_types[0]


def _type_problem(boot_disk: BootDisk, machine: Machine) -> str | None:
    if type_of(boot_disk, machine) in machine.disk_types:
        return None
    return f"type {boot_disk.type} cannot boot {machine.name}: write {' or '.join(machine.disk_types)}"


def _only_hyperdisk(key: str, machine: Machine) -> str:
    remedy = f"write type: {_HYPERDISK}, or remove it" if _HYPERDISK in machine.disk_types else "remove it"
    return f"{key} is for {_HYPERDISK}: {remedy}"


def _iops_problem(boot_disk: BootDisk, machine: Machine) -> str | None:
    iops = boot_disk.provisioned_iops
    if iops is None:
        return None
    if type_of(boot_disk, machine) != _HYPERDISK:
        return _only_hyperdisk("provisionedIops", machine)
    low, high = _IOPS[0], min(_IOPS[1], boot_disk.size_gb * _IOPS_PER_GB)
    if low <= iops <= high:
        return None
    return f"provisionedIops is {iops}: write {low} to {high} for {boot_disk.size_gb} GB"


def _throughput_problem(boot_disk: BootDisk, machine: Machine) -> str | None:
    throughput = boot_disk.provisioned_throughput
    if throughput is None:
        return None
    if type_of(boot_disk, machine) != _HYPERDISK:
        return _only_hyperdisk("provisionedThroughput", machine)
    iops = boot_disk.provisioned_iops or _IOPS[0]
    low = max(_THROUGHPUT[0], math.ceil(iops / _IOPS_PER_MIB_S[1]))
    high = min(_THROUGHPUT[1], iops // _IOPS_PER_MIB_S[0])
    if low <= throughput <= high:
        return None
    more = ", or raise provisionedIops" if throughput > high < _THROUGHPUT[1] else ""
    return f"provisionedThroughput is {throughput} MiB/s: write {low} to {high} with {iops} IOPS{more}"
