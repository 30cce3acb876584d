"""What S3 answers, as far as loaders ask: ListObjectsV2, ranges of objects, and its errors (Amazon S3 API Reference).

Recorded from vLLM 0.23.0 with runai-model-streamer-s3 0.17.1: boto3 lists with `encoding-type=url` and heads and gets
the small files; AWS' native client gets ranges, with the whole address in its request line.
"""

import base64
import binascii
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes
from xml.sax.saxutils import escape

from oci_model_serving.foreign import in_line

EPOCH_DATE = "Thu, 01 Jan 1970 00:00:00 GMT"
"""When every object was changed: an image's content never is."""
_EPOCH = "1970-01-01T00:00:00.000Z"
_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_PAGE = 1000
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_AUTHORITY = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/]*")
_UNSEEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


@dataclass(frozen=True)
class ObjectTarget:
    """What a request is for: the bucket, the key in it, and the query."""

    bucket: str
    key: str
    query: Mapping[str, str]


def target_of(line: str) -> ObjectTarget:
    """Read a request's target: a path, or a whole address as proxies get it and AWS' native client sends it."""
    path, _, asked = line.partition("?")
    whole = _AUTHORITY.match(path)
    bucket, _, key = _decoded(path[whole.end() if whole else 0 :].removeprefix("/")).partition("/")
    parts = (part.partition("=") for part in asked.split("&") if part)
    return ObjectTarget(bucket, key, {_decoded(name): _decoded(value.replace("+", " ")) for name, _, value in parts})


def _decoded(text: str) -> str:
    """A part of a request line, which is read as Latin 1 and means UTF-8."""
    return _text(unquote_to_bytes(text.encode("latin-1", "replace")))


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes (start, end) that a Range header asks for of an object; None for all (RFC 9110, section 14.2).

    What is no single range of bytes is passed over, as servers may.

    Raises:
        ValueError: there are no such bytes.
    """
    found = _RANGE.fullmatch(header.strip().replace(" ", "")) if header else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        count = int(found[2])
        start, end = max(size - count, 0), size
        if not count:
            raise ValueError(header)
    else:
        start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        raise ValueError(header)
    return start, end


class Listing:
    """The objects of a bucket, by their keys: (size, entity tag) each. In the order of UTF-8, as S3 lists them."""

    def __init__(self, bucket: str, objects: Mapping[str, tuple[int, str]]) -> None:
        self._bucket, self._objects = bucket, objects
        self._keys = sorted(map(_bytes, objects))

    def page(self, query: Mapping[str, str]) -> bytes:
        """A page of the list, as XML.

        Raises:
            ValueError: the query holds what is none of it.
        """
        prefix, delimiter = _bytes(query.get("prefix", "")), _bytes(query.get("delimiter", ""))
        count = min(int(query.get("max-keys") or _PAGE), _PAGE)
        if count < 0:
            raise ValueError("max-keys")
        token = query.get("continuation-token")
        after = _token(token) if token else _bytes(query.get("start-after", ""))
        entries, folders, last = self._entries(prefix, delimiter, after, count + 1)
        is_cut = len(entries) + len(folders) > count
        if is_cut:
            entries, folders, last = self._entries(prefix, delimiter, after, count)
        return self._written(query, entries, folders, last if is_cut and count else b"", count)

    def _entries(
        self, prefix: bytes, delimiter: bytes, after: bytes, count: int
    ) -> tuple[list[bytes], list[bytes], bytes]:
        """Keys, common prefixes and the last of both, `count` at most, after `after`."""
        at = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        keys: list[bytes] = []
        folders: list[bytes] = []
        last = after
        while at < len(self._keys) and len(keys) + len(folders) < count and self._keys[at].startswith(prefix):
            key = self._keys[at]
            head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (b"", b"", b"")
            if not found:
                keys.append(key)
                last = key
                at += 1
                continue
            folder = prefix + head + delimiter
            if folder > after:
                folders.append(folder)
                last = folder
            # All that begins so is behind the folder's name with the byte after its last one.
            at = self._behind(folder, at)
        return keys, folders, last

    def _behind(self, folder: bytes, at: int) -> int:
        low, high = at, len(self._keys)
        while low < high:
            middle = (low + high) // 2
            if self._keys[middle].startswith(folder):
                low = middle + 1
            else:
                high = middle
        return low

    def _written(
        self, query: Mapping[str, str], keys: Sequence[bytes], folders: Sequence[bytes], cut: bytes, count: int
    ) -> bytes:
        as_url = query.get("encoding-type") == "url"

        def said(name: str, text: str) -> str:
            return f"<{name}>{quote(text, safe='/*-._', errors='surrogateescape') if as_url else _xml(text)}</{name}>"

        parts = [f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{_NAMESPACE}">']
        parts += [f"<Name>{_xml(self._bucket)}</Name>", said("Prefix", query.get("prefix", ""))]
        for element, asked in (("Delimiter", "delimiter"), ("StartAfter", "start-after")):
            if query.get(asked):
                parts.append(said(element, query[asked]))
        if query.get("continuation-token"):
            parts.append(f"<ContinuationToken>{_xml(query['continuation-token'])}</ContinuationToken>")
        if as_url:
            parts.append("<EncodingType>url</EncodingType>")
        parts.append(f"<KeyCount>{len(keys) + len(folders)}</KeyCount><MaxKeys>{count}</MaxKeys>")
        parts.append(f"<IsTruncated>{'true' if cut else 'false'}</IsTruncated>")
        if cut:
            parts.append(f"<NextContinuationToken>{base64.urlsafe_b64encode(cut).decode()}</NextContinuationToken>")
        for key in keys:
            name = _text(key)
            size, tag = self._objects[name]
            parts.append(
                f"<Contents>{said('Key', name)}<LastModified>{_EPOCH}</LastModified><ETag>{_xml(tag)}</ETag>"
                f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            )
        parts += [f"<CommonPrefixes>{said('Prefix', _text(folder))}</CommonPrefixes>" for folder in folders]
        parts.append("</ListBucketResult>")
        return "".join(parts).encode("utf-8", "replace")


def error(code: str, message: str, resource: str) -> bytes:
    """An error, as XML."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{_xml(in_line(message))}</Message>'
        f"<Resource>{_xml(in_line(resource))}</Resource></Error>"
    ).encode("utf-8", "replace")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _token(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text)
    except binascii.Error:
        raise ValueError("continuation-token") from None


def _xml(text: str) -> str:
    return escape(_UNSEEN.sub("\ufffd", text), {'"': "&quot;"})
