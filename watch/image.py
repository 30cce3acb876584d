"""What the registry says about a model's image: that it is there, its digest's own tag, and the files in it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import modelimage
from modelimage.archives import Header
from modelimage.images import load_image
from modelimage.listing import Bounds, head_bytes, list_files
from modelimage.patience import Patience, RetryPolicy
from modelimage.registry import Registry
from modelimage.rootfs import Contents
from oci_model_serving.delivery import IMAGE_ROOT
from oci_model_serving.errors import OmsError
from oci_model_serving.reference import ImageReference, parse_registry
from watch.causes import NotHeldError

# A check is to say soon that a registry does not answer; a push would wait for it.
_PATIENCE = RetryPolicy(attempts=3)
_HEADS_BYTES = 512 << 20


@dataclass(frozen=True)
class ImageFiles:
    """Files below /models of an image with their sizes in bytes; not `complete` where a layer was not read on."""

    sizes: dict[str, int]
    complete: bool


def check_image(reference: ImageReference) -> str:
    """Return what the registry says about an image.

    Raises:
        NotHeldError: the image is not there, or the tag that spells its digest does not point to it.
    """
    try:
        found = modelimage.inspect(str(reference), policy=_PATIENCE)
    except OmsError as error:
        raise NotHeldError(
            str(error), "build and push it with `pulumi up`, and see that you may read the registry"
        ) from None
    if not found.digest_tag:
        raise NotHeldError(
            f"{reference} is there, but the tag {reference.digest_tag} does not point to it",
            f"`oms image tag {reference}` writes the tag, which KubeAI serves by and which keeps the image "
            "from being cleaned up",
        )
    return f"{reference.digest} is there with its tag, {found.size_bytes / 1e9:.2f} GB in {len(found.layers)} layers"


def is_same_content(one: str, other: str) -> bool:
    """Whether two references by digest are of images with the same layers and settings; no where that is not known."""
    try:
        found = [modelimage.inspect(reference) for reference in (one, other)]
    except OmsError:
        return False
    layers = [[layer.digest for layer in image.layers] for image in found]
    return layers[0] == layers[1] and found[0].config == found[1].config


def files_of(reference: ImageReference) -> ImageFiles:
    """List the files below /models of an image from the headers of its layers, without reading the weights.

    Raises:
        NotHeldError: the image cannot be read, or a layer is damaged.
    """
    contents = _contents(reference, head_bytes)
    return ImageFiles({path: content.size for path, content in contents.files(IMAGE_ROOT)}, contents.complete)


def checksums_of(reference: ImageReference, length: int) -> dict[str, str]:
    """The SHA-256 of the first bytes of each file below /models that is listed, as hexadecimal digits.

    Raises:
        NotHeldError: the image cannot be read, or a layer is damaged.
    """
    contents = _contents(reference, lambda header: min(header.size, length))
    return {
        path: hashlib.sha256(content.head).hexdigest()
        for path, content in contents.files(IMAGE_ROOT)
        if len(content.head) == min(content.size, length)
    }


def _contents(reference: ImageReference, head: Callable[[Header], int]) -> Contents:
    try:
        with Registry(parse_registry(str(reference)), patience=Patience(_PATIENCE)) as registry:
            layers = load_image(registry, reference.digest, str(reference)).manifest.layers
            contents = list_files(registry, layers, bounds=Bounds(head_bytes=_HEADS_BYTES), head=head)
    except OmsError as error:
        raise NotHeldError(f"the image cannot be read: {error}", "see that you may read the registry") from None
    if contents.damaged:
        raise NotHeldError(f"{reference} is damaged: {contents.damaged[0]}", "build and push the image again")
    return contents
