"""What a stack may say to have the nodes that a model fits on, what they cost, and how long it takes to start there.

Nothing is judged here: a candidate is a whole configuration, which the settings' own reader and checks have read. One
that they refuse is told with their words, and of the ways in which one can hold (disks, length of the context, patience
with its start) that is taken which leaves no warning.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from components.google import accelerators, disk, image_disk, local_ssd, pool_names
from components.google.accelerators import Accelerator, AcceleratorError, Machine
from components.google.prices import Prices
from components.serving.memory import Fit
from components.settings.checks.fit import cpu_gib
from components.settings.google import ClusterSettings, SystemPool
from components.settings.places import StackCluster
from components.settings.serving import LONGEST_STARTUP, ModelSettings
from components.settings.types import GB
from components.stack_draft import Option, StackDraft, judged
from modelimage.progress import readable

_DEARER = 1.05
"""Up to how much dearer an hour the disk may be from which a model starts faster."""
_SHORTEST = 4096
"""Tokens below which a context is not cut to make a model fit: long enough for a chat."""
_SYSTEM_MACHINES = ("e2-standard-4", "e2-standard-8", "e2-standard-16", "e2-standard-32")
_SYSTEM_DISK_GB = SystemPool.model_fields["disk_size_gb"].default
_CORES_OF_CONTROLLERS = 1
"""What the platform's own pods ask for on a node of the system pool, about."""
_MINUTE = 60


def matching(name: str) -> list[tuple[Accelerator, int]]:
    """The GPUs that a text means, each with a count: `l4`, `nvidia-l4`, `a100:4`; all of an empty one.

    Raises:
        AcceleratorError: there are none.
    """
    wanted, _, number = name.partition(":")
    if number and not number.isdecimal():
        raise AcceleratorError(f"{name!r}: write a GPU and how many a node has, as {wanted}:2")
    known = accelerators.ACCELERATORS
    found = [known[wanted]] if wanted in known else [one for key, one in known.items() if _is_part(wanted, key)]
    found = found or [accelerators.find(wanted)]
    counted = [(one, count) for one in found for count in one.counts if not number or count == int(number)]
    if not counted:
        raise AcceleratorError(
            f"{number} GPUs of {wanted} in one node are not offered: write one of "
            f"{', '.join(f'{one.name}:{count}' for one in found for count in one.counts)}"
        )
    return counted


def _is_part(wanted: str, name: str) -> bool:
    return not wanted or f"-{wanted.lower()}-" in f"-{name}-"


def options(draft: StackDraft, gpus: Sequence[tuple[Accelerator, int]], prices: Prices) -> list[Option]:
    """The GPUs as options: those that do, the cheapest first, and then those that do not."""
    found = [_on(draft, accelerators.machine_for(one.name, count), prices) for one, count in gpus]
    return sorted(found, key=lambda option: (bool(option.problems), option.usd, option.count))


def on_cpu(draft: StackDraft, prices: Prices) -> Option:
    """The cluster's own nodes, without GPUs: of a new cluster as large as the model needs."""
    create = draft.cluster.get("create")
    resources = {"memory": f"{cpu_gib(draft.size_gb)}Gi"}
    reasons = {f"models.{draft.key}.resources": "weights, the server, its cache; cores of a node without the system's"}
    if create is None:
        option = judged(draft, Option("", 0, ""), draft.values({"resources": resources}), prices)
        return replace(option, reasons=reasons)
    tried: list[Option] = []
    for machine in _SYSTEM_MACHINES:
        system = {"machineType": machine, "diskSizeGb": max(_SYSTEM_DISK_GB, disk.used_gb([draft.size_gb]))}
        cluster = {"create": {**create, "systemPool": system}}
        room = StackCluster(ClusterSettings.model_validate(cluster)).system_room
        cores = {"cpu": str(max(1, math.floor(room.cpu) - _CORES_OF_CONTROLLERS))} if room else {}
        values = draft.values({"resources": {**cores, **resources}}, cluster=cluster)
        tried.append(judged(draft, Option("", 0, machine), values, prices))
        if not tried[-1].problems:
            break
    return replace(tried[-1], reasons={**reasons, "cluster": "systemPool has room for the model, which has no pool"})


