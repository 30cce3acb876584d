"""Where images live: what a registry's repository and an OCI image layout folder have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from modelimage.documents import Descriptor
from modelimage.errors import DigestMismatchError, ImageError
from modelimage.streams import Blob, Written, digest_of
from oci_model_serving.foreign import read_json

MANIFEST_LIMIT_BYTES = 4 << 20
"""The manifest that registries must accept at least (distribution-spec v1.1, "Pushing Manifests"); none is larger."""


@dataclass(frozen=True)
class StoredManifest:
    """A manifest or index as it is stored: its digest is that of `content`, which is kept byte by byte."""

    digest: str
    media_type: str
    content: bytes

    @classmethod
    def read(cls, digest: str, said: str, content: bytes) -> "StoredManifest":
        """Take what a store has under `digest` and calls `said`; the document's own word on its type counts more."""
        try:
            own = read_json(content)
        except ValueError:
            own = None
        if not isinstance(own, dict):
            raise ImageError(f"{digest} is no image: its content is not a manifest: give an image's digest")
        return cls(digest, str(own.get("mediaType") or said), content)

    def described(self) -> dict[str, Any]:
        """What every list says of it, by the names of image-spec's descriptors."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}


@dataclass(frozen=True)
class Listed:
    """An entry of a list: a manifest that says it belongs to another, and of what type it is."""

    digest: str
    artifact_type: str = ""


class BlobReader(Protocol):
    """A store that blobs can be read from."""

    def read_blob(self, digest: str, size: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield a blob's bytes, `size` of them, or those from `start` to `end` alone."""

    def read_range(self, digest: str, size: int, start: int, end: int) -> bytes | None:
        """A few bytes out of a blob of `size` bytes; None where the store gives blobs as a whole only."""


class Reader(BlobReader, Protocol):
    """A store that images can be read from."""

    def manifest(self, name: str | None) -> "StoredManifest":
        """The manifest or index that a digest or tag names (None: the only one there).

        Raises:
            NotFoundError: there is none.
        """


def small_blob(store: Reader, blob: Descriptor, limit: int, what: str) -> bytes:
    """A blob that is held in memory: its size is bounded, and nobody else compares its digest.

    Raises:
        DigestMismatchError: it is not what its digest says; `what` is named.
        ImageError: it is larger than `limit` bytes, or cannot be read.
    """
    if blob.size > limit:
        raise ImageError(f"{what} has {blob.size} bytes, more than {limit}: give another image")
    content = bytearray()
    for chunk in store.read_blob(blob.digest, blob.size):
        content += chunk
        if len(content) > blob.size:
            raise DigestMismatchError(f"{what} is longer than {blob.size} bytes: do not use it")
    found = digest_of(bytes(content))
    if found != blob.digest:
        raise DigestMismatchError(f"{what} has the digest {found} and not {blob.digest}: do not use it")
    return bytes(content)


class Repository(Reader, Protocol):
    """A store that also tells what is attached to its images."""

    def tagged(self, tag: str) -> StoredManifest | None:
        """What a tag, or a layout's name, points to; None if there is no such one."""

    def referrers(self, digest: str) -> list[Listed]:
        """What is attached to a manifest of this digest."""


class Store(Repository, Protocol):
    """A store that is written to. Blobs go first; a manifest that is there names only what is there."""

    def prepare(self, blobs: Sequence[tuple[str | None, int]]) -> None:
        """Check, before any weights are read, that blobs (digest where known, size) can be written there at all."""

    def has_blob(self, digest: str, size: int) -> bool:
        """Tell whether the blob is there already."""

    def write_blob(self, blob: Blob) -> Written:
        """Store a blob, unless it is known to be there.

        Raises:
            DigestMismatchError: the content is not what `blob.digest` says.
            ImageError: it cannot be stored.
        """

    def write_child(self, manifest: StoredManifest) -> None:
        """Store a manifest that an index names: by its digest alone, it is no image of its own there."""

    def attach(self, manifests: Sequence[StoredManifest], subject: str) -> None:
        """Store manifests that are attached to another, whose digest is `subject`, and see that they are listed.

        Raises:
            ImageError: one cannot be stored or not be listed; nothing that was listed is lost.
        """

    def write_tag(self, manifest: StoredManifest, tag: str) -> None:
        """Point a tag, or a layout's name, to a manifest."""

    def write_manifest(self, manifest: StoredManifest, tags: tuple[str, ...]) -> None:
        """Store a manifest, read it back, and only then give it its tags."""

    def write_beside(self, manifest: StoredManifest, name: str, tags: tuple[str, ...]) -> None:
        """Store an artifact's manifest beside the image that `write_manifest` writes next.

        A layout lists it by `name`, with that image; elsewhere it gets its tags at once.
        """
