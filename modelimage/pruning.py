"""Images of ours that nobody uses: found in a repository, and removed with what is attached to them.

Ours are those that a tag of our own spells out (`reference.digest_of`, `packed_digest_of`) and still points to, and
that were packed: the tag says it, or the annotation that packing writes. What `oms image copy` has mirrored (a server,
a base) has such a tag too, and stacks may name it by another: it is not ours. What is used protects all that belongs to
it: an index its platforms and a platform its index, an artifact its subject. So does whatever else has a tag. Where any
of this cannot be read, nothing is removed.
"""

import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial

from modelimage.attachments import digest_of_cosign_tag, subject_of
from modelimage.documents import INDEX_TYPES, SIZE_ANNOTATION, read_manifest
from modelimage.errors import ImageError, NotFoundError
from modelimage.progress import readable
from modelimage.referrers import all_attached, manifests_of
from modelimage.registry import Registry
from modelimage.stores import StoredManifest
from modelimage.writing import run_all
from oci_model_serving.reference import digest_of, packed_digest_of, referrers_tag

_TAGS = 10_000
_MANIFESTS_BYTES = 256 << 20
_AT_ONCE = 8
_DAY_SECONDS = 86_400
AGE_UNKNOWN = "age unknown"


@dataclass(frozen=True)
class Pruned:
    """An image of ours: `why` it is kept ("" of one that goes), and what goes with it.

    `size_bytes` is that of its layers, which others may share; `pushed` in seconds of the epoch, None where the
    registry does not tell.
    """

    repository: str
    digest: str
    tags: list[str]
    size_bytes: int
    pushed: float | None
    why: str
    with_it: dict[str, list[str]] = field(default_factory=dict)
    """Digests with their tags: lists, signatures, platforms."""


@dataclass
class _Repository:
    """What tags point to, and what else the indexes among that hold."""

    tags: dict[str, str]
    manifests: dict[str, StoredManifest]

    def __post_init__(self) -> None:
        self.tags_of: dict[str, list[str]] = {}
        for tag, digest in self.tags.items():
            self.tags_of.setdefault(digest, []).append(tag)
        self.children = {
            digest: set(manifests_of(stored)) - {digest}
            for digest, stored in self.manifests.items()
            # A list of what is attached names no platforms of an image.
            if stored.media_type in INDEX_TYPES
            and not all(_subject_of_tag(tag) not in {"", digest} for tag in self.tags_of[digest])
        }

    def ours(self, registry: Registry) -> list[str]:
        """The digests of images that were packed."""
        return sorted(
            digest
            for digest, tags in self.tags_of.items()
            if any(packed_digest_of(tag) == digest for tag in tags)
            or (any(digest_of(tag) == digest for tag in tags) and _is_noted(registry, self.manifests[digest]))
        )

    def protected(self, used: Collection[str]) -> set[str]:
        """What these digests stand for: they, the indexes that hold one, and all that those hold or are attached to."""
        kept = {*used, *(index for index, children in self.children.items() if not children.isdisjoint(used))}
        left = list(kept)
        while left:
            digest = left.pop()
            near = set(self.children.get(digest, ()))
            if digest in self.manifests and (subject := subject_of(self.manifests[digest])):
                near.add(subject)
            left += near - kept
            kept |= near
        return kept


def find(registry: Registry, used: Collection[str], *, keep_days: float) -> list[Pruned]:
    """The images of ours in a repository, those that go and those that are kept.

    Args:
        registry: the repository.
        used: digests that are in use, wherever.
        keep_days: what was pushed within so many days is kept, and what nobody knows the age of too; 0 keeps none.

    Raises:
        ImageError: something that might protect an image cannot be read.
    """
    tags, pushed = registry.all_tags(_TAGS)
    there = _read(registry, tags)
    ours = there.ours(registry)
    protected = there.protected(used)
    young = {digest: why for digest in ours if (why := _too_young(pushed.get(digest), keep_days))}
    kept = protected | there.protected(young)
    # What has tags of others' making alone is theirs, and so is what it holds or is attached to.
    own = set(ours).union(*(there.children.get(digest, ()) for digest in ours))
    others = {
        digest
        for digest in there.manifests.keys() - ours
        if any(_subject_of_tag(tag) not in own for tag in there.tags_of[digest])
    }
    held = there.protected(others) - others
    going = [digest for digest in ours if digest not in kept | held]
    found = []
    # Registries keep what an index still names.
    for digest in sorted(ours, key=lambda digest: digest not in there.children):
        why = "used" if digest in protected else "held" if digest in held else young.get(digest, "")
        why = why or ("held" if digest in kept else "")
        size, with_it = 0, dict[str, list[str]]()
        stored = there.manifests[digest]
        if stored.media_type not in INDEX_TYPES:
            size = read_manifest(stored.content, digest).size_bytes
        if not why:
            with_it = dict(_with_it(registry, there, digest, kept | held | set(ours), set(going)))
        found.append(
            Pruned(registry.place.name, digest, sorted(there.tags_of[digest]), size, pushed.get(digest), why, with_it)
        )
    return found


