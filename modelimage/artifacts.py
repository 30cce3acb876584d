"""What a manifest is that is no container image: registries hold models in other forms, and charts and signatures.

A container runtime mounts and runs images only: containerd 2 refuses such an artifact as an image volume, or mounts an
empty folder (containerd #11381, #11907; CRI-O mounts some). By their types they are told apart: an image has the
configuration of one (image-spec v1.1, "Guidelines for Artifact Usage") and layers that are file systems. Ollama's
models have the configuration of an image and layers of their own, so both are looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from modelimage.documents import CONFIG_TYPE, LAYER_TYPE, Descriptor, Manifest
from modelimage.errors import ImageError
from oci_model_serving.reference import LAYOUT_SCHEME

_CONFIG_TYPES = frozenset(
    # The third is that of images which Docker 1.10 has pushed (distribution, schema 2).
    {CONFIG_TYPE, "application/vnd.docker.container.image.v1+json", "application/octet-stream", ""}
)
_LAYERS = ("application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs.", "application/octet-stream")
_PLAIN = "application/octet-stream"
_TITLE = "org.opencontainers.image.title"
_FILE_PATHS = ("org.cncf.model.filepath", "org.cnai.model.filepath", _TITLE)
"""Annotations that name a layer's file: ModelPack's (model-spec v0.0.7, and before its donation), ORAS'."""


@dataclass(frozen=True)
class ArtifactKind:
    """A form that is no image: what to call it, and whether it holds a model."""

    name: str
    is_model: bool = True


_KINDS = {
    "application/vnd.cncf.model.": ArtifactKind("a ModelPack artifact (modctl, docker model, KitOps)"),
    "application/vnd.cnai.model.": ArtifactKind("a ModelPack artifact of the specification's draft"),
    "application/vnd.kitops.modelkit.": ArtifactKind("a ModelKit (KitOps)"),
    "application/vnd.docker.ai.": ArtifactKind("a model of Docker Model Runner"),
    "application/vnd.ollama.": ArtifactKind("an Ollama model"),
    "application/vnd.cncf.helm.": ArtifactKind("a Helm chart", is_model=False),
    "application/vnd.dev.cosign.": ArtifactKind("a signature (cosign)", is_model=False),
    "application/vnd.dev.sigstore.": ArtifactKind("a signature (Sigstore)", is_model=False),
    "application/vnd.cncf.notary.": ArtifactKind("a signature (Notation)", is_model=False),
    "application/vnd.in-toto+": ArtifactKind("an attestation", is_model=False),
    "application/vnd.cyclonedx+": ArtifactKind("a bill of materials", is_model=False),
    "application/spdx+": ArtifactKind("a bill of materials", is_model=False),
    "text/spdx+": ArtifactKind("a bill of materials", is_model=False),
    "application/vnd.wasm.": ArtifactKind("a WebAssembly module", is_model=False),
    "application/vnd.docker.plugin.": ArtifactKind("a plugin of Docker", is_model=False),
}


class ArtifactError(ImageError):
    """What was given is an artifact and no image; `kind` says of which form."""

    def __init__(self, message: str, kind: ArtifactKind) -> None:
        super().__init__(message)
        self.kind = kind


def artifact_kind(manifest: Manifest) -> ArtifactKind | None:
    """What a manifest is that is no image; None for an image."""
    config, layers = manifest.config.media_type, [layer.media_type for layer in manifest.layers]
    foreign = [kind for kind in layers if not kind.startswith(_LAYERS)]
    if config in _CONFIG_TYPES and not foreign:
        return None
    # The artifact's own word on its type counts most, then its configuration's, then what it holds.
    said = [manifest.artifact_type, config, *dict.fromkeys(foreign)]
    for media_type in said:
        for prefix, kind in _KINDS.items():
            if media_type.startswith(prefix):
                return kind
    named = next((media_type for media_type in said if media_type not in _CONFIG_TYPES), config)
    return ArtifactKind(f"an artifact (ORAS) of type {named[:80]!r}", is_model=any(map(_is_file, manifest.layers)))


def check_image(manifest: Manifest, where: str) -> None:
    """See that a manifest is an image's.

    Raises:
        ArtifactError: it is an artifact's; the message says how to get an image of it.
    """
    kind = artifact_kind(manifest)
    if kind is None:
        return
    if not kind.is_model:
        raise ArtifactError(f"{where}: this is {kind.name}, no image: give the reference of the image itself", kind)
    remedy = (
        f"`oms image repack {where} DEST` makes one of its files (a stack: source: {_as_source(where)});"
        if has_files(manifest.layers)
        else "unpack its files into a folder with its own tool:"
    )
    raise ArtifactError(
        f"{where}: this is {kind.name}, containerd mounts images only: pack it as an image: {remedy} `oms image pack` "
        "takes the folder, or the hub's commit, that it was made of",
        kind,
    )


def _as_source(where: str) -> str:
    """An image's reference as a stack's source, by its digest."""
    name = where if where.startswith(LAYOUT_SCHEME) else f"{LAYOUT_SCHEME}//{where}"
    return name if "@" in where else "oci://HOST/REPO@sha256:…"


def has_files(layers: Sequence[Descriptor]) -> bool:
    """Whether all of an artifact's files can be read: its layers are archives, or say which file they are."""
    return bool(layers) and all(map(_is_file, layers))


def _is_file(layer: Descriptor) -> bool:
    return is_archive(layer.media_type) or layer.media_type.endswith("tgz") or bool(file_path(layer))


def unveiled(layers: Sequence[Descriptor]) -> list[Descriptor]:
    """An artifact's layers by what they are: what ORAS pushes without a type is called an archive and is a file.

    Its default type is that of an image's layer; folders alone are archives, compressed (oras-go, content/file).
    """
    return [layer.model_copy(update={"media_type": _PLAIN}) if _is_titled_file(layer) else layer for layer in layers]


def _is_titled_file(layer: Descriptor) -> bool:
    title = (layer.annotations or {}).get(_TITLE, "")
    return layer.media_type == LAYER_TYPE and bool(title) and not title.lower().endswith(".tar")


def is_archive(media_type: str) -> bool:
    """Whether a layer is a tar archive, compressed or not, by its type."""
    return media_type.endswith((".tar", "+tar", ".tar+gzip", ".tar.gzip", ".tar+zstd"))


def single_file(layer: Descriptor) -> str:
    """The path of the file that a layer is as it stands; "" where it is an archive, or does not say."""
    return "" if is_archive(layer.media_type) or layer.media_type.endswith("tgz") else file_path(layer)


def file_path(layer: Descriptor) -> str:
    """The path of the file that a layer is, as it stands; "" where the layer does not say."""
    noted = layer.annotations or {}
    return next((noted[name] for name in _FILE_PATHS if noted.get(name)), "")
