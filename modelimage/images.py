"""Images that exist: opening the store that a reference names, and picking an image for our platform out of it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from modelimage.artifacts import check_image
from modelimage.cache import LayerCache, default_folder
from modelimage.documents import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Descriptor,
    ImageConfig,
    Manifest,
    read_config,
    read_index,
    read_manifest,
)
from modelimage.errors import ImageError
from modelimage.layout import Layout, LayoutWriter
from modelimage.machines import PLATFORMS
from modelimage.patience import Patience, RetryPolicy
from modelimage.progress import Reporter
from modelimage.registry import Registry
from modelimage.stores import MANIFEST_LIMIT_BYTES, Reader, Repository, Store, StoredManifest, small_blob
from modelimage.traits import Traits
from oci_model_serving.errors import InputError
from oci_model_serving.reference import (
    PACKED_TAG_PREFIX,
    REFERRERS_PREFIX,
    LayoutReference,
    Reference,
    RegistryReference,
    parse,
    parse_pinned,
)
from oci_model_serving.reference import digest_of as digest_named

SCRATCH = "scratch"


@dataclass(frozen=True)
class LayerRecord:
    """A layer of a finished image; `uploaded` tells whether this run had to move its bytes."""

    digest: str
    size_bytes: int
    uploaded: bool


@dataclass(frozen=True)
class Image:
    """A finished image: its digest, its reference by that digest, its layers as stored, and what its files say.

    `modelpack` is the reference of the ModelPack artifact over its layers, where one was asked for.
    """

    digest: str
    reference: str
    size_bytes: int
    layers: tuple[LayerRecord, ...]
    traits: Traits = field(default_factory=Traits)
    modelpack: str = ""

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints: the traits among the rest."""
        known = asdict(self)
        if not self.modelpack:
            del known["modelpack"]
        traits: dict[str, Any] = known.pop("traits")
        return {**known, **traits}


@dataclass(frozen=True)
class Session:
    """What the parts of one run share: its way to report, its cache, its patience and its stop signal."""

    reporter: Reporter
    cache: LayerCache
    patience: Patience

    @property
    def stop(self) -> threading.Event:
        """The signal that ends the run early."""
        return self.patience.stop

    @classmethod
    def start(
        cls,
        reporter: Reporter | None = None,
        policy: RetryPolicy | None = None,
        cache: Path | None = None,
        stop: threading.Event | None = None,
    ) -> "Session":
        """Begin a run; what is not given has the default that suits a script."""
        reporter = reporter or Reporter()
        patience = Patience(policy or RetryPolicy(), stop or threading.Event(), reporter.note)
        return cls(reporter, LayerCache(cache or default_folder()), patience)

    @contextmanager
    def reading(
        self, reference: Reference, place: Reference | None = None, *, aside: bool = False
    ) -> Iterator[Repository]:
        """Open the store of an existing image; the environment's credentials are for the host of `place` only.

        An image that is looked at `aside` gets none of them: they may be for where it is to go.
        """
        if isinstance(reference, LayoutReference):
            yield Layout(reference)
            return
        same = place is None or (isinstance(place, RegistryReference) and reference.host == place.host)
        own = same and not aside
        with self.registry(reference, own=own) as registry:
            yield registry

    @contextmanager
    def writing(self, place: Reference) -> Iterator[Store]:
        """Open the store that an image goes to."""
        if isinstance(place, LayoutReference):
            with LayoutWriter(place) as layout:
                yield layout
            return
        with self.registry(place) as registry:
            yield registry

    def registry(self, reference: RegistryReference, *, own: bool = True) -> Registry:
        """Open a repository; `own` as for Registry."""
        return Registry(reference, own=own, patience=self.patience, sources=self.cache.repositories_with)


@dataclass(frozen=True)
class StoredImage:
    """One image of one platform with its documents; `digest` is what it was asked for by."""

    digest: str
    stored: StoredManifest
    manifest: Manifest
    config: ImageConfig


def load_image(store: Reader, name: str | None, where: str, platform: str | None = None) -> StoredImage:
    """Read the image that `name` means in `store`: the one for `platform`, or for any that models are served on.

    Of several platforms that is the first of `PLATFORMS` which is there.

    Raises:
        NotFoundError: there is no such image.
        DigestMismatchError: its configuration is not the one that its manifest names.
        ArtifactError: it is an artifact, no image.
        ImageError: it is damaged, of another platform, or not an image.
    """
    wanted = (platform,) if platform else PLATFORMS
    stored = store.manifest(name)
    digest = stored.digest
    if stored.media_type in INDEX_TYPES:
        listed = read_index(stored.content, where).manifests
        fitting = [entry for one in wanted for entry in listed if str(entry.platform) == one]
        if not fitting and (name or "").startswith(REFERRERS_PREFIX):
            raise ImageError(
                f"{where}: is a list of signatures and other referrers, as tags of this name are: name the image "
                f"itself, by @{digest_named(name or '') or 'its digest'}"
            )
        if not fitting:
            raise ImageError(f"{where}: has no image for {' or '.join(wanted)}: give one that has")
        stored = child_manifest(store, fitting[0])
    if stored.media_type not in MANIFEST_TYPES:
        raise ImageError(f"{where}: its media type {stored.media_type!r} is not an image's: give an image")
    manifest = read_manifest(stored.content, where)
    check_image(manifest, where)
    config = read_config(small_blob(store, manifest.config, MANIFEST_LIMIT_BYTES, f"{where}: its configuration"), where)
    if config.platform not in wanted:
        raise ImageError(
            f"{where}: is for {config.platform}, and {' or '.join(wanted)} is needed: give an image for that, or say "
            "--platform (a stack: the model's key `platform`)"
            if config.platform in PLATFORMS
            else f"{where}: is for {config.platform}, and models are served on {' or '.join(wanted)}: give an image "
            "for that"
        )
    return StoredImage(digest, stored, manifest, config)


def child_manifest(store: Reader, entry: Descriptor) -> StoredManifest:
    """The manifest that an index's `entry` names, of the entry's type where the manifest tells none itself."""
    stored = store.manifest(entry.digest)
    return replace(stored, media_type=stored.media_type or entry.media_type)


def parse_base(text: str) -> tuple[Reference, str] | None:
    """Read the `--base` argument as a reference and its digest: None for `scratch`."""
    if text == SCRATCH:
        return None
    try:
        return parse_pinned(text)
    except InputError as error:
        raise InputError(*(f"--base {problem}, or `scratch` for none" for problem in error.problems)) from error


def parse_destination(text: str) -> Reference:
    """Read where an image is to go: `oci:FOLDER`, `HOST/REPO:TAG` or `HOST/REPO`."""
    place = parse(text)
    if place.digest is not None:
        raise InputError(f"{text!r}: a destination has no digest yet: write oci:FOLDER, HOST/REPO:TAG or HOST/REPO")
    if isinstance(place, RegistryReference) and (place.tag or "").startswith(REFERRERS_PREFIX):
        raise InputError(
            f"{text!r}: tags that begin with {REFERRERS_PREFIX} are lists of signatures and other referrers, which "
            f"clients replace: choose another, or write {place.name} (it gets the tag that spells its digest by itself)"
        )
    if isinstance(place, RegistryReference) and (place.tag or "").startswith(PACKED_TAG_PREFIX):
        raise InputError(
            f"{text!r}: tags that begin with {PACKED_TAG_PREFIX} say that an image was packed there, and packing "
            "writes them by itself: choose another"
        )
    return place
