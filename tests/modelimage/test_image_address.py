"""How an image is written as a source: only by its digest, and every other text is told what to write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage import image_address
from modelimage.origins import Origin, origin_of
from oci_model_serving.errors import InputError

HOSTS = st.sampled_from(["localhost:5000", "registry.example", "127.0.0.1:80", "[::1]:5000", "us-docker.pkg.dev"])
PATHS = st.from_regex(r"[a-z0-9]+((\.|_|-+)[a-z0-9]+)*(/[a-z0-9]+)?", fullmatch=True)
DIGESTS = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)
TAGS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(HOSTS, PATHS, DIGESTS)
def test_an_image_by_its_digest_is_what_it_says(host: str, path: str, digest: str) -> None:
    uri = f"oci://{host}/{path}@{digest}"
    assert origin_of(uri) is Origin.IMAGE
    assert image_address.is_pinned(uri)
    assert image_address.mistake(uri) == ""
    assert f"oci://{image_address.read(uri)}" == uri


@given(HOSTS, PATHS, TAGS, DIGESTS)
def test_the_remedy_for_a_tag_is_an_address_that_is_taken(host: str, path: str, tag: str, digest: str) -> None:
    uri = f"oci://{host}/{path}:{tag}"
    said = image_address.mistake(uri, digest)
    remedy = said.rpartition("write ")[2]
    assert not image_address.is_pinned(uri)
    assert remedy == f"oci://{host}/{path}@{digest}"
    assert image_address.is_pinned(remedy)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_has_a_mistake(text: str) -> None:
    for scheme in ("oci://", "oci:"):
        uri = f"{scheme}{text}"
        assert origin_of(uri) is Origin.IMAGE
        assert image_address.is_pinned(uri) == (image_address.mistake(uri) == "")


@pytest.mark.parametrize("uri", ["OCI://host.example/x", "oci//host.example/x", "s3://x"])
def test_another_scheme_is_none_of_it(uri: str) -> None:
    try:
        assert origin_of(uri) is Origin.FOLDER
    except InputError as error:
        assert "oci://HOST/REPO@sha256:…" in str(error)  # noqa: PT017 - either is right
