"""How large the disk that holds a GPU node's images must be, and what a boot disk may be. Pure.

A pulled image is on the disk twice: containerd keeps the blobs of its layers in the content store and unpacks them
into a snapshot (containerd, "Data flow"). The kubelet starts to delete images when the disk is filled to the pool's
high threshold (Kubernetes, "Garbage collection"; 85 % by default), so that an image that fits only above it would be
pulled and deleted in turns. What remains has to hold the node's system and the server's image as well.
"""

import math
from collections.abc import Iterable, Iterator, Mapping

from components.google import image_disk, local_ssd
from components.google.accelerators import Machine
from components.google.image_disk import ImageDisk, type_of
from components.settings.google import BootDisk, NodePoolSettings

MINIMUM_GB = 200
SYSTEM_GB = 40
"""Node OS (about 8 GB) and the inference server's image, twice as well (vLLM: about 10 GB of layers, 22 unpacked).
Estimated, not from a document."""
COPIES = 2
"""How often a pulled image is on the disk: its blobs, and the files that are unpacked from them."""
GC_HIGH_PERCENT = 85
"""The kubelet's default of imageGCHighThresholdPercent."""

_HYPERDISK = "hyperdisk-balanced"
_IOPS = (3_000, 160_000)
_IOPS_PER_GB = 500
_THROUGHPUT = (140, 2_400)
_IOPS_PER_MIB_S = (4, 256)
"""Compute Engine, "About Hyperdisk Balanced": at least 3,000 IOPS and 140 MiB/s, at most 500 IOPS for each GiB and
160,000, 2,400 MiB/s; a MiB/s takes between 4 and 256 IOPS."""


def used_gb(
    image_sizes_gb: Iterable[float], *, gc_high_percent: int = GC_HIGH_PERCENT, system_gb: int = SYSTEM_GB
) -> int:
    """The disk that just holds these images at once: each counted twice, and the system, below the threshold.

    Args:
        image_sizes_gb: sizes of the images as stored in the registry, in GB.
        gc_high_percent: how full, in percent, the disk may be before images are deleted.
        system_gb: what the system and the server's image take.
    """
    held = COPIES * math.fsum(image_sizes_gb) + system_gb
    return math.ceil(round(held * 100 / gc_high_percent, 6))


def needed_gb(image_sizes_gb: Iterable[float], *, gc_high_percent: int = GC_HIGH_PERCENT) -> int:
    """The boot disk to have for these images, in GB: what they use, and no less than the minimum of any pool."""
    return max(MINIMUM_GB, used_gb(image_sizes_gb, gc_high_percent=gc_high_percent))


def problems(
    pool: NodePoolSettings, machine: Machine, image_sizes_gb: Mapping[str, float | None]
) -> Iterator[tuple[str, str]]:
    """What is wrong with a pool's disks: `bootDisk` or `localSsd`, and the number or the word to write instead.

    Args:
        pool: its settings.
        machine: its machine type, which decides on the types of disk and on Local SSDs.
        image_sizes_gb: model -> size of its image in GB; None where it is not known yet, which is not counted.
    """
    unfit = local_ssd.problem(machine.name, pool.local_ssd)
    held = image_disk.of(pool, machine)
    if unfit:
        yield "localSsd", unfit
    else:
        small = too_small(pool, machine, image_sizes_gb)
        if small:
            yield held.setting, small
    for wrong in (_type_problem, _iops_problem, _throughput_problem):
        problem = wrong(pool.boot_disk, machine)
        if problem:
            yield "bootDisk", problem


def too_small(pool: NodePoolSettings, machine: Machine, image_sizes_gb: Mapping[str, float | None]) -> str | None:
    """The complaint that the disk of a pool's images cannot hold the known ones below its own threshold, or None."""
    held = image_disk.of(pool, machine)
    known = {key: size for key, size in image_sizes_gb.items() if size is not None}
    threshold = pool.image_gc_high_threshold_percent
    # The minimum is that of boot disks.
    needed = (used_gb if held.is_local else needed_gb)(known.values(), gc_high_percent=threshold)
    if held.usable_gb >= needed:
        return None
    images = ", ".join(f"{key} {size:g} GB" for key, size in sorted(known.items())) or "none"
    has = f"{held.count} Local SSDs hold {held.usable_gb} GB" if held.is_local else f"sizeGb is {held.size_gb}"
    return (
        f"{has}, the images that may land on a node ({images}) need {needed}: twice their size and "
        f"{SYSTEM_GB} GB for the system, at most {threshold} % full; {_larger(held, machine, needed)}"
    )


def _larger(held: ImageDisk, machine: Machine, needed: int) -> str:
    """What to write for a disk that holds so much."""
    found = local_ssd.of(machine.name)
    numbers = found.counts if found else ()
    sized = ((count, image_disk.on_local_ssd(machine.name, count)) for count in numbers)
    more = next((count for count, disk in sized if disk and disk.usable_gb >= needed), None)
    local = f"localSsd: {more}" if more else ""
    boot = f"sizeGb: {max(needed, MINIMUM_GB)} or more"
    if not held.is_local:
        return f"write {local}, or {boot}" if local else f"write {boot}"
    if local:
        return f"write {local}"
    without = f"machineType: {machine.name}{local_ssd.WITHOUT} and" if found and found.bundled else "localSsd: none and"
    return f"spread the models over pools, or write {without} bootDisk.{boot}"


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
