"""The list of a repository's tags: page by page, with bounds, and from the registry itself."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from modelimage import registry as registry_module
from modelimage.patience import Patience, RetryPolicy
from modelimage.refusals import RegistryError
from modelimage.registry import Registry
from oci_model_serving.reference import parse_registry
from tests.modelimage.servers import Answer, Request, serving

ALL = [f"v{number:03d}" for number in range(25)]


class Paged:
    """A registry that gives its tags `size` at a time, whatever it is asked for."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.asked: list[str] = []

    def answer(self, request: Request) -> Answer:
        self.asked.append(request.path)
        start = int(parse_qs(urlsplit(request.path).query).get("last", ["0"])[0])
        headers = {"Link": f'</v2/m/tags/list?last={start + self.size}>; rel="next"'}
        body = json.dumps({"name": "m", "tags": ALL[start : start + self.size]}).encode()
        return Answer(200, body, headers if start + self.size < len(ALL) else {})


def tags(address: str, limit: int) -> list[str]:
    place = parse_registry(f"{address.removeprefix('http://')}/m")
    with Registry(place, patience=Patience(RetryPolicy(attempts=1))) as registry:
        return registry.tags(limit)


def test_pages_are_followed_to_their_end() -> None:
    paged = Paged()
    with serving(paged.answer) as address:
        assert tags(address, 500) == ALL
    assert len(paged.asked) == 3


def test_no_more_than_the_limit_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_TAGS_A_PAGE", 10)
    paged = Paged()
    with serving(paged.answer) as address:
        assert tags(address, 12) == ALL[:12]
    assert len(paged.asked) == 2


def test_a_list_without_an_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_TAGS_A_PAGE", 10)
    asked: list[str] = []

    def endless(request: Request) -> Answer:
        asked.append(request.path)
        return Answer(200, b'{"tags": []}', {"Link": '</v2/m/tags/list?last=0>; rel="next"'})

    with serving(endless) as address:
        assert tags(address, 50) == []
    assert len(asked) == 5


def test_a_page_on_another_host_is_not_followed() -> None:
    elsewhere: list[str] = []

    def other(request: Request) -> Answer:
        elsewhere.append(request.path)
        return Answer(200, b'{"tags": ["theirs"]}')

    with serving(other) as theirs:
        answer = Answer(200, b'{"tags": ["a"]}', {"Link": f'<{theirs}/v2/m/tags/list>; rel="next"'})
        with serving(lambda _: answer) as address:
            assert tags(address, 500) == ["a"]
    assert elsewhere == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"tags": 7}', b'{"tags": "abc"}', b"[" * 100_000, b"\xff"])
def test_what_is_no_list_is_refused_or_empty(body: bytes) -> None:
    with serving(lambda _: Answer(200, body)) as address, pytest.raises(RegistryError, match="no list of tags"):
        tags(address, 500)


def test_a_repository_without_tags_has_none() -> None:
    with serving(lambda _: Answer(200, b'{"name": "m", "tags": null}')) as address:
        assert tags(address, 500) == []
