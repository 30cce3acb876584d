"""Where images live: what a registry's repository and an OCI image layout folder have in common."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from modelimage.errors import ImageError
from modelimage.streams import Blob, Written

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
            own = json.loads(content)
        except (ValueError, RecursionError):
            own = None
        if not isinstance(own, dict):
            raise ImageError(f"{digest} is no image: its content is not a manifest: give an image's digest")
        return cls(digest, str(own.get("mediaType") or said), content)


class Reader(Protocol):
    """A store that images can be read from."""

    def manifest(self, name: str | None) -> "StoredManifest":
        """The manifest or index that a digest or tag names (None: the only one there).

        Raises:
            NotFoundError: there is none.
        """

    def read_blob(self, digest: str, size: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield a blob's bytes, `size` of them, or those from `start` to `end` alone."""

    def read_range(self, digest: str, size: int, start: int, end: int) -> bytes | None:
        """A few bytes out of a blob of `size` bytes; None where the store gives blobs as a whole only."""


class Store(Reader, Protocol):
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

    def write_manifest(self, manifest: StoredManifest, tags: tuple[str, ...]) -> None:
        """Store a manifest, read it back, and only then give it its tags."""
