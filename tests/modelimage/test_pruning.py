"""What of a repository goes when nobody uses it, and above all what does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from modelimage import ImageError
from modelimage.documents import INDEX_TYPE, MANIFEST_TYPE, SIZE_ANNOTATION
from modelimage.pruning import AGE_UNKNOWN, Pruned, find, remove
from modelimage.registry import Registry
from oci_model_serving.reference import RegistryReference, digest_tag, packed_tag, referrers_tag
from tests.modelimage.oci_registry import MemoryRegistry


@pytest.fixture
def server() -> Iterator[MemoryRegistry]:
    with MemoryRegistry(page=2).running() as registry:
        yield registry


def manifest(server: MemoryRegistry, name: str, **more: Any) -> dict[str, Any]:
    blob = server.blob(name.encode())
    return {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": blob, "layers": [blob], **more}


def image(server: MemoryRegistry, name: str, *, own: bool = True, **more: Any) -> str:
    digest = server.put(manifest(server, name, **more))
    if own:
        server.tags[digest_tag(digest)] = digest
        server.tags[packed_tag(digest)] = digest
    return digest


def index(server: MemoryRegistry, *children: str, tag: str = "") -> str:
    entries = [{"mediaType": MANIFEST_TYPE, "digest": child, "size": 1} for child in children]
    digest = server.put({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}, tag)
    if not tag:
        server.tags[packed_tag(digest)] = digest
    return digest


def subject(digest: str) -> dict[str, Any]:
    return {"subject": {"mediaType": MANIFEST_TYPE, "digest": digest, "size": 1}}


def pruned(server: MemoryRegistry, *used: str, keep_days: float = 0, then: bool = True) -> dict[str, Pruned]:
    with Registry(RegistryReference(server.host, "m")) as registry:
        found = find(registry, used, keep_days=keep_days)
        for one in found:
            if then and not one.why:
                remove(registry, one)
    return {one.digest: one for one in found}


def test_an_image_that_nobody_uses_goes_and_one_that_is_used_stays(server: MemoryRegistry) -> None:
    old, new = image(server, "old"), image(server, "new")

    found = pruned(server, new)

    assert {digest: one.why for digest, one in found.items()} == {old: "", new: "used"}
    assert set(server.manifests) == {new}
    assert set(server.tags.values()) == {new}


def test_an_image_that_no_tag_of_ours_spells_out_is_not_touched(server: MemoryRegistry) -> None:
    theirs, other = image(server, "theirs", own=False), image(server, "other", own=False)
    server.tags |= {"latest": theirs, digest_tag(other): theirs}

    assert pruned(server) == {}
    assert theirs in server.manifests


def test_what_was_packed_elsewhere_and_copied_goes_and_a_servers_mirrored_image_stays(server: MemoryRegistry) -> None:
    model = image(server, "model", own=False, annotations={SIZE_ANNOTATION: "5"})
    platform = image(server, "platform", own=False, annotations={SIZE_ANNOTATION: "5"})
    several = index(server, platform, tag="several")
    mirrored, theirs = image(server, "vllm", own=False), image(server, "theirs", own=False)
    list_of_theirs = index(server, theirs, tag="v1")
    server.tags |= {digest_tag(digest): digest for digest in (model, several, mirrored, list_of_theirs)}

    pruned(server)

    assert set(server.manifests) == {mirrored, theirs, list_of_theirs}


@pytest.mark.parametrize("used", ["index", "child"])
def test_an_index_and_its_platforms_stay_for_each_others_sake(server: MemoryRegistry, used: str) -> None:
    children = image(server, "amd64"), image(server, "arm64", own=False)
    top = index(server, *children)

    pruned(server, top if used == "index" else children[1])

    assert {top, *children} <= set(server.manifests)


def test_an_index_that_goes_takes_along_the_platforms_that_no_other_holds(server: MemoryRegistry) -> None:
    alone, shared = image(server, "alone", own=False), image(server, "shared", own=False)
    top, other = index(server, alone, shared), index(server, shared)

    pruned(server, other)

    assert set(server.manifests) == {shared, other}
    assert top not in server.manifests


def test_an_index_of_others_holds_an_image_of_ours(server: MemoryRegistry) -> None:
    ours = image(server, "ours")
    index(server, ours, tag="v1")

    assert pruned(server)[ours].why == "held"


def test_what_a_used_image_is_attached_to_stays(server: MemoryRegistry) -> None:
    base = image(server, "base")
    used = image(server, "used", **subject(base))

    assert pruned(server, used)[base].why == "used"


@pytest.mark.parametrize("api", [True, False])
def test_signatures_and_their_list_go_with_the_image_and_those_of_others_stay(
    server: MemoryRegistry, *, api: bool
) -> None:
    server.api = api
    old, kept = image(server, "old"), image(server, "kept")
    kept_with = set()
    for digest in (old, kept):
        note = image(server, f"note of {digest}", own=False, **subject(digest))
        signature = image(server, f"cosign of {digest}", own=False)
        server.tags[referrers_tag(digest) + ".sig"] = signature
        kept_with = {note, signature}
        if not api:
            kept_with.add(index(server, note, tag=referrers_tag(digest)))

    pruned(server, kept)

    assert len(server.manifests) == (3 if api else 4)
    assert kept in server.manifests
    assert kept_with <= set(server.manifests)
    assert not [tag for tag in server.tags if old.removeprefix("sha256:") in tag]


def test_a_list_that_names_what_is_not_attached_removes_nothing_of_it(server: MemoryRegistry) -> None:
    server.api = False
    old, kept = image(server, "old"), image(server, "kept", own=False)
    server.tags["v1"] = kept
    index(server, kept, tag=referrers_tag(old))

    pruned(server)

    assert set(server.manifests) == {kept}


def test_a_bill_of_materials_that_two_images_share_stays_with_the_second(server: MemoryRegistry) -> None:
    old, kept = image(server, "old"), image(server, "kept")
    shared = image(server, "bom", own=False)
    server.tags |= {referrers_tag(digest) + ".sbom": shared for digest in (old, kept)}

    pruned(server, kept)

    assert shared in server.manifests


def test_an_age_that_the_registry_does_not_tell_keeps_an_image_unless_no_age_does(server: MemoryRegistry) -> None:
    old = image(server, "old")

    assert pruned(server, keep_days=7)[old].why == AGE_UNKNOWN
    assert old in server.manifests


def test_where_the_registry_tells_when_an_image_was_pushed_the_young_stay(server: MemoryRegistry) -> None:
    old, new = image(server, "old"), image(server, "new")
    now = time.time()
    server.pushed = {old: str(int((now - 8 * 86_400) * 1000)), new: str(int((now - 6 * 86_400) * 1000))}

    assert {digest: one.why for digest, one in pruned(server, keep_days=7).items()} == {old: "", new: "young"}
    assert set(server.manifests) == {new}  # its tags were removed first, which Google's registries want


def test_a_registry_that_removes_nothing_is_told_with_the_remedy(server: MemoryRegistry) -> None:
    server.removes = False
    image(server, "old")

    with pytest.raises(ImageError, match="REGISTRY_STORAGE_DELETE_ENABLED=true"):
        pruned(server)


def test_immutable_tags_of_googles_registries_are_told_with_the_remedy(server: MemoryRegistry) -> None:
    server.immutable = ".*"
    old = image(server, "old")
    server.pushed = {old: "1"}

    with pytest.raises(ImageError, match="--no-immutable-tags"):
        pruned(server)
    assert old in server.manifests


def test_more_tags_than_can_be_weighed_remove_nothing(server: MemoryRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelimage.pruning._TAGS", 3)
    image(server, "a")
    image(server, "b")

    with pytest.raises(ImageError, match="more than 3"):
        pruned(server)
    assert len(server.manifests) == 2
