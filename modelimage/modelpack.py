"""A ModelPack artifact over an image's own layers: one small configuration and one manifest, and no weights again.

The specification is CNCF ModelPack's (modelpack/model-spec v0.0.7: docs/spec.md, config.md, annotations.md). Its layers
may be tar archives, of which a consumer takes the paths as they stand in them (modctl v0.2.2, pkg/codec/tar.go): so
`org.cncf.model.filepath` is the path in the layer, below `models/`, as modctl writes it too. Which files are
configuration, documentation or code is told by their names, as modctl does (pkg/modelfile). A base's layers are no
part of it, so it is the same for every base and platform. What is not known of a model is left out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import PurePosixPath
from typing import Any

from modelimage import architecture, gguf_header, safetensors_header
from modelimage.architecture import Task
from modelimage.documents import EPOCH, MANIFEST_TYPE, Descriptor, encode
from modelimage.layers import Layer, is_shard
from modelimage.source import SourceFile
from modelimage.stores import StoredManifest
from modelimage.streams import Blob, digest_of
from modelimage.traits import traits_of
from modelimage.weights import format_of, is_gguf_model
from oci_model_serving.delivery import IMAGE_ROOT
from oci_model_serving.errors import InputError
from oci_model_serving.reference import TAG_CHARACTERS, Reference, RegistryReference

ARTIFACT_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
NAME = "modelpack"
"""What it is called beside its image: in a layout, and at the end of a tag."""
_LAYER_TYPE = "application/vnd.cncf.model.{}.v1.tar"
_PATH = "org.cncf.model.filepath"
_METADATA = "org.cncf.model.file.metadata+json"
_DOCUMENTS = frozenset({".md", ".rst", ".pdf", ".html"})
_DOCUMENT_NAMES = ("readme", "license", "licence", "notice", "copying", "use_policy", "acceptable_use", "changelog")
_CODE = frozenset({".py", ".sh", ".ipynb", ".cu", ".cpp"})
_REGULAR, _FOLDER = ord("0"), ord("5")
"""A tar entry's type flags (POSIX, pax)."""
_CONFIG_LIMIT_BYTES = 16 << 20

_PRECISIONS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3",
    "F8_E5M2": "float8_e5m2",
    "C64": "complex64",
}
"""Safetensors' dtypes that weights are computed in, as the specification calls them."""
_NO_PARAMETERS = frozenset({"I64", "BOOL"})
"""Dtypes of buffers, such as positions, that no one counts."""
_GGUF_PRECISIONS = {0: "float32", 1: "float16", 28: "float64", 30: "bfloat16"}
"""ggml's types that are no blocks of quantised values."""
_FORMATS = {"pytorch": "pt"}
_MODALITIES: Mapping[Task, dict[str, list[str]]] = {
    Task.GENERATION: {"outputTypes": ["text"]},
    Task.EMBEDDING: {"outputTypes": ["embedding"]},
    Task.RERANKING: {"outputTypes": ["other"]},
    Task.SPEECH: {"inputTypes": ["audio"], "outputTypes": ["text"]},
    Task.POOLING: {"outputTypes": ["other"]},
}
_SAID = {
    "name": "org.opencontainers.image.title",
    "sourceURL": "org.opencontainers.image.source",
    "revision": "org.opencontainers.image.revision",
    "vendor": "org.opencontainers.image.vendor",
    "version": "org.opencontainers.image.version",
}
_LICENSES = "org.opencontainers.image.licenses"
_SCALES = ((10**15, "Q"), (10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))


@dataclass(frozen=True)
class ModelPack:
    """What is known of a model before its layers are packed; `written` makes the artifact's documents."""

    layers: Sequence[Layer]
    annotations: Mapping[str, str]
    facts: Mapping[str, Any]
    family: str = ""

    @classmethod
    def of(cls, layers: Sequence[Layer], annotations: Mapping[str, str]) -> "ModelPack":
        """Look at the files of planned layers: their configuration, and the headers of weights.

        Raises:
            ImageError: reading failed.
        """
        files = [file for layer in layers for file in layer.files]
        config = _config(files)
        return cls(layers, annotations, _facts(files, config), _text(config.get("model_type")))

    def written(self, described: Sequence[Descriptor]) -> tuple[Blob, StoredManifest]:
        """The configuration and the manifest, given the layers as they are stored."""
        said: dict[str, Any] = {key: self.annotations[name] for key, name in _SAID.items() if name in self.annotations}
        if self.family:
            said["family"] = self.family
        if _LICENSES in self.annotations:
            said["licenses"] = [self.annotations[_LICENSES]]
        # Layers are not compressed: each is its own DiffID.
        held = {"type": "layers", "diffIds": [layer.digest for layer in described]}
        config = encode({"descriptor": said, "config": self.facts, "modelfs": held})
        content = encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": ARTIFACT_TYPE,
                "config": {"mediaType": CONFIG_TYPE, "digest": digest_of(config), "size": len(config)},
                "layers": [
                    {**stored.written(), "mediaType": _media_type(layer), "annotations": _noted(layer)}
                    for layer, stored in zip(self.layers, described, strict=True)
                ],
                "annotations": {**self.annotations, "org.opencontainers.image.created": EPOCH},
            }
        )
        return Blob.of("the ModelPack configuration", config), StoredManifest(
            digest_of(content), MANIFEST_TYPE, content
        )


