"""Layers lie over each other as a container runtime lays them, and links lead where they lead on a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from modelimage.archives import headers
from modelimage.rootfs import Content, Contents
from tests.modelimage.handmade import Bytes, file, folder, link, tar


def image(*layers: Sequence[Any]) -> Contents:
    contents = Contents()
    for number, entries in enumerate(layers):
        stream = Bytes(tar(*entries))
        contents.add([(header, Content(number, stream.position, header.size)) for header in headers(stream)])
    return contents


def files(contents: Contents, place: str = "") -> dict[str, int]:
    return {path: content.layer for path, content in contents.files(place)}


def test_a_later_layer_wins() -> None:
    assert files(image([file("a"), file("b")], [file("a")])) == {"a": 1, "b": 0}


def test_deleted_files_and_folders_are_gone_and_only_those_of_lower_layers() -> None:
    below = [folder("d"), file("d/a"), file("d/b"), file("e/c")]
    assert files(image(below, [file("d/.wh.a", b"")])) == {"d/b": 0, "e/c": 0}
    assert files(image(below, [file(".wh.d", b""), file("d/new")])) == {"d/new": 1, "e/c": 0}
    assert files(image(below, [file("d/new"), file("d/.wh..wh..opq", b"")])) == {"d/new": 1, "e/c": 0}
    assert files(image(below, [file(".wh.missing", b""), file("no/.wh.x", b"")])) == {"d/a": 0, "d/b": 0, "e/c": 0}


def test_what_takes_a_folders_place_hides_what_is_in_it() -> None:
    assert files(image([file("d/a")], [file("d")])) == {"d": 1}
    assert files(image([file("d/a")], [link("d", "elsewhere")])) == {}
    assert files(image([file("d/a")], [folder("d")])) == {"d/a": 0}
    assert files(image([link("d", "e"), file("e/a")], [folder("d"), file("d/b")])) == {"d/b": 1, "e/a": 0}


def test_an_entry_below_a_link_lands_where_the_link_leads() -> None:
    assert files(image([link("bin", "usr/bin"), folder("usr/bin")], [file("bin/sh")])) == {"usr/bin/sh": 1}
    assert files(image([link("bin", "/usr/bin"), folder("usr/bin")], [file("bin/sh")])) == {"usr/bin/sh": 1}


def test_a_hard_link_is_the_file_that_it_names() -> None:
    contents = image([file("models/a", b"123"), link("models/b", "models/a", hard=True)])
    assert [(path, content.size) for path, content in contents.files()] == [("models/a", 3), ("models/b", 3)]


def test_no_name_leaves_the_image() -> None:
    assert files(image([file("../../a"), file("./b"), file("/c"), file("x/../d")])) == {"a": 0, "b": 0, "c": 0, "d": 0}


@pytest.mark.parametrize(
    ("target", "mounted", "beside", "inside"),
    [
        ("a", True, True, True),
        ("./d/../a", True, True, True),
        ("../other/a", False, True, True),
        ("/other/a", False, False, True),
        ("../../../other/a", False, True, True),
        ("missing", False, False, False),
        ("self", False, False, False),
    ],
)
def test_a_link_leads_somewhere_else_through_a_mount(target: str, mounted: bool, beside: bool, inside: bool) -> None:
    contents = image([file("models/a"), folder("models/d"), file("other/a"), link("models/self", target)])
    found = [
        contents.find("self", within="models"),
        contents.find("self", within="models", leaving=True),
        contents.find("self", within="models", leaving=True, absolute=True),
    ]
    assert [node is not None for node in found] == [mounted, beside, inside]


def test_the_models_folder_may_itself_be_a_link() -> None:
    contents = image([file("data/q/a"), link("models", "data/q")])
    assert contents.find("a", within="models") is not None
    assert files(contents, "models") == {"a": 0}


def test_links_and_depth_without_end_are_given_up() -> None:
    chain = [link(f"l{number}", f"l{number + 1}") for number in range(60)]
    assert image([*chain, file("l60")]).find("l0") is None
    wide = image([link("x", "x/" * 1000 + "y"), folder("d")], [file("x/a")])
    assert wide.find("x/a") is None
    assert files(image([file("d/" * 1000 + "a")])) == {}
