"""Packing: a source's files become layers, each tarred, hashed and stored in one pass, several at a time."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from modelimage import chunks, stored_model
from modelimage.annotations import layer_annotations
from modelimage.cache import LayerCache
from modelimage.convert import converted
from modelimage.documents import LAYER_TYPE, TITLE_ANNOTATION, Descriptor, ImageConfig, as_oci
from modelimage.earlier import Earlier
from modelimage.errors import CancelledError, ImageError, collecting
from modelimage.images import SCRATCH, Image, Session, load_image, parse_base, parse_destination
from modelimage.layers import Layer, notes_on, plan_layers
from modelimage.machines import PLATFORM, check_platform
from modelimage.modelpack import NAME, ModelPack, check_destination
from modelimage.origins import Origin, open_source, origin_of
from modelimage.own_layers import OwnLayer
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter
from modelimage.reshard import ShardSize
from modelimage.source import Selection, Source, Whole
from modelimage.stores import Reader, Store
from modelimage.streams import Blob, Written
from modelimage.traits import traits_of
from modelimage.writing import DEFAULT_JOBS, Beside, Chain, Documents, Draft, Part, write_packed
from oci_model_serving.errors import InputError
from oci_model_serving.reference import Reference, RegistryReference

Writer = Callable[[Session, Store, Reference, Draft, int], Image]
"""What becomes of a draft: `writing.write_packed`, or what writes a part of it."""


def pack(
    source: str,
    destination: str,
    *,
    base: str = SCRATCH,
    jobs: int = DEFAULT_JOBS,
    allow: Sequence[str] = (),
    ignore: Sequence[str] = (),
    pickle: bool = False,
    convert: bool = False,
    adapter: bool = False,
    shard_gb: ShardSize = "auto",
    fresh: bool = False,
    platform: str = PLATFORM,
    modelpack: bool = False,
    cache: Path | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
    stop: threading.Event | None = None,
    writer: Writer = write_packed,
) -> Image:
    """Pack the weights of `source` as one image at `destination` and return it.

    `source` is a folder, `hf://org/name@<commit>`, `gs://bucket/prefix`, or an image or a model's artifact by digest,
    `oci://HOST/REPO@sha256:…`, of which each layer is compared with its digest; `destination` is `oci:FOLDER` or
    `HOST/REPO` with or without a tag; `base` is `scratch` or an image by digest. `jobs` layers are under way
    at once, each with a few MB of memory. `allow`, `ignore`, `pickle`, `convert` and `adapter` are Selection's.
    `shard_gb` says which weight files are cut, and how small (`reshard.resharded`). `cache` is the folder that
    remembers digests (default: below the XDG cache folder); setting `stop` ends the run early. `writer` is for those
    who write less than the whole (`shares`).
    `platform` is what the image runs on: of a base for several platforms that one is taken. With `modelpack` a
    ModelPack artifact over the same layers is stored beside the image.

    What is known is not read: layers whose digests are remembered, and those of the hub's files that an image which
    was packed into `destination` has by the same key. With `fresh` all is read anew; what is there is still not sent
    again.

    In a registry the image also gets the tags `digest-sha256-<hex>` and `packed-sha256-<hex>`; manifest and tags are
    written when all else is there.

    Raises:
        InputError: the arguments or the source cannot make an image; all problems at once.
        ImageError: reading or storing failed for good; nothing that was left behind looks like an image.
    """
    selection = Selection(tuple(allow), tuple(ignore), pickle=pickle, convert=convert, adapter=adapter)
    session = Session.start(reporter, policy, cache, stop)
    problems = [] if jobs >= 1 else [f"--jobs is {jobs}: give 1 or more"]
    place: Reference | None = None
    parsed_base: tuple[Reference, str] | None = None
    opened: Callable[[Reference], AbstractContextManager[Source]] | None = None
    with collecting(problems):
        place = parse_destination(destination)
    with collecting(problems):
        parsed_base = parse_base(base)
    with collecting(problems):
        check_platform(platform)
    with collecting(problems):
        if origin_of(source) is Origin.IMAGE:
            image = stored_model.parse(source)
            opened = partial(stored_model.opened, session, image, selection=selection, jobs=jobs)
        else:
            opened = partial(_at_hand, open_source(source, selection, session.patience))
    if place is not None and modelpack:
        with collecting(problems):
            check_destination(place)
    if problems or place is None or opened is None:
        raise InputError(*problems)
    form = Form(shard_gb, platform, modelpack=modelpack)
    with opened(place) as listed:
        return pack_source(session, listed, place, parsed_base, jobs=jobs, form=form, fresh=fresh, writer=writer)


def _at_hand(listed: Source, _: Reference) -> AbstractContextManager[Source]:
    return nullcontext(listed)


@dataclass(frozen=True)
class Form:
    """What form an image gets: its shards' size, what it runs on, and whether a ModelPack artifact lies beside it."""

    shard_gb: ShardSize = "auto"
    platform: str = PLATFORM
    modelpack: bool = False


