"""The header of a GGUF file: where its tensors lie, where it may be cut, and the header of a part of it.

The format (ggml's docs/gguf.md) is a magic, a version, two counts, the metadata as typed keys and values, a
description of each tensor, and the data, in which each tensor begins at a multiple of `general.alignment`. Parts are
those of llama.cpp's `gguf-split` (tools/gguf-split/gguf-split.cpp): the first one carries the metadata, each has
`split.no`, `split.count` and `split.tensors.count`, and a name `NAME-00001-of-00005.gguf`, by which llama.cpp
(src/llama-model-loader.cpp) and vLLM 0.23 (gguf_loader.py, `_get_all_gguf_files`) find the others when they are given
the first.
"""

import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from modelimage.remedies import leave_out
from modelimage.source import SourceFile
from oci_model_serving.errors import InputError

HEADER_LIMIT_BYTES = 100_000_000
"""More than any tokenizer needs, whose vocabulary is most of a header (256,000 tokens: 10 to 20 MB)."""

_VERSIONS = (2, 3)  # 1 had other counts; both of these are laid out alike
_DEFAULT_ALIGNMENT = 32
_LARGEST_ALIGNMENT = 1 << 16
_MOST_DIMENSIONS = 8  # ggml has 4
_U16, _U32, _I32, _STRING, _ARRAY = 2, 4, 5, 8, 9
# Values and bytes of a block of each tensor type (ggml's type_traits; gguf 0.19.0, GGML_QUANT_SIZES).
# fmt: off
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66),
    17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54),
    35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}
