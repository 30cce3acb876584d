"""Where images live: what a registry's repository and an OCI image layout folder have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from modelimage.streams import Blob, Written


@dataclass(frozen=True)
class StoredManifest:
    """A manifest or index as it is stored: its digest is that of ``content``, which is kept byte by byte."""

    digest: str
    media_type: str
    content: bytes


class Reader(Protocol):
    """A store that images can be read from."""

    def manifest(self, name: str | None) -> StoredManifest:
        """Return the manifest or index that a digest or tag names (None: the only one there).

        Raises:
            NotFoundError: there is none.
        """

    def read_blob(self, digest: str, size: int) -> Iterator[bytes]:
        """Yield a blob's bytes, ``size`` of them.

        Raises:
            ImageError: it is absent or cannot be read whole.
        """


class Writer(Protocol):
    """A store that images can be written to. Blobs go first; a manifest that is there names only what is there."""

    def prepare(self, blobs: Sequence[tuple[str | None, int]]) -> None:
        """Check, before any weights are read, that blobs (digest where known, size) can be written there at all."""

    def has_blob(self, digest: str, size: int) -> bool:
        """Tell whether the blob is there already."""

    def write_blob(self, blob: Blob) -> Written:
        """Store a blob, unless it is known to be there.

        Raises:
            DigestMismatchError: the content is not what ``blob.digest`` says.
            ImageError: it cannot be stored.
        """

    def write_manifest(self, manifest: StoredManifest, tags: tuple[str, ...]) -> None:
        """Store a manifest, read it back, and only then give it its tags."""


class Store(Reader, Writer, Protocol):
    """A store that is written to and can be read as well, as both kinds can."""
