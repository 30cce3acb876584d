"""What is attached to an image goes where the image goes: from and to registries of every habit, and layouts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelimage import copy, inspect, pack, referrer_lists
from modelimage import referrers as referrers_module
from modelimage.attachments import entry_of, listed_in, merged
from modelimage.documents import INDEX_TYPE, MANIFEST_TYPE
from modelimage.patience import RetryPolicy
from modelimage.progress import Reporter
from modelimage.registry import Registry
from modelimage.stores import StoredManifest
from modelimage.streams import digest_of
from oci_model_serving.reference import RegistryReference, digest_tag
from tests.modelimage.oci_registry import MemoryRegistry
from tests.modelimage.servers import Answer

QUICK = RetryPolicy(attempts=3, first_seconds=0.001)
NOTE = "application/vnd.example.note"


class Teller(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrer_lists, "_SETTLE_SECONDS", 0.001)


@pytest.fixture
def source() -> Iterator[MemoryRegistry]:
    with MemoryRegistry().running() as registry:
        yield registry


@pytest.fixture
def target() -> Iterator[MemoryRegistry]:
    with MemoryRegistry(api=False).running() as registry:
        yield registry


@pytest.fixture
def image(source: MemoryRegistry, model: Path) -> str:
    return pack(str(model), f"{source.host}/m:v1").digest


def note(registry: MemoryRegistry, subject: str, said: str = "a note", *, listed: bool = False, **more: Any) -> str:
    """Attach a note; `listed` as clients do where the registry does not list."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": NOTE,
        "config": registry.blob(b"{}"),
        "layers": [registry.blob(said.encode())],
        "subject": {"mediaType": MANIFEST_TYPE, "digest": subject, "size": 1},
        "annotations": {"said": said},
        **more,
    }
    digest = registry.put(document)
    if listed:
        tag = subject.replace(":", "-")
        former = registry.manifests[registry.tags[tag]][1] if tag in registry.tags else None
        stored = StoredManifest(digest, MANIFEST_TYPE, registry.manifests[digest][1])
        content = merged(former, [entry_of(stored)])
        assert content is not None
        registry.put(json.loads(content), tag)
    return digest


def listed(registry: MemoryRegistry, subject: str) -> list[str]:
    return [entry["digest"] for entry in registry.document(subject.replace(":", "-"))["manifests"]]


def cosigned(registry: MemoryRegistry, image: str, *signatures: str, suffix: str = ".sig") -> str:
    layers = [
        {**registry.blob(signature.encode()), "annotations": {"dev.cosignproject.cosign/signature": signature}}
        for signature in signatures
    ]
    config = registry.blob(json.dumps({"rootfs": {"diff_ids": list(signatures)}}).encode())
    document = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": layers}
    return registry.put(document, image.replace(":", "-") + suffix)


def whole(registry: MemoryRegistry, digest: str) -> bool:
    """Whether a manifest is there with all its blobs."""
    document = registry.document(digest)
    return all(blob["digest"] in registry.blobs for blob in [document["config"], *document["layers"]])


def test_signatures_come_along_into_a_registry_that_lists_by_itself(source: MemoryRegistry, image: str) -> None:
    notes = [note(source, image, f"note {number}") for number in range(5)]
    deeper = note(source, notes[0], "a note on a note")
    source.page = 2
    with MemoryRegistry().running() as target:
        copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
        assert copied.digest == image
        assert {one.digest for one in copied.referrers} == {*notes, deeper}
        assert copied.left_behind == ()
        assert all(whole(target, digest) for digest in (*notes, deeper))
        assert image.replace(":", "-") not in target.tags
        seen = inspect(f"{target.host}/m@{image}", referrers=True, policy=QUICK).referrers
        assert {(one.digest, one.artifact_type) for one in seen} == {(digest, NOTE) for digest in notes}


def test_and_into_one_where_clients_keep_the_list(source: MemoryRegistry, target: MemoryRegistry, image: str) -> None:
    one, two = note(source, image, "one"), note(source, image, "two")
    deeper = note(source, two, "deeper")
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    assert copied.digest == image
    assert listed(target, image) == [one, two]
    assert listed(target, two) == [deeper]
    entry = target.document(image.replace(":", "-"))["manifests"][0]
    assert (entry["artifactType"], entry["annotations"]) == (NOTE, {"said": "one"})
    again = len(target.asked)
    copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    assert not [line for line in target.asked[again:] if line.startswith("PUT /v2/m/manifests/sha256-")]


