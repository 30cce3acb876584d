"""Weights in several files: what an index names, and what the files' own names count."""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelimage import remedies
from modelimage.source import SourceFile
from modelimage.weights import INDEX_SUFFIX

_INDEX_SUFFIXES = (INDEX_SUFFIX, ".bin.index.json")
_INDEX_LIMIT_BYTES = 64 << 20
_SHOWN = 5
_NUMBERED = re.compile(
    r"(?P<before>.*?-)(?P<number>\d+)(?P<between>-of-)(?P<count>\d+)(?P<after>\.(?:safetensors|bin|gguf))"
)


@dataclass(frozen=True)
class ShardIndex:
    """What an index file names, all in its own folder."""

    path: str
    names: frozenset[str]


@dataclass(frozen=True)
class Numbered:
    """A file's place in a set by its own name: `number` of `count`, after `stem`; all of the set match `pattern`.

    Sets of one `family` differ in their count alone.
    """

    stem: str
    pattern: str
    family: str
    number: int
    count: int


def read_document(file: SourceFile) -> dict[str, Any] | None:
    """A safetensors or PyTorch index as JSON; None for what is no index (JSON with a `weight_map` of texts)."""
    if file.size > _INDEX_LIMIT_BYTES:
        return None
    try:
        document = json.loads(b"".join(file.read()))
        names = document["weight_map"].values()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return document if all(isinstance(name, str) for name in names) else None


def read_index(file: SourceFile) -> ShardIndex | None:
    """The names in an index; None for what is none."""
    document = read_document(file)
    return ShardIndex(file.path, frozenset(document["weight_map"].values())) if document else None


def numbered(path: str) -> Numbered | None:
    """The place that a path tells, as `model-00002-of-00005.safetensors`; None where it tells none."""
    match = _NUMBERED.fullmatch(path) if "-of-" in path else None
    if not match:
        return None
    before, after = remedies.pattern(match["before"]), remedies.pattern(match["after"])
    family, number, count = before + after, int(match["number"]), int(match["count"])
    return Numbered(match["before"].removesuffix("-"), f"{before}*-of-{match['count']}{after}", family, number, count)


def shard_problems(
    files: Sequence[SourceFile], listed: Iterable[str], read: Callable[[SourceFile], ShardIndex | None]
) -> list[str]:
    """Tell what is missing of the chosen files: by an index, as `read` has it, else by their numbers.

    Publishers count from 0 or from 1 (`model-00000-of-00002` with three files is gpt-oss-20b's), so that an index,
    where there is one, is believed and not the numbers.
    """
    chosen = {file.path: file for file in files}
    everything = set(listed)
    problems: list[str] = []
    indexed: set[str] = set()
    for path, file in chosen.items():
        if not path.endswith(_INDEX_SUFFIXES) or file.size > _INDEX_LIMIT_BYTES:
            continue
        folder = path.rpartition("/")[0]
        index = read(file)
        if index is None:
            problems.append(
                f"{path}: not a safetensors index (JSON with a weight_map): fetch it again, or "
                f"{remedies.leave_out(path)}"
            )
            continue
        shards = {f"{folder}/{name}" if folder else name for name in index.names}
        indexed |= shards
        problems += _unnamed(path, index.names) or _absent(path, shards, chosen, everything)
    sets: dict[str, list[tuple[Numbered, str]]] = defaultdict(list)
    families: dict[str, set[str]] = defaultdict(set)
    for path in chosen:
        place = numbered(path)
        if place and path not in indexed:
            sets[place.pattern].append((place, path))
            families[place.family].add(place.pattern)
    for _, members in sorted(sets.items()):
        problems += _gaps(members)
    for patterns in families.values():
        if len(patterns) > 1:
            names = " and ".join(sorted(map(remedies.quoted, patterns)))
            problems.append(f"{names}: are sets of one model, and a server would load them all: leave all but one out")
    return problems


def _unnamed(path: str, names: Iterable[str]) -> list[str]:
    """Names that lead out of the index's folder: no loader takes them, and no image could hold them."""
    leaving = [repr(name) for name in sorted(names) if name.startswith("/") or ".." in name.split("/") or "\\" in name]
    if not leaving:
        return []
    return [f"{path} names {remedies.shown(leaving)}, which is not below its folder: fetch it again"]


def _absent(path: str, shards: Iterable[str], chosen: Mapping[str, SourceFile], everything: set[str]) -> list[str]:
    missing = sorted(shard for shard in shards if shard not in chosen)
    problems = [
        f"{path} names the shard {shard}, but "
        + ("--allow or --ignore leaves it out" if shard in everything else "it is not there: fetch it")
        for shard in missing[:_SHOWN]
    ]
    if len(missing) > _SHOWN:
        problems.append(f"{path} names {len(missing) - _SHOWN} more shards that are not there: fetch them all again")
    if missing and not any(shard in chosen for shard in shards):
        problems[-1] += f"; if the index is of another set, {remedies.leave_out(path)}"
    return problems


def _gaps(members: Sequence[tuple[Numbered, str]]) -> list[str]:
    count, pattern = members[0][0].count, members[0][0].pattern
    numbers = [place.number for place, _ in members]
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    if twice:
        same = sorted(path for place, path in members if place.number == twice[0])
        return [f"{', '.join(same)}: have the same number: {remedies.leave_out(same[-1])}"]
    have = set(numbers)
    # Counted from 0, the last number is `count` or one less.
    wanted = set(range(max(count, max(have) + 1))) if 0 in have else set(range(1, max(count, *have) + 1))
    missing = sorted(wanted - have)
    beyond = [number for number in have if number > count]
    if not missing and not beyond:
        return []
    what = "there are others" if beyond else f"number {', '.join(map(str, missing[:_SHOWN]))} is missing"
    return [
        f"{remedies.shown([path for _, path in members], 2)}: the names count {count} files and {what}: "
        f"fetch the whole set, or leave it out with --ignore {remedies.quoted(pattern)} (a stack: files.ignore)"
    ]
