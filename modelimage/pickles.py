"""Which files are pickles: told by their first bytes, for a name proves nothing.

Loading a pickle runs whatever it names (Python documentation, "pickle", the warning at its top); PyTorch's weights
(`pytorch_model.bin`, `*.pt`), joblib's files and numpy's arrays of objects are pickles. A file counts as one when
its bytes are: the container that PyTorch writes (zip, and tar before version 0.4), a run of opcodes that a pickle may
begin with, or either of them compressed. What the opcodes do is not judged: code that may run is enough.

Protocols 2 and later begin with a byte of their own. Protocols 0 and 1 look like text, so for them the bytes must
parse as opcodes to the end of what was read, and call or build something: text with the shape of a first opcode
(a style sheet that begins with a dot) is none.
"""

import bz2
import io
import lzma
import pickletools
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import PurePosixPath

from modelimage.source import SourceFile

HEAD_BYTES = 64 << 10
"""How much of a file is read to judge it."""

_ZIP = b"PK\x03\x04"
_UNPACKED_BYTES = 64 << 10
_DEPTH = 4  # archives within archives; some hold themselves
_MEMBERS = 4096
_MEMBER_HEAD = 256
_PICKLED_NAMES = (".pkl", ".pickle", ".dill", ".joblib", ".cloudpickle")
_NAMED = frozenset({"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"})
_CALLED = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD"})
_BUILT = frozenset({"EMPTY_DICT", "EMPTY_LIST", "DICT", "LIST", "TUPLE"})
_SPELLED = frozenset({"STRING", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "INT", "BININT", "BININT1"})
_IDENTIFIERS = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")
_ENOUGH = 3
_CODES = frozenset(opcode.code.encode("latin-1") for opcode in pickletools.opcodes)
_HIGHEST = max(opcode.proto for opcode in pickletools.opcodes)
_OCTAL, _BINARY = b"01234567 ", frozenset({b"\x80", b"\xff"})
_CHECKSUM_DIGITS = 6  # a tar header's checksum is the sum of its 512 bytes, at most 0o373410
_OBJECTS = re.compile(rb"'descr':\s*(?:'[|<>=]?O|\[.*?'[|<>=]?O)", re.DOTALL)

_UNPACKERS: dict[bytes, Callable[[], Callable[[bytes, int], bytes]]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31).decompress,
    b"BZh": lambda: bz2.BZ2Decompressor().decompress,
    b"\xfd7zXZ": lambda: lzma.LZMADecompressor().decompress,
    b"\x5d\x00\x00": lambda: lzma.LZMADecompressor(lzma.FORMAT_ALONE).decompress,
    b"\x78": lambda: zlib.decompressobj().decompress,
}
_PACKED = tuple(_UNPACKERS)

_TORCH_NAMES = re.compile(r"(pytorch_model|adapter_model).*\.bin")  # loaded as pickles, or not at all
# Suffixes whose readers never unpickle, for sources where each look costs a request.
_OTHER_KINDS = frozenset(
    (
        *(".safetensors", ".gguf", ".json", ".jsonl", ".txt", ".md", ".rst", ".html", ".csv", ".tsv", ".yaml", ".yml"),
        *(".toml", ".cfg", ".ini", ".py", ".ipynb", ".jinja", ".j2", ".model", ".tiktoken", ".spm", ".bpe", ".merges"),
        *(".vocab", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".pdf", ".mp3", ".mp4", ".wav", ".flac", ".ogg"),
        *(".onnx", ".xml", ".h5", ".msgpack", ".ot", ".tflite", ".sh", ".lock", ".proto"),
    )
)


def is_pickle(file: SourceFile) -> bool:
    """Tell whether the file is a pickle. Of one that is elsewhere no more than its head is read, if its name is vague.

    Raises:
        ImageError: it cannot be read.
    """
    if file.local is None and PurePosixPath(file.path).suffix.lower() in _OTHER_KINDS:
        return False
    if _TORCH_NAMES.fullmatch(file.path.rpartition("/")[2]):
        return True
    head = file.head(HEAD_BYTES)
    if looks_pickled(head, whole=len(head) == file.size):
        return True
    if file.path.lower().endswith(_PICKLED_NAMES) and head:
        return not _is_text(head)  # joblib's other compressions, and what is cut short
    return file.local is not None and head[:4] == _ZIP and _archive_holds_pickles(file.local)


def looks_pickled(head: bytes, *, whole: bool = False, depth: int = _DEPTH) -> bool:
    """Tell whether a file that begins with `head` is a pickle.

    Args:
        head: the first bytes; HEAD_BYTES of them are enough for all that is known.
        whole: the file has no more bytes than these.
        depth: how many archives may lie in one another.
    """
    if depth < 1:
        return False
    if head[:4] == _ZIP:
        return _zip_head_holds_pickles(head, depth)
    if _is_tar(head):
        return _tar_head_holds_pickles(head, depth)
    if head[:6] == b"\x93NUMPY":
        return bool(_OBJECTS.search(head[:4096]))
    if unpacked := _unpacked(head):
        return looks_pickled(unpacked, depth=depth - 1)
    return _are_opcodes(head, whole=whole)


