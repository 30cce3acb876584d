"""Shares: an image's layers divided among several machines, of which the last one that is done makes the image.

Each machine plans the whole image, as `pack` does, and stores the layers of its own share. What became of them it
leaves as a record in the image's repository: a small artifact that names the layers, so that the registry keeps them,
under a tag that names the plan. Nobody else has to remember anything: whoever finds the records of all shares writes
the image, and a share whose record is there is not packed again, on whatever machine.

The plan's name is a hash of all that the layers' digests hang on, so that records of another commit, choice of files,
base or number of shares are never found. Machines that share a plan must see the same source: a commit of the hub, a
bucket, or copies of a folder. Of a folder nothing but its content is the same on all machines, so each reads it whole
for the plan.
"""

import hashlib
import json
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from modelimage import chunks
from modelimage.annotations import KEY
from modelimage.documents import EMPTY, EMPTY_TYPE, LAYER_TYPE, MANIFEST_TYPE, Descriptor, encode, read_manifest
from modelimage.errors import ImageError, NotFoundError, collecting
from modelimage.images import Image, Session, parse_destination
from modelimage.layers import LAYER_COUNT_END
from modelimage.origins import Origin, origin_of
from modelimage.packer import pack
from modelimage.stores import Store, StoredManifest, small_blob
from modelimage.streams import Blob, HashedPass, Written, digest_of
from modelimage.writing import Documents, Draft, Part, run_all, runs, watched, write, write_packed
from oci_model_serving.errors import InputError
from oci_model_serving.reference import SHARE_TAG_PREFIX, LayoutReference, Reference

RECORD_TYPE = "application/vnd.oci-model-serving.share.v1"
"""The artifact type of a share's record."""
MOST_SHARES = LAYER_COUNT_END
"""More are of no use: an image has no more layers."""

_FORMAT = 3  # of the plan's name: raise it when shares are divided, or recorded, in another way
_PLAN = "oci-model-serving.plan"
_SHARE = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")


