"""What packs elsewhere: the packer's own code as an archive, and the libraries that it needs there.

Where the archive is on PYTHONPATH, `python -m` STEP with a job and requirements installs what is missing and packs.
Nothing else has to exist there but Python.
"""

import importlib.metadata
import io
import lzma
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import oci_model_serving as ground
from modelimage import build_step, convert
from modelimage.errors import collecting
from modelimage.images import parse_base, parse_destination
from modelimage.origins import Origin, check_source, origin_of
from oci_model_serving.errors import InputError
from oci_model_serving.reference import LayoutReference, RegistryReference

STEP = build_step.MODULE
"""The module that packs there."""

DEFAULT_STEP_IMAGE = "python:3.12-slim"
"""The official Python image of Docker Hub; teams that pin everything give their own copy by digest."""

_REQUIREMENTS = ("google-auth", "google-cloud-storage", "httpx", "huggingface_hub", "pydantic", "requests", "tenacity")
_GROUND = ("__init__", "delivery", "errors", "foreign", "private", "reference")
_NOT_PACKING = frozenset({
    "__main__", "build_context", "bundle", "busybox", "cloud_build", "dimensions", "forecast", "licences", "pruning",
    "referrers", "repacking", "resolve", "tiny", "transfer",
})  # fmt: skip
_STREAMING = (
    "__init__", "answers", "architecture", "archives", "artifacts", "attachments", "authorisation", "cache",
    "certificates", "choice", "chunks", "contents", "credentials", "cutting", "documents", "errors", "fingerprints",
    "folder", "gguf_header", "hub_address", "images", "inflating", "layout", "layout_attachments", "layout_names",
    "listing", "machines", "origins", "patience", "pickles", "progress", "proxies", "reach", "referrer_lists",
    "refusals", "registry", "remedies", "reshard", "rootfs", "routes", "rules", "safetensors_header", "sensitive",
    "shards", "source", "stores", "streams", "tar_headers", "traits", "transport", "uploads", "variables",
    "weight_sets", "weights", "writing",
)  # fmt: skip
_LIBRARY = "tenacity"
_CODE = "code.xz"
# `kubectl apply` keeps a whole object in an annotation, which has 256 KiB: one by one, files do not get that small. And
# there is no folder that the sidecar may write to: Python imports from memory that has a name.
_STREAM_MAIN = f"""\
import lzma, os, runpy, sys, zipfile

held = os.memfd_create("code")
with zipfile.ZipFile(sys.path[0]) as packed, open(held, "wb", closefd=False) as code:
    code.write(lzma.decompress(packed.read("{_CODE}")))
sys.path[0] = f"/proc/self/fd/{{held}}"
runpy.run_module("modelimage.stream", run_name="__main__", alter_sys=True)
""".encode()


def requirements(files: Mapping[str, Any] | None = None) -> list[str]:
    """What is to be installed there, at the versions that are installed here; `files` are arguments of `pack`."""
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in _REQUIREMENTS]
    return [*pins, *(convert.REQUIREMENTS if files and files.get("convert") else ())]


def archive() -> bytes:
    """What packs, as a zip archive that Python can import from; the same code gives the same bytes."""
    own = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_PACKING)
    paths = (*(Path(ground.__file__).with_name(f"{name}.py") for name in _GROUND), *own)
    return _zipped({f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths})


def _zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as packed:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)  # its time stamp is fixed
            packed.writestr(entry, content, method, 9)
    return buffer.getvalue()


def stream_archive() -> bytes:
    """What serves an image in its server's pod, as a zip archive that Python runs: `python sidecar.zip oci+stream://…`.

    It holds `stream_code`. The same code gives the same bytes where the same libraries compress it.
    """
    plain = _zipped(stream_code(), zipfile.ZIP_STORED)
    return _zipped({"__main__.py": _STREAM_MAIN, _CODE: lzma.compress(plain, preset=9)}, zipfile.ZIP_STORED)


def stream_code() -> dict[str, bytes]:
    """The files of the stream sidecar, by their paths in the archive.

    Of what is no part of a server's image there is the library that is missing, as it is installed here.
    """
    root = Path(__file__).parents[1]
    names = [f"modelimage/{name}" for name in _STREAMING] + [f"oci_model_serving/{name}" for name in _GROUND]
    files = {f"{name}.py": (root / f"{name}.py").read_bytes() for name in names}
    files |= {f"modelimage/stream/{path.name}": path.read_bytes() for path in (root / "modelimage/stream").glob("*.py")}
    distribution = importlib.metadata.distribution(_LIBRARY)
    for path in distribution.files or ():
        # Not its .dist-info: without all of it Python's lists of what is installed break.
        if path.suffix == ".py" or path.name == "LICENSE":
            name = path.as_posix() if path.suffix else f"{_LIBRARY}/{path.name}"
            files[name] = Path(str(path.locate())).read_bytes()
    return dict(sorted(files.items()))


def check(source: str, destination: str, base: str, problems: list[str], *, who: str, disk: str) -> RegistryReference:
    """Check what is to be packed elsewhere, by whom this machine's disk is not seen, and return where it goes.

    `who` packs it, and `disk` is what is gone after it; `problems` are what is wrong with other arguments.

    Raises:
        InputError: all that is wrong.
    """
    place: RegistryReference | None = None
    with collecting(problems):
        if origin_of(source) is Origin.FOLDER:
            problems.append(f"{source!r}: {who} cannot read this machine's disk: give hf://…, gs://… or oci://…")
        elif origin_of(source) is Origin.IMAGE and not source.startswith("oci://"):
            problems.append(f"{source!r}: {who} cannot read this machine's disk: give one in a registry, oci://…")
        else:
            check_source(source)
    with collecting(problems):
        parsed = parse_destination(destination)
        if isinstance(parsed, LayoutReference):
            problems.append(f"{destination!r}: {disk} is gone after it: give HOST/REPO or HOST/REPO:TAG")
        else:
            place = parsed
    with collecting(problems):
        parsed_base = parse_base(base)
        if parsed_base is not None and isinstance(parsed_base[0], LayoutReference):
            problems.append(f"--base {base}: {who} cannot read this machine's disk: give one in a registry")
    if problems or place is None:
        raise InputError(*problems)
    return place
