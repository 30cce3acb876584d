"""A signed address is used while it holds, as it says itself."""

from __future__ import annotations

import time

import pytest

from modelimage.stream.redirects import Redirects, lifetime


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date=20260801T000000Z&X-Goog-Expires=600", 600),
        ("X-Amz-Expires=900&X-Amz-Date=20260801T000000Z", 900),
        ("x-amz-expires=86400", 3600),
        ("Expires={soon}&Signature=x&Key-Pair-Id=y", 3000),
        ("sig=x&se={soon_in_words}Z", 3000),
        ("sig=x&se={soon_in_words}", 3000),
        ("", 60),
        ("token=x", 60),
        ("X-Goog-Expires=soon", 60),
        ("X-Goog-Expires=nan", 0),
        ("X-Goog-Expires=-5", 0),
        ("Expires=1", 0),
        ("sig=x&se=yesterday", 60),
    ],
)
def test_an_address_holds_as_long_as_it_says(query: str, seconds: float) -> None:
    soon = int(time.time()) + 3000
    words = time.strftime("%Y-%m-%dT%H%%3A%M%%3A%S", time.gmtime(soon))
    said = query.format(soon=soon, soon_in_words=words)
    assert lifetime(f"https://storage.example/blob?{said}") == pytest.approx(seconds, abs=5)


# while the tests get here


def test_an_address_is_given_up_before_it_holds_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    known = Redirects()
    known.keep("sha256:a", "https://storage.example/blob?X-Goog-Expires=100")
    assert known.find("sha256:a")
    now[0] += 81
    assert known.find("sha256:a") is None


def test_addresses_that_are_for_one_request_each_are_not_kept_for_ever_in_vain() -> None:
    known = Redirects()
    for _ in range(3):
        known.keep("sha256:a", "https://storage.example/once")
        known.forget("sha256:a")
    known.keep("sha256:a", "https://storage.example/once")
    assert known.find("sha256:a") is None
