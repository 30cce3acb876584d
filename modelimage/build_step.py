"""What runs inside Cloud Build and in a cluster's pods: installs what the packer needs, packs, and hands on the result.

It is started by name (see `bundle`) in a plain Python image, so that it may use nothing but the standard library before
the installation, after which it starts itself again. An image that has all that is needed, at the versions that are
wanted, installs nothing, and needs no package index.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelimage.variables import without_secrets

MODULE = "modelimage.build_step"

_INDEX = "JOB_COMPLETION_INDEX"
"""Which of an Indexed Job's pods this is, from 0 (Kubernetes, "Indexed Job")."""


def main() -> int:
    """Run with the arguments of `pack` as JSON, then the requirements to install; return the exit code.

    Three more keys are for pods of a Job: `shares` is in how many shares the image is packed, of which this pod's index
    tells one, `output` the file that the result is written to, and `compile_cache` has the arguments of `pack_cache`
    where it is that which is packed.
    """
    job, requirements = sys.argv[1], sys.argv[2:]
    missing = [wanted for wanted in requirements if not _is_there(wanted)]
    if not missing:
        return _pack(json.loads(job))
    with tempfile.TemporaryDirectory() as installed:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", installed]
        # All of them: what is wanted in one version may need another of what is there.
        if failed := subprocess.run([*pip, *requirements], env=without_secrets(os.environ), check=False).returncode:
            print(f"error: {', '.join(missing)} cannot be installed: give an image that has them", file=sys.stderr)
            return failed
        path = os.pathsep.join([installed, *filter(None, [os.environ.get("PYTHONPATH")])])
        # Google's libraries warn of each Python version's end of life, among our own messages.
        again = [sys.executable, "-W", "ignore::FutureWarning", "-m", MODULE, job]
        return subprocess.run(again, env={**os.environ, "PYTHONPATH": path}, check=False).returncode


def _is_there(requirement: str) -> bool:
    name, _, version = requirement.partition("==")
    try:
        return importlib.metadata.version(name) == version
    except importlib.metadata.PackageNotFoundError:
        return False


def _pack(job: dict[str, Any]) -> int:
    from modelimage.progress import reporting  # noqa: PLC0415 - its libraries are there only now
    from oci_model_serving.errors import OmsError  # noqa: PLC0415

    output, shares, kept = job.pop("output", None), job.pop("shares", None), job.pop("compile_cache", None)
    try:
        with reporting() as reporter:
            if kept:
                result = _compile_cache(kept, reporter)
            else:
                result = _share(job, shares, reporter) if shares else _whole(job, reporter)
    except OmsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    # Cloud Build keeps the first 4 KB of this file in the build's results, under the step's number.
    file = Path(output or f"{os.environ['BUILDER_OUTPUT']}/output")
    file.write_text(json.dumps(result), encoding="utf-8")
    return 0


def _whole(job: Mapping[str, Any], reporter: Any) -> dict[str, Any]:
    from modelimage.packer import pack  # noqa: PLC0415

    return _told(pack(**job, reporter=reporter))


def _share(job: Mapping[str, Any], shares: int, reporter: Any) -> dict[str, Any]:
    from modelimage.shares import pack_share  # noqa: PLC0415

    done = pack_share(**job, share=f"{int(os.environ[_INDEX]) + 1}/{shares}", reporter=reporter)
    return {
        "share": done.share.number,
        "layers": done.layers,
        "size_bytes": done.size_bytes,
        "uploaded_bytes": done.uploaded_bytes,
        "image": _told(done.image) if done.image else None,
    }


def _compile_cache(job: Mapping[str, Any], reporter: Any) -> dict[str, Any]:
    from modelimage.compile_cache import pack_cache  # noqa: PLC0415

    image = pack_cache(**job, reporter=reporter)
    return {
        "share": 1,
        "layers": len(image.layers),
        "size_bytes": image.size_bytes,
        "uploaded_bytes": sum(layer.size_bytes for layer in image.layers if layer.uploaded),
        "image": _told(image),
    }


def _told(image: Any) -> dict[str, Any]:
    said = {"digest": image.digest, "size_bytes": image.size_bytes, "traits": asdict(image.traits)}
    return {**said, "modelpack": image.modelpack} if image.modelpack else said


if __name__ == "__main__":
    sys.exit(main())
