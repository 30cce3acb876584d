"""The disk image of a node-warm cache.

Google's gke-disk-image-builder is fetched at a pinned commit and run with `go run`: a VM in the zone pulls the images
onto a disk, the disk becomes an image, and the VM goes. The name of the image is for
`nodePools.NAME.secondaryBootDisks`.
"""

import hashlib
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components import commands
from components.settings.types import GB
from modelimage.variables import without_secrets
from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.reference import ImageReference, is_google

BUILDER = "https://github.com/ai-on-gke/tools.git"
COMMIT = "dd191890bc689477123e618ac09f0100527c64f4"
"""Of May 2026, the newest seen; its command line is what `Disk.command` speaks (gke-disk-image-builder/cli/main.go)."""
_FOLDER = "gke-disk-image-builder"
_SYSTEM_GB = 10
_NAME = 63  # Compute Engine, "Naming resources"
_DIGITS = 12


class DiskImageError(OmsError):
    """The disk image cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class Disk:
    """The disk to make: of which images, where, and what else the builder is told."""

    images: Sequence[ImageReference]
    project: str
    zone: str
    logs: str
    disk_size_gb: int | None = None
    extra: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        images: Sequence[str],
        *,
        project: str,
        zone: str,
        logs: str,
        disk_size_gb: int | None = None,
        extra: Sequence[str] = (),
    ) -> "Disk":
        """Check what was said.

        Raises:
            InputError: an image has no digest, they need different credentials, or the logs are in no bucket.
        """
        if not logs.startswith("gs://"):
            raise InputError(f"--logs: is {logs!r}: write gs://bucket/prefix")
        references = [ImageReference.parse(text) for text in images]
        if len({is_google(image.host) for image in references}) > 1:
            raise InputError(
                "the builder pulls all images with the same credentials, and these are partly in Google's registry: "
                "copy the others there (`oms image copy IMAGE HOST/PATH`), or make the disk without them"
            )
        return cls(references, project, zone, logs, disk_size_gb, extra)

    def command(self) -> list[str]:
        """The builder's command line; what is added to it wins."""
        size_gb = self.disk_size_gb or disk_size_gb([_size_bytes(image) for image in self.images])
        auth = "ServiceAccountToken" if is_google(self.images[0].host) else "None"
        return [
            "go",
            "run",
            "./cli",
            f"--project-name={self.project}",
            f"--image-name={image_name(self.images)}",
            f"--zone={self.zone}",
            f"--gcs-path={self.logs}",
            f"--disk-size-gb={size_gb}",
            f"--image-pull-auth={auth}",
            "--timeout=60m",
            *(f"--container-image={image}" for image in self.images),
            *self.extra,
        ]

    def make(self) -> str:
        """Run the builder, and give the disk image's name.

        Raises:
            DiskImageError: it could not be started, or failed.
        """
        _run(self.command())
        return f"projects/{self.project}/global/images/{image_name(self.images)}"


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


def _size_bytes(image: ImageReference) -> int:
    from modelimage.transfer import inspect

    try:
        return inspect(str(image)).size_bytes
    except OmsError as error:
        raise DiskImageError(f"{image} cannot be read, or give --disk-size-gb: {error}") from error


def _run(command: Sequence[str]) -> None:
    git, go = shutil.which("git"), shutil.which("go")
    if git is None or go is None:
        missing = [name for name, path in (("git", git), ("go", go)) if path is None]
        raise DiskImageError(f"{' and '.join(missing)} not on PATH: the builder is a Go program (Go 1.23 or later)")
    environment = without_secrets(commands.inherited(os.environ))  # it is others' code
    with tempfile.TemporaryDirectory(prefix="disk-image-builder-") as temporary:
        folder = Path(temporary)
        for step in (["init", "-q"], ["fetch", "-q", "--depth=1", BUILDER, COMMIT], ["checkout", "-q", COMMIT]):
            if subprocess.run(
                [git, "-C", temporary, *step], env=environment, stdout=sys.stderr, check=False
            ).returncode:
                raise DiskImageError(f"the builder could not be fetched from {BUILDER}: see above")
        if subprocess.run(
            [go, *command[1:]], cwd=folder / _FOLDER, env=environment, stdout=sys.stderr, check=False
        ).returncode:
            raise DiskImageError("the builder failed: see above, and its logs under --logs")
