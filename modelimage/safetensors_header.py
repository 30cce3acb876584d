"""The header of a safetensors file: where its tensors lie, where it may be cut, and the header of a part of it.

The format (https://github.com/huggingface/safetensors, README, "Format"): 8 bytes with the header's length, a JSON
object with each tensor's dtype, shape and offsets into the data, and the data, without holes. A part of a file is a
new header and a range of the file's data: the tensors' bytes stay what and in which order they were.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from modelimage.remedies import leave_out
from modelimage.source import SourceFile
from modelimage.weights import HEADER_LIMIT_BYTES
from oci_model_serving.errors import InputError

METADATA = "__metadata__"

# Bytes at whose multiples a tensor's data must begin, where that is more than one: torch makes views of the file's
# bytes and refuses offsets that are no multiple of the element's size. Dtypes that are not here have elements of a byte
# or less, or came later: for those the largest is assumed.
_ALIGNMENT = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "F6_E3M2"), 1),
}
_LARGEST_ALIGNMENT = 8


class SafetensorsTensor(NamedTuple):
    """One tensor: its name, what the header says of it, and where its bytes lie in the data."""

    name: str
    entry: dict[str, Any]
    start: int
    end: int


@dataclass(frozen=True)
class SafetensorsHeader:
    """A file's header, read.

    Attributes:
        data_start: where the data begins in the file, in bytes.
        digest: the SHA-256 of all before that.
        tensors: in the order of their bytes.
        cuts: the numbers of those tensors before which the file may be cut.
        metadata: the free text that the header carries.
    """

    data_start: int
    digest: bytes
    tensors: list[SafetensorsTensor]
    cuts: list[int]
    metadata: dict[str, Any] | None

    def of_part(self, first: int, last: int) -> bytes:
        """The header of a file that holds the tensors from number `first` up to `last`, and the metadata."""
        start = self.tensors[first].start
        described: dict[str, Any] = {} if self.metadata is None else {METADATA: self.metadata}
        for tensor in self.tensors[first:last]:
            described[tensor.name] = {**tensor.entry, "data_offsets": [tensor.start - start, tensor.end - start]}
        text = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode()
        # The format's own writer fills up to a multiple of 8 with spaces, so that the data is aligned.
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text


def read(file: SourceFile) -> SafetensorsHeader:
    """Read a file's header.

    Raises:
        InputError: the file cannot be whole, or is no safetensors file.
        ImageError: reading failed.
    """
    length = int.from_bytes(file.head(8), "little")
    if file.size < 8 or length > min(HEADER_LIMIT_BYTES, file.size - 8):
        _refuse(file.path, "its header is longer than the file or the format allows")
    content = file.head(8 + length)
    return SafetensorsHeader(
        8 + length, hashlib.sha256(content).digest(), *_parsed(file.path, content[8:], file.size - 8 - length)
    )


def _parsed(path: str, text: bytes, data_size: int) -> tuple[list[SafetensorsTensor], list[int], dict[str, Any] | None]:
    tensors: list[SafetensorsTensor] = []
    metadata: dict[str, Any] | None = None
    try:
        entries: dict[str, Any] = json.loads(text)
        if b"\\ud" in text or b"\\uD" in text:
            json.dumps(entries, ensure_ascii=False).encode()  # a lone surrogate is no text that could be written again
        metadata = entries.pop(METADATA, None)
        if metadata is not None and not isinstance(metadata, dict):
            raise TypeError(METADATA)  # noqa: TRY301 - as all else that is not the format
        for name, entry in entries.items():
            start, end = entry.pop("data_offsets")
            if type(start) is not int or type(end) is not int or not isinstance(entry.get("dtype"), str):
                raise TypeError(name)  # noqa: TRY301
            tensors.append(SafetensorsTensor(name, entry, start, end))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        _refuse(path, "its header is not the JSON of the format")
    tensors.sort(key=lambda tensor: (tensor.start, tensor.end))
    position = 0
    for tensor in tensors:
        if tensor.start != position or tensor.end < tensor.start:
            _refuse(path, f"the bytes of {tensor.name!r} do not follow on those of the tensor before")
        position = tensor.end
    if position != data_size:
        _refuse(path, f"its header describes {position} bytes of data and the file has {data_size}")
    return tensors, _cuts(tensors), metadata


def _cuts(tensors: list[SafetensorsTensor]) -> list[int]:
    """The tensors before which a cut moves none that was aligned out of its alignment."""
    cuts: list[int] = []
    needed = 1
    for number in range(len(tensors) - 1, 0, -1):
        tensor = tensors[number]
        alignment = _ALIGNMENT.get(tensor.entry["dtype"], _LARGEST_ALIGNMENT)
        if tensor.start % alignment == 0:
            needed = max(needed, alignment)
        if tensor.start % needed == 0:
            cuts.append(number)
    cuts.reverse()
    return cuts


def _refuse(path: str, what: str) -> None:
    raise InputError(
        f"{path}: not a whole safetensors file: {what}. Fetch it again (an interrupted download looks like this), or "
        f"{leave_out(path)}"
    )