class _Stack:
    """An unpickler's stack by its height and marks: text that happens to be opcodes takes what is not there."""

    def __init__(self) -> None:
        self._height = 0
        self._marks: list[int] = []

    def after(self, opcode: pickletools.OpcodeInfo) -> bool:
        """Go on by one opcode; tell whether an unpickler could."""
        before = opcode.stack_before
        if pickletools.stackslice in before or opcode.name == "POP_MARK":
            if not self._marks:
                return False
            self._height = self._marks.pop()
            before = before[: before.index(pickletools.markobject)]
        below = self._height - len(before)
        if below < (self._marks[-1] if self._marks else 0):
            return False
        if opcode.name == "MARK":
            self._marks.append(below)
            return True
        self._height = below + len(opcode.stack_after)
        return True


def _are_opcodes(head: bytes, *, whole: bool) -> bool:
    if head[:1] not in _CODES:
        return False
    modern = head[:1] == b"\x80" and head[1:2] != b"" and 2 <= head[1] <= _HIGHEST
    stream = io.BytesIO(head)
    stack, names, count = _Stack(), set[str](), 0
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            named = modern or opcode.name not in {"GLOBAL", "INST"} or _IDENTIFIERS.fullmatch(str(argument))
            if not named or not stack.after(opcode):
                return modern and whole and opcode.name == "STOP" and stream.tell() == len(head)
            names.add(opcode.name)
            count += 1
            if names & _NAMED and names & _CALLED:
                return True  # whatever follows: it has run by then, even if the rest is broken on purpose
        whole = whole and stream.tell() == len(head)
    except (ValueError, IndexError, OverflowError):
        if stream.tell() < len(head):
            return False  # a byte that is no opcode
        whole = not whole  # an argument that reaches beyond what was read is no mistake, if there is more of it
    return modern or (whole and count >= _ENOUGH and bool(names & _BUILT) and bool(names & _SPELLED))


def _zip_head_holds_pickles(head: bytes, depth: int) -> bool:
    """Walk the entries at the start of a zip archive; PyTorch writes `data.pkl` first."""
    at = 0
    while head[at : at + 4] == _ZIP and at + 30 <= len(head):
        flags, method = (int.from_bytes(head[at + n : at + n + 2], "little") for n in (6, 8))
        size = int.from_bytes(head[at + 18 : at + 22], "little")
        name_size, extra = (int.from_bytes(head[at + n : at + n + 2], "little") for n in (26, 28))
        start = at + 30 + name_size + extra
        name = head[at + 30 : at + 30 + name_size].decode("utf-8", "replace").lower()
        follows = bool(flags & 8) and not size  # the size comes after the content
        content = head[start:] if follows else head[start : start + size]
        if method == zipfile.ZIP_DEFLATED:
            content = _inflated(content)
        if name.endswith(_PICKLED_NAMES) or looks_pickled(content, depth=depth - 1):
            return True
        if follows:
            return False
        at = start + size
    return False


def _archive_holds_pickles(path: str) -> bool:
    """Look into each member of a zip archive on a disk: what is pickled need not come first."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist()[:_MEMBERS]:
                if entry.filename.lower().endswith(_PICKLED_NAMES):
                    return True
                with archive.open(entry) as member:
                    content = member.read(_MEMBER_HEAD)
                if looks_pickled(content, whole=entry.file_size <= len(content), depth=_DEPTH - 1):
                    return True
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError):
        return False  # no archive that anyone could load
    return False


def _is_tar(head: bytes) -> bool:
    # PyTorch before 0.4 wrote tar archives. Their checksum is octal digits, or a number after a byte that says so.
    # Text is told from them without tarfile's help, which takes longer: there may be tens of thousands of such files.
    if len(head) < tarfile.BLOCKSIZE:
        return False
    number = head[148:156].partition(b"\0")[0].strip(b" ")
    if number[:1] not in _BINARY and (number.strip(_OCTAL) or len(number.lstrip(b"0")) > _CHECKSUM_DIGITS):
        return False
    try:
        return tarfile.TarInfo.frombuf(head[:512], "utf-8", "replace").chksum > 0
    except tarfile.HeaderError:
        return False


def _tar_head_holds_pickles(head: bytes, depth: int) -> bool:
    try:
        with tarfile.open(fileobj=io.BytesIO(head), mode="r:") as archive:
            for entry in archive:
                name = entry.name.lower()
                if name.rsplit("/", 1)[-1] == "pickle" or name.endswith(_PICKLED_NAMES):
                    return True
                member = archive.extractfile(entry) if entry.isfile() else None
                if member is not None and looks_pickled(member.read(_MEMBER_HEAD), depth=depth - 1):
                    return True
    except (tarfile.TarError, OSError, ValueError, EOFError):
        return False
    return False


def _unpacked(head: bytes) -> bytes:
    """The first bytes of what a compressed file holds; empty for any other."""
    if not head.startswith(_PACKED):
        return b""
    for magic, unpacker in _UNPACKERS.items():
        if head.startswith(magic):
            try:
                return unpacker()(head, _UNPACKED_BYTES)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
                return b""
    return b""


def _inflated(content: bytes) -> bytes:
    try:
        return zlib.decompressobj(-15).decompress(content, _UNPACKED_BYTES)
    except zlib.error:
        return b""


def _is_text(head: bytes) -> bool:
    return b"\0" not in head and not head[:1024].translate(None, bytes(range(0x20, 0x7F)) + b"\t\r\n")
