"""What an image's files are worth: which model they are, and whether a delivery brings it to its server."""

import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modelimage.chunks import place_of
from modelimage.contents import CONFIGS, is_adapter
from modelimage.documents import PATH_ANNOTATION, Descriptor, ImageConfig
from modelimage.listing import ADAPTER_CONFIG_NAME, CONFIG_NAME
from modelimage.rootfs import Content, Contents
from modelimage.rules import RESERVED_NAMES
from modelimage.traits import Traits, read_traits
from modelimage.weights import is_gguf_model, is_weights
from oci_model_serving.delivery import IMAGE_ROOT, SHELL_BASE, Delivery
from oci_model_serving.foreign import shown

_PIPELINES = frozenset({"model_index.json", "modules.json"})
"""What names a model's parts, each in a folder of its own (diffusers, sentence-transformers)."""
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What containerd searches where an image sets no PATH (oci.WithDefaultPathEnv)."""
_SHELL = ("sh", "ln", "sleep")
"""What KServe's modelcar runs in the image (`ln -sf … && sleep infinity`; pkg/webhook/admission/pod)."""
_FORMATS = {
    "safetensors": (".safetensors",),
    "gguf": (".gguf",),
    "onnx": (".onnx",),
    "keras": (".h5", ".keras"),
    "flax": (".msgpack",),
    "numpy": (".npz",),
}
_MAGIC = ((b"GGUF", "gguf"), (b"\x80", "pickle"), (b"PK\x03\x04", "pickle"))
"""GGUF's magic, a pickle's PROTO opcode, and the zip archive that `torch.save` puts one into."""


Purpose = Delivery | Literal["adapter", "compile-cache"]
"""What an image is held against: what the delivery of a model needs, or that it is a LoRA adapter or a server's compile
cache, of which its annotations tell (`cache_key`)."""


@dataclass(frozen=True)
class Model:
    """A model or an adapter in an image: its folder ("" for the root), its weights' formats, what its files say."""

    folder: str
    formats: tuple[str, ...]
    traits: Traits


def find_model(contents: Contents) -> Model | None:
    """The model that an image holds: below /models, at its root, or in the only folder that looks like one.

    Where there is none, an adapter below /models.
    """
    if is_adapter(_top(contents, IMAGE_ROOT)):
        return _model(contents, IMAGE_ROOT)
    for folder in (IMAGE_ROOT, ""):
        if _is_model(_top(contents, folder)):
            return _model(contents, folder)
    folders = model_folders(contents)
    return _model(contents, folders[0]) if len(folders) == 1 else None


def model_folders(contents: Contents) -> list[str]:
    """All folders of an image that look like a model's."""
    names: dict[str, set[str]] = {}
    for path, _ in contents.files():
        folder, _, name = path.rpartition("/")
        names.setdefault(folder, set()).add(name)
    return sorted(folder for folder, files in names.items() if _is_model(files))


def _model(contents: Contents, folder: str) -> Model:
    top = _top(contents, folder)
    formats = sorted({_format(name, content.head) for name, content in top.items()} - {""})
    held = top | dict(contents.files(folder))
    # What is kept of a configuration is all of it (`listing.head_bytes`).
    return Model(folder, tuple(formats), read_traits(held, lambda path: held[path].head))


def _format(name: str, head: bytes) -> str:
    """The format of a weights file: by its name where that says one, else by its first bytes."""
    lowered = name.lower()
    for kind, suffixes in _FORMATS.items():
        if lowered.endswith(suffixes):
            return kind
    if not is_weights(name):
        return ""
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "unknown")


def _top(contents: Contents, folder: str, *, leaving: bool = False) -> dict[str, Content]:
    """The files in a folder as a server sees them that finds it mounted: links followed, by name."""
    found = {name: contents.find(name, within=folder, leaving=leaving) for name in contents.names(folder)}
    return {name: node.content for name, node in found.items() if node and node.content}


def _is_model(names: Collection[str]) -> bool:
    """Whether the files at a folder's top are a model's: as `contents` has it when one is packed."""
    if is_adapter(names):
        return False
    configured = any(CONFIGS.fullmatch(name) for name in names)
    return any(is_gguf_model(name) for name in names) or (configured and any(is_weights(name) for name in names))


def _is_served(contents: Contents, folder: str, top: Collection[str]) -> bool:
    """Whether a server finds a model in a folder: at its top, as a GGUF below, or in the parts of a pipeline."""
    if _is_model(top):
        return True
    below = [path for name in contents.names(folder) for path in _below(contents, folder, name)]
    return any(is_gguf_model(path) for path in below) or (
        not _PIPELINES.isdisjoint(top) and any(is_weights(path) for path in below)
    )


def _below(contents: Contents, folder: str, name: str) -> Iterator[str]:
    if folder or name not in RESERVED_NAMES:
        yield from (path for path, _ in contents.files(f"{folder}/{name}"))


def misfits(
    contents: Contents, config: ImageConfig, purpose: Purpose, reference: str, layers: Sequence[Descriptor] = ()
) -> list[str]:
    """What keeps an image from being served, as far as its files are listed; each with its remedy.

    `layers` are those of its manifest: of a compressed one no range is a range of a file.
    """
    if contents.damaged:
        return [f"{reference} cannot be unpacked: {damage}: build and push it again" for damage in contents.damaged]
    if purpose == "adapter":
        return [] if is_adapter(_top(contents, IMAGE_ROOT)) else [_no_adapter(reference)]
    delivery = Delivery(purpose)
    found = [*_missing_files(contents, delivery, reference)]
    if delivery.streamed and not found:
        found += _unstreamed(contents, layers, reference)
    if delivery.needs_shell and (missing := [name for name in _SHELL if not _runs(contents, config, name)]):
        found.append(
            f"{reference} is not for delivery {delivery.value}: KServe runs `sh`, `ln` and `sleep` in it, and "
            f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} not on its PATH: `oms image repack {reference} "
            f"DEST --base {SHELL_BASE}` puts it upon one that has them; deliveries by image volume need none"
        )
    return found