def remove(registry: Registry, image: Pruned) -> None:
    """Remove an image, then what is attached to it: where the registry refuses the first, nothing is lost.

    Raises:
        ImageError: the registry refuses.
    """
    registry.remove(image.digest, image.tags)
    for digest, tags in image.with_it.items():
        registry.remove(digest, tags)


def _is_noted(registry: Registry, stored: StoredManifest) -> bool:
    """Whether an image says that it was packed; of several platforms the first is asked."""
    if stored.media_type in INDEX_TYPES:
        children = manifests_of(stored)[1:2]
        try:
            return any(_is_noted(registry, registry.manifest(child)) for child in children)
        except NotFoundError:
            return False
    return SIZE_ANNOTATION in (read_manifest(stored.content, stored.digest).annotations or {})


def _subject_of_tag(tag: str) -> str:
    """The digest that a list's or cosign's tag belongs to; "" for any other tag."""
    spelled = digest_of(tag) if tag.startswith("sha256-") else ""
    return digest_of_cosign_tag(tag) or spelled


def _too_young(pushed: float | None, keep_days: float) -> str:
    if not keep_days:
        return ""
    if pushed is None:
        return AGE_UNKNOWN
    return "young" if time.time() - pushed < keep_days * _DAY_SECONDS else ""


def _read(registry: Registry, tags: list[str]) -> _Repository:
    found: dict[str, str] = {}
    manifests: dict[str, StoredManifest] = {}
    size = 0
    for start in range(0, len(tags), _AT_ONCE):
        names = tags[start : start + _AT_ONCE]
        tasks = [(0, partial(registry.tagged, name)) for name in names]
        for name, stored in zip(names, run_all(tasks, _AT_ONCE, threading.Event()), strict=True):
            if stored:  # another may have removed it meanwhile
                found[name] = stored.digest
                size += 0 if stored.digest in manifests else len(stored.content)
                manifests[stored.digest] = stored
        if size > _MANIFESTS_BYTES:
            raise ImageError(
                f"{registry.place.name}: its manifests are larger than {readable(_MANIFESTS_BYTES)} in all"
            )
    return _Repository(found, manifests)


def _with_it(
    registry: Registry, there: _Repository, digest: str, kept: Collection[str], going: Collection[str]
) -> Iterator[tuple[str, list[str]]]:
    """What goes with an image that goes, the nearest first; what another image's tag names too stays."""
    subjects = manifests_of(there.manifests[digest])
    problems: list[str] = []
    found = dict.fromkeys(one.manifest.digest for one in all_attached(registry, there.manifests[digest], problems))
    if problems:
        raise ImageError(f"{registry.place.name}@{digest}: {problems[0]}: nothing is removed")
    lists = [there.tags[tag] for subject in (*subjects, *found) if (tag := referrers_tag(subject)) in there.tags]
    platforms = [
        child
        for child in subjects[1:]
        if all(index in going for index, children in there.children.items() if child in children)
        and _is_there(registry, child)
    ]
    belongs = {digest, *subjects, *found}
    for one in dict.fromkeys((*platforms, *found, *lists)):
        tags = there.tags_of.get(one, [])
        if one not in kept and all(_subject_of_tag(tag) in belongs for tag in tags):
            yield one, sorted(tags)


def _is_there(registry: Registry, digest: str) -> bool:
    try:
        registry.manifest(digest)
    except NotFoundError:
        return False
    return True