@dataclass(frozen=True)
class Share:
    """One of several shares of an image, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Read `2/8`.

        Raises:
            InputError: it is none, or more than an image has layers.
        """
        found = _SHARE.fullmatch(text)
        share = cls(int(found[1]), int(found[2])) if found else None
        if share is None or not 1 <= share.number <= share.of <= MOST_SHARES:
            raise InputError(
                f"--share {text!r}: write NUMBER/OF, for example 2/8, of at most {MOST_SHARES} (an image has no more "
                "layers)"
            )
        return share

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class PackedShare:
    """What came of a share: the digest of its `record`, its layers, the image if all the others are there.

    `waiting_for` are the numbers of those that are not.
    """

    share: Share
    record: str
    layers: int
    size_bytes: int
    uploaded_bytes: int
    waiting_for: tuple[int, ...] = ()
    image: Image | None = None

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints: what `pack` does only where there is an image."""
        return {
            **(self.image.as_json() if self.image else {}),
            "share": str(self.share),
            "share_record": self.record,
            "share_layers": self.layers,
            "share_bytes": self.size_bytes,
            "uploaded_bytes": self.uploaded_bytes,
            "waiting_for": list(self.waiting_for),
        }


def pack_share(
    source: str, destination: str, share: str, *, convert: bool = False, fresh: bool = False, **how: Any
) -> PackedShare:
    """Pack the `share` (`2/8`) of an image, and the image itself when no other share is missing.

    The other arguments are those of `packer.pack`, the same for all shares; the image is the one that `pack` makes.
    With `fresh` the share is packed anew though its record is there; those of the others count as they are.

    Raises:
        InputError: the arguments or the source cannot make an image, or make none in shares.
        ImageError: reading or storing failed for good; what the share has stored already is not named by anything.
    """
    problems: list[str] = []
    wanted: Share | None = None
    with collecting(problems):
        wanted = Share.parse(share)
    with collecting(problems):
        if isinstance(parse_destination(destination), LayoutReference):
            problems.append(f"{destination!r}: shares meet in a registry: give HOST/REPO or HOST/REPO:TAG")
    if convert:
        problems.append("--convert is for whole models: convert without --share, a conversion reads all of them anyway")
    origin: Origin | None = None
    with collecting(problems):
        origin = origin_of(source)
    if origin is Origin.IMAGE:
        problems.append(f"{source!r}: each machine would read the whole image: pack it without --share")
    if problems or wanted is None:
        raise InputError(*problems)
    writer = _ShareWriter(wanted, fresh=fresh, by_content=origin is Origin.FOLDER)
    image = pack(source, destination, writer=writer.write, fresh=fresh, **how)
    return replace(writer.done, image=image if writer.complete else None)


@dataclass
class _ShareWriter:
    """Writes a share of a draft, and the whole of it when it can."""

    share: Share
    fresh: bool = False
    by_content: bool = False
    complete: bool = False
    done: PackedShare = field(init=False)

    def write(self, session: Session, store: Store, place: Reference, draft: Draft, jobs: int) -> Image:
        """Store the layers of the share and their record; the image is the record's, or the whole one."""
        if self.by_content:
            draft = replace(draft, parts=_by_content(session, draft.parts, jobs))
        plan = _Plan.of(draft.parts, self.share.of)
        number, told = self.share.number, session.reporter.note
        mine = plan.shares[number - 1]
        size = sum(draft.parts[index].blob.size for index in mine)
        told(f"share {self.share}: {len(mine)} of {len(plan.layers)} layers, plan {plan.name}")
        found = None if self.fresh else plan.find(session, store, number, jobs)
        if found:
            told(f"share {self.share}: was packed before, {found.record}")
            uploaded, record = 0, found.record
            image = Image(record, str(place.at(record)), size, ())
        else:
            own = Draft(
                partial(plan.record, number),
                [draft.parts[index] for index in mine],
                verify=draft.verify,
                told=draft.told,
            )
            image = write(session, store, place, own, jobs, tags_of=lambda *_: (plan.tag(number),))
            uploaded, record = sum(layer.size_bytes for layer in image.layers if layer.uploaded), image.digest
        others = {one: plan.find(session, store, one, jobs) for one in range(1, self.share.of + 1)}
        waiting = tuple(one for one, there in others.items() if there is None)
        self.done = PackedShare(self.share, record, len(mine), size, uploaded, waiting)
        if waiting:
            told(f"share {self.share}: done, {len(waiting)} of {self.share.of} shares are still missing")
            return image
        known = {index: written for there in others.values() if there for index, written in there.layers.items()}
        parts = [_there(part, known[index]) if index in known else part for index, part in enumerate(draft.parts)]
        told(f"share {self.share}: all shares are there, writing the image")
        image = write_packed(session, store, place, replace(draft, parts=parts), jobs)
        self.complete = True
        return image


@dataclass(frozen=True)
class _Record:
    """A share's record: its digest, and what its layers have become, by their place in the plan."""

    record: str
    layers: dict[int, Written]


