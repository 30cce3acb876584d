"""An image's files are listed in a few kilobytes, and a list that is not complete says so."""

from __future__ import annotations

from typing import Any

import pytest

from modelimage.documents import Descriptor
from modelimage.listing import Bounds, list_files
from tests.modelimage.handmade import GZIP, TAR, Shelf, file, link, packed, tar

MIB = 1 << 20


def layers(shelf: Shelf, *contents: bytes, kind: str = TAR) -> list[Descriptor]:
    return [Descriptor(mediaType=kind, digest=shelf.add(content), size=len(content)) for content in contents]


def paths(shelf: Shelf, described: list[Descriptor], **bounds: Any) -> tuple[list[str], list[str], list[str]]:
    contents = list_files(shelf, described, bounds=Bounds(**bounds))
    return [path for path, _ in contents.files()], contents.unread, contents.damaged


def test_weights_are_passed_over_unread() -> None:
    shelf = Shelf()
    described = layers(shelf, tar(file("models/a.safetensors", bytes(8 * MIB)), file("models/b", b"1")))
    assert paths(shelf, described) == (["models/a.safetensors", "models/b"], [], [])
    assert shelf.asked <= 3
    assert shelf.given < 100_000


def test_many_small_files_take_few_requests() -> None:
    shelf = Shelf()
    described = layers(shelf, tar(*(file(f"models/{number}", bytes(1000)) for number in range(5000))))
    assert len(paths(shelf, described)[0]) == 5000
    assert shelf.asked < 20


@pytest.mark.parametrize("kind", ["plain", "gzip", "no ranges"])
def test_a_configuration_and_what_tells_a_format_are_kept(kind: str) -> None:
    shelf = Shelf(ranges=kind != "no ranges")
    content = tar(file("models/config.json", b'{"a": 1}'), file("models/w.bin", b"\x80" + bytes(1000)), file("x", b"1"))
    described = layers(shelf, packed(content) if kind == "gzip" else content, kind=GZIP if kind == "gzip" else TAR)
    heads = {path: content.head for path, content in list_files(shelf, described).files()}
    assert heads == {"models/config.json": b'{"a": 1}', "models/w.bin": b"\x80" + bytes(63), "x": b""}


def test_offsets_are_where_the_content_is() -> None:
    shelf = Shelf()
    content = tar(file("n" * 200, b"one"), file("two", b"two"))
    described = layers(shelf, content)
    found = {path[:3]: item for path, item in list_files(shelf, described).files()}
    assert content[found["nnn"].offset :].startswith(b"one")
    assert content[found["two"].offset :].startswith(b"two")


def test_a_store_without_ranges_is_read_up_to_a_bound_and_says_so() -> None:
    shelf = Shelf(ranges=False)
    described = layers(shelf, tar(file("a"), file("large", bytes(4 * MIB)), file("z")))
    assert paths(shelf, described) == (["a", "large", "z"], [], [])
    found, unread, _ = paths(shelf, described, stream_bytes=2 * MIB)
    assert found == ["a", "large"]
    assert "2 MiB are all that is read" in unread[0]


def test_what_is_compressed_is_read_up_to_a_bound_of_both_its_sizes() -> None:
    shelf = Shelf()
    described = layers(shelf, packed(tar(file("a"), file("large", bytes(20 * MIB)), file("z"))), kind=GZIP)
    assert paths(shelf, described) == (["a", "large", "z"], [], [])
    found, unread, damaged = paths(shelf, described, plain_bytes=2 * MIB)
    assert (found, damaged) == (["a", "large"], [])
    assert "2 MiB are all that is read" in unread[0]
    assert "it is compressed, and its first" in paths(shelf, described, stream_bytes=1000)[1][0]


def test_time_and_numbers_are_bounded() -> None:
    shelf = Shelf()
    described = layers(shelf, tar(*(file(f"{number}") for number in range(50))), tar(file("b")))
    assert "takes too long" in paths(shelf, described, seconds=-1)[1][0]
    found, unread, _ = paths(shelf, described, entries=10)
    assert len(found) <= 10
    assert "more files than are listed" in unread[0]
    assert "more files than are listed" in paths(shelf, described, name_bytes=20)[1][0]


def test_what_is_kept_of_configurations_is_bounded() -> None:
    shelf = Shelf()
    described = layers(shelf, tar(*(file(f"{number}/config.json", bytes(1000)) for number in range(50))))
    heads = [len(content.head) for _, content in list_files(shelf, described, bounds=Bounds(head_bytes=5000)).files()]
    assert sum(heads) == 5000


def test_another_compression_is_not_guessed_at() -> None:
    shelf = Shelf()
    described = layers(shelf, b"(\xb5/\xfd" + bytes(50), kind=f"{TAR}+zstd")
    found, unread, _ = paths(shelf, [*described, *layers(shelf, tar(file("a")))])
    assert found == ["a"]
    assert "+zstd' is not read here" in unread[0]


@pytest.mark.parametrize(
    "content",
    [b"no archive at all, but longer than a block" * 20, tar(file("a", bytes(9000)))[:4000], packed(b"x" * 9000)],
)
def test_damage_is_told_from_what_is_not_read(content: bytes) -> None:
    shelf = Shelf()
    _, unread, damaged = paths(shelf, layers(shelf, content))
    assert unread == []
    assert damaged[0].startswith("layer sha256:")


def test_later_layers_hide_what_lies_below_whatever_their_form() -> None:
    shelf = Shelf()
    below, above = tar(file("models/a"), link("a", "models/a")), packed(tar(file("models/.wh.a", b""), file("b")))
    described = [*layers(shelf, below), *layers(shelf, above, kind=GZIP)]
    assert paths(shelf, described) == (["b"], [], [])
