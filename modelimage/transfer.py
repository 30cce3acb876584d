"""What is done with images that exist: look at one, give it the tag that spells its digest, copy it by digest."""

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from modelimage import cache_key
from modelimage.documents import INDEX_TYPES, Descriptor, read_index, read_manifest
from modelimage.errors import CancelledError, ImageError
from modelimage.fit import Purpose, find_model, misfits
from modelimage.images import (
    Image,
    LayerRecord,
    Session,
    StoredImage,
    child_manifest,
    load_image,
    parse_destination,
)
from modelimage.listing import list_files
from modelimage.machines import PLATFORM, check_platform
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter, readable
from modelimage.referrers import COUNT_LIMIT, Carried, Referrer, attached, carry, manifests_of
from modelimage.registry import Registry
from modelimage.rootfs import Contents
from modelimage.stores import Reader, Repository, StoredManifest
from modelimage.streams import Blob, Written
from modelimage.traits import Traits
from modelimage.writing import DEFAULT_JOBS, Documents, Draft, Part, put_part, write
from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.reference import (
    LayoutReference,
    RegistryReference,
    digest_tag,
    parse,
    parse_pinned,
    referrers_tag,
)


@dataclass(frozen=True)
class FileRecord:
    """A file of an image: its path from the image's root, and its size in bytes."""

    path: str
    size_bytes: int


@dataclass(frozen=True)
class Inspection(Image):
    """An image that exists, with what its documents say and, where it was asked for, what it holds.

    `digest_tag` tells whether the tag `digest-sha256-<hex>` points to it, which serving by tag needs; a layout has
    none. `format` and `model_folder` are of the model in it, "" where none was found; `unread` says why
    `files` may not be all.
    """

    annotations: dict[str, str] = field(default_factory=dict)
    platform: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    digest_tag: bool = False
    format: str = ""
    model_folder: str = ""
    files: tuple[FileRecord, ...] = ()
    unread: tuple[str, ...] = ()
    referrers: tuple[Referrer, ...] = ()


@dataclass(frozen=True)
class Copied(Image):
    """An image that was copied, with what came along that is attached to it, and in words what did not."""

    referrers: tuple[Referrer, ...] = ()
    left_behind: tuple[str, ...] = ()


def inspect(
    reference: str,
    *,
    require_digest_tag: bool = False,
    files: bool = False,
    referrers: bool = False,
    purpose: Purpose | None = None,
    platform: str | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
) -> Inspection:
    """Read an image's documents, by digest or by a tag, from a registry or a layout.

    `platform` is the one that it must be for; without it any will do, and for a `purpose` linux/amd64 is meant.

    With `files` its files are listed, from the headers of its layers; for a `purpose` they are held against what
    that needs. What is compressed and too large to be listed is told as a warning and held against nobody. With
    `referrers` the signatures and whatever else is attached to it are listed, or a warning is given.

    Raises:
        InputError: the reference is none, or the image is not for the `purpose`.
        NotFoundError: there is no such image.
        ArtifactError: it is no image but an artifact.
        ImageError: it cannot be read, or `require_digest_tag` and the tag does not point to it.
    """
    parsed = parse(reference)
    if isinstance(parsed, RegistryReference) and not (parsed.digest or parsed.tag):
        raise InputError(f"{reference!r} names no image: add @sha256:<64 hex digits> or a tag")
    needed = _needed(platform, purpose)
    session = Session.start(reporter, policy)
    with session.reading(parsed) as store:
        name = parsed.digest or (parsed.tag if isinstance(parsed, RegistryReference) else None)
        image = load_image(store, name, str(parsed), needed)
        tagged = isinstance(store, Registry) and store.digest_of_tag(digest_tag(image.digest)) == image.digest
        if isinstance(parsed, LayoutReference):
            _check_blobs(store, image.manifest.layers)
        contents = list_files(store, image.manifest.layers, stop=session.stop) if files or purpose else None
        beside = _referrers(store, image, session.reporter) if referrers else ()
    place = parsed.at(image.digest)
    if require_digest_tag and not tagged:
        raise ImageError(
            f"{place}: the tag {digest_tag(image.digest)} does not point to it: "
            + (
                "a layout has no tags; push the image to a registry"
                if isinstance(parsed, LayoutReference)
                else f"`oms image tag {place}` writes it (up to version 0.1.0 it was called "
                f"{referrers_tag(image.digest)[:14]}…, which is kept for lists of referrers)"
            )
        )
    found = Inspection(
        image.digest,
        str(place),
        image.manifest.size_bytes,
        tuple(LayerRecord(layer.digest, layer.size, uploaded=False) for layer in image.manifest.layers),
        annotations=image.manifest.annotations or {},
        platform=image.config.platform,
        config=image.config.config,
        digest_tag=tagged,
        referrers=beside,
    )
    if contents is None:
        return found
    if purpose:
        _hold(contents, image, purpose, str(place), session.reporter)
    return _with_files(found, contents, files=files)


def _referrers(store: Repository, image: StoredImage, reporter: Reporter) -> tuple[Referrer, ...]:
    try:
        top = image.stored if image.stored.digest == image.digest else store.manifest(image.digest)
        return tuple(islice(attached(store, manifests_of(top)), COUNT_LIMIT))
    except CancelledError:
        raise
    except OmsError as error:
        reporter.note(f"warning: what is attached to it cannot be listed: {error}")
        return ()


def _needed(platform: str | None, purpose: Purpose | None) -> str | None:
    """What an image must be for: who serves it without a word means the usual one."""
    if platform:
        check_platform(platform)
    return platform or (PLATFORM if purpose else None)


