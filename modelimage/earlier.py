"""What the images that a destination holds already tell of layers that are about to be made.

A runner with an empty cache finds there what an earlier run has left: by its key a layer of content-known files (the
hub's) is recognised and not even read; by its size and title a layer of a folder is likely to be there, so that it is
hashed first and sent only where it is not. Keys are believed only of images that were packed into the destination
itself, which a tag says that nothing else writes (`reference.packed_tag`; in a layout, a mark of the entry): an image
that was copied there is the work of others, and its keys may be lies. What is recognised counts for that place alone.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from modelimage import chunks
from modelimage.annotations import KEY
from modelimage.cache import LayerCache
from modelimage.documents import LAYER_TYPE, MANIFEST_TYPES, TITLE_ANNOTATION, Descriptor, read_manifest
from modelimage.errors import CancelledError, ImageError
from modelimage.layers import Layer
from modelimage.layout import Layout
from modelimage.registry import Registry
from modelimage.stores import Store, StoredManifest, small_blob
from modelimage.writing import run_all
from oci_model_serving.reference import Reference, RegistryReference, packed_digest_of, packed_tag

_MANIFESTS, _AT_ONCE = 200, 8
"""That are read at most, and how many at a time: each is one request, before the first layer is sent."""
_TAGS = 2_000  # each image has two or three, and registries tell those of packed images among all others


@dataclass
class _Found:
    """Layers of earlier images: digests by key and size, sizes with the titles that they were seen with, and lists."""

    digests: dict[tuple[str, int], str] = field(default_factory=dict)
    titles: dict[int, set[str | None]] = field(default_factory=dict)
    holders: dict[str, tuple[Descriptor, Sequence[Descriptor]]] = field(default_factory=dict)
    """By a layer's digest: the layer of its image that holds the chunk lists, and that image's layers."""
    lists: dict[str, chunks.Lists | None] = field(default_factory=dict)
    """By the digest of what holds them."""


class Earlier:
    """The images at `place`, looked at once and only when a layer is asked for. Safe to use from many threads.

    `layers` are those of the image that is made, with their `titles`. `fresh` has no layer recognised by its key, so
    that all are read. `tell` is told once how many were recognised.
    """

    def __init__(
        self,
        place: Reference,
        layers: Sequence[Layer],
        titles: Sequence[str],
        cache: LayerCache,
        *,
        fresh: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._place, self._layers, self._cache = place, layers, cache
        self._titles = dict(zip((layer.key for layer in layers), titles, strict=True))
        self._fresh, self._tell = fresh, tell
        self._where = place.name if isinstance(place, RegistryReference) else str(place)
        self._lock = threading.Lock()
        self._found: _Found | None = None

    def digest_of(self, layer: Layer, store: Store) -> str | None:
        """The digest that this very layer has in an image at the place, if one says so."""
        if self._fresh or not layer.is_known_by_content:
            return None
        known = self._cache.recognised(layer, self._where)
        return known or self._look(store).digests.get((layer.key, layer.size))

    def is_likely(self, layer: Layer, store: Store) -> bool:
        """Tell whether an image at the place has a layer of this size and, where layers have titles, of this title."""
        seen = self._look(store).titles.get(layer.size, set())
        return None in seen or self._titles[layer.key] in seen

    def list_of(self, digest: str, store: Store) -> bytes:
        """The chunk list that an image at the place has for the layer of this digest; empty where none has one."""
        if self._fresh:
            return b""
        found = self._look(store)
        if digest not in found.holders:
            return b""
        holder, layers = found.holders[digest]
        with self._lock:
            if holder.digest not in found.lists:
                found.lists[holder.digest] = _lists(store, holder, layers)
            lists = found.lists[holder.digest]
        return lists.of.get(digest, b"") if lists else b""

    def confirm(self, layer: Layer, digest: str) -> None:
        """Keep what was recognised, for the same place."""
        self._cache.recognise(layer, digest, self._where)

    def deny(self, layer: Layer) -> None:
        """Drop what was recognised: it has proved wrong."""
        self._cache.unrecognise(layer, self._where)
        with self._lock:
            if self._found:
                self._found.digests.pop((layer.key, layer.size), None)

    def _look(self, store: Store) -> _Found:
        with self._lock:
            if self._found is None:
                self._found = self._read(store)
            return self._found

    def _read(self, store: Store) -> _Found:
        found = _Found()
        for stored, believed in self._manifests(store):
            if stored.media_type not in MANIFEST_TYPES:
                continue
            try:
                layers = read_manifest(stored.content, stored.digest).layers
            except ImageError:
                continue  # an artifact of another form
            holder = chunks.list_layer(layers)
            for layer in layers:
                if layer is holder:
                    continue
                noted = layer.annotations or {}
                if believed and holder:
                    found.holders.setdefault(layer.digest, (holder, layers))
                found.titles.setdefault(layer.size, set()).add(noted.get(TITLE_ANNOTATION))
                if believed and KEY in noted and layer.media_type == LAYER_TYPE:
                    found.digests.setdefault((noted[KEY], layer.size), layer.digest)
            if all(self._is_there(layer, found) for layer in self._layers):
                break
        if count := sum((layer.key, layer.size) in found.digests for layer in self._layers if not self._fresh):
            self._tell(
                f"note: {count} of {len(self._layers)} layers are known from images at {self._where} and are not read "
                f"(--fresh reads all anew)"
            )
        return found

    def _is_there(self, layer: Layer, found: _Found) -> bool:
        if layer.is_known_by_content and not self._fresh:
            return (layer.key, layer.size) in found.digests
        return layer.size in found.titles

    def _manifests(self, store: Store) -> Iterator[tuple[StoredManifest, bool]]:
        """Manifests at the place, and whether they are believed: that of the tag asked for, then the packed ones."""
        try:
            if isinstance(store, Registry):
                yield from self._in_registry(store)
            elif isinstance(store, Layout):
                yield from ((stored, True) for stored in store.packed())
        except CancelledError:
            raise
        except ImageError:
            return  # it lets nobody read, tells no tags or is ailing: packing needs no answer of it

    def _in_registry(self, registry: Registry) -> Iterator[tuple[StoredManifest, bool]]:
        asked = (
            registry.tagged(self._place.tag) if isinstance(self._place, RegistryReference) and self._place.tag else None
        )
        if asked:
            yield asked, registry.digest_of_tag(packed_tag(asked.digest)) == asked.digest
        names = [tag for tag in registry.tags(_TAGS) if packed_digest_of(tag)][:_MANIFESTS]
        for start in range(0, len(names), _AT_ONCE):
            tasks = [(0, partial(registry.tagged, name)) for name in names[start : start + _AT_ONCE]]
            # Its own event: what fails here stops the looking, and not the packing.
            found = run_all(tasks, _AT_ONCE, threading.Event())
            for name, stored in zip(names[start : start + _AT_ONCE], found, strict=True):
                # A tag can be moved: to what its name spells it was put by a packing.
                if stored and stored.digest == packed_digest_of(name):
                    yield stored, True


def _lists(store: Store, holder: Descriptor, layers: Sequence[Descriptor]) -> chunks.Lists | None:
    """The lists that a layer holds, if they are such as are written here; else the layers are read."""
    try:
        content = small_blob(store, holder, chunks.LIMIT_BYTES, "the layer of an earlier image's chunk lists")
        lists = chunks.read(content, holder, layers)
    except CancelledError:
        raise
    except ImageError:
        return None
    return lists if lists.chunk_bytes == chunks.CHUNK_BYTES else None
