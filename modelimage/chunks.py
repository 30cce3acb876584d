"""Chunk lists: what each piece of a layer's blob hashes to, so that it can be checked before all of it is there.

A layer's digest is of the whole: who hands on a range of it cannot check that range. The image's last own layer
therefore holds a list for each of its other layers: a small tar with a file `.chunks/<hex of the layer's digest>`, the
SHA-256 of one chunk of the blob after the other (raw, 32 bytes each), of which the last may be shorter. As a layer the
lists are covered by the image's digest, and every copy, mirror and clean-up keeps them. Beside them the layers of one
file say where in the blob that file's bytes lie, so that no header of a tar need be read.

The lists hang on the layers' bytes alone: the same on any machine. A list that no image wrote is none: what is read
here may be anybody's.
"""

import hashlib
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil

from modelimage.archives import ArchiveError, Kind, UnreadableError, headers
from modelimage.documents import LAYER_TYPE, Descriptor
from modelimage.errors import ImageError
from modelimage.streams import Blob
from modelimage.tar_headers import BLOCK_BYTES, header, padding

CHUNK_BYTES = 1 << 20
"""What is hashed by itself. Loaders ask for ranges of 4 MiB on average, by a connection each, that end within chunks
(vLLM's streamer, recorded): larger chunks are fetched in vain at both ends, and few of them fit into a sidecar's
64 MiB; smaller ones cost the interpreter more. The lists of 140 GB have 4.3 MB."""

FOLDER = ".chunks"
"""The folder of the lists, at the image's root."""

CHUNKS = "oci-model-serving.layer.chunks"
"""Annotation of the layer that holds the lists: the chunks' size in bytes."""
OFFSET = "oci-model-serving.layer.offset"
"""Annotation of a layer of one file: where in the blob, a tar, the file's bytes begin."""
SIZE = "oci-model-serving.layer.size"
"""Annotation of a layer of one file: how many bytes the file has."""

LIMIT_BYTES = 128 << 20
"""The largest list layer that is read: 450 layers of 9.5 GB, the most that an image has, make one of 131 MB."""

_LEAST_CHUNK_BYTES, _MOST_CHUNK_BYTES = 64 << 10, 16 << 20
"""Chunk sizes that are read: smaller ones make lists that are not bounded by the image's size any more, larger ones do
not fit several times into a sidecar's memory."""
HASH_BYTES = 32
"""Of a chunk's SHA-256."""
_TRAILER = bytes(2 * BLOCK_BYTES)
_NAME = re.compile(rf"{re.escape(FOLDER)}/([0-9a-f]{{64}})")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def list_bytes(size: int, chunk_bytes: int) -> int:
    """How long the list of a blob of `size` bytes in chunks of `chunk_bytes` is, in bytes."""
    return ceil(size / chunk_bytes) * HASH_BYTES


