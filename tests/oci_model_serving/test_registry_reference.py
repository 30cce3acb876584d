from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci_model_serving.errors import InputError
from oci_model_serving.reference import (
    LayoutReference,
    RegistryReference,
    digest_of,
    digest_tag,
    is_loopback,
    packed_digest_of,
    packed_tag,
    parse,
    parse_pinned,
    referrers_tag,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4

hosts = st.sampled_from(["localhost", "localhost:5000", "127.0.0.1:80", "us-docker.pkg.dev", "[::1]:5000", "a.b:1"])
components = st.from_regex(r"[a-z0-9]{1,8}((\.|_|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
repositories = st.lists(components, min_size=1, max_size=4).map("/".join)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@given(host=hosts, repository=repositories, tag=st.none() | tags, digest=st.none() | digests)
def test_a_registry_reference_survives_writing_and_reading(
    host: str, repository: str, tag: str | None, digest: str | None
) -> None:
    reference = RegistryReference(host, repository, None if digest else tag, digest)
    assert parse(str(reference)) == reference


@given(st.text(max_size=60))
def test_any_text_is_a_reference_that_survives_or_is_refused(text: str) -> None:
    with suppress(InputError):
        reference = parse(text)
        assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("busybox", "write it out"),
        ("library/busybox", "write it out"),
        ("docker.io/busybox", "docker.io/library/busybox"),
        ("https://localhost:5000/models", "without the scheme"),
        ("localhost:5000/Models", "lower-case"),
        ("localhost:5000/", "HOST/REPO"),
        ("localhost:5000/models@sha256:abc", "has 3 hexadecimal digits: write all 64"),
        ("localhost:5000/models@" + DIGEST.upper(), "has uppercase letters"),
        ("localhost:5000/models@", "is not sha256:<64 hexadecimal digits"),
        ("localhost:5000/models:" + "x" * 129, "at most 128"),
        ("localhost:5000/models:", "at most 128"),
        ("oci:", "oci:FOLDER"),
        ("oci:folder@sha256:abc", "write all 64"),
    ],
)
def test_a_malformed_reference_is_refused_with_what_to_write(text: str, remedy: str) -> None:
    with pytest.raises(InputError, match=remedy) as caught:
        parse(text)
    assert text[:20] in str(caught.value)


def test_a_tag_is_refused_where_a_digest_must_be() -> None:
    with pytest.raises(InputError, match="names no digest") as caught:
        parse_pinned("localhost:5000/models:latest")
    assert "oms image inspect localhost:5000/models:latest" in str(caught.value)


def test_a_tag_beside_a_digest_is_dropped() -> None:
    assert str(parse(f"localhost:5000/models:latest@{DIGEST}")) == f"localhost:5000/models@{DIGEST}"


def test_a_layout_folder_may_hold_an_at_sign() -> None:
    reference = parse("oci:/srv/user@host/layout")
    assert isinstance(reference, LayoutReference)
    assert str(reference.folder) == "/srv/user@host/layout"


def test_a_digest_is_read_from_its_tag_by_its_present_and_its_former_name() -> None:
    for name in (digest_tag(DIGEST), referrers_tag(DIGEST)):
        assert digest_of(name) == DIGEST
    for name in ("v1", "digest-v1", "sha256-abc", f"digest-{digest_tag(DIGEST)}", f"{digest_tag(DIGEST)}.sig"):
        assert digest_of(name) == ""


def test_a_packed_image_is_known_by_its_tag_and_by_no_other() -> None:
    assert packed_digest_of(packed_tag(DIGEST)) == DIGEST
    for name in (digest_tag(DIGEST), f"packed-{digest_tag(DIGEST)}", "packed-v1", f"{packed_tag(DIGEST)}.sig"):
        assert packed_digest_of(name) == ""


def test_the_digest_tag_spells_the_digest() -> None:
    assert digest_tag(DIGEST) == "digest-sha256-" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.8.9.1", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("::1", True),
        ("::2", False),
        ("[::2]:5000", False),
        ("localhost.example", False),
        ("127.0.0.1.example:5000", False),
        ("10.0.0.1:5000", False),
        ("us-docker.pkg.dev", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
