"""What S3's clients ask is answered as they expect it, and what they ask amiss is told as S3 tells it."""

from __future__ import annotations

import re
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage.stream import s3
from modelimage.stream.s3 import Listing, ObjectTarget

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@pytest.mark.parametrize(
    ("line", "target"),
    [
        ("/models/m/config.json", ObjectTarget("models", "m/config.json", {})),
        ("http://127.0.0.1:9700/models/m/a.safetensors", ObjectTarget("models", "m/a.safetensors", {})),
        ("HTTPS://door/models/m/a?x=1", ObjectTarget("models", "m/a", {"x": "1"})),
        ("http://127.0.0.1:9700", ObjectTarget("", "", {})),
        ("/models", ObjectTarget("models", "", {})),
        ("/models/?list-type=2&prefix=m%2F", ObjectTarget("models", "", {"list-type": "2", "prefix": "m/"})),
        ("/models?prefix=a+b%2Bc&delimiter=%2F", ObjectTarget("models", "", {"prefix": "a b+c", "delimiter": "/"})),
        ("/models/m/a%20b%25c", ObjectTarget("models", "m/a b%c", {})),
        ("/models/m/a+b", ObjectTarget("models", "m/a+b", {})),
        ("/models/m/%C3%BC", ObjectTarget("models", "m/ü", {})),
        ("/models/m/ü".encode().decode("latin-1"), ObjectTarget("models", "m/ü", {})),
        ("/models/m/%FF", ObjectTarget("models", "m/\udcff", {})),
        ("/models/m/http://x", ObjectTarget("models", "m/http://x", {})),
    ],
)
def test_a_request_line_names_bucket_key_and_query_in_every_spelling(line: str, target: ObjectTarget) -> None:
    assert s3.target_of(line) == target


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-7", (0, 8)),
        ("bytes=8-", (8, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-1000", (0, 100)),
        ("bytes=90-1000", (90, 100)),
        ("bytes=99-99", (99, 100)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
    ],
)
def test_a_range_is_the_bytes_that_it_says_and_what_is_none_is_passed_over(
    header: str | None, part: tuple[int, int] | None
) -> None:
    assert s3.byte_range(header, 100) == part


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(header: str) -> None:
    with pytest.raises(ValueError, match="bytes"):
        s3.byte_range(header, 100)


def names(page: bytes) -> tuple[list[str], list[str], str]:
    """Keys, common prefixes and the token of the next page."""
    root = ET.fromstring(page)  # noqa: S314 - our own
    said = root.findtext(f"{NAMESPACE}EncodingType") == "url"
    read = unquote if said else str
    keys = [read(one.findtext(f"{NAMESPACE}Key") or "") for one in root.findall(f"{NAMESPACE}Contents")]
    folders = [read(one.findtext(f"{NAMESPACE}Prefix") or "") for one in root.findall(f"{NAMESPACE}CommonPrefixes")]
    assert root.findtext(f"{NAMESPACE}KeyCount") == str(len(keys) + len(folders))
    token = root.findtext(f"{NAMESPACE}NextContinuationToken") or ""
    assert root.findtext(f"{NAMESPACE}IsTruncated") == ("true" if token else "false")
    return keys, folders, token


PATH = st.text("ab/ü%&<", min_size=1, max_size=6)


@given(
    st.sets(PATH, max_size=12),
    st.text("ab/ü", max_size=2),
    st.sampled_from(["", "/", "a", "b/"]),
    st.integers(1, 4),
    st.booleans(),
)
def test_pages_together_are_the_keys_and_the_folders_in_order_each_once(
    keys: set[str], prefix: str, delimiter: str, count: int, as_url: bool
) -> None:
    listing = Listing("models", dict.fromkeys(keys, (1, '"tag"')))
    below = [key for key in keys if key.startswith(prefix)]
    folders = {
        prefix + rest.partition(delimiter)[0] + delimiter
        for key in below
        if delimiter and delimiter in (rest := key.removeprefix(prefix))
    }
    plain = [key for key in below if not (delimiter and delimiter in key.removeprefix(prefix))]
    found: list[str] = []
    token = ""
    for _ in range(40):
        query = {"prefix": prefix, "delimiter": delimiter, "max-keys": str(count)}
        query |= {"encoding-type": "url"} if as_url else {}
        query |= {"continuation-token": token} if token else {}
        some, others, token = names(listing.page(query))
        assert len(some) + len(others) <= count
        found += sorted([*some, *others], key=str.encode)
        if not token:
            break
    assert found == sorted([*plain, *folders], key=str.encode)


def test_a_page_has_a_thousand_keys_at_most_whatever_is_asked() -> None:
    listing = Listing("models", {f"m/{number:05}": (1, '"tag"') for number in range(2500)})
    keys, _, token = names(listing.page({"max-keys": "100000"}))
    assert len(keys) == 1000
    assert names(listing.page({"start-after": "m/02400"}))[0][0] == "m/02401"
    assert len(names(listing.page({"continuation-token": token}))[0]) == 1000
    assert names(listing.page({"max-keys": "0"})) == ([], [], "")


@pytest.mark.parametrize("query", [{"max-keys": "many"}, {"max-keys": "-1"}, {"continuation-token": "x"}])
def test_a_query_that_is_none_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"max-keys|many|continuation-token"):
        Listing("models", {}).page(query)


def test_what_xml_cannot_hold_does_not_break_the_page() -> None:
    page = Listing("models", {"m/\x01\udcff&<": (1, '"tag"')}).page({"prefix": "m/\x01"})
    assert names(page)[0] == ["m/\ufffd\ufffd&<"]
    encoded = Listing("models", {"m/\x01\udcff": (1, '"tag"')}).page({"encoding-type": "url"})
    assert re.search(rb"<Key>m/%01%FF</Key>", encoded)
