"""A chunk is compared with what is known of it, or with what it was before, and what was noted is compared later."""

from __future__ import annotations

import hashlib

from modelimage.chunks import Lists
from modelimage.documents import LAYER_TYPE, Descriptor
from modelimage.stream.ledger import Ledger
from tests.modelimage.stream.rig import CHUNK

ONE, TWO, OTHER = (hashlib.sha256(text).digest() for text in (b"1", b"2", b"x"))


def layer(letter: str, size: int) -> Descriptor:
    return Descriptor(mediaType=LAYER_TYPE, digest=f"sha256:{letter * 64}", size=size)


LAYERS = [layer("a", CHUNK + 1), layer("b", 3 * CHUNK)]


def test_a_listed_layer_is_known_and_only_its_own_bytes_agree() -> None:
    ledger = Ledger(LAYERS, Lists(CHUNK, {LAYERS[0].digest: ONE + TWO}))
    assert (ledger.is_known(0), ledger.is_known(1)) == (True, False)
    assert ledger.agrees(0, 0, ONE)
    assert ledger.agrees(0, 1, TWO)
    assert not ledger.agrees(0, 1, ONE)
    assert (ledger.count(0), ledger.length(0, 0), ledger.length(0, 1)) == (2, CHUNK, 1)


def test_an_unlisted_chunk_must_be_what_it_was_before() -> None:
    ledger = Ledger(LAYERS, None)
    assert ledger.agrees(1, 2, ONE)
    assert ledger.agrees(1, 2, ONE)
    assert not ledger.agrees(1, 2, TWO)
    assert ledger.agrees(1, 1, TWO)


def test_what_was_noted_is_compared_with_what_becomes_known() -> None:
    ledger = Ledger(LAYERS, None)
    ledger.agrees(1, 2, OTHER)
    ledger.agrees(1, 0, ONE)
    assert ledger.publish(1, ONE + TWO + ONE) == 2
    assert ledger.is_known(1)
    assert not ledger.agrees(1, 2, OTHER)
    assert Ledger(LAYERS, None).publish(1, ONE + TWO + ONE) is None
