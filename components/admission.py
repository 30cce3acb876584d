"""The last look at an image before it reaches a serving resource: that it fits on the node's disk, and cannot move."""

import pulumi

from components import disk
from components.references import ImageReference
from components.schema import GB


class DiskError(pulumi.RunError):
    """An image is too large for the boot disks of the nodes that would pull it."""


def fitting(
    reference: pulumi.Output[ImageReference], size_bytes: pulumi.Input[int], disk_size_gb: int | None, key: str
) -> pulumi.Output[ImageReference]:
    """Pass the reference on once the image is known to fit.

    Sizes in the settings are checked before anything runs; this one covers images whose size only a build or another
    stack tells.

    Args:
        reference: the image.
        size_bytes: what a node downloads for it.
        disk_size_gb: boot disk of the nodes in GB, None where it is not this program's.
        key: the model's key, for the message.

    Raises:
        DiskError: when the returned output is resolved and the image does not fit.
    """
    if disk_size_gb is None:
        return reference

    def check(known: ImageReference, size: int) -> ImageReference:
        problem = disk.too_small(disk_size_gb, {key: round(size / GB, 1)})
        if problem:
            raise DiskError(f"models.{key}: bootDisk.{problem}")
        return known

    return pulumi.Output.all(reference, size_bytes).apply(lambda both: check(both[0], both[1]))


def advise_digest(setting: str, image: str) -> None:
    """Warn of a server's image that is named by a tag, which can move under a running stack."""
    if "@sha256:" not in image:
        pulumi.log.warn(
            f"{setting} is {image}: a tag can move, so write host/path@sha256:… "
            f"(`python -m modelimage inspect {image}` prints the digest)"
        )