class Chunked:
    """One pass over a blob's pieces, of whatever lengths, which takes its list beside the caller's own work.

    A thread of its own hashes, as `HashedPass` has it: hashlib lets go of the interpreter's lock. `found` is the list
    of the `seen` bytes that have passed so far, so it is the blob's only after the pass.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._done = bytearray()
        self._hash = hashlib.sha256()
        self._left = CHUNK_BYTES
        self.seen = 0

    @property
    def found(self) -> bytes:
        """The list."""
        return bytes(self._done) + (self._hash.digest() if self._left < CHUNK_BYTES else b"")

    def __iter__(self) -> Iterator[bytes]:
        with ThreadPoolExecutor(1, thread_name_prefix="chunks") as hasher:
            for piece in self._pieces:
                hashing: Future[None] = hasher.submit(self._take, piece)
                yield piece
                hashing.result()

    def _take(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            taken = rest[: self._left]
            self._hash.update(taken)
            self._left -= len(taken)
            self.seen += len(taken)
            rest = rest[len(taken) :]
            if not self._left:
                self._done += self._hash.digest()
                self._hash, self._left = hashlib.sha256(), CHUNK_BYTES


def list_of(content: bytes) -> bytes:
    """The list of bytes at hand."""
    chunked = Chunked((content,))
    for _ in chunked:
        pass
    return chunked.found


def layer_size(sizes: Iterable[int]) -> int:
    """The size of the layer that holds the lists of layers of these sizes, in bytes."""
    total = BLOCK_BYTES + len(_TRAILER)
    for size in sizes:
        length = list_bytes(size, CHUNK_BYTES)
        total += BLOCK_BYTES + length + padding(length)
    return total


def written(lists: Mapping[str, bytes]) -> bytes:
    """The layer that holds `lists`, by the digests of the layers that they are of (`sha256:…`), in their order."""
    content = bytearray(header(f"{FOLDER}/", tarfile.DIRTYPE, mode=0o755))
    for digest, listed in lists.items():
        name = f"{FOLDER}/{digest.removeprefix('sha256:')}"
        content += header(name, tarfile.REGTYPE, mode=0o644, size=len(listed)) + listed + bytes(padding(len(listed)))
    return bytes(content + _TRAILER)


def described(layer: Blob) -> Descriptor:
    """The descriptor of a layer that holds lists."""
    noted = {CHUNKS: str(CHUNK_BYTES)}
    return Descriptor(mediaType=LAYER_TYPE, digest=str(layer.digest), size=layer.size, annotations=noted)


@dataclass(frozen=True)
class Lists:
    """The lists of an image: of each layer's digest the raw SHA-256 of its chunks of `chunk_bytes`, one on the other.

    A layer that is not in it has no list.
    """

    chunk_bytes: int
    of: Mapping[str, bytes]

    def digest(self, layer: str, number: int) -> bytes:
        """What the chunk `number`, counted from 0, of a layer hashes to: 32 bytes."""
        return self.of[layer][number * HASH_BYTES : (number + 1) * HASH_BYTES]


def list_layer(layers: Sequence[Descriptor]) -> Descriptor | None:
    """The layer of an image that says that it holds the lists; None where none does.

    An image upon another of ours has two such layers, of which the base's says nothing any more: the last one counts.
    """
    return next((layer for layer in reversed(layers) if CHUNKS in (layer.annotations or {})), None)


def read(content: bytes, holder: Descriptor, layers: Sequence[Descriptor]) -> Lists:
    """Read the lists that the layer `holder` holds, whose bytes are `content`, of those of `layers` that it lists.

    Whoever fetched `content` has compared it with the layer's digest, and refused more than `LIMIT_BYTES`.

    Raises:
        ImageError: it is no list layer, or a list does not fit its layer's size.
    """
    where = f"the chunk lists {holder.digest}"
    noted = (holder.annotations or {}).get(CHUNKS, "")
    chunk_bytes = int(noted) if _NUMBER.fullmatch(noted) else 0
    if not _LEAST_CHUNK_BYTES <= chunk_bytes <= _MOST_CHUNK_BYTES:
        raise ImageError(
            f"{where}: chunks of {noted[:20]!r} bytes are not read: {_LEAST_CHUNK_BYTES} to {_MOST_CHUNK_BYTES} are"
        )
    if holder.media_type != LAYER_TYPE:
        raise ImageError(f"{where}: their layer's type is {holder.media_type[-60:]!r} and not {LAYER_TYPE}")
    sizes = {layer.digest: layer.size for layer in layers}
    found: dict[str, bytes] = {}
    try:
        for digest, listed in _entries(content):
            if digest in found:
                raise ImageError(f"{where}: two lists of layer {digest}")
            if digest in sizes and len(listed) != list_bytes(sizes[digest], chunk_bytes):
                raise ImageError(
                    f"{where}: the list of layer {digest} has {len(listed)} bytes, and its {sizes[digest]} bytes in "
                    f"chunks of {chunk_bytes} make {list_bytes(sizes[digest], chunk_bytes)}"
                )
            found[digest] = listed
    except (ArchiveError, UnreadableError) as error:
        raise ImageError(f"{where}: {error}") from error
    return Lists(chunk_bytes, {digest: listed for digest, listed in found.items() if digest in sizes})


def _entries(content: bytes) -> Iterator[tuple[str, bytes]]:
    stream = _Held(content)
    for entry in headers(stream):
        if entry.kind is Kind.FOLDER and entry.path.rstrip("/") == FOLDER:
            continue
        name = _NAME.fullmatch(entry.path)
        if entry.kind is not Kind.FILE or not name:
            raise ArchiveError(f"an entry {entry.path[:100]!r}, which is no list")
        listed = stream.read(entry.size)
        if len(listed) < entry.size:
            raise ArchiveError("it is cut short")
        yield f"sha256:{name[1]}", listed


class _Held:
    """A stream of bytes at hand."""

    def __init__(self, content: bytes) -> None:
        self.position = 0
        self._content = content

    def read(self, count: int) -> bytes:
        """As `Stream.read`."""
        data = self._content[self.position : self.position + count]
        self.position += len(data)
        return data

    def skip(self, count: int) -> None:
        """As `Stream.skip`."""
        if self.position + count > len(self._content) + BLOCK_BYTES - 1:
            raise ArchiveError("it is cut short")
        self.position = min(self.position + count, len(self._content))


def place_of(layer: Descriptor) -> tuple[int, int] | None:
    """Where in a layer its one file lies, as (offset, size) in bytes; None where the layer does not say.

    Raises:
        ImageError: what it says is no place in the layer.
    """
    noted = layer.annotations or {}
    if OFFSET not in noted and SIZE not in noted:
        return None
    said = [noted.get(OFFSET, ""), noted.get(SIZE, "")]
    offset, size = (int(text) if _NUMBER.fullmatch(text) else -1 for text in said)
    if min(offset, size) < 0 or offset + size > layer.size:
        raise ImageError(
            f"layer {layer.digest}: its file is said to be {said[1][:20]!r} bytes at {said[0][:20]!r}, which is no "
            f"place in its {layer.size} bytes"
        )
    return offset, size
