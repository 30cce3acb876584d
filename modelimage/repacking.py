"""Repacking: an image whose layout a delivery does not take becomes one that all take, of the same bytes."""

import threading
from collections.abc import Sequence
from pathlib import Path

from modelimage.errors import collecting
from modelimage.images import SCRATCH, Image, Session, parse_base, parse_destination
from modelimage.machines import PLATFORM, check_platform
from modelimage.modelpack import check_destination
from modelimage.packer import Form, pack_source
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter
from modelimage.source import Selection
from modelimage.stored_model import opened
from modelimage.writing import DEFAULT_JOBS
from oci_model_serving.errors import InputError
from oci_model_serving.reference import Reference, RegistryReference, parse


def repack(
    reference: str,
    destination: str,
    *,
    from_folder: str | None = None,
    base: str = SCRATCH,
    jobs: int = DEFAULT_JOBS,
    allow: Sequence[str] = (),
    ignore: Sequence[str] = (),
    pickle: bool = False,
    fresh: bool = False,
    platform: str = PLATFORM,
    modelpack: bool = False,
    cache: Path | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
    stop: threading.Event | None = None,
) -> Image:
    """Pack the model that an image or a model's artifact holds, in the layout that all deliveries take.

    `reference` is read once, by its digest; `from_folder` is the model's folder in it (default: /models, else the root,
    else the only folder that holds a model). The rest is as for `pack`. Each layer is read whole and compared with its
    digest, and what is large once more while it is packed: nothing of it is put on this machine's disk.
    `platform` and `modelpack` are as for `pack`.

    Raises:
        InputError: the arguments or the image's files cannot make an image; all problems at once.
        ImageError: reading or storing failed for good; nothing that was left behind looks like an image.
    """
    session = Session.start(reporter, policy, cache, stop)
    problems = [] if jobs >= 1 else [f"--jobs is {jobs}: give 1 or more"]
    origin: Reference | None = None
    place: Reference | None = None
    parsed_base: tuple[Reference, str] | None = None
    with collecting(problems):
        origin = parse(reference)
    if isinstance(origin, RegistryReference) and not (origin.digest or origin.tag):
        problems.append(f"{reference!r} names no image: add @sha256:<64 hex digits> or a tag")
    with collecting(problems):
        place = parse_destination(destination)
    with collecting(problems):
        parsed_base = parse_base(base)
    with collecting(problems):
        check_platform(platform)
    if place is not None and modelpack:
        with collecting(problems):
            check_destination(place)
    if problems or origin is None or place is None:
        raise InputError(*problems)
    selection = Selection(tuple(allow), tuple(ignore), pickle=pickle)
    form = Form("keep", platform, modelpack=modelpack)
    with opened(session, origin, place, selection, from_folder=from_folder, any_kind=True, jobs=jobs) as listed:
        return pack_source(session, listed, place, parsed_base, jobs=jobs, form=form, fresh=fresh)
