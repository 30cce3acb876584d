"""What runs inside Cloud Build: installs what the packer needs, packs, and hands the result to the build.

It is started by the step's arguments (see ``cloud_build``) in a plain Python image, so that it may use nothing but the
standard library before the installation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Run with the requirements up to ``--``, then the arguments of ``pack``; return the exit code of what failed."""
    separator = sys.argv.index("--")
    requirements, arguments = sys.argv[1:separator], sys.argv[separator + 1 :]
    with tempfile.TemporaryDirectory() as installed:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", installed]
        if failed := subprocess.run([*pip, *requirements], check=False).returncode:
            return failed
        path = os.pathsep.join([installed, *filter(None, [os.environ.get("PYTHONPATH")])])
        packed = subprocess.run(
            [sys.executable, "-m", "modelimage", "pack", *arguments, "--json"],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            check=False,
        )
    if packed.returncode:
        return packed.returncode
    result = json.loads(packed.stdout)
    # Cloud Build keeps the first 4 KB of this file in the build's results, under the step's number.
    output = json.dumps({"digest": result["digest"], "size_bytes": result["size_bytes"]})
    (Path(os.environ["BUILDER_OUTPUT"]) / "output").write_text(output, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
