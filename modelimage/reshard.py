"""Which weight files are cut, and how small: what no layer holds, and what makes equal layers for a fast pull.

It depends on names, sizes and headers alone, so the same files give the same parts on any machine.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import ceil
from typing import Literal

from modelimage.cutting import HEADROOM_BYTES, Target, cut, outlined
from modelimage.errors import collecting
from modelimage.remedies import leave_out
from modelimage.source import SourceFile
from modelimage.weight_sets import GGUF, SAFETENSORS, WeightSet, find_sets
from oci_model_serving.errors import InputError

ShardSize = float | Literal["auto", "keep"]
"""What becomes of weight files: `auto`, `keep`, or a size in GB above which each is cut."""

GB = 1_000_000_000
LEAST_GB, _MOST_GB = 0.1, 9.4
_SMALLEST_PART, _LARGEST_PART = 2 * GB, 5 * GB
_IN_FLIGHT = 8  # this many layers at least: nodes fetch several at a time
_LARGER_PARTS = (6 * GB, 7 * GB, 8 * GB)
_KNOWN_STEMS = frozenset({"model", "diffusion_pytorch_model"})
"""Names under which transformers, vLLM and diffusers look for one file or for an index: these may be cut where no layer
needs it. Another name may be one that a server is told."""


def check(shard_gb: ShardSize) -> None:
    """Raise InputError for a size that no part can have."""
    if shard_gb not in {"auto", "keep"} and not (
        isinstance(shard_gb, int | float) and not isinstance(shard_gb, bool) and LEAST_GB <= shard_gb <= _MOST_GB
    ):
        raise InputError(
            f"--shard-gb {shard_gb} (a stack: files.shardGb): give auto, keep, or GB from {LEAST_GB} to {_MOST_GB}"
        )


def resharded(
    files: Sequence[SourceFile],
    shard_gb: ShardSize,
    *,
    limit: int,
    slots: int,
    alone: Callable[[SourceFile], bool],
    reading: bool = True,
) -> list[SourceFile]:
    """The files with those in parts that do not fit into `limit` bytes, or that `shard_gb` has cut.

    `auto` cuts sets with a file above `limit`, and a single `model.safetensors` above 5 GB, into parts that make equal
    layers: an eighth of the set, between 2 and 5 GB, more where `slots` layers would not hold one each, with the
    others that are layers `alone`. Without `reading` no file is opened but indexes: parts then have about the right
    sizes, and cannot be read.

    Raises:
        InputError: a file cannot be cut, with all problems.
        ImageError: reading failed.
    """
    check(shard_gb)
    lowest = shard_gb * GB if isinstance(shard_gb, int | float) else limit if shard_gb == "keep" else _LARGEST_PART
    if not any(file.size > min(lowest, limit) and file.path.endswith((SAFETENSORS, GGUF)) for file in files):
        return list(files)
    sets = find_sets(files)
    targets = _targets(sets, [file for file in files if alone(file)], shard_gb, limit, slots)
    made: list[SourceFile] = []
    gone: set[str] = set()
    problems: list[str] = []
    for found, target in zip(sets, targets, strict=True):
        if target is None:
            continue
        problems += found.conflicts
        with collecting(problems):
            made += cut(found, target, limit) if reading else outlined(found, target)
        gone |= {file.path for file in found.files} | ({found.index.path} if found.index else set())
    result = sorted([*(file for file in files if file.path not in gone), *made], key=lambda file: file.path)
    problems += [
        f"{one.path}: a part of a larger file would get this name, and another file has it: if that is no part of the "
        f"model, {leave_out(one.path)}"
        for one, following in pairwise(result)
        if one.path == following.path
    ]
    if problems:
        raise InputError(*problems)
    return result


def _targets(
    sets: Sequence[WeightSet], shards: Sequence[SourceFile], shard_gb: ShardSize, limit: int, slots: int
) -> list[Target | None]:
    """How each set is cut, None for those that stay."""

    def counted(size: int, above: float, part: float) -> int:
        return ceil(size / part) if size > above else 1

    def for_part(found: WeightSet, larger: int) -> Target | None:
        if found.stem.rpartition("/")[2].startswith("adapter_model"):
            return None  # peft and vLLM open it by this name alone
        if isinstance(shard_gb, int | float):
            part = float(shard_gb * GB)
            return partial(counted, above=part, part=part) if found.largest > part else None
        single = len(found.files) == 1 and found.suffix == SAFETENSORS and found.stem.rpartition("/")[2] in _KNOWN_STEMS
        if found.largest <= limit and not (shard_gb == "auto" and single and found.largest > _LARGEST_PART):
            return None
        part = max(min(max(found.size / _IN_FLIGHT, _SMALLEST_PART), _LARGEST_PART), larger)
        return partial(counted, above=limit if shard_gb == "keep" else part, part=part)

    targets: list[Target | None] = []
    for larger in (0, *_LARGER_PARTS, limit - HEADROOM_BYTES):
        targets = [for_part(found, larger) for found in sets]
        cut_sets = [(found, target) for found, target in zip(sets, targets, strict=True) if target]
        parts = sum(target(file.size) for found, target in cut_sets for file in found.files)
        if parts + len(shards) - sum(len(found.files) for found, _ in cut_sets) <= slots:
            break
    return targets
