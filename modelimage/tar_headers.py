"""Tar headers as Python's `tarfile` writes them in the PAX format (POSIX 1003.1-2001), in a tenth of its time.

A model may have tens of thousands of small files. Their headers differ in name, size and checksum alone: these are put
into a header that `tarfile` has made. What it says of a file that is too large or whose name is too long for the fields
of 1988, or not ASCII, it says in a record before it; so does this.
"""

import tarfile
from functools import cache

from modelimage.errors import ImageError

BLOCK_BYTES = 512
_NAME_BYTES = 100
_SIZE_END = 8**11  # sizes are eleven octal digits
_SIZE_AT, _CHECKSUM_AT = 124, 148


def header(name: str, kind: bytes, *, mode: int, size: int = 0, target: str = "") -> bytes:
    """An entry's header: owner 0:0 without names, time stamp 0; PAX records only where name or size need them.

    Raises:
        ImageError: the name is not UTF-8.
    """
    if target:  # links are few
        info = tarfile.TarInfo(name)
        info.type, info.mode, info.linkname = kind, mode, target
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
    if _is_plain(name, size):
        return _filled(kind, mode, name.encode("ascii"), size)
    try:
        records = b"" if name.isascii() and len(name) <= _NAME_BYTES else _record(b"path", name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ImageError(f"the file name {name!r} is not UTF-8: rename it") from error
    if size >= _SIZE_END:
        records += _record(b"size", b"%d" % size)
        size = 0
    before = _filled(tarfile.XHDTYPE, 0, b"././@PaxHeader", len(records))
    return before + records + bytes(padding(len(records))) + _filled(kind, mode, name.encode("ascii", "replace"), size)


def header_size(name: str, size: int) -> int:
    """How long the header of a file is, in bytes."""
    return BLOCK_BYTES if _is_plain(name, size) else len(header(name, tarfile.REGTYPE, mode=0o644, size=size))


def padding(size: int) -> int:
    """How many zeros follow `size` bytes of content."""
    return -size % BLOCK_BYTES


def _is_plain(name: str, size: int) -> bool:
    return len(name) <= _NAME_BYTES and size < _SIZE_END and name.isascii()


def _record(keyword: bytes, value: bytes) -> bytes:
    """A PAX record, which begins with its own length in decimal digits."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest))
    while rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, keyword, value)


@cache
def _template(kind: bytes, mode: int) -> tuple[bytes, int]:
    """A header without a name, of size 0, and the sum that its checksum is made of."""
    info = tarfile.TarInfo("")
    info.type, info.mode = kind, mode
    # USTAR writes what PAX does, and knows no names that say more of an entry's kind than `kind` does.
    blank = info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    digits = blank[_CHECKSUM_AT : _CHECKSUM_AT + 6]
    return blank, int(digits, 8) - sum(blank[:_NAME_BYTES])  # a folder's name is never empty there: it ends in "/"


def _filled(kind: bytes, mode: int, name: bytes, size: int) -> bytes:
    blank, total = _template(kind, mode)
    name, digits = name[:_NAME_BYTES], b"%011o" % size
    total += sum(name) + sum(digits) - 11 * ord("0")
    return b"".join(
        (
            name.ljust(_NAME_BYTES, b"\0"),
            blank[_NAME_BYTES:_SIZE_AT],
            digits,
            b"\0",
            blank[_SIZE_AT + 12 : _CHECKSUM_AT],
            b"%06o\0" % total,
            blank[_CHECKSUM_AT + 7 :],
        )
    )
