"""Checks on weights before they are packed: what would fail hours later, in a server's log, fails here.

The safetensors format is an 8-byte little-endian header length, a JSON header with each tensor's `data_offsets`,
and the data (https://github.com/huggingface/safetensors, README, "Format"); the reference reader refuses headers
above 100 MB, and so does this one.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from modelimage import remedies
from oci_model_serving.errors import InputError

HEADER_LIMIT_BYTES = 100_000_000
INDEX_SUFFIX = ".safetensors.index.json"
WEIGHT_SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".npz", ".h5", ".msgpack")
_FORMATS = {"safetensors": "safetensors", "gguf": "gguf", "onnx": "onnx", "h5": "tensorflow", "msgpack": "flax"}

_BESIDE_A_MODEL = re.compile(r"(^|[-_./])(mmproj|imatrix)|mmproj", re.IGNORECASE)
"""llama.cpp's names of files beside a model: a vision model's projector, the statistics of a quantisation."""


def is_gguf_model(path: str) -> bool:
    """Tell whether a file is a GGUF of a model (or a part of it), and not of what lies beside one."""
    return path.endswith(".gguf") and not _BESIDE_A_MODEL.search(path.rpartition("/")[2])


def is_weights(path: str) -> bool:
    """Tell whether a file holds weights by its name: such a file becomes a layer of its own."""
    return path.lower().endswith(WEIGHT_SUFFIXES)


def format_of(sizes: Mapping[str, int]) -> str:
    """The format of a model's weights by the most bytes, given the size of each of its files; "" without weights."""
    held = Counter[str]()
    for path, size in sizes.items():
        if is_weights(path):
            held[_FORMATS.get(path.lower().rpartition(".")[2], "pytorch")] += size
    return held.most_common(1)[0][0] if held else ""


class HeaderCheck:
    """Checks a safetensors file's header as its bytes pass by.

    Raises:
        InputError: from `feed`, when the file cannot be whole; the message names it and the remedy.
    """

    def __init__(self, path: str, size: int) -> None:
        self._path, self._size = path, size
        self._seen = bytearray()
        self._done = False

    @property
    def needed(self) -> int:
        """How many bytes must be seen before the verdict."""
        return 8 + int.from_bytes(self._seen[:8], "little") if len(self._seen) >= 8 else 8

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the file."""
        if self._done:
            return
        self._seen += data[: HEADER_LIMIT_BYTES + 8 - len(self._seen)]
        if len(self._seen) < 8:
            if self._size < 8:
                self._refuse(f"it has only {self._size} bytes")
            return
        if self.needed - 8 > HEADER_LIMIT_BYTES or self.needed > self._size:
            self._refuse("its header is longer than the file or the format allows")
        if len(self._seen) >= self.needed:
            self._done = True
            self._judge(bytes(self._seen[8 : self.needed]))
            self._seen.clear()

    def _judge(self, header: bytes) -> None:
        expected = 0
        try:
            tensors: dict[str, Any] = json.loads(header)
            expected = max(
                (int(t["data_offsets"][1]) for name, t in tensors.items() if name != "__metadata__"), default=0
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            self._refuse("its header is not the JSON of the format")
        whole = self.needed + expected
        if whole != self._size:
            self._refuse(f"its header describes {whole} bytes and the file has {self._size}")

    def _refuse(self, what: str) -> None:
        raise InputError(
            f"{self._path}: not a whole safetensors file: {what}. Fetch it again (an interrupted download or a git-lfs "
            f"pointer looks like this), or {remedies.leave_out(self._path)}"
        )


def checked(path: str, size: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Pass a file's content on, checking the header on the way where the file is a safetensors file."""
    if not path.endswith(".safetensors"):
        return chunks
    return _checked(HeaderCheck(path, size), chunks)


def _checked(check: HeaderCheck, chunks: Iterator[bytes]) -> Iterator[bytes]:
    check.feed(b"")
    for chunk in chunks:
        check.feed(chunk)
        yield chunk
