"""Files as layers: which file goes into which layer, and a layer's bytes as a tar stream.

The same files give the same bytes on any machine: entries in order of their paths, owner 0:0, modes 0644 and 0755,
every time stamp 0, no user names. Layers are not compressed: weights hardly shrink, and inflating them costs each
node a core (13 GB: 571 s with gzip, 41 s without, in vLLM's and containerd's users' reports).

Weights come first, one file a layer, and the small files with the root's links last: when only a configuration file
changes, the nodes' unpacked snapshots of all weights stay valid, since a snapshot depends on the layers below it.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from modelimage.progress import readable
from modelimage.reshard import ShardSize, resharded
from modelimage.source import CHUNK_BYTES, SourceFile, Whole
from modelimage.tar_headers import BLOCK_BYTES, header, header_size, padding
from modelimage.weights import is_weights
from oci_model_serving.delivery import IMAGE_ROOT
from oci_model_serving.errors import InputError

LAYER_LIMIT_BYTES = 9_500_000_000
"""Artifact Registry serves at most 9.9 GB a request (quotas page, "maximum size per retrieval"): stay below."""

LAYER_COUNT_LIMIT = 120
"""Docker's overlay2 stops at about 125 layers ("max depth exceeded"), and so do its graph drivers' other users."""

LAYER_COUNT_END = 450
"""What nodes can mount: the kernel's overlay takes 500 lower directories, and containerd shortens their paths
(core/mount/mount_linux.go); images of 300 layers were mounted and run on containerd 2.2. The rest is for a container's
own layers."""

_FILE_OVERHEAD_BYTES = 64 << 10  # what a layer has beside its file: tar headers for it and for its folders

LARGE_FILE_BYTES = 64 << 20
"""A file of this size is a layer of its own whatever its name says."""

_WORTH_A_CALL_BYTES = CHUNK_BYTES // 2
_SHOWN = 3  # of files that are told by name
_TRAILER = bytes(2 * BLOCK_BYTES)
_FORMAT_VERSION = 1  # part of what a remembered digest hangs on: raise it whenever the bytes below change


@dataclass(frozen=True)
class Layer:
    """One layer to be made: `files` below /models and `links` (root name, relative target) at the root."""

    files: tuple[SourceFile, ...]
    links: tuple[tuple[str, str], ...] = ()

    @cached_property
    def title(self) -> str:
        """What to call the layer in progress and errors: its file, or the first of them and how many more."""
        if not self.files:
            return "root links"
        more = len(self.files) - 1
        return self.files[0].path + (f" and {more} more" if more else "")

    @cached_property
    def _parts(self) -> tuple[tuple[bytes, SourceFile | None], ...]:
        """Each entry's header with the file that follows it."""
        # Every layer names its folders: docker's unpacker gives unnamed ones a mode that uid 1010 cannot enter.
        parts: list[tuple[bytes, SourceFile | None]] = [
            (header(f"{folder}/", tarfile.DIRTYPE, mode=0o755), None) for folder in _folders(self.files)
        ]
        for file in self.files:
            name = f"{IMAGE_ROOT}/{file.path}"
            parts.append((header(name, tarfile.REGTYPE, mode=0o644, size=file.size), file))
        for name, target in self.links:
            parts.append((header(name, tarfile.SYMTYPE, mode=0o777, target=target), None))
        return tuple(parts)

    @cached_property
    def size(self) -> int:
        """The layer's size in bytes, known before a byte is read."""
        total = len(_TRAILER)
        for head, file in self._parts:
            total += len(head) + (file.size + padding(file.size) if file else 0)
        return total

    @property
    def content_offset(self) -> int:
        """Where in the layer the content of its first file begins, in bytes."""
        folders = next(number for number, (_, file) in enumerate(self._parts) if file)
        return sum(len(head) for head, _ in self._parts[: folders + 1])

    @cached_property
    def key(self) -> str:
        """A hash of all that the layer's digest depends on: what a remembered digest is filed under."""
        described = [
            _FORMAT_VERSION,
            [[file.path, file.size, file.identity] for file in self.files],
            [list(link) for link in self.links],
        ]
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()

    @property
    def part_of(self) -> Whole | None:
        """The file that all of the layer's files are cut out of, if that is what they are."""
        return self.files[0].part_of if self.files else None

    @property
    def is_known_by_content(self) -> bool:
        """Whether the key hangs on content alone, so that it means the same bytes wherever it is read."""
        return all(file.is_known_by_content for file in self.files)

    @property
    def changed_at(self) -> float | None:
        """When the youngest file changed, where the source can tell (seconds since the epoch)."""
        return max((file.changed_at for file in self.files if file.changed_at is not None), default=None)

    def chunks(self) -> Iterator[bytes]:
        """Yield the layer's bytes, small pieces joined so that each piece is worth a system call."""
        pending = bytearray()
        for head, file in self._parts:
            pending += head
            if file is None:
                continue
            for piece in file.read():
                if len(piece) < _WORTH_A_CALL_BYTES:
                    pending += piece
                if pending and (len(pending) >= _WORTH_A_CALL_BYTES or len(piece) >= _WORTH_A_CALL_BYTES):
                    yield bytes(pending)
                    pending.clear()
                if len(piece) >= _WORTH_A_CALL_BYTES:
                    yield piece
            pending += _TRAILER[: padding(file.size)]
        yield bytes(pending + _TRAILER)


