"""A part of a blob is asked for, and an answer that is another part, or none, is not taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelimage.layout import Layout
from modelimage.patience import GaveUpError, Patience, RetryPolicy
from modelimage.refusals import RegistryError
from modelimage.registry import Registry
from modelimage.source import CHUNK_BYTES
from oci_model_serving.reference import LayoutReference, RegistryReference
from tests.modelimage.handmade import TAR, make
from tests.modelimage.servers import Answer, Request, ranged, serving

BLOB = bytes(range(256)) * 40
DIGEST = "sha256:" + "a" * 64


def registry(address: str) -> Registry:
    place = RegistryReference(address.removeprefix("http://"), "m")
    return Registry(place, patience=Patience(RetryPolicy(attempts=2, first_seconds=0.01)))


def test_only_the_part_is_asked_for() -> None:
    asked: list[str] = []

    def answer(request: Request) -> Answer:
        asked.append(request.headers["range"])
        return ranged(request, BLOB)

    with serving(answer) as address, registry(address) as store:
        assert store.read_range(DIGEST, len(BLOB), 100, 300) == BLOB[100:300]
        assert b"".join(store.read_blob(DIGEST, len(BLOB), 5, 9000)) == BLOB[5:9000]
    assert asked == ["bytes=100-299", "bytes=5-8999"]


def test_a_server_without_ranges_is_told_apart_and_its_blobs_are_read_from_their_beginning() -> None:
    with serving(lambda _: Answer(200, BLOB)) as address, registry(address) as store:
        assert store.read_range(DIGEST, len(BLOB), 100, 300) is None
        assert store.read_range(DIGEST, len(BLOB), 0, 300) is None
        assert store.read_range(DIGEST, len(BLOB), 0, len(BLOB)) == BLOB
        assert b"".join(store.read_blob(DIGEST, len(BLOB), 5, 900)) == BLOB[5:900]


def test_another_part_than_the_one_asked_for_is_refused() -> None:
    wrong = Answer(206, BLOB[:200], {"Content-Range": f"bytes 0-199/{len(BLOB)}"})
    with serving(lambda _: wrong) as address, registry(address) as store:
        with pytest.raises(RegistryError, match="asked for bytes from 100 on"):
            store.read_range(DIGEST, len(BLOB), 100, 300)
        with pytest.raises(RegistryError, match="asked for bytes from 100 on"):
            list(store.read_blob(DIGEST, len(BLOB), 100, 300))


def test_what_is_given_too_much_is_left_and_too_little_is_asked_for_again() -> None:
    much = Answer(206, BLOB, {"Content-Range": f"bytes 100-300/{len(BLOB)}"})
    with serving(lambda _: much) as address, registry(address) as store:
        assert store.read_range(DIGEST, len(BLOB), 100, 300) == BLOB[:200]
        assert b"".join(store.read_blob(DIGEST, len(BLOB), 100, 300)) == BLOB[:200]
    asked: list[Request] = []

    def little(request: Request) -> Answer:
        asked.append(request)
        return Answer(206, BLOB[:10], {"Content-Range": f"bytes 100-110/{len(BLOB)}"})

    with serving(little) as address, registry(address) as store, pytest.raises(GaveUpError, match="10 of 200 bytes"):
        store.read_range(DIGEST, len(BLOB), 100, 300)
    assert len(asked) == 2


def test_a_broken_part_is_taken_up_where_it_broke_and_ends_where_it_should() -> None:
    asked: list[str] = []
    blob = BLOB * 300

    def answer(request: Request) -> Answer:
        asked.append(request.headers["range"])
        said = ranged(request, blob)
        said.cut_after = CHUNK_BYTES + 1000 if len(asked) == 1 else None
        return said

    with serving(answer) as address, registry(address) as store:
        assert b"".join(store.read_blob(DIGEST, len(blob), 5, 3_000_000)) == blob[5:3_000_000]
    assert asked == ["bytes=5-2999999", f"bytes={CHUNK_BYTES + 5}-2999999"]


def test_a_layout_gives_parts_as_well(tmp_path: Path) -> None:
    made = make(tmp_path, [(TAR, BLOB)])
    layout, digest = Layout(LayoutReference(tmp_path)), made.manifest["layers"][0]["digest"]
    assert layout.read_range(digest, len(BLOB), 7, 1000) == BLOB[7:1000]
    assert b"".join(layout.read_blob(digest, len(BLOB), 7)) == BLOB[7:]
    assert b"".join(layout.read_blob(digest, len(BLOB))) == BLOB
