"""Without a list an image is read once more as a whole, and only then is it as its digest says."""

from __future__ import annotations

import pytest

from modelimage.stream.faults import CorruptFault
from modelimage.stream.files import _WHOLE_BYTES
from modelimage.stream.whole import read_whole
from tests.modelimage.handmade import digest_of, file
from tests.modelimage.servers import Answer, Request, ranged
from tests.modelimage.stream.rig import CHUNK, HostileRegistry, content, door_of, many, single

BIG = content(4 * CHUNK + 5)
LAYER = single("big.bin", BIG)


def test_a_layer_that_has_its_digest_is_known_from_then_on(registry: HostileRegistry) -> None:
    with door_of(registry.push([LAYER], lists=False)) as opened:
        assert opened.image.unread == {0}
        assert opened.get("big.bin").content == BIG
        read_whole(opened.upstream, opened.image.ledger, 0)
        assert opened.image.ledger.is_known(0)
        assert opened.get("big.bin").content == BIG


def flipped(at: int) -> bytes:
    return LAYER[1][:at] + bytes([LAYER[1][at] ^ 1]) + LAYER[1][at + 1 :]


def test_a_flipped_byte_is_found_whoever_has_asked_for_it(registry: HostileRegistry) -> None:
    reference = registry.push([LAYER], lists=False)
    registry.blobs[digest_of(LAYER[1])] = flipped(3 * CHUNK)
    with (
        door_of(reference) as opened,
        pytest.raises(CorruptFault, match=f"layer {digest_of(LAYER[1])} is not what its digest says"),
    ):
        read_whole(opened.upstream, opened.image.ledger, 0)


def test_what_was_passed_on_before_is_compared_with_what_has_the_digest(registry: HostileRegistry) -> None:
    reference = registry.push([LAYER], lists=False)
    with door_of(reference) as opened:
        registry.blobs[digest_of(LAYER[1])] = flipped(2 * CHUNK + 9)
        assert opened.get("big.bin").content != BIG  # nobody can tell yet
        registry.blobs[digest_of(LAYER[1])] = LAYER[1]
        with pytest.raises(CorruptFault, match=f"chunk 2 of layer {digest_of(LAYER[1])} is not what it was"):
            read_whole(opened.upstream, opened.image.ledger, 0)


def test_a_registry_that_gives_two_contents_is_caught_at_the_second(registry: HostileRegistry) -> None:
    with door_of(registry.push([LAYER], lists=False), slots=1) as opened:
        assert opened.get("big.bin").content == BIG
        registry.blobs[digest_of(LAYER[1])] = flipped(9)
        with pytest.raises(Exception, match=r"disconnected|peer closed"):
            opened.get("big.bin")
        assert "chunk 0 of layer" in str(opened.failed[0])
        assert isinstance(opened.failed[0], CorruptFault)


def test_headers_that_were_read_of_a_large_layer_are_compared_too(registry: HostileRegistry) -> None:
    """A registry could show other names and places, and give the right bytes when all of them are read."""
    blob = many(file("models/a", content(_WHOLE_BYTES)), file("models/b", b"right"))
    reference = registry.push([blob], lists=False)
    digest = digest_of(blob[1])
    renamed = blob[1].replace(b"models/b", b"models/c")
    assert len(renamed) == len(blob[1])

    def fix(data: bytes) -> bytes:
        """The checksum of the header that was changed."""
        at = data.index(b"models/c")
        header = bytearray(data[at : at + 512])
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        return data[:at] + bytes(header) + data[at + 512 :]

    registry.blobs[digest] = fix(renamed)
    with door_of(reference) as opened:
        assert set(opened.image.files) == {"a", "c"}
        registry.blobs[digest] = blob[1]
        with pytest.raises(CorruptFault, match=f"of layer {digest} is not what it was"):
            read_whole(opened.upstream, opened.image.ledger, 0)


def test_a_reset_in_the_middle_is_taken_up(registry: HostileRegistry) -> None:
    with door_of(registry.push([LAYER], lists=False)) as opened:
        left = [3]

        def cut(request: Request) -> Answer | None:
            if "/blobs/" not in request.path or not left[0]:
                return None
            left[0] -= 1
            whole = ranged(request, LAYER[1])
            return Answer(whole.status, whole.body, whole.headers, cut_after=90_000)

        registry.hooks.append(cut)
        read_whole(opened.upstream, opened.image.ledger, 0)
        assert opened.image.ledger.is_known(0)
