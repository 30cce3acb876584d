"""Tar archives read by their headers alone, as container runtimes read layers, and bounded whoever wrote them.

The formats are those of POSIX (ustar, pax) and GNU tar as Go's `archive/tar` reads them, which containerd unpacks
with: records of a global header are passed over, and only regular files have content.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

BLOCK_BYTES = 512
PATH_LIMIT_BYTES = 4096
"""The longest path that Linux takes (PATH_MAX)."""
_RECORDS_LIMIT_BYTES = 1 << 20
"""Go's reader refuses longer extended headers (archive/tar, `maxSpecialFileSize`)."""
_SPECIAL_LIMIT = 16  # extended headers before one entry: tar writes three at most
_EXTENDED = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})
_SPECIAL = _EXTENDED | {tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}


class ArchiveError(Exception):
    """The bytes are no tar archive, or one that is cut short: no runtime unpacks it."""


class UnreadableError(Exception):
    """The archive may be in order, and is not read on here: a form or a length that is not followed."""


class Kind(Enum):
    """What an entry is, as far as it matters to who looks for files."""

    FILE = "file"
    FOLDER = "folder"
    SYMBOLIC_LINK = "symbolic link"
    HARD_LINK = "hard link"
    OTHER = "other"


_KINDS = {
    tarfile.DIRTYPE: Kind.FOLDER,
    tarfile.SYMTYPE: Kind.SYMBOLIC_LINK,
    tarfile.LNKTYPE: Kind.HARD_LINK,
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
}


class Stream(Protocol):
    """Bytes that are read forwards, from `position` on."""

    position: int

    def read(self, count: int) -> bytes:
        """The next `count` bytes; fewer only at the end."""

    def skip(self, count: int) -> None:
        """Pass over the next `count` bytes."""


@dataclass(frozen=True)
class Header:
    """An entry: its path without a leading `./` or `/`, the size of its content, its mode and a link's target."""

    path: str
    kind: Kind
    size: int
    mode: int
    target: str = ""


def headers(stream: Stream) -> Iterator[Header]:
    """Yield each entry, with the stream at its content; what of that is not taken is passed over.

    Raises:
        ArchiveError: from the iteration, where the archive is damaged.
        UnreadableError: from the iteration, where it is of a form that is not read here.
    """
    records: dict[str, str] = {}
    specials = 0
    while block := stream.read(BLOCK_BYTES):
        if not any(block):
            return  # the end marker; an archive that just ends is accepted as well, as runtimes do
        info = _parsed(block)
        if info.type in _SPECIAL:
            specials += 1
            if specials > _SPECIAL_LIMIT:
                raise ArchiveError("extended headers without end")
            records |= _records(info, stream)
            continue
        entry = _entry(info, records)
        records, specials = {}, 0
        end = stream.position + entry.size + -entry.size % BLOCK_BYTES
        yield entry
        stream.skip(end - stream.position)


def _parsed(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise ArchiveError(f"what should be a header of a tar archive is none ({error})") from error
    if info.size < 0:
        raise ArchiveError("an entry of a negative size")
    if info.type == tarfile.GNUTYPE_SPARSE:
        raise UnreadableError("it holds sparse files")
    return info


def _records(info: tarfile.TarInfo, stream: Stream) -> dict[str, str]:
    """What an extended header says of the entry that follows: `path`, `linkpath` and `size`."""
    if info.size > _RECORDS_LIMIT_BYTES:
        raise ArchiveError(f"an extended header of {info.size} bytes")
    content = stream.read(info.size)
    if len(content) < info.size:
        raise ArchiveError("it is cut short")
    stream.skip(-info.size % BLOCK_BYTES)
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return {"path": _text(content.rstrip(b"\0"))}
    if info.type == tarfile.GNUTYPE_LONGLINK:
        return {"linkpath": _text(content.rstrip(b"\0"))}
    if info.type == tarfile.XGLTYPE:
        return {}
    return _pax(content)


def _pax(content: bytes) -> dict[str, str]:
    """Read the records of a pax extended header (POSIX): length, key, `=`, value and a line's end."""
    records: dict[str, str] = {}
    at = 0
    while at < len(content):
        length, space, _ = content[at : at + 20].partition(b" ")
        end = at + int(length) if space and length.isdigit() else 0
        key, equals, value = content[at + len(length) + 1 : end].partition(b"=")
        if not at < end <= len(content) or not equals or not value.endswith(b"\n"):
            raise ArchiveError("an extended header that is none")
        if key.startswith(b"GNU.sparse."):
            raise UnreadableError("it holds sparse files")
        records[_text(key)] = _text(value[:-1])
        at = end
    return {key: value for key, value in records.items() if key in {"path", "linkpath", "size"}}


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _entry(info: tarfile.TarInfo, records: dict[str, str]) -> Header:
    kind = _KINDS.get(info.type, Kind.OTHER)
    said = records.get("size", "")
    if said and not said.isdecimal():
        raise ArchiveError(f"an entry whose size is {said[:20]!r}")
    size = int(said) if said and len(said) < 20 else info.size
    path = records.get("path") or info.name
    target = records.get("linkpath") or info.linkname
    if max(len(path), len(target)) > PATH_LIMIT_BYTES:
        raise ArchiveError(f"a path of {max(len(path), len(target))} bytes")
    if kind is Kind.FILE and path.endswith("/"):
        kind = Kind.FOLDER
    return Header(path, kind, size if kind is Kind.FILE else 0, info.mode, target)
