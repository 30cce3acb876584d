"""What a pod is made of: its containers' statuses, the images that it mounts, and whose image is whose. Pure."""

import re
from collections.abc import Iterator, Mapping
from enum import Flag, auto
from typing import Any

from oci_model_serving.delivery import ADAPTER_VOLUME, KSERVE, KUBEAI, STREAM_ANNOTATION, STREAM_CONTAINER
from oci_model_serving.reference import split

JSON = Mapping[str, Any]

SOURCE_ANNOTATION = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""What KServe's controller writes on a predictor's pod and its webhook reads (KServe v0.20, pkg/constants)."""
MODELCAR = "modelcar"
STORAGE_INITIALIZER = "storage-initializer"
_SERVERS = {KSERVE.container, KUBEAI.container}
_QUOTED = re.compile(r'\\?"(?!https?:|application/)([A-Za-z0-9][^"\\\s/]*/[^"\\\s]+)\\?"')
_OF_A_REQUEST = re.compile(r"https?://([^/\s\"]+)/v2/(\S{1,255}?)/(?:manifests|blobs)/")
_DOCKER_HUB = ("index.docker.io", "registry-1.docker.io")


class Whose(Flag):
    """Whose an image or a container is."""

    MODEL = auto()
    SERVER = auto()
    ADAPTER = auto()
    OTHER = auto()
    """A sidecar's, or one that something else in the cluster adds."""
    STREAM = auto()
    """The sidecar that streams the model's image."""
    ANY = MODEL | SERVER | ADAPTER | OTHER | STREAM


def container_statuses(pod: JSON) -> Iterator[dict[str, Any]]:
    """Yield the statuses of a pod's containers, init containers first."""
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def containers_of(pod: JSON) -> dict[str, dict[str, Any]]:
    """The containers of a pod's spec by their names, init containers first."""
    spec = pod.get("spec", {})
    return {one["name"]: one for one in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))}


def image_volumes(pod: JSON) -> list[dict[str, Any]]:
    """The images that a pod mounts as volumes, as its spec has them, but for those of adapters."""
    return [image for name, image in all_image_volumes(pod) if not name.startswith(ADAPTER_VOLUME)]


def adapter_volumes(pod: JSON) -> dict[str, dict[str, Any]]:
    """The images of LoRA adapters that a pod mounts as volumes, by the adapters' names."""
    found = all_image_volumes(pod)
    return {name.removeprefix(ADAPTER_VOLUME): image for name, image in found if name.startswith(ADAPTER_VOLUME)}


def all_image_volumes(pod: JSON) -> list[tuple[str, dict[str, Any]]]:
    """The images that a pod mounts as volumes, with the volumes' names."""
    volumes = pod.get("spec", {}).get("volumes") or ()
    return [(volume["name"], volume["image"]) for volume in volumes if "image" in volume]


def source_of(pod: JSON) -> str:
    """The URI that KServe's controller has asked a pod's weights from, or that its sidecar streams; "" for none."""
    told = pod.get("metadata", {}).get("annotations") or {}
    return str(told.get(SOURCE_ANNOTATION) or told.get(STREAM_ANNOTATION) or "")


def whose_container(pod: JSON, name: str) -> Whose:
    """Whose a container is, by its name."""
    if name in _SERVERS:
        return Whose.SERVER
    if name == STREAM_CONTAINER:
        return Whose.STREAM
    if name.startswith(MODELCAR) or name == STORAGE_INITIALIZER:
        return Whose.MODEL
    alone = len(pod.get("spec", {}).get("containers") or ()) == 1
    return Whose.SERVER if alone and name in containers_of(pod) else Whose.OTHER


def named_image(text: str) -> str:
    """The image that a message is about, as it names it; "" where it names none."""
    quoted = _QUOTED.search(text)
    if quoted:
        return quoted[1]
    asked = _OF_A_REQUEST.search(text)
    return f"{asked[1]}/{asked[2]}" if asked else ""


def whose_image(pod: JSON, image: str) -> Whose | None:
    """Whose an image is, by its repository; None where the pod has none of that repository."""
    repository = repository_of(image)
    for name, volume in all_image_volumes(pod):
        if repository_of(str(volume.get("reference", ""))) == repository:
            return Whose.ADAPTER if name.startswith(ADAPTER_VOLUME) else Whose.MODEL
    if repository and repository_of(source_of(pod).partition("://")[2]) == repository:
        return Whose.MODEL
    found = [
        whose_container(pod, name)
        for name, container in containers_of(pod).items()
        if repository_of(str(container.get("image", ""))) == repository
    ]
    # The sidecar that streams runs in the server's own image, if not in one of others.
    known = [whose for whose in found if whose is not Whose.STREAM]
    return next(iter(known), Whose.OTHER if found else None)


def repository_of(image: str) -> str:
    """The repository of an image as a runtime asks for it: `nginx` is `docker.io/library/nginx`; "" of no image.

    So does containerd name images in its messages, however a pod's spec spells them (distribution/reference).
    """
    name = split(image)[0]
    host, slash, path = name.partition("/")
    if slash and (host == "localhost" or "." in host or ":" in host):
        if host in _DOCKER_HUB:
            host = "docker.io"
        return f"{host}/library/{path}" if host == "docker.io" and "/" not in path else f"{host}/{path}"
    if slash:
        return f"docker.io/{name}"
    short = name.partition(":")[0]
    return f"docker.io/library/{short}" if short else ""
