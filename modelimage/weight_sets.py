"""Weight files that belong together: those of one safetensors index, those of one `n-of-m`, and each other file alone.

A loader takes a set as one model, so what becomes of its files is decided for all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from modelimage.remedies import leave_out
from modelimage.shards import numbered, read_document
from modelimage.source import SourceFile
from modelimage.weights import INDEX_SUFFIX
from oci_model_serving.errors import InputError

SAFETENSORS, GGUF = ".safetensors", ".gguf"


@dataclass(frozen=True)
class WeightSet:
    """Files that are one model's weights.

    Attributes:
        stem: the path that the files' names begin with, without number and suffix.
        suffix: `.safetensors` or `.gguf`.
        files: the files, in the order of their names.
        index: the file that names them, if there is one.
        listed: what that says, as JSON; empty where there is none.
        conflicts: why it cannot be told what becomes of the set, where its files are also another's.
    """

    stem: str
    suffix: str
    files: tuple[SourceFile, ...]
    index: SourceFile | None = None
    listed: dict[str, Any] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The size of all files in bytes."""
        return sum(file.size for file in self.files)

    @property
    def largest(self) -> int:
        """The size of the largest file in bytes."""
        return max(file.size for file in self.files)

    def name_of(self, number: int, count: int) -> str:
        """What part `number` (from 1) of `count` is called: as huggingface_hub and llama.cpp call theirs."""
        return f"{self.stem}-{number:05d}-of-{count:05d}{self.suffix}"

    @property
    def index_path(self) -> str:
        """Where loaders look for the set's index."""
        return self.index.path if self.index else f"{self.stem}{INDEX_SUFFIX}"


def find_sets(files: Sequence[SourceFile]) -> list[WeightSet]:
    """The sets of safetensors and GGUF files; indexes are read.

    Raises:
        InputError: an index is none.
        ImageError: reading failed.
    """
    known = {file.path: file for file in files if file.path.endswith((SAFETENSORS, GGUF))}
    sets: list[WeightSet] = []
    named: dict[str, str] = {}
    for index in files:
        if not index.path.endswith(INDEX_SUFFIX):
            continue
        folder = index.path.rpartition("/")[0]
        listed = _read_index(index)
        paths = [f"{folder}/{name}" if folder else name for name in sorted(set(listed["weight_map"].values()))]
        members = tuple(known[path] for path in paths if path in known)
        conflicts = tuple(
            f"{path}: both {named[path]} and {index.path} name it, and it is to be split: if {index.path} "
            f"is one too many, {leave_out(index.path)}"
            for path in paths
            if path in named
        )
        named |= dict.fromkeys(paths, index.path)
        if members:
            stem = index.path.removesuffix(INDEX_SUFFIX)
            sets.append(WeightSet(stem, SAFETENSORS, members, index, listed, conflicts))
    left = {path: file for path, file in known.items() if path not in named}
    together: dict[str, list[SourceFile]] = {}
    for path, file in left.items():
        place = numbered(path)
        together.setdefault(place.pattern if place else path, []).append(file)
    for members_found in together.values():
        ordered = sorted(members_found, key=lambda file: (len(file.path), file.path))
        path = ordered[0].path
        suffix = SAFETENSORS if path.endswith(SAFETENSORS) else GGUF
        place = numbered(path)
        sets.append(WeightSet(place.stem if place else path.removesuffix(suffix), suffix, tuple(ordered)))
    return sorted(sets, key=lambda found: (found.stem, found.suffix))


def _read_index(index: SourceFile) -> dict[str, Any]:
    read = read_document(index)
    if read is None:
        raise InputError(f"{index.path}: not a safetensors index (JSON with a weight_map): fetch it again")
    return read
