"""Signatures, attestations and whatever else is attached to an image, carried along with it from store to store.

What is carried is whole: manifests that name the image, or one of its platforms, as their subject, what is attached to
those in turn, and what cosign keeps under its own tags. All is bounded, and what cannot be carried is told and keeps
nobody from the image.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from modelimage.attachments import COSIGN_SUFFIXES, subject_of, type_of
from modelimage.documents import EMPTY_TYPE, INDEX_TYPES, Descriptor, Manifest, read_index, read_manifest
from modelimage.errors import CancelledError, ImageError, NotFoundError
from modelimage.progress import readable
from modelimage.stores import Repository, Store, StoredManifest
from modelimage.writing import Part
from oci_model_serving.errors import OmsError
from oci_model_serving.reference import REFERRERS_PREFIX, referrers_tag

COUNT_LIMIT = 1000
DEPTH_LIMIT = 8
SIZE_LIMIT_BYTES = 4 << 30
"""What is carried of one image's referrers: so many, so far from it, and so large in all."""
_TELLS_NOTHING = ("", EMPTY_TYPE)
"""Types in lists that older clients wrote from the configuration of an artifact that has none (cosign #4641)."""
_SUBJECT_LIMIT = 200
"""How many manifests of an image of several platforms are asked for what is attached to them."""


@dataclass(frozen=True)
class Referrer:
    """What is attached to an image: its digest and type, to which manifest, and the tag that cosign keeps it under."""

    digest: str
    artifact_type: str
    subject: str
    tag: str = ""


@dataclass
class Carried:
    """What came along with an image, and in words what did not."""

    referrers: list[Referrer] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Found:
    """What is attached, and its manifest."""

    referrer: Referrer
    manifest: StoredManifest


def attached(reader: Repository, digests: Sequence[str]) -> Iterator[Referrer]:
    """What is attached to manifests of an image, as their store lists it."""
    for digest in digests[:_SUBJECT_LIMIT]:
        for entry in reader.referrers(digest):
            said = entry.artifact_type
            if said in _TELLS_NOTHING:
                with suppress(NotFoundError):
                    said = type_of(reader.manifest(entry.digest))
            yield Referrer(entry.digest, said, digest)
        for found in _by_cosign(reader, digest):
            yield found.referrer


def manifests_of(top: StoredManifest) -> list[str]:
    """The digests under which an image can be referred to: its own, and those of its platforms."""
    if top.media_type not in INDEX_TYPES:
        return [top.digest]
    return [top.digest, *(entry.digest for entry in read_index(top.content, top.digest).manifests)]


def carry(reader: Repository, store: Store, top: StoredManifest, put: Callable[[Part], object]) -> Carried:
    """Take to `store`, where the image `top` is, all that `reader` has attached to it; `put` stores a blob there.

    Raises:
        CancelledError: the run was stopped.
    """
    carried = Carried()
    size = 0
    groups: dict[str, list[Found]] = {}
    for found in all_attached(reader, top, carried.problems):
        with _telling(found, carried.problems):
            blobs = _blobs(reader, found.manifest)
            size += sum(blob.size for blob in blobs.values())
            if size > SIZE_LIMIT_BYTES:
                carried.problems.append(
                    f"more than {readable(SIZE_LIMIT_BYTES)} are attached: {found.referrer.digest} and what follows it "
                    "was left behind: copy that with its own tool (`oras copy -r`)"
                )
                break
            for blob in blobs.values():
                put(Part.existing("referrer's blob", reader, blob))
            for child in _children(reader, found.manifest):
                store.write_child(child)
            if found.referrer.tag:
                _write_tag(store, found)
                carried.referrers.append(found.referrer)
            else:
                groups.setdefault(found.referrer.subject, []).append(found)
    for subject, group in groups.items():
        _attach(store, subject, group, carried)
    return carried


@contextmanager
def _telling(found: Found, problems: list[str]) -> Iterator[None]:
    """What keeps one referrer back is told, and the others go on."""
    try:
        yield
    except CancelledError:
        raise
    except OmsError as error:
        referrer = found.referrer
        what = referrer.tag or referrer.artifact_type or "what is attached as"
        problems.append(
            f"{what} {referrer.digest} did not come along: {error}: where tags are immutable, except those that begin "
            f"with {REFERRERS_PREFIX} from it and copy again; --no-referrers leaves it"
        )