def _folders(files: Iterable[SourceFile]) -> list[str]:
    folders = {IMAGE_ROOT}
    for folder in {file.path.rpartition("/")[0] for file in files}:
        folders |= {f"{IMAGE_ROOT}/{above}" for above in _upwards(folder)}
    return sorted(folders)


def _upwards(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def plan_layers(
    files: Sequence[SourceFile], *, base_layers: int = 0, shard_gb: ShardSize = "auto", reading: bool = True
) -> list[Layer]:
    """Distribute `files` over layers, above a base of `base_layers` layers; what is too large for one is cut.

    `shard_gb` and `reading` are those of `reshard.resharded`: without reading, layers can be counted but not packed.

    Raises:
        InputError: a file is too large for a layer, or all of them do not fit into the layers that are left.
        ImageError: reading a header failed.
    """
    limit = LAYER_LIMIT_BYTES - _FILE_OVERHEAD_BYTES
    slots = LAYER_COUNT_LIMIT - base_layers - 1
    ordered = resharded(
        sorted(files, key=lambda file: file.path), shard_gb, limit=limit, slots=slots, alone=is_shard, reading=reading
    )
    needs = _needs(ordered)
    too_large = [file for file in ordered if needs[file.path] > LAYER_LIMIT_BYTES]
    if too_large:
        raise InputError(
            *(
                f"{file.path}: {file.size} bytes do not fit into a layer (at most {LAYER_LIMIT_BYTES}, for registries "
                f"limit a download), and only safetensors and GGUF are split here: save the model as safetensors, or "
                f"in smaller shards, as with save_pretrained(max_shard_size='5GB')"
                for file in too_large
            )
        )
    shards: list[SourceFile] = []
    small: list[SourceFile] = []
    for file in ordered:
        (shards if is_shard(file) else small).append(file)
    links = tuple((name, f"{IMAGE_ROOT}/{name}") for name in sorted({file.path.split("/", 1)[0] for file in ordered}))
    small_groups = _pack_consecutive(small, needs, LAYER_LIMIT_BYTES) or [()]
    taken = base_layers + len(small_groups)
    if taken > LAYER_COUNT_END:
        raise InputError(
            f"the base has {base_layers} layers and the files need {len(small_groups)}, which is more than the "
            f"{LAYER_COUNT_END} that nodes can mount: use a base with fewer layers"
        )
    layers = [Layer(group) for group in _group_shards(shards, needs, taken)]
    layers += [Layer(group) for group in small_groups[:-1]]
    layers.append(Layer(small_groups[-1], links))
    return layers


def notes_on(layers: Sequence[Layer], *, base_layers: int = 0) -> list[str]:
    """What a person should know of planned layers: what was cut, and which tools will not read so many."""
    parts: dict[str, list[SourceFile]] = {}
    for file in (file for layer in layers for file in layer.files if file.part_of):
        parts.setdefault(_origin(file), []).append(file)
    notes = [
        f"{path} is split into {len(found)} parts at tensors' bounds, {found[0].path} and on, of at most "
        f"{readable(max(part.size for part in found))}"
        for path, found in list(parts.items())[:_SHOWN]
    ]
    if len(parts) > _SHOWN:
        notes.append(f"{len(parts) - _SHOWN} more files are split like these")
    count = base_layers + len(layers)
    if count > LAYER_COUNT_LIMIT:
        notes.append(
            f"the image has {count} layers: containerd mounts them, and so GKE, KServe and KubeAI do; docker and what "
            f"uses its graph drivers stop at about 125 and will not read it"
        )
    return notes


def is_shard(file: SourceFile) -> bool:
    """Tell whether a file is a layer of its own: weights by name, or anything large."""
    return is_weights(file.path) or file.size >= LARGE_FILE_BYTES


def _origin(file: SourceFile) -> str:
    """The path of the file that a part was cut out of; empty for a file as its source has it."""
    return file.part_of.file.path if file.part_of else ""


def _needs(files: Iterable[SourceFile]) -> dict[str, int]:
    """The most that each file can add to a layer, by its path: its own layer, with its folders and trailer."""
    around: dict[str, int] = {}
    needs: dict[str, int] = {}
    for file in files:
        folder = file.path.rpartition("/")[0]
        if folder not in around:
            around[folder] = len(_TRAILER) + sum(
                len(header(f"{above}/", tarfile.DIRTYPE, mode=0o755))
                for above in (IMAGE_ROOT, *(f"{IMAGE_ROOT}/{above}" for above in _upwards(folder)))
            )
        own = header_size(f"{IMAGE_ROOT}/{file.path}", file.size) + file.size + padding(file.size)
        needs[file.path] = around[folder] + own
    return needs


def _pack_consecutive(
    files: Sequence[SourceFile], needs: Mapping[str, int], capacity: int
) -> list[tuple[SourceFile, ...]]:
    """Put neighbours together as long as their layer stays within `capacity` bytes."""
    groups: list[tuple[SourceFile, ...]] = []
    current: list[SourceFile] = []
    used = 0
    for file in files:
        need = needs[file.path]
        # Parts of different files stay apart: those of one file are read in order, those of two side by side.
        if current and (used + need > capacity or _origin(file) != _origin(current[-1])):
            groups.append(tuple(current))
            current, used = [], 0
        current.append(file)
        used += need
    if current:
        groups.append(tuple(current))
    return groups


def _group_shards(shards: Sequence[SourceFile], needs: Mapping[str, int], taken: int) -> list[tuple[SourceFile, ...]]:
    """One shard a layer while that fits beside the `taken` layers; else the smallest equal capacity that fits.

    Where no capacity does with what Docker can read, it is as few layers as there can be.
    """
    slots = LAYER_COUNT_LIMIT - taken
    if not shards or len(shards) <= slots:
        return [(shard,) for shard in shards]
    fewest = len(_pack_consecutive(shards, needs, LAYER_LIMIT_BYTES))
    if fewest > LAYER_COUNT_END - taken:
        total = sum(shard.size for shard in shards)
        raise InputError(
            f"{len(shards)} weight files of {total} bytes do not fit into {max(LAYER_COUNT_END - taken, 0)} layers of "
            f"at most {LAYER_LIMIT_BYTES} bytes: leave files out with --ignore (a stack: files.ignore), give a larger "
            f"--shard-gb (files.shardGb) where one is given, or use a base with fewer layers"
        )
    slots = max(slots, fewest)
    low, high = max(needs[shard.path] for shard in shards), LAYER_LIMIT_BYTES
    while low < high:
        middle = (low + high) // 2
        if len(_pack_consecutive(shards, needs, middle)) <= slots:
            high = middle
        else:
            low = middle + 1
    return _pack_consecutive(shards, needs, low)
