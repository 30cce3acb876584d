"""Machine types that are made to measure: which vCPUs and memory a number of GPUs allows. Pure.

Sources (Compute Engine): "Create a VM with a custom machine type" (names; N1: one vCPU or an even number, 0.9 to 6.5 GB
for each, in steps of 256 MB, more as extended memory `-ext`); "GPU machine types" (vCPUs and memory that a number of T4
allows); "Accelerator-optimized machine family" (G2: the vCPUs of the predefined types, and memory in a range of each).
"""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

FAMILIES = ("n1", "g2")
"""Those with GPUs that are made to measure."""
_NAME = re.compile(r"(?:(?P<family>[a-z][a-z0-9]*)-)?custom-(?P<vcpus>[1-9][0-9]*)-(?P<mb>[1-9][0-9]*)(?P<ext>-ext)?")
_STEP_MB = 256
_N1_GB_PER_VCPU = (0.9, 6.5)
_T4 = {1: (48, 312), 2: (48, 312), 4: (96, 624)}
"""GPUs -> most vCPUs and GB of memory."""
_G2_GB = {
    4: (16, 32),
    8: (32, 54),
    12: (48, 54),
    16: (54, 64),
    24: (96, 108),
    32: (96, 128),
    48: (192, 216),
    96: (384, 432),
}
"""vCPUs -> GB of memory, at least and at most."""


@dataclass(frozen=True)
class CustomType:
    """A machine type that is made to measure, as its name says; a name without a family is N1's."""

    family: str
    vcpus: int
    memory_mb: int
    extended: bool


def read(machine_type: str) -> CustomType | None:
    """The machine type of that name; None where it is none that is made to measure."""
    found = _NAME.fullmatch(machine_type)
    if found is None:
        return None
    return CustomType(found["family"] or "n1", int(found["vcpus"]), int(found["mb"]), found["ext"] is not None)


def problem(asked: CustomType, *, family: str, gpus: int, vcpus: Collection[int]) -> str:
    """Why Compute Engine makes no such machine with these GPUs, with the remedy; empty where it does.

    Args:
        asked: the machine type.
        family: that of the predefined machines with these GPUs.
        gpus: their number.
        vcpus: the vCPUs of the predefined machines with as many.
    """
    if family not in FAMILIES:
        return f"machines of {family} are not made to measure, only those with T4 (n1) and L4 (g2)"
    if asked.family != family:
        return f"it is of {asked.family}, and these GPUs are on {family}: write {family}-custom-<vCPUs>-<MB>"
    return _n1(asked, gpus) if family == "n1" else _g2(asked, gpus, sorted(set(vcpus)))


def _n1(asked: CustomType, gpus: int) -> str:
    most_vcpus, most_gb = _T4[gpus]
    if asked.vcpus > most_vcpus:
        return f"{gpus} T4 allow {most_vcpus} vCPUs at most: write fewer"
    if asked.vcpus > 1 and asked.vcpus % 2:
        return f"{asked.vcpus} vCPUs are not made: write 1 or an even number"
    low, high = (limit * asked.vcpus * 1024 for limit in _N1_GB_PER_VCPU)
    return _memory(asked, _up(low), most_gb * 1024 if asked.extended else int(high) // _STEP_MB * _STEP_MB)


def _g2(asked: CustomType, gpus: int, vcpus: list[int]) -> str:
    # The GPUs of a G2 machine decide on its vCPUs.
    if asked.vcpus not in vcpus:
        return f"{gpus} L4 come with {' or '.join(map(str, vcpus))} vCPUs: write one of them"
    if asked.extended:
        return "machines of g2 have no extended memory: leave -ext out"
    return _memory(asked, *(limit * 1024 for limit in _G2_GB[asked.vcpus]))


def _memory(asked: CustomType, low: int, high: int) -> str:
    if asked.memory_mb % _STEP_MB:
        return f"{asked.memory_mb} MB are no multiple of {_STEP_MB}: write {min(max(_up(asked.memory_mb), low), high)}"
    if low <= asked.memory_mb <= high:
        return ""
    return f"{asked.memory_mb} MB are not made with {asked.vcpus} vCPUs: write {low} to {high}"


def _up(mb: float) -> int:
    return math.ceil(mb / _STEP_MB) * _STEP_MB
