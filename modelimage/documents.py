"""Manifests, indexes and image configurations: read as the OCI image specification (v1.1) has them, and written.

Docker's own media types (schema 2) are read as well, since most bases are stored in them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelimage.errors import ImageError
from modelimage.machines import PLATFORM
from modelimage.streams import digest_of
from oci_model_serving.reference import DIGEST

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
EMPTY, EMPTY_TYPE = b"{}", "application/vnd.oci.empty.v1+json"
"""Content that stands for none (OCI image specification v1.1, "Guidance for an empty descriptor")."""
_DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_INDEX_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (MANIFEST_TYPE, _DOCKER_MANIFEST_TYPE)
INDEX_TYPES = (INDEX_TYPE, _DOCKER_INDEX_TYPE)

EPOCH = "1970-01-01T00:00:00Z"
"""The creation time of every image: the time of packing would make each digest a new one."""

SIZE_ANNOTATION = "oci-model-serving.size-bytes"
"""Annotation with the sum of all layers in bytes, base included: what a node downloads."""

TITLE_ANNOTATION = "org.opencontainers.image.title"
"""Annotation with what a person calls a thing; of a layer it is the file that `oras pull` makes of the blob."""

PATH_ANNOTATION = "olot.layer.content.inlayerpath"
"""Annotation with the path of the one file of a layer, from the image's root (containers/olot, layer annotations)."""

_LAYER_TYPES = {
    "application/vnd.docker.image.rootfs.diff.tar": LAYER_TYPE,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{LAYER_TYPE}+gzip",
}


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


_D = TypeVar("_D", bound=_Document)


class RunsOn(_Document):
    """What a manifest of an index runs on."""

    architecture: str = ""
    os: str = ""

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


class Descriptor(_Document):
    """A reference to content: its type, its digest and its size in bytes."""

    media_type: str = Field(alias="mediaType")
    digest: Annotated[str, Field(pattern=f"^{DIGEST.pattern}$")]
    size: Annotated[int, Field(ge=0, lt=1 << 63)]
    platform: RunsOn | None = None
    annotations: dict[str, str] | None = None

    def written(self) -> dict[str, Any]:
        """The descriptor as it stands in a manifest."""
        noted = {"annotations": self.annotations} if self.annotations else {}
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **noted}


class Manifest(_Document):
    """One image: its configuration and its layers, the lowest first. An artifact says its type."""

    artifact_type: str = Field(default="", alias="artifactType")
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str] | None = None

    @property
    def size_bytes(self) -> int:
        """The sum of the layers in bytes, as they are stored and downloaded."""
        return sum(layer.size for layer in self.layers)


class Index(_Document):
    """Several images under one name, one for each platform."""

    manifests: list[Descriptor]


class ImageConfig(_Document):
    """An image's configuration; `config` is what a container made of it runs with."""

    architecture: str = ""
    os: str = ""
    config: dict[str, Any] = Field(default_factory=dict)
    rootfs: dict[str, Any] = Field(default_factory=dict)
    history: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def platform(self) -> str:
        """What it runs on, as `linux/amd64`."""
        return f"{self.os}/{self.architecture}"

    @property
    def diff_ids(self) -> list[str]:
        """The digests of the layers as they are unpacked."""
        return [str(digest) for digest in self.rootfs.get("diff_ids") or []]


def read_manifest(content: bytes, where: str) -> Manifest:
    """Read a manifest.

    Raises:
        ImageError: the content is none; `where` is named.
    """
    return _read(Manifest, content, where, "an image manifest")


def read_index(content: bytes, where: str) -> Index:
    """Read an index, as `read_manifest` does."""
    return _read(Index, content, where, "an image index")


def read_config(content: bytes, where: str) -> ImageConfig:
    """Read an image configuration, as `read_manifest` does."""
    return _read(ImageConfig, content, where, "an image configuration")


def _read(kind: type[_D], content: bytes, where: str, what: str) -> _D:
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ImageError(f"{where} is not {what}: {place or 'it'}: {first['msg']}") from error


def encode(document: Mapping[str, Any]) -> bytes:
    """Write a document in the one way that its digest is taken from."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def write_config(base: ImageConfig | None, layers: Sequence[tuple[str, str]], platform: str = PLATFORM) -> bytes:
    """Write the configuration of an image of `layers` (digest, what it holds) above `base`, for a platform.

    An entrypoint is dropped: KServe's modelcar and `docker run IMAGE ls` give their own commands.
    """
    system, architecture = platform.split("/")
    inherited = {key: value for key, value in (base.config if base else {}).items() if key != "Entrypoint"}
    history = [*(base.history if base else [])]
    history += [{"created": EPOCH, "created_by": "modelimage", "comment": comment} for _, comment in layers]
    return encode(
        {
            "architecture": architecture,
            "os": system,
            "created": EPOCH,
            "config": inherited,
            "rootfs": {
                "type": "layers",
                "diff_ids": [*(base.diff_ids if base else []), *(digest for digest, _ in layers)],
            },
            "history": history,
        }
    )


def write_manifest(config: bytes, layers: Sequence[Descriptor], notes: Mapping[str, str]) -> bytes:
    """Write the manifest of an image whose configuration is `config`."""
    annotations = {
        **notes,
        "org.opencontainers.image.created": EPOCH,
        SIZE_ANNOTATION: str(sum(layer.size for layer in layers)),
    }
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
            "layers": [layer.written() for layer in layers],
            "annotations": annotations,
        }
    )


def as_oci(layer: Descriptor) -> Descriptor:
    """A base's layer with the OCI name of its type; its bytes, and so its digest, stay.

    What the base says of it is left out: its titles could be those of our own layers.
    """
    media_type = _LAYER_TYPES.get(layer.media_type, layer.media_type)
    return layer.model_copy(update={"media_type": media_type, "annotations": None})
