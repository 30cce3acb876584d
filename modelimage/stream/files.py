"""Which files an image has below /models, and where in its layers they lie: by annotations, else by tars' headers."""

import hashlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from modelimage import chunks
from modelimage.archives import Header, Kind
from modelimage.chunks import Lists
from modelimage.documents import PATH_ANNOTATION, Descriptor
from modelimage.images import load_image
from modelimage.listing import Bounds, read_layer
from modelimage.registry import Registry
from modelimage.rootfs import Content, Contents, LayerFiles
from modelimage.stream.faults import CorruptFault, StreamFault, ignored_ranges, mismatch, other_bytes
from modelimage.stream.ledger import Ledger
from modelimage.writing import run_all
from oci_model_serving.delivery import IMAGE_ROOT
from oci_model_serving.reference import RegistryReference

_AT_ONCE = 8
_WHOLE_BYTES = 16 << 20
"""Layers up to this size are read whole for their headers where they have no list, and so by their digest."""


@dataclass(frozen=True)
class ServedFile:
    """A file: `size` bytes of the layer number `layer`, from `offset` on."""

    layer: int
    offset: int
    size: int


@dataclass(frozen=True)
class ServedImage:
    """An image by its digest: its layers, the lists of their chunks, and its files by their paths below /models.

    `unread` are the layers, by number, of which something was taken that no digest has covered yet.
    """

    reference: RegistryReference
    layers: Sequence[Descriptor]
    ledger: Ledger
    files: dict[str, ServedFile]
    unread: frozenset[int]


def read_image(registry: Registry, reference: RegistryReference) -> ServedImage:
    """Read an image's files by its digest.

    Raises:
        ImageError: it is not there, is damaged, or cannot be served in ranges.
    """
    where = str(reference)
    layers = load_image(registry, reference.digest, where).manifest.layers
    lists = _lists(registry, layers, where)
    ledger = Ledger(layers, lists)
    reader = _Headers(registry, reference, layers, ledger)
    contents = _contents(reader, layers, where)
    files = {
        path: ServedFile(content.layer, content.offset, content.size) for path, content in contents.followed(IMAGE_ROOT)
    }
    if not files:
        raise StreamFault(
            f"{where} has no files below /{IMAGE_ROOT}: pack the model with `oms image pack`, or repack it"
        )
    for file in files.values():
        layer = layers[file.layer]
        if not layer.media_type.endswith("tar"):
            raise StreamFault(
                f"{where}: layer {layer.digest} is compressed ({layer.media_type[-80:]}): a range of it is no "
                f"range of a file: `oms image repack oci://{where} DEST` makes an image of plain layers, or deliver it "
                "as a volume"
            )
        if file.offset + file.size > layer.size:
            raise CorruptFault(f"{where}: layer {layer.digest} is cut short")
    used = {file.layer for file in files.values() if file.size} | reader.noted
    return ServedImage(reference, layers, ledger, files, frozenset(one for one in used if not ledger.is_known(one)))


def _lists(registry: Registry, layers: Sequence[Descriptor], where: str) -> Lists | None:
    holder = chunks.list_layer(layers)
    if holder is None:
        return None
    if holder.size > chunks.LIMIT_BYTES:
        raise StreamFault(f"{where}: its chunk lists have {holder.size} bytes, more than {chunks.LIMIT_BYTES}")
    return chunks.read(_whole(registry, holder, where), holder, layers)


def _whole(registry: Registry, layer: Descriptor, where: str) -> bytes:
    content = b"".join(registry.read_blob(layer.digest, layer.size))
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != layer.digest:
        raise other_bytes(f"{where}: layer {layer.digest}")
    return content


def _contents(reader: "_Headers", layers: Sequence[Descriptor], where: str) -> Contents:
    holder = chunks.list_layer(layers)
    found = {number: one for number, layer in enumerate(layers) if (one := _placed(number, layer))}
    left = Bounds().started()
    rest = [number for number, layer in enumerate(layers) if number not in found and layer is not holder]
    tasks = [(layers[number].size, partial(reader.listed, number, left)) for number in rest]
    found |= dict(zip(rest, run_all(tasks, _AT_ONCE, threading.Event()), strict=True))
    contents = Contents()
    for number, listed in sorted(found.items()):
        layer = layers[number]
        kind = "" if layer.media_type.endswith("tar") else f" is compressed ({layer.media_type[-80:]}), and"
        if why := listed.damaged or listed.unread:
            raise StreamFault(f"{where}: layer {layer.digest}{kind} cannot be listed: {why}")
        contents.add(listed.entries)
    return contents


