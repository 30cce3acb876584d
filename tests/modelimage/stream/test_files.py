"""An image's files are found wherever its builder has put them, and what cannot be served so is told before it is."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from modelimage.chunks import CHUNKS, OFFSET, SIZE
from modelimage.documents import LAYER_TYPE, PATH_ANNOTATION
from modelimage.errors import DigestMismatchError, ImageError, NotFoundError
from modelimage.refusals import RegistryError
from modelimage.stream.faults import CorruptFault, StreamFault, as_fault
from oci_model_serving.reference import RegistryReference
from tests.modelimage.handmade import GZIP, digest_of, file, folder, link, packed, shell, tar
from tests.modelimage.servers import Answer, Request
from tests.modelimage.stream.rig import CHUNK, HostileRegistry, Layer, content, door_of, lists_of, many, read, single

BIG = content(3 * CHUNK + 77)
BASE: Layer = (GZIP, packed(tar(*shell(), file("etc/passwd", b"root"))), {})


def served(registry: HostileRegistry, reference: RegistryReference) -> dict[str, bytes]:
    """All files of an image, by the door."""
    with door_of(reference) as opened:
        found = {path: opened.client.get(f"/models/m/{path}").content for path in opened.image.files}
        assert opened.failed == []
    return found


def test_where_annotations_say_where_a_file_lies_no_header_is_read(registry: HostileRegistry) -> None:
    image = read(registry.push([single("a.safetensors", BIG), single("b.safetensors", BIG[:100])]))
    assert set(image.files) == {"a.safetensors", "b.safetensors"}
    assert not [request for request in registry.asked if request.headers.get("range")]
    assert image.unread == frozenset()


@pytest.mark.parametrize("lists", [True, False])
def test_images_of_other_builders_are_listed_by_their_headers(registry: HostileRegistry, lists: bool) -> None:
    docker = "application/vnd.docker.image.rootfs.diff.tar"
    shards: Layer = (docker, tar(folder("models"), file("models/a.bin", BIG), file("models/b.bin", BIG[5:])), {})
    reference = registry.push([BASE, shards, many(file("./models/config.json", b"{}"))], lists=lists)
    assert served(registry, reference) == {"a.bin": BIG, "b.bin": BIG[5:], "config.json": b"{}"}


def test_later_layers_lie_over_earlier_ones(registry: HostileRegistry) -> None:
    layers = [
        many(file("models/a", b"old"), file("models/b", b"b"), file("models/sub/c", b"c"), file("models/sub/d", b"d")),
        single("a", b"new"),
        many(file("models/.wh.b", b""), file("models/sub/.wh..wh..opq", b""), file("models/sub/e", b"e")),
    ]
    assert served(registry, registry.push(layers)) == {"a": b"new", "sub/e": b"e"}


def test_a_base_that_has_models_too_is_a_part_of_the_image(registry: HostileRegistry) -> None:
    base = many(file("models/base.json", b"1"), file("bin/sh", b"x", 0o755))
    assert served(registry, registry.push([base, single("a", b"2")])) == {"base.json": b"1", "a": b"2"}


def test_links_are_the_files_that_they_lead_to(registry: HostileRegistry) -> None:
    blobs = many(file("blobs/one", b"1"), link("models/a", "../blobs/one"), link("models/b", "/blobs/one"))
    more = many(link("models/c", "blobs/one", hard=True), link("models/d", "nowhere"), link("models/e", "."))
    assert served(registry, registry.push([blobs, more])) == {"a": b"1", "b": b"1", "c": b"1"}


def test_450_layers_are_read(registry: HostileRegistry) -> None:
    shards = [single(f"{number}.bin", bytes([number % 251]) * 10) for number in range(449)]
    image = read(registry.push(shards))
    assert len(image.files) == 449


def test_the_image_of_an_index_is_the_one_that_models_are_served_on(registry: HostileRegistry) -> None:
    image = registry.push([single("a", b"1")])
    entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image.digest, "size": 1}
    platform = {"os": "linux", "architecture": "amd64"}
    index = "application/vnd.oci.image.index.v1+json"
    reference = registry.document(
        {"schemaVersion": 2, "mediaType": index, "manifests": [{**entry, "platform": platform}]}
    )
    assert served(registry, reference) == {"a": b"1"}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([BASE], "has no files below /models"),
        ([many(file("model/a", b"1"))], "has no files below /models"),
        ([(GZIP, packed(tar(file("models/a", BIG))), {})], f"is compressed ({GZIP}): a range of it is no range"),
        (
            [BASE, (f"{LAYER_TYPE}+zstd", b"\x28\xb5\x2f\xfd" + bytes(50), {})],
            f"is compressed ({LAYER_TYPE}+zstd), and",
        ),
        ([(LAYER_TYPE, b"\x1f\x8b" + bytes(2000), {})], "cannot be listed: what should be a header"),
        ([(LAYER_TYPE, tar(file("models/a", BIG))[:-50_000], {})], "cut short"),
        (
            [(LAYER_TYPE, b"x" * 100, {PATH_ANNOTATION: "/models/a", OFFSET: "50", SIZE: "51"})],
            "which is no place in its 100 bytes",
        ),
    ],
    ids=["base alone", "elsewhere", "gzip", "zstd", "no tar", "cut", "place"],
)
def test_what_cannot_be_served_is_told_with_its_reason(
    registry: HostileRegistry, layers: list[Layer], message: str
) -> None:
    reference = registry.push(layers, lists=False)
    with pytest.raises(ImageError) as raised:
        read(reference)
    assert message in str(as_fault(raised.value, reference))
    assert str(as_fault(raised.value, reference)).startswith(str(reference))


def test_an_artifact_is_no_image(registry: HostileRegistry) -> None:
    kind = "application/vnd.cncf.model.manifest.v1+json"
    reference = registry.push([single("a", b"1")], artifactType=kind, config={"mediaType": kind, **registry.put(b"{}")})
    with pytest.raises(ImageError, match="ModelPack artifact"):
        read(reference)


def hidden(registry: HostileRegistry, part: bytes) -> None:
    """Have the registry give a blob with another byte in it from now on."""
    digest = next(digest for digest, data in registry.blobs.items() if part in data)
    data = registry.blobs[digest]
    at = data.index(part)
    registry.blobs[digest] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("part", [b"models/config.json", b'{"architectures"'])
def test_a_flipped_byte_in_a_small_layer_is_seen_before_its_files_are_listed(
    registry: HostileRegistry, lists: bool, part: bytes
) -> None:
    reference = registry.push([many(file("models/config.json", b'{"architectures": []}'))], lists=lists)
    hidden(registry, part)
    with pytest.raises(CorruptFault, match="the registry gives other bytes"):
        read(reference)


def test_a_base_that_was_changed_is_seen_though_nothing_of_it_is_served(registry: HostileRegistry) -> None:
    reference = registry.push([BASE, single("a", b"1")])
    more = packed(tar(*shell(), file("models/evil", b"1")))
    registry.blobs[digest_of(BASE[1])] = more + bytes(max(0, len(BASE[1]) - len(more)))
    with pytest.raises(ImageError):
        read(reference)


def test_another_manifest_than_the_one_that_was_asked_for_is_not_the_image(registry: HostileRegistry) -> None:
    reference = registry.push([single("a", b"1")])
    other = registry.push([single("a", b"2")])
    registry.manifests[str(reference.digest)] = registry.manifests[str(other.digest)]
    with pytest.raises(DigestMismatchError) as raised:
        read(reference)
    fault = as_fault(raised.value, reference)
    assert isinstance(fault, CorruptFault)
    assert fault.exit_code == 3


def test_another_list_than_the_manifests_is_not_read(registry: HostileRegistry) -> None:
    layer = single("a", BIG)
    reference = registry.push([layer])
    kind, data, notes = lists_of([layer])
    registry.blobs[digest_of(data)] = lists_of([single("a", BIG[1:] + b"x")])[1]
    with pytest.raises(CorruptFault, match="is not what its digest says"):
        read(reference)
    assert (kind, notes) == (LAYER_TYPE, {CHUNKS: str(CHUNK)})


@pytest.mark.parametrize("size", ["0", "65535", "99999999", "1e6", "-65536", "٦٥٥٣٦"])
def test_a_list_of_odd_chunks_is_refused(registry: HostileRegistry, size: str) -> None:
    layer = single("a", BIG)
    kind, data, _ = lists_of([layer])
    with pytest.raises(ImageError, match="chunks of"):
        read(registry.push([layer, (kind, data, {CHUNKS: size})], lists=False))


def test_a_registry_without_ranges_is_told_before_anything_is_served(registry: HostileRegistry) -> None:
    large = many(file("models/a", content(300 * CHUNK)), file("models/b", b"1"))

    def whole(request: Request) -> Answer | None:
        return Answer(200, registry.blobs[request.path.rpartition("/")[2]]) if "/blobs/" in request.path else None

    reference = registry.push([large])
    registry.hooks.append(whole)
    with pytest.raises(StreamFault, match=f"{reference.host} ignores ranges"):
        read(reference)


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        (NotFoundError("no"), "@sha256:{digest} is not there (404): ", 1),
        (RegistryError("no", status=404), "is not there (404): ", 1),
        (RegistryError("no", status=401), "wants credentials (401): ", 1),
        (RegistryError("no", status=403), "may not be read (403): ", 1),
        (RegistryError("it is odd", status=400), "@sha256:{digest}: it is odd", 1),
        (DigestMismatchError("other"), "@sha256:{digest} is not what its digest says: other", 3),
    ],
)
def test_errors_of_the_way_to_the_manifest_are_told_as_the_others(error: Any, message: str, code: int) -> None:
    digest = hashlib.sha256(json.dumps("x").encode()).hexdigest()
    fault = as_fault(error, RegistryReference("registry.example", "m", None, f"sha256:{digest}"))
    assert message.format(digest=digest) in str(fault)
    assert str(fault).startswith("registry.example/m@sha256:")
    assert fault.exit_code == code
