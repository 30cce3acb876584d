import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings.types import kubernetes_name
from oci_model_serving.delivery import Delivery
from oci_model_serving.errors import InputError
from oci_model_serving.reference import ImageReference, is_by_digest, is_repository

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"
GOOD = f"us-central1-docker.pkg.dev/demo/models/qwen@{DIGEST}"

hosts = st.from_regex(
    r"(localhost|[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(\.[a-z0-9]{1,8}){1,3})(:[1-9][0-9]{0,4})?", fullmatch=True
)
paths = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,2}(/[a-z0-9]{1,8}){0,3}", fullmatch=True)
digests = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@given(hosts, paths, digests)
def test_a_reference_reads_back_as_it_was_written(host: str, path: str, digest: str) -> None:
    text = f"{host}/{path}@{digest}"

    reference = ImageReference.parse(text)

    assert (str(reference), reference.host, reference.digest) == (text, host, digest)
    assert is_repository(reference.repository)


@given(hosts, paths, digests)
def test_every_delivery_names_the_same_content(host: str, path: str, digest: str) -> None:
    reference = ImageReference.parse(f"{host}/{path}@{digest}")

    assert Delivery("modelcar").uri(reference) == f"oci://{host}/{path}@{digest}"
    assert Delivery("native").uri(reference) == f"oci+native://{host}/{path}@{digest}"
    kubeai = Delivery("kubeai").uri(reference)
    assert kubeai == f"oci://{host}/{path}:digest-sha256-{digest[7:]}"
    # The pattern of KubeAI's CRD that added oci:// (commit 0d7de291) has no "@".
    assert "@" not in kubeai


@given(st.text(max_size=120))
def test_any_other_text_is_refused_with_a_reason_or_is_a_reference(text: str) -> None:
    if is_by_digest(text):
        assert str(ImageReference.parse(text)) == text
        return
    with pytest.raises(InputError, match=r"\S"):
        ImageReference.parse(text)


@given(hosts, paths, st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True), digests)
def test_a_tag_never_passes_with_a_digest_or_without(host: str, path: str, tag: str, digest: str) -> None:
    for text in (f"{host}/{path}:{tag}", f"{host}/{path}:{tag}@{digest}"):
        with pytest.raises(InputError, match="tag"):
            ImageReference.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("registry.example/m:v1", "tag 'v1': a tag can move, so write registry.example/m@sha256:<64 hex>"),
        ("registry.example/m", "names no digest"),
        (f"registry.example/m:v1@{DIGEST}", f"write registry.example/m@{DIGEST}"),
        ("registry.example/m@sha256:abc", "has 3 hexadecimal digits: write all 64"),
        (f"registry.example/m@sha256:{HEX.upper()}", f"write '{DIGEST}'"),
        (f"registry.example/M@{DIGEST}", "uppercase letters, which registries refuse: write 'registry.example/m'"),
        ("<none>@<none>", "never pushed"),
        (DIGEST, "bare digest without its repository"),
        (HEX[:12], "image id"),
        (f"m@{DIGEST}", "no registry host"),
        (f"library/m@{DIGEST}", "no registry host"),
        (f"oci://registry.example/m@{DIGEST}", "without 'oci://'"),
        (f"registry.example/m@sha512:{HEX * 2}", "is not sha256:"),
        (f"registry.example/m@{DIGEST}\n", "is not sha256:"),
        (f"registry.example/a__.b@{DIGEST}", "is not host[:port]/path"),
    ],
)
def test_what_is_no_reference_is_refused_with_what_to_write(text: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        ImageReference.parse(text)


@pytest.mark.parametrize("text", [f"registry:5000/m@{DIGEST}", f"localhost/m@{DIGEST}", f"[::1]:5000/m@{DIGEST}", GOOD])
def test_hosts_of_every_form_are_read(text: str) -> None:
    assert str(ImageReference.parse(text)) == text


def test_an_unknown_delivery_has_no_uri() -> None:
    with pytest.raises(ValueError, match="ftp"):
        Delivery("ftp")


@given(st.text(max_size=80))
def test_a_kubernetes_name_has_only_what_kubernetes_takes(key: str) -> None:
    name = kubernetes_name(key)

    assert re.fullmatch(r"([a-z0-9]([-a-z0-9]*[a-z0-9])?)?", name)
    assert "--" not in name
    assert kubernetes_name(name) == name


def test_dots_and_capitals_of_a_models_key_become_dashes_and_small_letters() -> None:
    assert kubernetes_name("Qwen2.5-0.5B_Instruct") == "qwen2-5-0-5b-instruct"
