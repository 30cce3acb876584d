"""The last look before anything is served: that a pool's disk holds all of its images, and that servers cannot move."""

from collections.abc import Iterable, Mapping

import pulumi

from components.google import disk
from components.model_image import ModelImage
from components.settings.models import StackModel
from components.settings.places import StackPool
from components.settings.types import GB
from oci_model_serving.errors import OmsError
from oci_model_serving.reference import ImageReference, is_by_digest


class DiskError(OmsError, pulumi.RunError):
    """The disks of a pool's nodes cannot hold its images; the message has the size that would do."""


def admit(
    models: Mapping[str, StackModel], images: Mapping[str, ModelImage]
) -> dict[str, pulumi.Output[ImageReference]]:
    """The images that may be served and what lies beside them, those of a pool once its disk is known to hold them.

    Sizes of the settings are checked before anything runs; here are those that only builds, copies and other stacks
    tell. Models without a pool run on nodes whose disks are not this program's.

    Raises:
        DiskError: when an output is resolved and the pool's disk is too small.
    """
    pools = {model.pool.key: model.pool for model in models.values() if model.pool}
    held = {key: _held(pool, {model: images[model] for model in pool.image_sizes_gb}) for key, pool in pools.items()}
    return {
        key: pulumi.Output.all(images[key].reference, held[model.pool.key]).apply(_first)
        if model.pool
        else images[key].reference
        for model in models.values()
        for key in (model.key, *(image.key for image in model.beside))
    }


def _held(pool: StackPool, images: Mapping[str, ModelImage]) -> pulumi.Output[bool]:
    """Whether the disk holds these images, once all their sizes are known; what is known before is said at once."""
    if not images:
        return pulumi.Output.from_input(True)  # all that run there are streamed past it
    if not pool.disk_known:
        return _unjudged(f"nodePools.{pool.key}.bootDisk", images)
    path = f"nodePools.{pool.key}.{pool.image_disk.setting}"
    unknown = [model for model, size in pool.image_sizes_gb.items() if size is None]
    if unknown:
        pulumi.log.info(
            f"{path}: {pool.image_disk.usable_gb} GB; the image size of {', '.join(unknown)} is known only after "
            "its build, copy or look-up: whether the disk is large enough shows then"
        )
    else:
        _say_headroom(path, pool, [size or 0 for size in pool.image_sizes_gb.values()])

    def judge(sizes: Mapping[str, int]) -> bool:
        in_gb = {model: round(size / GB, 1) for model, size in sizes.items()}
        problem = disk.too_small(pool.settings, pool.machine, in_gb)
        if problem:
            raise DiskError(f"{path}: {problem}")
        if unknown:
            _say_headroom(path, pool, in_gb.values())
        return True

    return pulumi.Output.all(**{model: image.size_bytes for model, image in images.items()}).apply(judge)


def _unjudged(path: str, images: Mapping[str, ModelImage]) -> pulumi.Output[bool]:
    """Say what the nodes' disk should have where GKE chooses it."""

    def say(sizes: Mapping[str, int]) -> bool:
        needed = disk.needed_gb(size / GB for size in sizes.values())
        pulumi.log.info(
            f"{path}: GKE chooses the boot disk of these nodes, and its {len(sizes)} images need {needed} GB: name a "
            f"ComputeClass of your own with spec.nodePoolConfig or priorities[].storage.bootDiskSize: {needed} "
            f"(computeClass), and write sizeGb: {needed}"
        )
        return True

    return pulumi.Output.all(**{model: image.size_bytes for model, image in images.items()}).apply(say)


def _say_headroom(path: str, pool: StackPool, sizes_gb: Iterable[float]) -> None:
    size_gb = pool.image_disk.usable_gb
    used = disk.used_gb(sizes_gb, gc_high_percent=pool.settings.image_gc_high_threshold_percent)
    many = len(pool.image_sizes_gb)
    need = "1 image needs" if many == 1 else f"{many} images need"
    pulumi.log.info(f"{path}: {size_gb} GB, its {need} {used} GB, headroom {size_gb - used} GB")


def _first(known: list[ImageReference]) -> ImageReference:
    return known[0]


def advise_digest(setting: str, image: str) -> None:
    """Warn of a server's image that is named by a tag, which can move under a running stack."""
    if not is_by_digest(image):
        pulumi.log.warn(
            f"{setting} is {image}: a tag can move, so write host/path@sha256:… "
            f"(`oms pin` writes it, and says it of a default)"
        )