def _placed(number: int, layer: Descriptor) -> LayerFiles | None:
    """The one file of a layer, where its annotations say which and where it is."""
    place = chunks.place_of(layer)
    path = (layer.annotations or {}).get(PATH_ANNOTATION)
    if not place or not path:
        return None
    offset, size = place
    return LayerFiles(((Header(path.lstrip("/"), Kind.FILE, size, 0o644), Content(number, offset, size)),))


class _Headers:
    """The layers as a store whose bytes are compared with what they hash to, or noted until they can be.

    `noted` are the layers, by number, of which something was taken that no digest has covered yet.
    """

    def __init__(
        self, registry: Registry, reference: RegistryReference, layers: Sequence[Descriptor], ledger: Ledger
    ) -> None:
        self._registry, self._reference = registry, reference
        self._layers, self._ledger = layers, ledger
        self.noted: set[int] = set()

    def listed(self, number: int, left: Bounds) -> LayerFiles:
        """What a layer holds."""
        store = _LayerReader(self._registry, self._reference, number, self._layers[number], self._ledger)
        found = read_layer(store, number, self._layers[number], left, lambda _: 0)
        if not (found.damaged or found.unread):
            store.finish()
            if not self._ledger.is_known(number):
                self.noted.add(number)
        return found


class _LayerReader:
    """One layer, read for its headers."""

    def __init__(
        self, registry: Registry, reference: RegistryReference, number: int, layer: Descriptor, ledger: Ledger
    ) -> None:
        self._registry, self._number, self._layer, self._ledger = registry, number, layer, ledger
        self._where = f"{reference}: layer {layer.digest}"
        self._host = reference.host
        self._held, self._start = b"", 0
        self._passing: Iterator[bytes] | None = None
        self._hash = hashlib.sha256()

    def read_blob(self, digest: str, size: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """As `BlobReader.read_blob`, from the beginning: hashed while it passes."""
        self._passing = self._hashed(self._registry.read_blob(digest, size, start, end))
        return self._passing

    def _hashed(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._hash.update(piece)
            yield piece

    def finish(self) -> None:
        """Compare what was read as a stream with the layer's digest, which takes the rest of it.

        Raises:
            CorruptFault: it is not what its digest says.
        """
        if self._passing is None:
            return
        for _ in self._passing:
            pass
        self._compare(self._hash.hexdigest())

    def _compare(self, found: str) -> None:
        if f"sha256:{found}" != self._layer.digest:
            raise other_bytes(self._where)

    def read_range(self, digest: str, size: int, start: int, end: int) -> bytes | None:
        """As `BlobReader.read_range`: the chunks around the range are read and compared, and the last ones kept.

        Raises:
            StreamFault: the registry gives blobs as a whole only.
            CorruptFault: a chunk is not what it should be.
        """
        if not (self._start <= start and end <= self._start + len(self._held)):
            whole = size <= _WHOLE_BYTES and not self._ledger.is_known(self._number)
            chunk = self._ledger.chunk_bytes
            self._start = 0 if whole else start // chunk * chunk
            stop = size if whole else min(-(-end // chunk) * chunk, size)
            self._held = self._fetched(digest, size, self._start, stop, whole=whole)
        return self._held[start - self._start : end - self._start]

    def _fetched(self, digest: str, size: int, start: int, end: int, *, whole: bool) -> bytes:
        content = self._registry.read_range(digest, size, start, end) if end > start else b""
        if content is None:
            raise ignored_ranges(self._host)
        if whole:
            self._compare(hashlib.sha256(content).hexdigest())
        chunk = self._ledger.chunk_bytes
        hashes = [hashlib.sha256(content[at : at + chunk]).digest() for at in range(0, len(content), chunk)]
        if whole:
            self._ledger.publish(self._number, b"".join(hashes))
        for number, found in enumerate(hashes, start // chunk):
            if not self._ledger.agrees(self._number, number, found):
                raise mismatch(self._where, number, listed=self._number in self._ledger.listed)
        return content
