"""A server's compile cache as an image: how one is packed, with what it was made of (`cache_key`).

vLLM keeps what torch.compile and Triton have made below VLLM_CACHE_ROOT, in folders named by a hash of what it was made
of, and its documentation has one copy that folder to other machines ("torch.compile integration", "Compilation
Cache"). What is there runs in the server: whoever writes it may run code there, as with the server's own image.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelimage.cache_key import ANNOTATION, CacheKey
from modelimage.errors import ImageError, collecting
from modelimage.folder import FolderFile, walk
from modelimage.images import Image, Session, parse_destination
from modelimage.machines import PLATFORM, check_platform
from modelimage.packer import Form, pack_source
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter
from modelimage.source import Source
from modelimage.traits import Traits
from modelimage.writing import DEFAULT_JOBS
from oci_model_serving.errors import InputError
from oci_model_serving.reference import Reference

_OF_THE_MACHINE = ("gpu_p2p_access_cache_for_", "assets/")
"""What vLLM keeps there that is of no use elsewhere: which GPUs of a machine reach each other, and requests' media
(v0.23.0, device_communicators/all_reduce_utils.py, envs.VLLM_ASSETS_CACHE)."""
_NOTES = "cache_key_factors.json"
"""The values of variables that vLLM's hash is made of (v0.23.0, compilation/backends.py), which it only writes."""
_PASSING = (".lock", ".tmp")


def pack_cache(
    folder: str,
    destination: str,
    key: Mapping[str, Any],
    *,
    jobs: int = DEFAULT_JOBS,
    platform: str = PLATFORM,
    cache: Path | None = None,
    reporter: Reporter | None = None,
    policy: RetryPolicy | None = None,
    stop: threading.Event | None = None,
) -> Image:
    """Pack what a server has left in its VLLM_CACHE_ROOT, `folder`, as an image at `destination`.

    Its files lie below /models, as those of all images here. `key` has the fields of `CacheKey`; `cache` is the folder
    that remembers digests, the rest is as for `packer.pack`.

    Raises:
        InputError: the arguments are wrong, or the server has left nothing.
        ImageError: reading or storing failed for good.
    """
    session = Session.start(reporter, policy, cache, stop)
    problems: list[str] = []
    place: Reference | None = None
    with collecting(problems):
        place = parse_destination(destination)
    with collecting(problems):
        check_platform(platform)
    made_for = CacheKey.model_validate(key)
    found = walk(folder, hidden=True)
    files = [file for file in found.files if _travels(file.path)]
    if not files:
        problems.append(
            f"{folder}: the server has left nothing there: does it compile at all (--enforce-eager, "
            "VLLM_DISABLE_COMPILE_CACHE)?"
        )
    if problems or place is None:
        raise InputError(*problems, *found.unreadable)
    # What is no file, or cannot be read, the server makes anew.
    notes = tuple(f"left out: {what}" for what in (*found.unreadable, *found.refused.values()))
    annotations = {ANNOTATION: made_for.written()}
    listed = tuple(file.source_file() for file in files)
    source = Source(folder, listed, annotations, notes, verify=_unchanged(files))
    packed = pack_source(session, source, place, None, jobs=jobs, form=Form(platform=platform))
    return replace(packed, traits=Traits())


def _travels(path: str) -> bool:
    """Whether a file of the cache is of use on another machine; `.wh.` is a deletion to container runtimes."""
    name = path.rpartition("/")[2]
    no_use = path.startswith(_OF_THE_MACHINE) or name.endswith(_PASSING) or name == _NOTES
    return not (no_use or name.startswith(".wh."))


def _unchanged(files: list[FolderFile]) -> Callable[[], None]:
    def verify() -> None:
        changed = [problem for file in files if (problem := file.changed(file.now()))]
        if changed:
            raise ImageError("\n".join(changed))

    return verify
