"""Make the disk image of a node-warm cache: `python -m deploy.disk_image IMAGE… --project P --zone Z --logs gs://…`.

It fetches Google's gke-disk-image-builder at a pinned commit and runs it with `go run`: a VM in the zone pulls the
images onto a disk, the disk becomes an image, and the VM goes. The name of the image goes to stdout, for
`nodePools.NAME.secondaryBootDisks`; everything else to stderr. Exit codes: 0 made, 1 failed, 2 bad input.
"""

import argparse
import hashlib
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from components.references import ImageReference
from components.schema import GB

BUILDER = "https://github.com/ai-on-gke/tools.git"
COMMIT = "dd191890bc689477123e618ac09f0100527c64f4"
"""Of May 2026, the newest seen; its command line is what `arguments` speaks (gke-disk-image-builder/cli/main.go)."""
_FOLDER = "gke-disk-image-builder"
_SYSTEM_GB = 10
_NAME = 63  # Compute Engine, "Naming resources"
_DIGITS = 12


class DiskImageError(Exception):
    """The disk image cannot be made; the message says why and what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options, extra = _options(sys.argv[1:] if argv is None else argv)
    try:
        images = [ImageReference.parse(text) for text in options.images]
        _check_pull(images)
    except (ValueError, DiskImageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        size_gb = options.disk_size_gb or disk_size_gb([_size_bytes(image) for image in images])
        command = [*arguments(images, options.project, options.zone, options.logs, size_gb), *extra]
        if options.dry_run:
            print(shlex.join(["go", "run", "./cli", *command]))
            return 0
        _run(command)
    except DiskImageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"projects/{options.project}/global/images/{image_name(images)}")
    return 0


def image_name(images: Sequence[ImageReference]) -> str:
    """The name of the disk image: of the first image's path, and of the digest of all, so that it names its content."""
    digests = hashlib.sha256("".join(sorted(map(str, images))).encode()).hexdigest()
    own = images[0].digest.partition(":")[2] if len(images) == 1 else digests
    base = re.sub(r"[^a-z0-9]+", "-", images[0].repository.rpartition("/")[2]).strip("-")
    stem = base if base[:1].isalpha() else f"image-{base}"
    return f"{stem[: _NAME - _DIGITS - 1].rstrip('-')}-{own[:_DIGITS]}"


def disk_size_gb(size_bytes: Sequence[int]) -> int:
    """GB for the builder's two disks: its VM's holds each image twice, as pulled and unpacked, beside its system."""
    return math.ceil(2 * sum(size_bytes) / GB) + _SYSTEM_GB


def arguments(images: Sequence[ImageReference], project: str, zone: str, logs: str, size_gb: int) -> list[str]:
    """The builder's arguments; what is added to them wins."""
    auth = "ServiceAccountToken" if _is_googles(images[0]) else "None"
    return [
        f"--project-name={project}",
        f"--image-name={image_name(images)}",
        f"--zone={zone}",
        f"--gcs-path={logs}",
        f"--disk-size-gb={size_gb}",
        f"--image-pull-auth={auth}",
        "--timeout=60m",
        *(f"--container-image={image}" for image in images),
    ]


def _options(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    own, extra = list(argv), list[str]()
    if "--" in own:
        at = own.index("--")
        own, extra = own[:at], own[at + 1 :]
    parser = argparse.ArgumentParser(
        prog="python -m deploy.disk_image",
        description="Make a secondary boot disk's image with Google's builder.",
        epilog="What follows -- goes to the builder: --network, --subnet, --service-account, --machine-type …",
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="host/path@sha256:… (`pulumi stack output models`)")
    parser.add_argument("--project", required=True, help="Google project of the cluster")
    parser.add_argument("--zone", required=True, help="zone of the builder's VM")
    parser.add_argument("--logs", required=True, help="gs://bucket/prefix for the builder's logs and scripts")
    parser.add_argument("--disk-size-gb", type=int, help="of the builder's disks; default: by the images' sizes")
    parser.add_argument("--dry-run", action="store_true", help="print the builder's command line, and do nothing")
    options = parser.parse_args(own)
    if not options.logs.startswith("gs://"):
        parser.error(f"argument --logs: is {options.logs!r}: write gs://bucket/prefix")
    return options, extra


def _is_googles(image: ImageReference) -> bool:
    return image.host.endswith("pkg.dev")


def _check_pull(images: Sequence[ImageReference]) -> None:
    if len({_is_googles(image) for image in images}) > 1:
        raise DiskImageError(
            "the builder pulls all images with the same credentials, and these are partly in Artifact Registry: copy "
            "the others there (`python -m modelimage copy IMAGE HOST/PATH`), or make the disk without them"
        )


def _size_bytes(image: ImageReference) -> int:
    command = [sys.executable, "-m", "modelimage", "inspect", str(image), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise DiskImageError(f"{image} cannot be read: see above, or give --disk-size-gb")
    return int(json.loads(done.stdout)["size_bytes"])


def _run(command: Sequence[str]) -> None:
    git, go = shutil.which("git"), shutil.which("go")
    if git is None or go is None:
        missing = [name for name, path in (("git", git), ("go", go)) if path is None]
        raise DiskImageError(f"{' and '.join(missing)} not on PATH: the builder is a Go program (Go 1.23 or later)")
    with tempfile.TemporaryDirectory(prefix="disk-image-builder-") as temporary:
        folder = Path(temporary)
        for step in (["init", "-q"], ["fetch", "-q", "--depth=1", BUILDER, COMMIT], ["checkout", "-q", COMMIT]):
            if subprocess.run([git, "-C", temporary, *step], stdout=sys.stderr, check=False).returncode:
                raise DiskImageError(f"the builder could not be fetched from {BUILDER}: see above")
        builder = [go, "run", "./cli", *command]
        if subprocess.run(builder, cwd=folder / _FOLDER, stdout=sys.stderr, check=False).returncode:
            raise DiskImageError("the builder failed: see above, and its logs under --logs")


if __name__ == "__main__":
    sys.exit(main())
