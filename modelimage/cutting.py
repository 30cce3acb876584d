"""Cutting weight files at tensors' bounds while they stream: a part is a new header and a range of its file's bytes.

Nothing is stored and nothing is held twice, and tensors' bytes stay what they were.
"""

import hashlib
import json
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from modelimage import gguf_header, safetensors_header
from modelimage.errors import ImageError, collecting
from modelimage.gguf_header import Place
from modelimage.remedies import leave_out
from modelimage.source import SourceFile, Whole
from modelimage.weight_sets import SAFETENSORS, WeightSet
from oci_model_serving.errors import InputError

HEADROOM_BYTES = 1 << 20
"""For a part's tar headers and for what its header may have more than its source's."""

_READERS = 8  # headers read at a time: each is one or two small requests


_SLACK = 1.05  # a cut is at the tensor that is nearest, so that parts are equal rather than full

Target = Callable[[int], int]
"""Into how many parts a file of so many bytes is cut."""


class _Tensor(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...


class _Header(Protocol):
    @property
    def data_start(self) -> int: ...

    @property
    def digest(self) -> bytes: ...

    @property
    def tensors(self) -> Sequence[_Tensor]: ...

    @property
    def cuts(self) -> Sequence[int]: ...


@dataclass(frozen=True)
class _Written:
    """A header that is kept compressed: names of tensors are much alike, and a large set has tens of MB of headers."""

    size: int
    digest: str
    packed: bytes

    @classmethod
    def of(cls, content: bytes) -> "_Written":
        return cls(len(content), hashlib.sha256(content).hexdigest(), zlib.compress(content, 1))


@dataclass(frozen=True)
class _Piece:
    """A part before it has its name: the bytes that it takes of a file, and what it says of them.

    Attributes:
        whole: the file that it is cut out of.
        start: where its bytes begin in that file; the first piece begins with the old header.
        end: where they end.
        old: the length and the SHA-256 of the old header, which is left out.
        tensors: their names.
        header: its own header, once its place is known; None where the piece is the whole file as it is.
        metadata: what the first part of all says beside its tensors, in GGUF.
    """

    whole: Whole
    start: int
    end: int
    old: tuple[int, bytes]
    tensors: tuple[str, ...]
    header: Callable[[Place], _Written] | None
    metadata: Sequence[bytes] = ()

    def file(self, path: str, place: Place) -> SourceFile:
        """The part as a file."""
        whole = self.whole.file
        if self.header is None:
            return replace(whole, path=path)
        header = self.header(place)
        data_start = self.start or self.old[0]
        size = header.size + self.end - data_start

        def read_range(start: int, end: int) -> Iterator[bytes]:
            own = zlib.decompress(header.packed)
            if start < len(own):
                yield own[start:end]
            if (start, end) == (0, size):
                yield from self._data()
            elif end > len(own):
                offset = data_start - len(own)
                yield from whole.read_range(max(start, len(own)) + offset, end + offset)

        identity = f"{whole.identity}#{self.start}-{self.end}:{header.digest}"
        return SourceFile(path, size, identity, read_range, whole.changed_at, part_of=self.whole)

    def _data(self) -> Iterator[bytes]:
        """The piece's bytes without the old header, which must still be what was planned with."""
        length, expected = self.old
        left = length if self.start == 0 else 0
        seen = hashlib.sha256()
        for chunk in self.whole.read(self.start, self.end):
            kept = chunk[left:]
            if left:
                seen.update(chunk[:left])
                left -= len(chunk) - len(kept)
                if not left and seen.digest() != expected:
                    path = self.whole.file.path
                    raise ImageError(f"{path}: its header is another one than when it was planned: run again")
            if kept:
                yield kept


def cut(found: WeightSet, target: Target, limit: int) -> list[SourceFile]:
    """The files of a set in parts, with the index that names them."""
    divide = _safetensors_pieces if found.suffix == SAFETENSORS else _gguf_pieces
    problems: list[str] = []
    pieces: list[_Piece] = []
    with ThreadPoolExecutor(_READERS, thread_name_prefix="header") as pool:
        for future in [pool.submit(divide, file, target(file.size), limit) for file in found.files]:
            with collecting(problems):
                pieces += future.result()
    if problems:
        raise InputError(*problems)
    tensors = sum(len(piece.tensors) for piece in pieces)
    made: list[SourceFile] = []
    for number, piece in enumerate(pieces):
        place = Place(number, len(pieces), tensors, pieces[0].metadata if number == 0 else ())
        made.append(piece.file(found.name_of(number + 1, len(pieces)), place))
    if found.suffix == SAFETENSORS:
        made.append(_new_index(found, pieces, made))
    return made


def outlined(found: WeightSet, target: Target) -> list[SourceFile]:
    """What `cut` would make, by sizes alone."""

    def unread(start: int, end: int) -> Iterator[bytes]:
        raise ImageError(f"{found.stem}: bytes {start} to {end} of a part that was planned without reading")

    counts = [(file, target(file.size)) for file in found.files]
    total = sum(count for _, count in counts)
    outlines = [(Whole(file), file.size // count) for file, count in counts for _ in range(count)]
    parts = [
        SourceFile(found.name_of(number, total), size, f"outline:{size}", unread, part_of=whole)
        for number, (whole, size) in enumerate(outlines, 1)
    ]
    if found.suffix == SAFETENSORS:
        parts.append(SourceFile(found.index_path, found.index.size if found.index else 0, "outline", unread))
    return parts


def _new_index(found: WeightSet, pieces: Sequence[_Piece], made: Sequence[SourceFile]) -> SourceFile:
    weight_map: dict[str, str] = {}
    before = found.listed.get("weight_map", {})
    folder = found.index_path.rpartition("/")[0]
    for piece, file in zip(pieces, made, strict=True):
        former = piece.whole.file.path.removeprefix(f"{folder}/" if folder else "")
        for name in piece.tensors:
            # Of tensors that two files have, the old index says which one counts.
            if name not in weight_map or before.get(name) == former:
                weight_map[name] = file.path.rpartition("/")[2]
    metadata = found.listed.get("metadata")
    total = sum(piece.end - max(piece.start, piece.old[0]) for piece in pieces)
    index = {
        **found.listed,
        "metadata": {**(metadata if isinstance(metadata, dict) else {}), "total_size": total},
        "weight_map": dict(sorted(weight_map.items())),
    }
    # A line an entry, without the indentation that json has no fast writer for: there may be 100,000 of them.
    return SourceFile.of(found.index_path, (json.dumps(index, separators=(",\n", ": ")) + "\n").encode())


def _safetensors_pieces(file: SourceFile, count: int, limit: int) -> list[_Piece]:
    header = safetensors_header.read(file)
    whole = Whole(file)
    ranges = _divided(file, header, count, limit)

    def made(first: int, last: int) -> _Piece:
        names = tuple(tensor.name for tensor in header.tensors[first:last])
        old = (header.data_start, header.digest)
        if len(ranges) == 1:
            return _Piece(whole, 0, file.size, old, names, None)
        # Written at once, so that what was read of the header can go.
        own = _Written.of(header.of_part(first, last))
        return _Piece(whole, *_bounds(file, header, first, last), old, names, lambda _: own)

    return [made(first, last) for first, last in ranges]


def _gguf_header(header: gguf_header.GgufHeader, first: int, last: int, place: Place) -> _Written:
    return _Written.of(header.of_part(first, last, place))


def _gguf_pieces(file: SourceFile, count: int, limit: int) -> list[_Piece]:
    header = gguf_header.read(file)
    whole = Whole(file)
    old = (header.data_start, header.digest)
    return [
        _Piece(
            whole,
            *_bounds(file, header, first, last),
            old,
            tuple(tensor.name for tensor in header.tensors[first:last]),
            partial(_gguf_header, header, first, last),
            header.metadata,
        )
        for first, last in _divided(file, header, count, limit)
    ]


def _bounds(file: SourceFile, header: _Header, first: int, last: int) -> tuple[int, int]:
    """Where the bytes of a range of tensors begin and end in the file; the old header belongs to the first."""
    start = header.data_start + header.tensors[first].start if first else 0
    end = header.data_start + header.tensors[last].start if last < len(header.tensors) else file.size
    return start, end


def _divided(file: SourceFile, header: _Header, count: int, limit: int) -> list[tuple[int, int]]:
    """Ranges of tensors for about `count` parts, as equal as tensors let them be and none above `limit` bytes."""
    if count == 1 or not header.tensors:
        return [(0, len(header.tensors))]
    starts = [header.tensors[number].start for number in header.cuts]
    size = file.size - header.data_start
    room = limit - header.data_start - HEADROOM_BYTES

    def largest(bounds: Sequence[int]) -> int:
        return max(end - start for start, end in zip([0, *bounds], [*bounds, size], strict=True))

    choices = [_nearest(starts, size, parts) for parts in (count, count + 1, count + 2)]
    chosen = next((bounds for bounds in choices if largest(bounds) <= min(room, _SLACK * size / count)), choices[0])
    if largest(chosen) > room:
        chosen = _filled(starts, size, room)
    if largest(chosen) > room:
        tensor = max(header.tensors, key=lambda one: one.end - one.start)
        raise InputError(
            f"{file.path}: its tensor {tensor.name!r} alone has {tensor.end - tensor.start} bytes, and a layer takes "
            f"at most {limit}, for registries limit a download: serve a quantised form of the model, or "
            f"{leave_out(file.path)}"
        )
    firsts = [0, *(header.cuts[starts.index(bound)] for bound in chosen)]
    return list(zip(firsts, [*firsts[1:], len(header.tensors)], strict=True))


def _nearest(starts: Sequence[int], size: int, count: int) -> list[int]:
    """The bounds that are nearest to those of `count` equal parts."""
    chosen: set[int] = set()
    for number in range(1, count):
        wanted = size * number // count
        at = bisect_left(starts, wanted)
        near = [start for start in starts[max(at - 1, 0) : at + 1] if 0 < start < size]
        if near:
            chosen.add(min(near, key=lambda start: abs(start - wanted)))
    return sorted(chosen)


def _filled(starts: Sequence[int], size: int, room: int) -> list[int]:
    """The bounds of parts that are as full as `room` lets them be."""
    chosen: list[int] = []
    begin = 0
    for start, following in zip(starts, [*starts[1:], size], strict=True):
        if following - begin > room and start > begin:
            chosen.append(start)
            begin = start
    return chosen