# fmt: on
_SIZES = {0: 1, 1: 1, _U16: 2, 3: 2, _U32: 4, _I32: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class GgufTensor(NamedTuple):
    """One tensor: its name, its description without the offset, and where its bytes, with padding, lie in the data."""

    name: str
    described: bytes
    start: int
    end: int


@dataclass(frozen=True)
class GgufHeader:
    """A file's header, read.

    Attributes:
        data_start: where the data begins in the file, in bytes.
        digest: the SHA-256 of all before that.
        tensors: in the order of their bytes.
        cuts: the numbers of those tensors before which the file may be cut: all but the first.
        version: the format's.
        alignment: at which multiples tensors begin, in bytes.
        metadata: each key and value as it is written, without those of an earlier split.
        split_no: the number that the file has in a split (0 for the first), None where it is none.
    """

    data_start: int
    digest: bytes
    tensors: list[GgufTensor]
    cuts: list[int]
    version: int
    alignment: int
    metadata: list[bytes]
    split_no: int | None

    def of_part(self, first: int, last: int, place: "Place") -> bytes:
        """The header of the part that holds the tensors from number `first` up to `last`."""
        metadata = [*place.metadata, _written("split.no", _U16, struct.pack("<H", place.number))]
        metadata.append(_written("split.count", _U16, struct.pack("<H", place.count)))
        metadata.append(_written("split.tensors.count", _I32, struct.pack("<i", place.tensors)))
        if not place.metadata and self.alignment != _DEFAULT_ALIGNMENT:
            metadata.append(_written("general.alignment", _U32, struct.pack("<I", self.alignment)))
        start = self.tensors[first].start if first < last else 0
        described = [tensor.described + struct.pack("<Q", tensor.start - start) for tensor in self.tensors[first:last]]
        counts = struct.pack("<IQQ", self.version, last - first, len(metadata))
        written = b"".join([b"GGUF", counts, *metadata, *described])
        return written + bytes(-len(written) % self.alignment)


def _written(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


@dataclass(frozen=True)
class Place:
    """Which part it is, from 0, of how many, with how many tensors in all; the first one carries the `metadata`."""

    number: int
    count: int
    tensors: int
    metadata: Sequence[bytes] = ()


def read(file: SourceFile) -> GgufHeader:
    """Read a file's header.

    Raises:
        InputError: it is not GGUF, of a version that cannot be cut, or not whole.
        ImageError: reading failed.
    """
    taken = _Taken(file)
    try:
        return _parsed(taken)
    except (ValueError, struct.error) as error:
        raise InputError(
            f"{file.path}: a file of {file.size} bytes is to be split, and cannot be split here: {error}. Fetch it "
            f"again if that is wrong; else split it with `llama-gguf-split --split --split-max-size 9G {file.path} "
            f"{file.path.removesuffix('.gguf')}`, then {leave_out(file.path)}"
        ) from error
    finally:
        taken.close()


def cut_short(file: SourceFile) -> str:
    """What shows that a file ends before its content does; empty where nothing does.

    A kind of file that is not known here (another version or byte order, a type that is newer) shows nothing.

    Raises:
        ImageError: reading failed.
    """
    taken = _Taken(file)
    try:
        header = _parsed(taken)
    except _CutShortError as error:
        return str(error)
    except (ValueError, struct.error):
        return ""
    finally:
        taken.close()
    if not header.tensors:
        return ""
    last = header.tensors[-1]
    end = header.data_start + last.start + _size(last.described)
    return f"its last tensor ends at byte {end}, and the file has {file.size}" if end > file.size else ""


def _size(described: bytes) -> int:
    """How many bytes a tensor has at least, by its description; 0 for a type that is not known."""
    kind = int.from_bytes(described[-4:], "little")
    if kind not in _BLOCKS:
        return 0
    values, size = _BLOCKS[kind]
    return values_in(described) // values * size


def values_in(described: bytes) -> int:
    """How many values a tensor has, by its description."""
    dimensions = 8 + int.from_bytes(described[:8], "little")
    shape = described[dimensions + 4 : -4]
    count: int = math.prod(struct.unpack(f"<{len(shape) // 8}Q", shape))
    return count


class _CutShortError(ValueError):
    """The file ends before its content does."""


class _Taken:
    """The beginning of a file, read as far as it is needed; ValueError where the file or the limit ends before."""

    def __init__(self, file: SourceFile) -> None:
        self._left = min(file.size, HEADER_LIMIT_BYTES)
        self.size = file.size
        self._chunks: Iterator[bytes] = file.read_range(0, self._left)
        self._seen = bytearray()
        self.position = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.position + count
        if end > self.size:
            raise _CutShortError("its header is longer than the file")
        if end > self._left:
            raise ValueError("its header is longer than 100 MB")
        while len(self._seen) < end:
            self._seen += next(self._chunks)
        taken = bytes(self._seen[self.position : end])
        self.position = end
        return taken

    def since(self, start: int) -> bytes:
        """What was taken from `start` on."""
        return bytes(self._seen[start : self.position])

    def number(self, kind: str) -> int:
        """The next integer, as `struct` writes it."""
        value: int = struct.unpack(f"<{kind}", self.take(struct.calcsize(f"<{kind}")))[0]
        return value

    def text(self) -> str:
        """The next string: a length and that many bytes."""
        return self.take(self.number("Q")).decode()

    def close(self) -> None:
        """End the reading."""
        close = getattr(self._chunks, "close", None)
        if close:
            close()


def _parsed(taken: _Taken) -> GgufHeader:
    if taken.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version, count, keys = taken.number("I"), taken.number("Q"), taken.number("Q")
    if version not in _VERSIONS:
        raise ValueError(f"its version is {version}, or its byte order is another one")
    metadata: list[bytes] = []
    known: dict[str, bytes] = {}
    for _ in range(keys):
        start = taken.position
        key = taken.text()
        kind = taken.number("I")
        value = taken.position
        _skip(taken, kind)
        if key in {"split.no", "general.alignment"}:
            known[key] = taken.since(value)
        if not key.startswith("split."):
            metadata.append(taken.since(start))
    alignment = int.from_bytes(known.get("general.alignment", _DEFAULT_ALIGNMENT.to_bytes(4, "little")), "little")
    if alignment & (alignment - 1) or not 0 < alignment <= _LARGEST_ALIGNMENT:
        raise ValueError(f"its alignment is {alignment}")
    described = [_description(taken) for _ in range(count)]
    data_start = taken.position + -taken.position % alignment
    if not described:
        # The first of a split may have metadata alone (gguf-split --no-tensor-first-split).
        if "split.no" not in known:
            raise ValueError("its header names no tensor")
        data_start = min(data_start, taken.size)
    tensors = _placed(described, alignment, taken.size - data_start)
    taken.take(data_start - taken.position)
    split_no = int.from_bytes(known["split.no"], "little") if "split.no" in known else None
    digest = hashlib.sha256(taken.since(0)).digest()
    return GgufHeader(data_start, digest, tensors, list(range(1, len(tensors))), version, alignment, metadata, split_no)


def _skip(taken: _Taken, kind: int) -> None:
    if kind == _STRING:
        taken.take(taken.number("Q"))
    elif kind == _ARRAY:
        of, count = taken.number("I"), taken.number("Q")
        if of == _STRING:
            for _ in range(count):
                taken.take(taken.number("Q"))
        elif of in _SIZES:
            taken.take(count * _SIZES[of])
        else:  # arrays of arrays, which neither ggml nor the Python package reads
            raise ValueError(f"its metadata has an array of the unknown type {of}")
    elif kind in _SIZES:
        taken.take(_SIZES[kind])
    else:
        raise ValueError(f"its metadata has the unknown type {kind}")


def _description(taken: _Taken) -> tuple[str, bytes, int]:
    start = taken.position
    name, dimensions = taken.text(), taken.number("I")
    if dimensions > _MOST_DIMENSIONS:
        raise ValueError(f"the tensor {name!r} has {dimensions} dimensions")
    taken.take(8 * dimensions + 4)  # the shape and the type
    return name, taken.since(start), taken.number("Q")


def _placed(described: list[tuple[str, bytes, int]], alignment: int, data_size: int) -> list[GgufTensor]:
    """The tensors with their ends, each of which is the beginning of the next: types and their sizes may be new."""
    if not described:
        return []
    ordered = sorted(described, key=lambda tensor: tensor[2])
    starts = [start for _, _, start in ordered]
    if starts[-1] > data_size:
        raise _CutShortError("its tensors do not lie where its header says, as in a download that was cut short")
    if starts[0] != 0 or any(start % alignment for start in starts):
        raise ValueError("its tensors do not lie where its header says")
    ends = [*starts[1:], data_size]
    return [GgufTensor(name, text, start, end) for (name, text, start), end in zip(ordered, ends, strict=True)]