@pytest.mark.parametrize(
    "unknown",
    [
        Answer(404, b"404 page not found", {"Content-Type": "text/plain"}),
        Answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'),
        Answer(400),
        Answer(403),
        Answer(405),
        Answer(406),
        Answer(501),
        Answer(200, b"<html>sign in</html>", {"Content-Type": "text/html"}),
        Answer(200, b"[]", {"Content-Type": "application/json"}),
        Answer(200, json.dumps({"manifests": []}).encode(), {"Content-Type": INDEX_TYPE}),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:12].decode()}",
)
def test_lists_of_clients_are_read_whatever_a_registry_answers_that_has_no_api(
    source: MemoryRegistry, target: MemoryRegistry, image: str, unknown: Answer
) -> None:
    source.api, source.unknown = False, unknown
    one = note(source, image, listed=True)
    assert [found.digest for found in copy(f"{source.host}/m@{image}", f"{target.host}/m").referrers] == [one]
    assert listed(target, image) == [one]


def test_a_list_that_names_what_is_not_attached_or_not_there_carries_what_is(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    source.api = False
    one = note(source, image, "one", listed=True)
    stranger = note(source, f"sha256:{'a' * 64}", "of another image")
    gone = f"sha256:{'b' * 64}"
    entries = [{"mediaType": MANIFEST_TYPE, "digest": digest, "size": 1} for digest in (stranger, gone, one)]
    odd: list[Any] = [{"digest": "sha512:x"}, "no entry", {"digest": 7}]
    source.put({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [*entries, *odd]}, image.replace(":", "-"))
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    assert [found.digest for found in copied.referrers] == [one]
    assert copied.left_behind == (f"{gone} is listed for {image}, and is not there",)
    assert listed(target, image) == [one]


def test_what_others_have_listed_there_stays(source: MemoryRegistry, target: MemoryRegistry, image: str) -> None:
    copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    theirs = note(target, image, "theirs", listed=True)
    tag = image.replace(":", "-")
    document = target.document(tag)
    target.put({**document, "annotations": {"kept": "by them"}}, tag)
    ours = note(source, image, "ours")
    copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    assert listed(target, image) == [theirs, ours]
    assert target.document(tag)["manifests"][0] == document["manifests"][0]
    assert target.document(tag)["annotations"] == {"kept": "by them"}


def test_a_list_that_another_wrote_since_we_read_it_is_not_overwritten_where_conditions_are_known(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    target.conditional = True
    ours = note(source, image, "ours")
    theirs: list[str] = []

    def meddle(tag: str) -> None:
        if tag == image.replace(":", "-") and len(theirs) < 2:
            theirs.append("")
            theirs[-1] = note(target, image, f"theirs {len(theirs)}", listed=True)

    target.before_tag = meddle
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    assert copied.left_behind == ()
    assert listed(target, image) == [*theirs, ours]


def test_a_list_that_another_wrote_over_ours_is_added_to_again(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    ours = note(source, image, "ours")
    theirs: list[str] = []

    def meddle(tag: str) -> None:
        # It had read the list before ours was there, and is done.
        if tag == image.replace(":", "-") and len(theirs) < 2:
            del target.tags[tag]
            theirs.append(note(target, image, f"theirs {len(theirs)}", listed=True))

    target.after_tag = meddle
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    assert copied.left_behind == ()
    assert listed(target, image) == [theirs[-1], ours]


def test_two_copies_at_once_list_what_both_bring(source: MemoryRegistry, target: MemoryRegistry, image: str) -> None:
    target.conditional = True
    with MemoryRegistry().running() as other:
        copy(f"{source.host}/m@{image}", f"{other.host}/m", policy=QUICK)
        notes = [note(registry, image, f"from {number}") for number, registry in enumerate((source, other))]
        copy(f"{source.host}/m@{image}", f"{target.host}/m", referrers=False, policy=QUICK)
        with ThreadPoolExecutor(2) as pool:
            copies = [
                pool.submit(copy, f"{registry.host}/m@{image}", f"{target.host}/m", policy=QUICK)
                for registry in (source, other)
            ]
            assert [done.result().left_behind for done in copies] == [(), ()]
    assert set(listed(target, image)) == set(notes)


def test_the_list_of_one_who_never_stops_writing_is_given_up_with_a_warning(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    note(source, image, "ours")
    target.conditional = True

    def meddle(tag: str) -> None:
        if tag == image.replace(":", "-"):
            note(target, image, f"theirs {len(target.asked)}", listed=True)

    target.before_tag = meddle
    teller = Teller()
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK, reporter=teller)
    assert copied.digest == image
    assert copied.referrers == ()
    assert any("others kept replacing the list of referrers" in line for line in teller.lines)


def test_where_tags_are_immutable_the_image_is_copied_and_the_rest_is_told(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    note(target, image, "theirs", listed=True)
    target.immutable = "sha256-"
    ours = note(source, image, "ours")
    teller = Teller()
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK, reporter=teller)
    assert (copied.digest, copied.referrers) == (image, ())
    assert len(copied.left_behind) == 1
    assert f"{NOTE} {ours} did not come along" in copied.left_behind[0]
    assert "tag is immutable" in copied.left_behind[0]
    assert "--no-referrers" in copied.left_behind[0]
    assert teller.lines[-1] == f"warning: {copied.left_behind[0]}"
    assert target.tags[digest_tag(image)] == image


def test_a_former_digest_tag_of_the_image_is_nobodys_list(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    note(source, image, "ours")
    copy(f"{source.host}/m@{image}", f"{target.host}/m", referrers=False, policy=QUICK)
    target.tags[image.replace(":", "-")] = image
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    assert "is no list of referrers (up to version 0.1.0" in copied.left_behind[0]
    assert target.tags[image.replace(":", "-")] == image
    # Nor is it one where an image is copied from.
    with MemoryRegistry().running() as third:
        assert copy(f"{target.host}/m@{image}", f"{third.host}/m", policy=QUICK).referrers == ()


def test_what_cosign_keeps_under_its_tags_comes_along(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    made = {suffix: cosigned(source, image, "one", suffix=suffix) for suffix in (".sig", ".att", ".sbom")}
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    assert {one.tag: one.digest for one in copied.referrers} == {
        image.replace(":", "-") + suffix: digest for suffix, digest in made.items()
    }
    for suffix, digest in made.items():
        assert target.tags[image.replace(":", "-") + suffix] == digest
        assert whole(target, digest)
    assert {one.tag for one in inspect(f"{target.host}/m@{image}", referrers=True).referrers} == {
        one.tag for one in copied.referrers
    }


def test_cosigns_tag_is_replaced_by_more_signatures_and_never_by_fewer_or_others(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    tag = image.replace(":", "-") + ".sig"

    def signatures() -> list[str]:
        copied.append(copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK))
        return [layer["annotations"]["dev.cosignproject.cosign/signature"] for layer in target.document(tag)["layers"]]

    copied: list[Any] = []
    cosigned(source, image, "one")
    assert signatures() == ["one"]
    cosigned(source, image, "one", "two")
    assert signatures() == ["one", "two"]
    cosigned(source, image, "one")
    assert signatures() == ["one", "two"]
    assert copied[-1].left_behind == ()
    cosigned(source, image, "three")
    assert signatures() == ["one", "two"]
    assert "there holds others" in copied[-1].left_behind[0]


def test_an_index_that_is_attached_comes_with_what_it_holds(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    part = source.put(
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": source.blob(b"c"), "layers": [source.blob(b"l")]}
    )
    index = source.put(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "artifactType": NOTE,
            "manifests": [{"mediaType": MANIFEST_TYPE, "digest": part, "size": len(source.manifests[part][1])}],
            "subject": {"mediaType": MANIFEST_TYPE, "digest": image, "size": 1},
        }
    )
    assert [one.digest for one in copy(f"{source.host}/m@{image}", f"{target.host}/m").referrers] == [index]
    assert whole(target, part)
    assert listed(target, image) == [index]


def test_what_is_attached_to_a_platform_of_an_image_comes_along(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    entry = {
        "mediaType": MANIFEST_TYPE,
        "digest": image,
        "size": len(source.manifests[image][1]),
        "platform": {"os": "linux", "architecture": "amd64"},
    }
    both = source.put({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]})
    notes = {note(source, both, "on both"), note(source, image, "on one")}
    signature = cosigned(source, image, "one")
    copied = copy(f"{source.host}/m@{both}", f"{target.host}/m", policy=QUICK)
    assert copied.digest == both
    assert {one.digest for one in copied.referrers} == {*notes, signature}


def test_what_is_attached_is_bounded(
    source: MemoryRegistry, target: MemoryRegistry, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = [image]
    for number in range(12):
        chain.append(note(source, chain[-1], f"step {number}"))
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK)
    assert [one.digest for one in copied.referrers] == chain[1:9]
    assert "is 8 steps away" in copied.left_behind[0]
    monkeypatch.setattr(referrers_module, "COUNT_LIMIT", 3)
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/other", policy=QUICK)
    assert (len(copied.referrers), copied.left_behind) == (
        3,
        ("more than 3 manifests are attached: the others were left behind",),
    )
    monkeypatch.setattr(referrers_module, "SIZE_LIMIT_BYTES", 10)
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/third", policy=QUICK)
    assert len(copied.referrers) == 1
    assert "more than 10 B are attached" in copied.left_behind[0]


def test_a_list_without_end_is_read_to_its_bound(source: MemoryRegistry, image: str) -> None:
    note(source, image, "one")
    real = source._referrers

    def endless(*arguments: Any) -> Answer:
        answer = real(*arguments)
        answer.headers["Link"] = f'</v2/m/referrers/{image}>; rel="next"'
        return answer

    source._referrers = endless  # type: ignore[method-assign, assignment]
    with Registry(RegistryReference(source.host, "m")) as registry:
        assert len(registry.referrers(image)) == 1
    assert len([line for line in source.asked if "/referrers/" in line]) == 100


def test_a_copy_without_referrers_asks_for_none(source: MemoryRegistry, target: MemoryRegistry, image: str) -> None:
    note(source, image)
    asked = len(source.asked)
    assert copy(f"{source.host}/m@{image}", f"{target.host}/m", referrers=False).referrers == ()
    assert not [line for line in source.asked[asked:] if "referrers" in line or "sha256-" in line]


def test_a_registry_that_fails_to_list_keeps_nobody_from_the_image(
    source: MemoryRegistry, target: MemoryRegistry, image: str
) -> None:
    source.api, source.unknown = False, Answer(500)
    teller = Teller()
    copied = copy(f"{source.host}/m@{image}", f"{target.host}/m", policy=QUICK, reporter=teller)
    assert copied.digest == image
    assert f"what is attached to {image} cannot be read" in copied.left_behind[0]
    seen = inspect(f"{source.host}/m@{image}", referrers=True, policy=QUICK, reporter=teller)
    assert seen.referrers == ()
    assert "warning: what is attached to it cannot be listed" in teller.lines[-1]


# Layouts


def test_a_layout_takes_and_gives_what_is_attached(
    source: MemoryRegistry, target: MemoryRegistry, image: str, tmp_path: Path
) -> None:
    one = note(source, image, "one")
    deeper = note(source, one, "deeper")
    signature = cosigned(source, image, "signed")
    layout = f"oci:{tmp_path / 'image'}"
    assert {found.digest for found in copy(f"{source.host}/m@{image}", layout).referrers} == {one, deeper, signature}
    assert inspect(layout).digest == image, "the image is still the only one there"
    assert {found.digest for found in inspect(layout, referrers=True).referrers} == {one, signature}
    assert {found.digest for found in copy(f"{layout}@{image}", f"{target.host}/m").referrers} == {
        one,
        deeper,
        signature,
    }
    assert listed(target, image) == [one]
    assert listed(target, one) == [deeper]
    assert target.tags[image.replace(":", "-") + ".sig"] == signature


def test_what_is_attached_in_a_layout_goes_with_its_image_and_not_before(
    source: MemoryRegistry, image: str, tmp_path: Path, model: Path
) -> None:
    one = note(source, image, "one")
    deeper = note(source, one, "deeper")
    signature = cosigned(source, image, "signed")
    folder = tmp_path / "image"
    blobs = folder / "blobs" / "sha256"
    copy(f"{source.host}/m@{image}", f"oci:{folder}")
    assert pack(str(model), f"oci:{folder}").digest == image
    assert {found.digest for found in inspect(f"oci:{folder}", referrers=True).referrers} == {one, signature}
    (model / "config.json").write_text("{}")
    assert pack(str(model), f"oci:{folder}").digest != image
    for digest in (one, deeper, signature, image):
        assert not (blobs / digest.removeprefix("sha256:")).exists()
    assert inspect(f"oci:{folder}", referrers=True).referrers == ()


# Lists as documents


def test_a_list_is_merged_without_a_word_lost() -> None:
    content = json.dumps(
        {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [{"digest": "x", "own": 1}], "own": [2]}
    ).encode()
    new = {"mediaType": MANIFEST_TYPE, "digest": f"sha256:{'a' * 64}", "size": 3}
    found = merged(content, [new])
    assert found is not None
    assert json.loads(found) == {**json.loads(content), "manifests": [{"digest": "x", "own": 1}, new]}
    assert merged(found, [new]) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"manifests": {}}', b"[" * 100_000, b"\xff"])
def test_what_is_no_list_is_none(content: bytes) -> None:
    assert listed_in(content) is None


def test_an_entry_has_its_configurations_type_where_the_manifest_says_none() -> None:
    document = {"mediaType": MANIFEST_TYPE, "config": {"mediaType": "application/vnd.example.config"}}
    content = json.dumps(document).encode()
    entry = entry_of(StoredManifest(digest_of(content), MANIFEST_TYPE, content))
    assert entry["artifactType"] == "application/vnd.example.config"
