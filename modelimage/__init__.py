"""Weights become one OCI image, without a daemon: packed, hashed and pushed in one pass.

`oms image` is the command line; the functions here are the same for Python. What Pulumi needs at plan
time (`fingerprint`, `former_fingerprint`, `ImageError`) is imported at once and is light; the rest is imported
when it is first used, since HTTP and validation libraries take a noticeable part of a second to load.
"""

import importlib
from typing import TYPE_CHECKING, Any

from modelimage.errors import ImageError, NotFoundError
from modelimage.fingerprints import fingerprint, former_fingerprint

if TYPE_CHECKING:
    from modelimage.build_context import write_context as write_context
    from modelimage.busybox import write_base as write_base
    from modelimage.images import Image as Image
    from modelimage.packer import pack as pack
    from modelimage.repacking import repack as repack
    from modelimage.tiny import write_tiny_model as write_tiny_model
    from modelimage.traits import Traits as Traits
    from modelimage.transfer import Inspection as Inspection
    from modelimage.transfer import copy as copy
    from modelimage.transfer import inspect as inspect
    from modelimage.transfer import tag as tag

_LATER = {
    "Traits": "traits",
    "Image": "images",
    "Inspection": "transfer",
    "copy": "transfer",
    "inspect": "transfer",
    "pack": "packer",
    "repack": "repacking",
    "tag": "transfer",
    "write_base": "busybox",
    "write_context": "build_context",
    "write_tiny_model": "tiny",
}

__all__ = [
    "Image",
    "ImageError",
    "Inspection",
    "NotFoundError",
    "Traits",
    "copy",
    "fingerprint",
    "former_fingerprint",
    "inspect",
    "pack",
    "repack",
    "tag",
    "write_base",
    "write_context",
    "write_tiny_model",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f"modelimage.{_LATER[name]}"), name)
    raise AttributeError(f"module 'modelimage' has no attribute {name!r}")
