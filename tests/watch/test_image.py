"""An image's files, and how they begin, as its registry has them."""

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest

from modelimage.documents import Descriptor
from oci_model_serving.reference import ImageReference
from tests.modelimage.handmade import GZIP, TAR, Shelf, file, link, packed, tar
from tests.smoke import stacks
from watch import image
from watch.causes import NotHeldError
from watch.image import ImageFiles, checksums_of, files_of


def pushed(monkeypatch: pytest.MonkeyPatch, *layers: tuple[str, bytes]) -> ImageReference:
    """An image of layers, each a media type and its content, in place of a registry's."""
    shelf = Shelf()
    described = [Descriptor(mediaType=kind, digest=shelf.add(data), size=len(data)) for kind, data in layers]
    found: Any = SimpleNamespace(manifest=SimpleNamespace(layers=described))
    monkeypatch.setattr(image, "load_image", lambda *_: found)
    monkeypatch.setattr("watch.image.Registry.read_blob", lambda _, *asked: shelf.read_blob(*asked))
    monkeypatch.setattr("watch.image.Registry.read_range", lambda _, *asked: shelf.read_range(*asked))
    return ImageReference.parse(stacks.IMAGE)


@pytest.mark.parametrize("kind", [TAR, GZIP])
def test_the_files_below_models_are_listed_with_how_they_begin(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    below = tar(file("./models/a", b"first"), file("models/gone"), file("etc/passwd"), link("a", "models/a"))
    above = tar(file("models/a", b"second"), file("models/d/b", b""), file("models/.wh.gone", b""))
    layers = [(kind, packed(content) if kind == GZIP else content) for content in (below, above)]
    reference = pushed(monkeypatch, *layers)

    assert files_of(reference) == ImageFiles({"a": 6, "d/b": 0}, complete=True)
    assert checksums_of(reference, 3) == {
        "a": hashlib.sha256(b"sec").hexdigest(), "d/b": hashlib.sha256(b"").hexdigest(),
    }  # fmt: skip


def test_a_beginning_that_was_not_read_whole_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_HEADS_BYTES", 5)
    reference = pushed(monkeypatch, (TAR, tar(file("models/a", b"1234"), file("models/b", b"1234"))))

    assert set(checksums_of(reference, 4)) == {"a"}


def test_a_layer_of_another_compression_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tar(file("models/config.json", bytes(10)))
    reference = pushed(monkeypatch, (f"{TAR}+zstd", b"\x28\xb5\x2f\xfd"), (TAR, weights))

    assert files_of(reference) == ImageFiles({"config.json": 10}, complete=False)


@pytest.mark.parametrize(
    ("kind", "data"), [(TAR, b"no tar" * 500), (GZIP, b"no gzip" * 500)], ids=["no tar", "no gzip"]
)
def test_a_damaged_layer_fails_and_is_named(monkeypatch: pytest.MonkeyPatch, kind: str, data: bytes) -> None:
    reference = pushed(monkeypatch, (kind, data))

    with pytest.raises(NotHeldError, match=r"is damaged: layer sha256:[0-9a-f]{64}: "):
        files_of(reference)
