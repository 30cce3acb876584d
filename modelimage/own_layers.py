"""How a layer of an image's own gets into a store: by what is known of it, else read; and with it its chunk list.

The list must not hang on what happened to lie where: a layer whose digest is known and whose list is not is read once
more for it.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from modelimage import chunks
from modelimage.cache import LayerCache
from modelimage.chunks import Chunked
from modelimage.earlier import Earlier
from modelimage.errors import DigestMismatchError
from modelimage.layers import Layer
from modelimage.source import Whole
from modelimage.stores import Store
from modelimage.streams import Blob, HashedPass, Written


class _Listing:
    """A blob whose list is taken in each pass, beside what the pass is for."""

    def __init__(self, blob: Blob) -> None:
        self.blob = replace(blob, chunks=self._pass)
        self._plain = blob
        self._last: Chunked | None = None

    def _pass(self) -> Iterator[bytes]:
        self._last = Chunked(self._plain.chunks())
        return iter(self._last)

    @property
    def found(self) -> bytes:
        """The list, if the last pass has come to the end; else empty."""
        found = self._last.found if self._last else b""
        return found if self._last and self._last.seen == self._plain.size else b""


@dataclass(frozen=True)
class OwnLayer:
    """How a layer is stored: by the digest that is known of it, where that holds; else it is read.

    A part of a `whole` that has a checksum is remembered before that could be checked. What an earlier run has
    remembered and did not live to check is therefore read again, so that it is in the check of this run, but not sent
    again. An image that is there was checked before it got its manifest. What is `at_hand` may be read twice.
    """

    cache: LayerCache
    earlier: Earlier
    layer: Layer
    whole: Whole | None
    at_hand: bool

    def put(self, store: Store, blob: Blob) -> Written:
        """Store the layer; what is returned has its list."""
        listing = _Listing(blob)
        blob = listing.blob
        checked = self.whole is None or self.cache.is_checked(self.whole.file.identity)
        if blob.digest and checked:
            with suppress(DigestMismatchError):
                return self._listed(store, listing, store.write_blob(blob))
            self.cache.forget(self.layer)
        if found := self._recognised(store, listing):
            return found
        if self.whole is not None:
            self.whole.checking = True
            if blob.digest and not checked:
                with suppress(DigestMismatchError):
                    if store.has_blob(blob.digest, blob.size) and _digest_now(blob) == blob.digest:
                        return self._listed(store, listing, Written(blob.digest, uploaded=False))
                self.cache.forget(self.layer)
            self.cache.unchecked(self.whole.file.identity)
        return self._read(store, listing)

    def _recognised(self, store: Store, listing: _Listing) -> Written | None:
        digest = self.earlier.digest_of(self.layer, store)
        if digest is None:
            return None
        with suppress(DigestMismatchError):
            written = self._listed(store, listing, store.write_blob(replace(listing.blob, digest=digest)))
            self.earlier.confirm(self.layer, digest)
            return written
        self.earlier.deny(self.layer)
        return None

    def _read(self, store: Store, listing: _Listing) -> Written:
        """Hash the layer before it is sent where that may spare the sending, else on its way; remember its digest."""
        since = time.time()
        blob = replace(listing.blob, digest=None)
        digest = _digest_now(blob) if self.at_hand and self.earlier.is_likely(self.layer, store) else None
        written = store.write_blob(replace(blob, digest=digest))
        self.cache.remember(self.layer, written.digest, since)
        return self._listed(store, listing, written)

    def _listed(self, store: Store, listing: _Listing, written: Written) -> Written:
        """What was written with its list: from a pass, from an earlier run or image, else by reading the layer again.

        Raises:
            DigestMismatchError: what was read for the list alone is not what the digest says.
        """
        if self.layer.size <= chunks.CHUNK_BYTES:
            return replace(written, listed=bytes.fromhex(written.digest.removeprefix("sha256:")))
        expected = chunks.list_bytes(self.layer.size, chunks.CHUNK_BYTES)
        listed = listing.found or self.cache.list_of(written.digest, expected)
        listed = listed or self.earlier.list_of(written.digest, store)
        if len(listed) != expected:
            listed = self._read_again(store, listing, written.digest)
        self.cache.remember_list(written.digest, listed)
        return replace(written, listed=listed)

    def _read_again(self, store: Store, listing: _Listing, digest: str) -> bytes:
        """Read the layer for its list: here where it is at hand, else from the store, which has it by now."""
        size = self.layer.size
        stored = Blob(f"{self.layer.title}, as it is stored", size, partial(store.read_blob, digest, size))
        again = listing if self.at_hand else _Listing(stored)
        found = _digest_now(again.blob)
        if found != digest:
            raise DigestMismatchError(f"{self.layer.title}: its digest is {found} and not {digest}")
        return again.found


def _digest_now(blob: Blob) -> str:
    again = HashedPass(blob)
    deque(again, maxlen=0)
    return again.digest