def _unstreamed(contents: Contents, layers: Sequence[Descriptor], reference: str) -> Iterator[str]:
    """What the sidecar of delivery `stream`, or the loader behind it, does not read."""
    said = f"{reference} is not for delivery {Delivery.STREAM.value}: "
    top = _top(contents, IMAGE_ROOT, leaving=True)
    if not any(name.lower().endswith(_FORMATS["safetensors"]) for name in top):
        formats = sorted({_format(name, content.head) for name, content in top.items()} - {""})
        yield (
            f"{said}/{IMAGE_ROOT} holds {_listed(formats) or 'no weights at its top'} and no safetensors, which alone "
            "its loader reads: convert them (`models.NAME.files.convert: safetensors`), or deliver it as a volume"
        )
    files = {f"/{IMAGE_ROOT}/{name}": content for name, content in contents.followed(IMAGE_ROOT)}
    used = {content.layer for content in files.values() if content.size}
    packed = [layers[number] for number in sorted(used) if number < len(layers)]
    squeezed = [layer.digest for layer in packed if not layer.media_type.endswith("tar")]
    if squeezed:
        yield (
            f"{said}{len(squeezed)} of its layers ({squeezed[0][:19]}…) are compressed: no range of them is a range "
            f"of a file: `oms image repack oci://{reference} DEST` writes plain ones, or deliver it as a volume"
        )
    lying = [layer.digest for number, layer in enumerate(layers) if not _is_as_annotated(files, number, layer)]
    if lying:
        yield (
            f"{said}the annotations of {len(lying)} of its layers ({lying[0][:19]}…) name another place than their "
            f"tars, and one digest would have two contents: `oms image repack oci://{reference} DEST` writes true ones"
        )


def _is_as_annotated(files: Mapping[str, Content], number: int, layer: Descriptor) -> bool:
    """Whether the file that a layer's annotations name is what a volume shows of it: a sidecar believes them."""
    place, path = place_of(layer), (layer.annotations or {}).get(PATH_ANNOTATION)
    if not place or not path:
        return True
    of_layer = [(name, one.offset, one.size) for name, one in files.items() if one.layer == number]
    return of_layer == [(path, *place)] if of_layer else path in files


def _no_adapter(reference: str) -> str:
    return (
        f"{reference} is no adapter: there is no {ADAPTER_CONFIG_NAME} in /{IMAGE_ROOT}, or it holds a whole model: "
        f"pack the adapter's folder with `oms image pack FOLDER DEST --adapter`, or serve this image as a model"
    )


def _missing_files(contents: Contents, delivery: Delivery, reference: str) -> Sequence[str]:
    folder = "" if delivery is Delivery.KUBEAI else IMAGE_ROOT
    top = _top(contents, folder, leaving=delivery is Delivery.MODELCAR)
    if _is_served(contents, folder, top):
        return []
    said = f"{reference} is not for delivery {delivery.value}: "
    place = f"/{folder}" if folder else "its root"
    if is_adapter(top):
        return [f"{said}{place} holds a LoRA adapter and no model: name the base model's image, and this one with it"]
    lies = model_folders(contents)
    if folder and not contents.names(folder):
        what = f"there is no /{folder}"
    elif not any(is_weights(name) for name in top):
        what = f"there are no weights in {place}" if folder else "there are no weights at its root"
    else:
        what = f"there is no {CONFIG_NAME} {'in' if folder else 'at'} {place}"
    if not lies:
        return [
            f"{said}{what}, and no other folder holds a model ({CONFIG_NAME} beside weights): is it this image that "
            f"was meant? `oms image inspect {reference}` lists its files"
        ]
    whose = {"": "the root (the layout of KubeAI)", IMAGE_ROOT: f"/{IMAGE_ROOT} (the layout of KServe)"}
    where = _listed([whose.get(path, f"/{shown(path)}") for path in lies[:3]])
    # What is chosen without --from is /models, the root or the only folder.
    several = len(lies) > 1 and not {IMAGE_ROOT, ""} & set(lies)
    chosen = f" --from {shlex.quote(shown(f'/{lies[0]}'))}" if several else ""
    shell = f" --base {SHELL_BASE}" if delivery.needs_shell else ""
    return [
        f"{said}{what}: a model lies in {where}: `oms image repack {reference} DEST{chosen}{shell}` writes the layout "
        "that all deliveries take"
    ]


def _runs(contents: Contents, config: ImageConfig, program: str) -> bool:
    """Whether a container of the image finds a program."""
    environment = config.config.get("Env")
    lines = [line for line in environment if isinstance(line, str)] if isinstance(environment, list) else []
    path = next((line.removeprefix("PATH=") for line in lines if line.startswith("PATH=")), _DEFAULT_PATH)
    for folder in path.split(":"):
        node = contents.find(f"{folder}/{program}", leaving=True, absolute=True)
        if node and node.content and node.mode & 0o111:
            return True
    return False


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