def _attach(store: Store, subject: str, group: Sequence[Found], carried: Carried) -> None:
    """All at once, so that a list is written once; where that fails, one by one."""
    problems: list[str] = []
    with _telling(group[0], problems):
        store.attach([found.manifest for found in group], subject)
        carried.referrers += [found.referrer for found in group]
    if not problems or len(group) == 1:
        carried.problems += problems
        return
    for found in group:
        _attach(store, subject, [found], carried)


def all_attached(reader: Repository, top: StoredManifest, problems: list[str]) -> Iterator[Found]:
    """All that is attached to the image, the nearest first, each once."""
    seen = {top.digest}
    count = 0
    subjects = [(digest, 0) for digest in manifests_of(top)[:_SUBJECT_LIMIT]]
    while subjects:
        subject, depth = subjects.pop(0)
        for found in _attached_to(reader, subject, problems, cosigned=depth == 0):
            if found.manifest.digest in seen and not found.referrer.tag:
                continue
            if count == COUNT_LIMIT:
                problems.append(f"more than {COUNT_LIMIT} manifests are attached: the others were left behind")
                return
            seen.add(found.manifest.digest)
            count += 1
            yield found
            if depth + 1 < DEPTH_LIMIT:
                subjects.append((found.manifest.digest, depth + 1))
            elif not found.referrer.tag:
                problems.append(f"{found.manifest.digest} is {DEPTH_LIMIT} steps away: what is attached to it stays")


def _attached_to(reader: Repository, subject: str, problems: list[str], *, cosigned: bool) -> Iterator[Found]:
    try:
        for entry in reader.referrers(subject):
            try:
                manifest = reader.manifest(entry.digest)
            except NotFoundError:
                problems.append(f"{entry.digest} is listed for {subject}, and is not there")
                continue
            # A list that clients write may name anything.
            if subject_of(manifest) == subject:
                yield Found(Referrer(manifest.digest, type_of(manifest), subject), manifest)
        if cosigned:
            yield from _by_cosign(reader, subject)
    except CancelledError:
        raise
    except OmsError as error:
        problems.append(f"what is attached to {subject} cannot be read: {error}")


def _by_cosign(reader: Repository, subject: str) -> Iterator[Found]:
    for suffix in COSIGN_SUFFIXES:
        tag = referrers_tag(subject) + suffix
        manifest = reader.tagged(tag)
        # A registry that takes the tag for the digest answers with the image itself.
        if manifest is not None and manifest.digest != subject:
            yield Found(Referrer(manifest.digest, type_of(manifest), subject, tag), manifest)


def _children(reader: Repository, manifest: StoredManifest) -> list[StoredManifest]:
    """What an index that is attached holds; an index within it is no form of any tool."""
    if manifest.media_type not in INDEX_TYPES:
        return []
    entries = read_index(manifest.content, manifest.digest).manifests
    if len(entries) > COUNT_LIMIT:
        raise ImageError(f"{manifest.digest}: an index of {len(entries)} manifests is too long to be carried")
    return [reader.manifest(entry.digest) for entry in entries]


def _blobs(reader: Repository, manifest: StoredManifest) -> dict[str, Descriptor]:
    """The blobs of a manifest, or of all that an index holds, each once."""
    holders = _children(reader, manifest) if manifest.media_type in INDEX_TYPES else [manifest]
    read: list[Manifest] = [read_manifest(holder.content, holder.digest) for holder in holders]
    return {blob.digest: blob for one in read for blob in (one.config, *one.layers)}


def _write_tag(store: Store, found: Found) -> None:
    """Give what cosign made its tag there, unless that would take from another one that has more."""
    there = store.tagged(found.referrer.tag)
    if there is not None and there.digest != found.manifest.digest:
        here, theirs = _layers(found.manifest), _layers(there)
        if here < theirs:
            return
        if not here > theirs:
            raise ImageError(
                f"{found.referrer.tag} there holds others ({there.digest}): sign there again, or remove that tag"
            )
    store.write_child(found.manifest)
    store.write_tag(found.manifest, found.referrer.tag)


def _layers(manifest: StoredManifest) -> set[str]:
    """A manifest's layers with what each says of itself: cosign adds one for each signature."""
    layers = json.loads(manifest.content).get("layers")
    return {json.dumps(layer, sort_keys=True) for layer in layers} if isinstance(layers, list) else set()
