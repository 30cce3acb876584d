from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage.errors import ImageError
from modelimage.proxies import Proxies

PROXY = "http://proxy.example:3128"


def reached(no_proxy: str, url: str) -> str | None:
    direct = tuple(entry for part in no_proxy.split(",") if (entry := part.strip().lower()))
    proxy = Proxies({"https": PROXY}, direct).proxy(httpx.URL(url))
    return str(proxy.url) if proxy else None


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("*", "anything.example"),
        ("registry.example", "registry.example"),
        ("Registry.Example", "registry.example:5000"),
        ("example", "registry.example"),
        (".example", "registry.example"),
        ("*.example", "registry.example"),
        ("a.example, registry.example", "registry.example"),
        ("registry.example:5000", "registry.example:5000"),
        ("registry.example:443", "registry.example"),
        ("10.0.0.0/8", "10.20.30.40"),
        ("10.20.30.40", "10.20.30.40:5000"),
        ("10.20.30.40:5000", "10.20.30.40:5000"),
        ("fd00::/8", "[fd12::1]:5000"),
        ("fd12::1", "[fd12::1]"),
        ("[fd12::1]:443", "[fd12::1]"),
        ("registry.example.", "registry.example"),
        ("", "127.0.0.1:5000"),
        ("", "localhost"),
    ],
)
def test_who_is_reached_without_a_proxy(no_proxy: str, host: str) -> None:
    assert reached(no_proxy, f"https://{host}/v2/") is None


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("", "registry.example"),
        ("registry.example:5000", "registry.example"),
        (".registry.example", "registry.example"),
        ("gistry.example", "registry.example"),
        ("registry.example", "registry.example.com"),
        ("10.0.0.0/8", "11.0.0.1"),
        ("10.0.0.0/8", "10.example.com"),
        ("10.0.0.1", "10.0.0.11"),
        ("fd00::/8", "10.0.0.1"),
        (":", "registry.example"),
        ("[", "registry.example"),
        ("registry.example:http", "registry.example"),
    ],
)
def test_who_is_reached_by_the_proxy(no_proxy: str, host: str) -> None:
    assert reached(no_proxy, f"https://{host}/v2/") == PROXY


@given(st.text(max_size=30))
def test_no_entry_breaks_a_request(entry: str) -> None:
    reached(entry, "https://registry.example/v2/")


@pytest.mark.parametrize("value", ["http://", "http://user:s3cret@[bad", "http://user:s3cret@host:port"])
def test_what_names_no_proxy_is_told_without_its_password(value: str) -> None:
    with pytest.raises(ImageError, match=r"https_proxy names no proxy: write HTTPS_PROXY=http://HOST:PORT") as caught:
        Proxies({"https": value}, ()).proxy(httpx.URL("https://registry.example"))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_proxy_for_all_is_one_for_https_and_may_be_written_without_a_scheme() -> None:
    proxy = Proxies({"all": "user:pass@proxy.example:3128"}, ()).proxy(httpx.URL("https://registry.example"))
    assert proxy is not None
    assert (str(proxy.url), proxy.auth) == (PROXY, ("user", "pass"))


def test_the_environment_is_read_in_either_case(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("no_proxy", " A.example ,10.0.0.0/8,")
    assert Proxies.of_environment() == Proxies({"https": PROXY}, ("a.example", "10.0.0.0/8"))