def check_destination(place: Reference) -> None:
    """See that there is room for the artifact's tag, which is the image's with an ending.

    Raises:
        InputError: the image's tag is too long.
    """
    room = TAG_CHARACTERS - len(f"-{NAME}")
    if isinstance(place, RegistryReference) and place.tag and len(place.tag) > room:
        raise InputError(
            f"{place}: with --modelpack there is a second tag that ends in -{NAME}, and a tag has at most "
            f"{TAG_CHARACTERS} characters: give one of at most {room}, or none"
        )


def _media_type(layer: Layer) -> str:
    """One kind a layer: weights where it holds any, else what a server needs most of what is in it."""
    kinds = {_kind(file) for file in layer.files}
    return _LAYER_TYPE.format(
        next((kind for kind in ("weight", "weight.config", "code", "doc") if kind in kinds), "doc")
    )


def _kind(file: SourceFile) -> str:
    name = PurePosixPath(file.path.lower())
    if is_shard(file):
        return "weight"
    if name.suffix in _DOCUMENTS or name.name.startswith(_DOCUMENT_NAMES):
        return "doc"
    return "code" if name.suffix in _CODE else "weight.config"


def _noted(layer: Layer) -> dict[str, str]:
    """The path and the attributes of the layer's file; of several files those of their folder."""
    path, size, mode, kind = IMAGE_ROOT, 0, 0o755, _FOLDER
    if len(layer.files) == 1:
        path, size, mode, kind = f"{IMAGE_ROOT}/{layer.files[0].path}", layer.files[0].size, 0o644, _REGULAR
    attributes = {"name": path, "mode": mode, "uid": 0, "gid": 0, "size": size, "mtime": EPOCH, "typeflag": kind}
    return {_PATH: path, _METADATA: encode(attributes).decode()}


def _config(files: Sequence[SourceFile]) -> Mapping[str, Any]:
    file = next((file for file in files if file.path == "config.json" and file.size <= _CONFIG_LIMIT_BYTES), None)
    return architecture.json_object(file.head(file.size)) if file else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _facts(files: Sequence[SourceFile], config: Mapping[str, Any]) -> dict[str, Any]:
    traits = traits_of(files)
    quantization = config.get("quantization_config")
    count = _counted(files)
    precisions = {} if count.quantised else count.precisions
    known: dict[str, Any] = {
        "architecture": traits.architecture,
        "format": _format(files),
        "paramSize": _scaled(count.values) if count.whole else "",
        "precision": ",".join(sorted(precisions, key=lambda name: (-precisions[name], name))),
        "quantization": _text(quantization.get("quant_method")) if isinstance(quantization, dict) else "",
        # An architecture that is not named is taken to generate: that is no knowledge.
        "capabilities": _MODALITIES[Task(traits.task)] if traits.architecture else {},
    }
    return {key: value for key, value in known.items() if value}


def _format(files: Iterable[SourceFile]) -> str:
    found = format_of({file.path: file.size for file in files})
    return _FORMATS.get(found, found)


@dataclass
class _Count:
    """Values in tensors; `whole` unless some are packed so that their number is not that of the parameters.

    `quantised`: some are in blocks of a type of their own, beside which the others' precision says nothing.
    """

    values: int = 0
    whole: bool = True
    quantised: bool = False
    precisions: Counter[str] = field(default_factory=Counter)


def _counted(files: Iterable[SourceFile]) -> _Count:
    """Count the parameters by the headers of safetensors and GGUF files; what cannot be read leaves them unknown."""
    count = _Count()
    for file in files:
        with _unless_readable(count):
            if file.path.endswith(".safetensors"):
                _count_safetensors(file, count)
            elif is_gguf_model(file.path):
                _count_gguf(file, count)
    return count


@contextmanager
def _unless_readable(count: _Count) -> Iterator[None]:
    try:
        yield
    except InputError:
        count.whole = False


def _count_safetensors(file: SourceFile, count: _Count) -> None:
    for tensor in safetensors_header.read(file).tensors:
        dtype, shape = tensor.entry["dtype"], tensor.entry.get("shape")
        if dtype in _NO_PARAMETERS:
            continue
        if dtype not in _PRECISIONS or not isinstance(shape, list) or not all(isinstance(side, int) for side in shape):
            count.whole = False
            continue
        count.values += prod(shape)
        count.precisions[_PRECISIONS[dtype]] += tensor.end - tensor.start


def _count_gguf(file: SourceFile, count: _Count) -> None:
    for tensor in gguf_header.read(file).tensors:
        count.values += gguf_header.values_in(tensor.described)
        kind = int.from_bytes(tensor.described[-4:], "little")
        if kind not in _GGUF_PRECISIONS:
            count.quantised = True
        else:
            count.precisions[_GGUF_PRECISIONS[kind]] += tensor.end - tensor.start


def _scaled(count: int) -> str:
    """A number of parameters with one digit after the point, as `7.6B`; "" for none."""
    if not count:
        return ""
    scale, letter = next(((scale, letter) for scale, letter in _SCALES if count >= scale), _SCALES[-1])
    return f"{count / scale:.1f}".removesuffix(".0") + letter