def _on(draft: StackDraft, machine: Machine, prices: Prices) -> Option:
    """A machine type's nodes, with the disk that the model starts from fastest at about the lowest price."""
    found = [_with_patience(draft, machine, disks, prices) for disks in _disks(draft, machine)]
    fitting = [option for option in found if not option.problems]
    if not fitting:
        return min(found, key=lambda option: len(option.problems))
    dearest = min(option.usd for option in fitting) * _DEARER
    return min((option for option in fitting if option.usd <= dearest), key=_seconds)


def _seconds(option: Option) -> float:
    return option.start.cold_start.total[1] if option.start else math.inf


def _disks(draft: StackDraft, machine: Machine) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """What a pool may say of its disks, and why."""
    found, images = local_ssd.of(machine.name), f"{readable(draft.size_gb * GB)} twice, as a node does, and its system"
    boot = disk.needed_gb([draft.size_gb])
    own = {"bootDisk": {"sizeGb": boot}}
    if found is None or not found.bundled:
        yield own, {"bootDisk": f"holds {images}"}
    needed = disk.used_gb([draft.size_gb])
    for count in found.counts if found else ():
        held = image_disk.on_local_ssd(machine.name, count)
        if held and held.usable_gb >= needed:
            if found and found.bundled:
                yield {}, {}
            else:
                yield {"localSsd": count}, {"localSsd": f"holds {images}; the model starts faster from it"}
            return
    if found and found.bundled:
        without = machine.name + local_ssd.WITHOUT
        why = "its Local SSDs do not hold the image, and those of this type are left out"
        yield {"machineType": without, **own}, {"machineType": why, "bootDisk": f"holds {images}"}


def _with_patience(
    draft: StackDraft, machine: Machine, disks: tuple[dict[str, Any], dict[str, str]], prices: Prices
) -> Option:
    """One way to have a machine's nodes: with the time that a start takes, and the context that fits."""
    key = machine.accelerator.removeprefix("nvidia-").removeprefix("tesla-")
    pool: dict[str, Any] = {"accelerator": machine.accelerator, "count": machine.count}
    reasons: dict[str, str] = {}
    if draft.zones:
        pool["zones"] = list(draft.zones)
    if accelerators.provisioning_problem(machine, spot=False, flex_start=False, reservation=False):
        pool["spot"] = True
        reasons["spot"] = f"{machine.name} is not sold on demand; a reservation (reservation: NAME) is not taken back"
    if len(f"{draft.cluster_name}-{key}") > pool_names.ACCOUNT_ID:
        pool["serviceAccountId"] = pool_names.account_id(draft.cluster_name, key)
    pool |= {"maxNodes": 1, **disks[0]}
    reasons = {f"nodePools.{key}.{name}": why for name, why in {**reasons, **disks[1]}.items()}
    base: dict[str, Any] = {"nodePool": key}
    named = Option(machine.accelerator, machine.count, pool.get("machineType", machine.name))

    def said(**model: Any) -> Option:
        option = judged(draft, named, draft.values({**base, **model}, {key: pool}), prices)
        return replace(option, reasons=reasons)

    patient = said(startupTimeout=LONGEST_STARTUP)
    if patient.start:
        seconds = math.ceil(_seconds(patient) / _MINUTE) * _MINUTE
        if seconds > ModelSettings.model_fields["startup_timeout"].default:
            base["startupTimeout"] = seconds
            reasons[f"models.{draft.key}.startupTimeout"] = "seconds from a new node to ready, as predicted"
    found = said()
    if not found.problems or found.fit is None:
        return found
    for length in _lengths(found.fit):
        shorter = said(args=[f"--max-model-len={length}"])
        if not shorter.problems:
            reasons[f"models.{draft.key}.args"] = (
                f"of the model's own {found.fit.context} tokens, with room for requests"
            )
            return replace(shorter, reasons=reasons)
    return found


def _lengths(fit: Fit) -> Iterator[int]:
    """Lengths of a context that may fit, the longest first."""
    longest = min(fit.context_that_fits or 0, (fit.context or 0) - 1)
    while longest >= _SHORTEST:
        longest = 1 << (longest.bit_length() - 1)
        yield longest
        longest -= 1
