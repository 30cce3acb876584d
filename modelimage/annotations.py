"""What the descriptors of an image's layers say of them: for people, for other tools, and for the next packing.

The title is the one that `oras pull` gives a blob's file, so it says that the file is an archive. Layers of one file
are described as olot does (containers/olot, docs on layer annotations), which scanners and model-signing read, and say
where in the blob the file's bytes are (`chunks`), so that a range of the blob is a range of the file.
"""

from collections.abc import Sequence
from itertools import count
from pathlib import PurePosixPath

from modelimage.chunks import OFFSET, SIZE
from modelimage.documents import PATH_ANNOTATION, TITLE_ANNOTATION
from modelimage.layers import Layer
from oci_model_serving.delivery import IMAGE_ROOT

KEY = "oci-model-serving.layer.key"
"""Annotation with `Layer.key`, on layers of files that are known by their content: the same key is the same bytes."""

_OLOT = "olot.layer.content"
_ARCHIVE = ".tar"
_NAME_BYTES = 255  # of one part of a path, on every file system that `oras pull` writes to


def layer_annotations(layers: Sequence[Layer]) -> list[dict[str, str]]:
    """The annotations of an image's own layers, from what is known before a byte is read.

    They are the same on any machine: what only one machine knows (a folder's time stamps) is in none of them.
    """
    return [_of(layer, title) for layer, title in zip(layers, _titles(layers), strict=True)]


def _of(layer: Layer, title: str) -> dict[str, str]:
    notes = {TITLE_ANNOTATION: title}
    if len(layer.files) == 1:
        file = layer.files[0]
        notes[f"{_OLOT}.type"] = "file"
        notes[PATH_ANNOTATION] = f"/{IMAGE_ROOT}/{file.path}"
        notes[f"{_OLOT}.name"] = PurePosixPath(file.path).name
        notes[OFFSET], notes[SIZE] = str(layer.content_offset), str(file.size)
        if file.sha256:
            notes[f"{_OLOT}.digest"] = file.sha256
    if layer.is_known_by_content:
        notes[KEY] = layer.key
    return notes


def _titles(layers: Sequence[Layer]) -> list[str]:
    """A relative path for each layer, such that all can lie in one folder side by side."""
    titles = [""] * len(layers)
    taken: set[str] = set()
    # The deepest first: a file can give way to a folder by another name, a folder to a file cannot.
    for number in sorted(range(len(layers)), key=lambda number: -layers[number].title.count("/")):
        folder, slash, name = layers[number].title.rpartition("/")
        for attempt in count(1):
            title = f"{folder}{slash}{_shortened(name, f'-{attempt}{_ARCHIVE}' if attempt > 1 else _ARCHIVE)}"
            if title not in taken:
                break
        titles[number] = title
        taken |= {title, *(title[:end] for end, letter in enumerate(title) if letter == "/")}
    return titles


def _shortened(name: str, ending: str) -> str:
    """The name with an ending, cut where no file could be called so."""
    return name.encode()[: _NAME_BYTES - len(ending)].decode(errors="ignore") + ending