@dataclass(frozen=True)
class _Plan:
    """How an image's parts are divided.

    Attributes:
        name: of all that the layers' digests hang on.
        layers: the parts that are the image's own, by their place in the draft.
        shares: which of them are whose.
    """

    name: str
    layers: dict[int, Part]
    shares: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, parts: Sequence[Part], count: int) -> "_Plan":
        """Divide the parts that have a key; the others are in some store already, and go with the image."""
        described = [_FORMAT, count, [[part.key or part.blob.digest, part.blob.size] for part in parts]]
        name = hashlib.sha256(json.dumps(described).encode()).hexdigest()[:32]
        layers = {index: part for index, part in enumerate(parts) if part.key}
        return cls(name, layers, _divided(parts, count))

    def tag(self, number: int) -> str:
        """The tag of a share's record."""
        return f"{SHARE_TAG_PREFIX}{self.name}-{number}-of-{len(self.shares)}"

    def record(self, number: int, written: list[Written]) -> Documents:
        """The record of a share whose layers have become `written`."""
        mine = self.shares[number - 1]
        layers = [
            {
                **Descriptor(mediaType=LAYER_TYPE, digest=done.digest, size=self.layers[index].blob.size).written(),
                "annotations": {KEY: self.layers[index].key},
            }
            for index, done in zip(mine, written, strict=True)
        ]
        described = [Descriptor.model_validate(layer) for layer in layers]
        lists = Blob.of("the record's chunk lists", chunks.written({done.digest: done.listed for done in written}))
        empty = Descriptor(mediaType=EMPTY_TYPE, digest=digest_of(EMPTY), size=len(EMPTY))
        content = encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": RECORD_TYPE,
                "config": empty.written(),
                "layers": [*layers, chunks.described(lists).written()],
                "annotations": {_PLAN: self.name},
            }
        )
        manifest = StoredManifest(digest_of(content), MANIFEST_TYPE, content)
        return Documents(manifest, described, (Blob.of("the record's configuration", EMPTY), lists))

    def find(self, session: Session, store: Store, number: int, jobs: int) -> _Record | None:
        """The record of a share, if it and all its layers are there.

        Raises:
            ImageError: under its tag there is something else.
        """
        tag = self.tag(number)
        try:
            stored = store.manifest(tag)
        except NotFoundError:
            return None
        manifest = read_manifest(stored.content, tag)
        mine = self.shares[number - 1]
        holder = chunks.list_layer(manifest.layers)
        own = [layer for layer in manifest.layers if layer is not holder]
        expected = [(self.layers[index].key, self.layers[index].blob.size) for index in mine]
        named = [((layer.annotations or {}).get(KEY), layer.size) for layer in own]
        plan = (manifest.annotations or {}).get(_PLAN)
        if manifest.artifact_type != RECORD_TYPE or plan != self.name or named != expected or holder is None:
            raise _no_record(tag)
        blobs = [*own, holder]
        there = run_all([(0, partial(store.has_blob, blob.digest, blob.size)) for blob in blobs], jobs, session.stop)
        if not all(there):
            return None
        content = small_blob(store, holder, chunks.LIMIT_BYTES, f"{tag}: the layer of its chunk lists")
        lists = chunks.read(content, holder, own)
        if lists.chunk_bytes != chunks.CHUNK_BYTES or not {layer.digest for layer in own} <= lists.of.keys():
            raise _no_record(tag)
        stands = [Written(layer.digest, uploaded=False, listed=lists.of[layer.digest]) for layer in own]
        return _Record(stored.digest, dict(zip(mine, stands, strict=True)))


def _no_record(tag: str) -> ImageError:
    return ImageError(f"{tag}: is no record of this share, whatever wrote it: delete the tag, and pack the share again")


def _by_content(session: Session, parts: Sequence[Part], jobs: int) -> list[Part]:
    """The parts, keyed by their layers' digests: paths and time stamps of a folder differ from copy to copy."""

    def named(part: Part) -> Part:
        if not part.key:
            return part
        digest = part.blob.digest
        if digest is None:
            passed = HashedPass(watched(session, part.blob))
            deque(passed, maxlen=0)
            digest = passed.digest
            session.reporter.finished(part.blob.title, "read for the plan")
        return replace(part, blob=replace(part.blob, digest=digest), key=digest)

    return run_all([(part.blob.size, partial(named, part)) for part in parts], jobs, session.stop)


def _divided(parts: Sequence[Part], count: int) -> tuple[tuple[int, ...], ...]:
    """Divide the parts with a key into shares of about the same size; those of one chain stay together.

    The largest first, each to the share that has the least so far: at most a third above the best there is (Graham,
    "Bounds on multiprocessing timing anomalies", 1969).
    """
    own = [run for run in runs(parts) if run[0][1].key]
    sizes, taken = [0] * count, [list[int]() for _ in range(count)]
    for run in sorted(own, key=lambda run: -sum(part.blob.size for _, part in run)):
        least = min(range(count), key=lambda number: (sizes[number], number))
        sizes[least] += sum(part.blob.size for _, part in run)
        taken[least] += [index for index, _ in run]
    return tuple(tuple(sorted(indices)) for indices in taken)


def _there(part: Part, written: Written) -> Part:
    """A part that was found in the store."""
    return Part(replace(part.blob, digest=written.digest), lambda *_: written)