def pack_source(
    session: Session,
    listed: Source,
    place: Reference,
    parsed_base: tuple[Reference, str] | None,
    *,
    jobs: int,
    form: Form,
    fresh: bool = False,
    writer: Writer = write_packed,
) -> Image:
    """Pack a source that is listed and accepted, upon a base by digest or none; `fresh` as for `pack`."""
    for note in listed.notes:
        session.reporter.note(f"note: {note}")
    with ExitStack() as stack:
        listed = stack.enter_context(converted(listed, session.cache.folder, session.reporter, session.stop))
        below = _Base()
        if parsed_base is not None:
            reference, digest = parsed_base
            below = _open_base(stack.enter_context(session.reading(reference, place)), reference, digest, form.platform)
        layers = plan_layers(listed.files, base_layers=len(below.layers), shard_gb=form.shard_gb)
        for note in notes_on(layers, base_layers=len(below.layers)):
            session.reporter.note(f"note: {note}")
        store = stack.enter_context(session.writing(place))
        if below.repository:
            for layer in below.layers:
                session.cache.seen_in(below.repository, layer.digest)
        draft = _draft(session, place, listed, below, layers, form=form, fresh=fresh)
        written = writer(session, store, place, draft, jobs)
        # Of the layers: a GGUF that is cut has other names than its source's.
        return replace(written, traits=traits_of(file for layer in layers for file in layer.files))


@dataclass(frozen=True)
class _Base:
    """What the new layers lie upon; the defaults are `scratch`."""

    layers: tuple[Descriptor, ...] = ()
    parts: tuple[Part, ...] = ()
    config: ImageConfig | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    repository: str | None = None


def _open_base(reader: Reader, reference: Reference, digest: str, platform: str) -> _Base:
    image = load_image(reader, digest, f"--base {reference}", platform)
    if len(image.config.diff_ids) != len(image.manifest.layers):
        raise ImageError(f"--base {reference}: its configuration does not fit its layers: give another image")
    annotations = {"org.opencontainers.image.base.digest": image.digest}
    repository = None
    if isinstance(reference, RegistryReference):
        annotations["org.opencontainers.image.base.name"] = reference.name
        repository = reference.name
    # A layout's path differs from machine to machine and would change the digest: only its digest is noted.
    layers = tuple(as_oci(layer) for layer in image.manifest.layers)
    parts = tuple(Part.existing("base layer", reader, layer) for layer in layers)
    return _Base(layers, parts, image.config, annotations, repository)


def _draft(
    session: Session,
    place: Reference,
    source: Source,
    base: _Base,
    layers: Sequence[Layer],
    *,
    form: Form,
    fresh: bool,
) -> Draft:
    cache, below = session.cache, base.layers
    notes = layer_annotations(layers)
    titles = [note[TITLE_ANNOTATION] for note in notes]
    unbelieving = fresh or source.is_read
    earlier = Earlier(place, layers, titles, cache, fresh=unbelieving, tell=session.reporter.note)
    beside = ModelPack.of(layers, source.annotations) if form.modelpack else None

    def passed(_: bytes) -> None:
        if session.stop.is_set():
            raise CancelledError("stopped while a file's checksum was made")

    def finish(written: list[Written]) -> Documents:
        own = [
            (Descriptor(mediaType=LAYER_TYPE, digest=done.digest, size=layer.size, annotations=note), layer.title)
            for done, layer, note in zip(written[len(below) :], layers, notes, strict=True)
        ]
        noted = {**base.annotations, **source.annotations}
        lists = Blob.of("chunk lists", chunks.written({done.digest: done.listed for done in written[len(below) :]}))
        last = (chunks.described(lists), lists.title)
        documents = Documents.composed(base.config, below, [*own, last], noted, form.platform)
        documents = replace(documents, blobs=[lists, *documents.blobs])
        if not beside:
            return documents
        return replace(documents, beside=Beside(NAME, *beside.written([layer for layer, _ in own])))

    chains: dict[Whole, Chain] = {}
    own: list[Part] = []
    for layer in layers:
        whole = layer.part_of
        chained = whole is not None and whole.file.checksum is not None
        if whole is not None and chained and whole not in chains:
            # Until a part is read there is nothing to check: all may be there, from runs that have checked it.
            whole.checking = False
            whole.passed = passed
            chains[whole] = Chain(partial(_finish, cache, whole))
        known = None if fresh else cache.digest_of(layer)
        at_hand = source.is_read or all(file.is_at_hand for file in layer.files)
        put = OwnLayer(cache, earlier, layer, whole if chained else None, at_hand=at_hand).put
        blob = Blob(layer.title, layer.size, layer.chunks, known)
        own.append(Part(blob, put, chains[whole] if whole is not None and chained else None, layer.key))
    return Draft(finish, [*base.parts, *own], verify=source.verify)


def _finish(cache: LayerCache, whole: Whole) -> None:
    if whole.checking:
        whole.verify()
        cache.checked(whole.file.identity)
