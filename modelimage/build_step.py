"""What runs inside Cloud Build: installs what the packer needs, packs, and hands the result to the build.

It is started by the step's arguments (see `cloud_build`) in a plain Python image, so that it may use nothing but the
standard library before the installation, after which it starts itself again.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

_MODULE = "modelimage.build_step"


def main() -> int:
    """Run with the arguments of `pack` as JSON, then the requirements to install; return the exit code."""
    job, requirements = sys.argv[1], sys.argv[2:]
    if not requirements:
        return _pack(job)
    with tempfile.TemporaryDirectory() as installed:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", installed]
        if failed := subprocess.run([*pip, *requirements], check=False).returncode:
            return failed
        path = os.pathsep.join([installed, *filter(None, [os.environ.get("PYTHONPATH")])])
        # Google's libraries warn of each Python version's end of life, among our own messages.
        again = [sys.executable, "-W", "ignore::FutureWarning", "-m", _MODULE, job]
        return subprocess.run(again, env={**os.environ, "PYTHONPATH": path}, check=False).returncode


def _pack(job: str) -> int:
    from modelimage.packer import pack  # noqa: PLC0415 - its libraries are there only now
    from modelimage.progress import reporting  # noqa: PLC0415
    from oci_model_serving.errors import OmsError  # noqa: PLC0415

    try:
        with reporting() as reporter:
            image = pack(**json.loads(job), reporter=reporter)
    except OmsError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    # Cloud Build keeps the first 4 KB of this file in the build's results, under the step's number.
    output = json.dumps({"digest": image.digest, "size_bytes": image.size_bytes, "traits": asdict(image.traits)})
    (Path(os.environ["BUILDER_OUTPUT"]) / "output").write_text(output, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