def _hold(contents: Contents, image: StoredImage, purpose: Purpose, place: str, reporter: Reporter) -> None:
    """Refuse an image that is not for a delivery, or no adapter or cache, or say what could not be seen."""
    if purpose == cache_key.PURPOSE:
        cache_key.key_in(image.manifest.annotations or {}, place)
        return
    problems = misfits(contents, image.config, purpose, place, image.manifest.layers)
    if problems and (contents.complete or contents.damaged):
        raise InputError(*problems)
    for problem in problems:
        reporter.note(f"warning: as far as its files can be listed ({'; '.join(contents.unread[:3])}), {problem}")


def _with_files(found: Inspection, contents: Contents, *, files: bool) -> Inspection:
    model = find_model(contents)
    listed = tuple(FileRecord(path, content.size) for path, content in contents.files()) if files else ()
    unread = (*contents.damaged, *contents.unread)
    if model is None:
        return replace(found, files=listed, unread=unread)
    return replace(
        found,
        files=listed,
        unread=unread,
        traits=model.traits,
        format=", ".join(model.formats),
        model_folder=f"/{model.folder}",
    )


def traits_in(store: Reader, image: StoredImage) -> Traits:
    """What an image's files say; where they cannot be listed, what those of most models do."""
    try:
        return _traits(list_files(store, image.manifest.layers))
    except ImageError:
        return Traits()  # what is asked for is done all the same


def _traits(contents: Contents) -> Traits:
    model = find_model(contents)
    return model.traits if model else Traits()


def _check_blobs(store: Reader, layers: list[Descriptor]) -> None:
    for layer in layers:
        # Opening a layout's blob compares its size; reading one chunk is enough for that.
        next(store.read_blob(layer.digest, layer.size), None)


def tag(reference: str, *, reporter: Reporter | None = None, policy: RetryPolicy | None = None) -> Inspection:
    """Give an image in a registry the tag `digest-sha256-<hex>`; nothing is written where it has it already.

    Raises:
        InputError: the reference is none of a registry, or has no digest.
        ImageError: the image is absent, or the registry refuses the tag.
    """
    parsed, digest = parse_pinned(reference)
    if isinstance(parsed, LayoutReference):
        raise InputError(f"{reference!r}: a layout has no tags: give HOST/REPO@sha256:…")
    with Session.start(reporter, policy).registry(parsed) as registry:
        registry.write_tag(registry.manifest(digest), digest_tag(digest))
        traits = traits_in(registry, load_image(registry, digest, str(parsed)))
    found = inspect(reference, require_digest_tag=True, reporter=reporter, policy=policy)
    return replace(found, traits=traits)


def copy(
    reference: str,
    destination: str,
    *,
    jobs: int = DEFAULT_JOBS,
    purpose: Purpose | None = None,
    referrers: bool = True,
    platform: str | None = None,
    cache: Path | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
) -> Copied:
    """Copy an image by its digest, which stays the same; on one host its layers are mounted and not sent.

    `reference` carries a digest; `destination` is `HOST/REPO[:TAG]` or `oci:FOLDER`. Images of several
    platforms are copied whole. For a `purpose` the image's files are held against what that needs, before a byte is
    copied. With `referrers` all that is attached to it comes along (`modelimage.referrers`); what cannot is told as a
    warning, and the image is copied all the same.
    `platform` is as for `inspect`.

    Raises:
        InputError: an argument is malformed, or the image is not for the `purpose`.
        ImageError: the image cannot be read, or not be written.
    """
    if jobs < 1:
        raise InputError(f"--jobs is {jobs}: give 1 or more")
    needed = _needed(platform, purpose)
    source, digest = parse_pinned(reference)
    place = parse_destination(destination)
    session = Session.start(reporter, policy, cache)
    with session.reading(source, place) as reader:
        image = load_image(reader, digest, str(source), needed)
        contents = list_files(reader, image.manifest.layers, stop=session.stop) if purpose else None
        if purpose and contents:
            _hold(contents, image, purpose, str(source), session.reporter)
        if isinstance(source, RegistryReference):
            for layer in [image.manifest.config, *image.manifest.layers]:
                session.cache.seen_in(source.name, layer.digest)
        with session.writing(place) as store:
            top = reader.manifest(digest)
            written = write(session, store, place, _draft(reader, top, image.manifest.layers), jobs)
            put = partial(put_part, session, store, place, told=_copied)
            carried = carry(reader, store, top, put) if referrers else Carried()
        for problem in carried.problems:
            session.reporter.note(f"warning: {problem}")
        return Copied(
            written.digest,
            written.reference,
            written.size_bytes,
            written.layers,
            traits=_traits(contents) if contents else traits_in(reader, image),
            referrers=tuple(carried.referrers),
            left_behind=tuple(carried.problems),
        )


def _draft(reader: Reader, top: StoredManifest, layers: list[Descriptor]) -> Draft:
    """All that `top` names, as it is; `layers` are those of the image that was looked at."""

    def finish(_: list[Written]) -> Documents:
        return Documents(top, layers)

    if top.media_type in INDEX_TYPES:
        entries = read_index(top.content, top.digest).manifests
        return Draft(finish, children=[_draft(reader, child_manifest(reader, entry), layers) for entry in entries])
    manifest = read_manifest(top.content, top.digest)
    blobs = {blob.digest: blob for blob in [manifest.config, *manifest.layers]}.values()
    return Draft(finish, [Part.existing("blob", reader, blob) for blob in blobs], told=_copied)


def _copied(blob: Blob, written: Written) -> str:
    return f"{'copied' if written.uploaded else 'already there or mounted'}, {readable(blob.size)}"
