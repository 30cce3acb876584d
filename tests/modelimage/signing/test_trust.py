"""Who vouches for an image: what is signed is verified by those who are named, and nothing else is believed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelimage import copy, pack, referrer_lists
from modelimage.errors import NotFoundError
from modelimage.patience import RetryPolicy
from modelimage.signing import bundles, trust
from modelimage.signing.bundles import BUNDLE_TYPE, SIGNATURE, BundleError
from modelimage.signing.signers import hand, trusted
from modelimage.signing.statements import PREDICATES, Facts
from modelimage.signing.trust import UnsignedError, attest, sign, verify
from modelimage.stores import StoredManifest
from oci_model_serving.errors import InputError
from tests.modelimage.oci_registry import MemoryRegistry
from tests.modelimage.signing.hands import write_keys

QUICK = RetryPolicy(attempts=2, first_seconds=0.001)
HUB = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrer_lists, "_SETTLE_SECONDS", 0.001)


@pytest.fixture(params=[True, False], ids=["API", "tag"])
def registry(request: pytest.FixtureRequest) -> Iterator[MemoryRegistry]:
    with MemoryRegistry(api=request.param).running() as server:
        yield server


@pytest.fixture
def image(registry: MemoryRegistry, model: Path) -> str:
    return pack(str(model), f"{registry.host}/m:v1").reference


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    return write_keys(tmp_path)


def attached(registry: MemoryRegistry) -> list[dict[str, Any]]:
    documents = (json.loads(content) for _, content in registry.manifests.values())
    return [document for document in documents if document.get("artifactType") == BUNDLE_TYPE]


def put(registry: MemoryRegistry, image: str, content: bytes, **more: Any) -> None:
    """Attach a bundle as anybody can who may write to the repository."""
    digest = image.partition("@")[2]
    subject = StoredManifest(digest, *registry.manifests[digest])
    document = json.loads(bundles.attachment(content, SIGNATURE, subject).content)
    registry.blobs[document["layers"][0]["digest"]] = content
    made = registry.put({**document, **more})
    if not registry.api:
        tag = digest.replace(":", "-")
        listed = registry.document(tag)["manifests"] if tag in registry.tags else []
        entry = {"mediaType": document["mediaType"], "digest": made, "size": 1, "artifactType": BUNDLE_TYPE}
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}
        registry.put({**index, "manifests": [*listed, entry]}, tag)


def test_what_a_key_has_signed_is_verified_by_it_and_by_no_other(
    image: str, keys: tuple[str, str], tmp_path: Path
) -> None:
    private, public = keys
    _, other = write_keys(tmp_path, "other")
    with pytest.raises(UnsignedError, match="no signature is attached to it"):
        verify(image, keys=[public], policy=QUICK)
    made = sign(image, key=private, policy=QUICK)
    assert list(made.attached) == [SIGNATURE]
    assert verify(image, keys=[public], policy=QUICK).signer == public
    assert verify(image, keys=[other, Path(public).read_text()], policy=QUICK).signer == "the key in PEM text"
    with pytest.raises(UnsignedError, match=r"1 attached.*by another key"):
        verify(image, keys=[other], policy=QUICK)


def test_who_has_signed_or_attested_does_not_do_it_twice(
    registry: MemoryRegistry, image: str, keys: tuple[str, str], tmp_path: Path
) -> None:
    for _ in range(2):
        again = sign(image, key=keys[0], policy=QUICK)
        attested = attest(image, Facts(HUB), key=keys[0], policy=QUICK)
    assert (again.attached, again.already) == ({}, (SIGNATURE,))
    assert (attested.attached, len(attested.already)) == ({}, 2)
    assert len(attached(registry)) == 3
    sign(image, key=write_keys(tmp_path, "other")[0], policy=QUICK)
    assert len(attached(registry)) == 4


def test_an_attestation_is_no_signature(image: str, keys: tuple[str, str]) -> None:
    attest(image, Facts(HUB), key=keys[0], files=True, policy=QUICK)
    with pytest.raises(UnsignedError, match="is not signed by"):
        verify(image, keys=[keys[1]], policy=QUICK)


def test_an_attestation_that_is_required_is_one_of_those_who_are_named(
    image: str, keys: tuple[str, str], tmp_path: Path
) -> None:
    sign(image, key=keys[0], policy=QUICK)
    attest(image, Facts(HUB), key=write_keys(tmp_path, "other")[0], policy=QUICK)
    with pytest.raises(UnsignedError, match=r"has no attestation provenance of .*own\.pub"):
        verify(image, keys=[keys[1]], attestations=["provenance"], policy=QUICK)
    attest(image, Facts(HUB), key=keys[0], files=True, policy=QUICK)
    found = verify(image, keys=[keys[1]], attestations=list(PREDICATES), policy=QUICK)
    assert found.attestations == dict.fromkeys(PREDICATES, keys[1])


def test_signatures_and_attestations_go_where_a_copy_goes(
    image: str, keys: tuple[str, str], tmp_path: Path, registry: MemoryRegistry
) -> None:
    sign(image, key=keys[0], policy=QUICK)
    attest(image, Facts(HUB), key=keys[0], files=True, policy=QUICK)
    with MemoryRegistry(api=not registry.api).running() as target:
        there = copy(image, f"{target.host}/m", policy=QUICK).reference
        assert verify(there, keys=[keys[1]], attestations=list(PREDICATES), policy=QUICK)
    layout = copy(image, f"oci:{tmp_path / 'layout'}", policy=QUICK).reference
    assert verify(layout, keys=[keys[1]], attestations=list(PREDICATES), policy=QUICK)


def test_an_image_in_a_layout_is_signed_there(model: Path, tmp_path: Path, keys: tuple[str, str]) -> None:
    layout = pack(str(model), f"oci:{tmp_path / 'layout'}").reference
    with pytest.raises(UnsignedError):
        verify(layout, keys=[keys[1]])
    sign(layout, key=keys[0])
    assert verify(layout, keys=[keys[1]]).signer == keys[1]


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def made(bundle: bytes) -> bytes:
        document = json.loads(bundle)
        change(document)
        return json.dumps(document).encode()

    return made


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


OTHER = bundles.statement(SIGNATURE, f"sha256:{'0' * 64}", {}).decode()
HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "nothing": lambda _: b"",
    "no JSON": lambda _: b"\x00\xff{",
    "deep": lambda _: b"[" * 100_000,
    "a list": lambda _: b"[]",
    "another payload": edited(lambda one: one["dsseEnvelope"].update(payload=encoded(OTHER))),
    "no base64": edited(lambda one: one["dsseEnvelope"].update(payload="é")),
    "a number as payload": edited(lambda one: one["dsseEnvelope"].update(payload=7)),
    "another payload type": edited(lambda one: one["dsseEnvelope"].update(payloadType="text/plain")),
    "no signature": edited(lambda one: one["dsseEnvelope"].update(signatures=[])),
    "two signatures": edited(lambda one: one["dsseEnvelope"].update(signatures=one["dsseEnvelope"]["signatures"] * 2)),
    "an empty signature": edited(lambda one: one["dsseEnvelope"].update(signatures=[{"sig": ""}])),
    "a signature that is none": edited(lambda one: one["dsseEnvelope"].update(signatures=[7])),
    "no envelope": edited(lambda one: one.pop("dsseEnvelope")),
    "no word on who signed": edited(lambda one: one.pop("verificationMaterial")),
    "another type": edited(lambda one: one.update(mediaType="application/json")),
    "a certificate in place of a key": edited(
        lambda one: one.update(verificationMaterial={"certificate": {"rawBytes": "AAAA"}, "tlogEntries": []})
    ),
}


@pytest.mark.parametrize("made", HOSTILE.values(), ids=HOSTILE)
def test_a_bundle_that_is_not_right_is_nobodys_and_is_told_in_a_line(
    keys: tuple[str, str], made: Callable[[bytes], bytes]
) -> None:
    payload = bundles.statement(SIGNATURE, f"sha256:{'1' * 64}", {})
    with pytest.raises(BundleError) as error:
        trusted([keys[1]]).signer_of(bundles.read(made(hand(keys[0]).bundle(payload))))
    assert len(str(error.value).splitlines()) == 1


def test_none_of_them_keeps_anybody_from_a_signature_beside_them(
    image: str, registry: MemoryRegistry, keys: tuple[str, str]
) -> None:
    payload = bundles.statement(SIGNATURE, image.partition("@")[2], {})
    for made in HOSTILE.values():
        put(registry, image, made(hand(keys[0]).bundle(payload)))
    with pytest.raises(UnsignedError, match=f"{len(HOSTILE)} attached: sha256:.*, and {len(HOSTILE) - 3} more"):
        verify(image, keys=[keys[1]], policy=QUICK)
    sign(image, key=keys[0], policy=QUICK)
    assert verify(image, keys=[keys[1]], policy=QUICK)


@pytest.mark.parametrize(
    "payload",
    [
        OTHER,
        "[]",
        "7",
        json.dumps({**json.loads(OTHER), "_type": "https://example.com/Statement"}),
        json.dumps({**json.loads(OTHER), "subject": "sha256"}),
        json.dumps({**json.loads(OTHER), "subject": [7, {"digest": 7}, {"digest": {"sha256": 7}}]}),
    ],
)
def test_a_statement_on_something_else_is_none_on_this_image(payload: str) -> None:
    try:
        claim = bundles.claim_of(payload.encode())
    except BundleError:
        return
    assert claim.digests <= {f"sha256:{'0' * 64}"}


def test_a_signature_that_is_attached_to_another_image_counts_for_neither(
    image: str, registry: MemoryRegistry, keys: tuple[str, str], model: Path
) -> None:
    (model / "config.json").write_text('{"model_type": "qwen2", "changed": true}')
    other = pack(str(model), f"{registry.host}/m:v2").reference
    sign(other, key=keys[0], policy=QUICK)
    bundle = registry.blobs[attached(registry)[0]["layers"][0]["digest"]]
    put(registry, image, bundle)
    with pytest.raises(UnsignedError, match="it is on another image"):
        verify(image, keys=[keys[1]], policy=QUICK)


UNREADABLE: list[list[dict[str, Any]]] = [
    [],
    [{"mediaType": BUNDLE_TYPE, "digest": f"sha256:{'1' * 64}", "size": 1 << 60}],
    [{"mediaType": BUNDLE_TYPE, "digest": f"sha256:{'1' * 64}", "size": 10}],
    [{"mediaType": "application/octet-stream", "digest": f"sha256:{'1' * 64}", "size": 10}],
    [{"mediaType": BUNDLE_TYPE, "digest": "sha256:1", "size": 10}],
]


def test_what_cannot_be_read_keeps_nobody_from_a_signature_beside_it(
    image: str, registry: MemoryRegistry, keys: tuple[str, str]
) -> None:
    for layers in UNREADABLE:
        put(registry, image, b"{}", layers=layers)
    with pytest.raises(UnsignedError, match="5 attached"):
        verify(image, keys=[keys[1]], policy=QUICK)
    sign(image, key=keys[0], policy=QUICK)
    assert verify(image, keys=[keys[1]], policy=QUICK)


def test_no_more_bundles_are_read_than_the_limit(
    image: str, registry: MemoryRegistry, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_COUNT_LIMIT", 3)
    for number in range(9):
        put(registry, image, b"{}", annotations={"number": str(number)})
    before = len(registry.asked)
    with pytest.raises(UnsignedError, match="and 1 more"):
        verify(image, keys=[keys[1]], policy=QUICK)
    assert len([line for line in registry.asked[before:] if "/blobs/" in line]) <= 3


def test_a_signature_of_cosign_before_v3_is_told_by_its_name(
    image: str, registry: MemoryRegistry, keys: tuple[str, str]
) -> None:
    digest = image.partition("@")[2]
    registry.tags[digest.replace(":", "-") + ".sig"] = digest
    with pytest.raises(UnsignedError, match="cosign before v3 has signed it"):
        verify(image, keys=[keys[1]], policy=QUICK)


def test_only_a_digest_is_signed_or_verified(image: str, keys: tuple[str, str]) -> None:
    tag = image.partition("@")[0] + ":v1"
    with pytest.raises(InputError, match="names no digest"):
        sign(tag, key=keys[0])
    with pytest.raises(InputError, match="names no digest"):
        verify(tag, keys=[keys[1]])
    with pytest.raises(NotFoundError):
        sign(f"{image.partition('@')[0]}@sha256:{'7' * 64}", key=keys[0], policy=QUICK)


def test_nobody_is_trusted_who_is_not_named(image: str, keys: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="nobody is named"):
        verify(image)
    with pytest.raises(InputError, match="write provenance, bom, files or a predicate's address"):
        verify(image, keys=[keys[1]], attestations=["sbom"])
