"""What the registry says about a model's image: that it is there, its digest's own tag, and the files in it."""

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import modelimage
from modelimage.images import load_image
from modelimage.patience import Patience, RetryPolicy
from modelimage.registry import Registry
from oci_model_serving.delivery import IMAGE_ROOT
from oci_model_serving.errors import OmsError
from oci_model_serving.reference import ImageReference, parse_registry
from watch.causes import NotHeldError

_ROOT = f"{IMAGE_ROOT}/"
# A check is to say soon that a registry does not answer; a push would wait for it.
_PATIENCE = RetryPolicy(attempts=3)
_READABLE = ("tar", "gzip")
_TRAILER_BYTES = 1024
_LARGE_BYTES = 64 << 20


@dataclass(frozen=True)
class ImageFiles:
    """Files below /models of an image with their sizes in bytes; not `complete` where a layer was not read on."""

    sizes: dict[str, int]
    complete: bool


def check_image(reference: ImageReference) -> str:
    """Return what the registry says about an image.

    Raises:
        NotHeldError: the image is not there, or the tag that spells its digest does not point to it.
    """
    try:
        found = modelimage.inspect(str(reference), policy=_PATIENCE)
    except OmsError as error:
        raise NotHeldError(
            str(error), "build and push it with `pulumi up`, and see that you may read the registry"
        ) from None
    if not found.digest_tag:
        raise NotHeldError(
            f"{reference} is there, but the tag {reference.digest_tag} does not point to it",
            f"`oms image tag {reference}` writes the tag, which KubeAI serves by and which keeps the image "
            "from being cleaned up",
        )
    return f"{reference.digest} is there with its tag, {found.size_bytes / 1e9:.2f} GB in {len(found.layers)} layers"


def is_same_content(one: str, other: str) -> bool:
    """Whether two references by digest are of images with the same layers and settings; no where that is not known."""
    try:
        found = [modelimage.inspect(reference) for reference in (one, other)]
    except OmsError:
        return False
    layers = [[layer.digest for layer in image.layers] for image in found]
    return layers[0] == layers[1] and found[0].config == found[1].config


def files_of(reference: ImageReference) -> ImageFiles:
    """List the files below /models of an image from the headers of its layers, without reading the weights.

    Raises:
        NotHeldError: the image cannot be read, or a layer is damaged.
    """
    try:
        return _files_of(reference)
    except NotHeldError:
        raise
    except OmsError as error:
        raise NotHeldError(f"the image cannot be read: {error}", "see that you may read the registry") from None


def checksums_of(reference: ImageReference, length: int) -> dict[str, str]:
    """The SHA-256 of the first bytes of each file below /models, as hexadecimal digits.

    Raises:
        NotHeldError: the image cannot be read.
    """
    found: dict[str, str] = {}
    try:
        with Registry(parse_registry(str(reference)), patience=Patience(_PATIENCE)) as registry:
            image = load_image(registry, reference.digest, str(reference))
            for layer in image.manifest.layers:
                if layer.media_type.endswith(_READABLE):
                    chunks = registry.read_blob(layer.digest, layer.size)
                    compressed = layer.media_type.endswith("gzip")
                    stream = _Headers(_inflated(chunks) if compressed else chunks, None if compressed else layer.size)
                    found |= {name: hashlib.sha256(start).hexdigest() for name, start in _starts(stream, length)}
    except (OmsError, tarfile.TarError, zlib.error) as error:
        raise NotHeldError(f"the image cannot be read: {error}", "see that you may read the registry") from None
    return found


def _starts(layer: "_Headers", length: int) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=cast(BinaryIO, layer), mode="r:") as tar:
        for entry in tar:
            name = entry.name.removeprefix("./")
            if entry.isfile() and name.startswith(_ROOT):
                yield name.removeprefix(_ROOT), layer.content(entry.offset_data, min(entry.size, length))


def _files_of(reference: ImageReference) -> ImageFiles:
    sizes: dict[str, int] = {}
    complete = True
    with Registry(parse_registry(str(reference)), patience=Patience(_PATIENCE)) as registry:
        image = load_image(registry, reference.digest, str(reference))
        for layer in image.manifest.layers:
            if not layer.media_type.endswith(_READABLE):
                complete = False  # another compression (zstd): a base's layer, since `pack` writes none
                continue
            chunks = registry.read_blob(layer.digest, layer.size)
            compressed = layer.media_type.endswith("gzip")
            stream = _Headers(_inflated(chunks) if compressed else chunks, None if compressed else layer.size)
            try:
                sizes |= _models_in(stream)
            except (tarfile.TarError, zlib.error) as error:
                raise NotHeldError(
                    f"layer {layer.digest} of {reference} is damaged: {error}", "build and push the image again"
                ) from None
            complete = complete and not stream.cut
    return ImageFiles(sizes, complete)


def _models_in(layer: "_Headers") -> dict[str, int]:
    # The object has what tarfile asks of a file, and nothing else of one.
    with tarfile.open(fileobj=cast(BinaryIO, layer), mode="r:") as tar:
        return {
            entry.name.removeprefix("./").removeprefix(_ROOT): entry.size
            for entry in tar
            if entry.isfile() and entry.name.removeprefix("./").startswith(_ROOT)
        }


class _Headers:
    """A layer as tarfile reads it, from a stream that is left before its large files are read.

    A seek within the stream reads and forgets. A seek over a large file to the layer's end (where its size is known)
    answers with the end marker; any other seek over a large file ends the listing and is remembered in `cut`.
    """

    def __init__(self, chunks: Iterator[bytes], size: int | None) -> None:
        self.cut = False
        self._chunks = chunks
        self._size = size
        self._buffer = b""
        self._start = 0
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def read(self, size: int) -> bytes:
        if self._size is not None and self._position >= self._size - _TRAILER_BYTES:
            data = bytes(min(size, self._size - self._position))
        elif size == 1:
            data = b"\0"  # tarfile's probe that a file's bytes are all there; a registry has checked that
        elif self._position - self._start > _LARGE_BYTES:
            self.cut = True
            data = b""
        else:
            data = self._read_on(size)
        self._position += len(data)
        return data

    def content(self, position: int, size: int) -> bytes:
        """The bytes at a position that is not behind: unlike those of `read`, which is for tarfile, the real ones."""
        self.seek(position)
        return self._read_on(size)

    def _read_on(self, size: int) -> bytes:
        end = self._position + size
        while self._start + len(self._buffer) < end:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            keep = max(0, self._position - self._start)
            dropped = min(keep, len(self._buffer))
            self._start += dropped
            self._buffer = self._buffer[dropped:] + chunk
        offset = self._position - self._start
        return self._buffer[offset : offset + size]


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    for chunk in chunks:
        yield inflate.decompress(chunk)
