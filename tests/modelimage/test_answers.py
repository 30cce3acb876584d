"""Answers that have no end, inflate without one, drip, or say our own secrets again."""

from __future__ import annotations

import base64
import gzip
import http.server
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import huggingface_hub.constants
import pytest

from modelimage import answers, hub_client
from modelimage.answers import BoundedClient, held, moving
from modelimage.errors import ImageError
from modelimage.hub_refusals import hub_errors
from modelimage.patience import GaveUpError, Patience, RetryPolicy, StalledError
from modelimage.refusals import RegistryError
from modelimage.registry import Registry
from modelimage.streams import BodyPart
from oci_model_serving.reference import RegistryReference
from tests.modelimage.servers import Answer, Request, serving

QUICK = RetryPolicy(attempts=8, first_seconds=0.01)
BOMB = gzip.compress(bytes(256 << 20), 9)
"""A quarter of a megabyte that inflates to 256 MB."""
MEMORY = 48 << 20


@contextmanager
def dripping(seconds: float, *, headers: bytes = b"") -> Iterator[tuple[str, list[int]]]:
    """A server that sends a byte each `seconds`, for ever; gives its address and its answers' beginnings."""
    begun: list[int] = []
    over = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            begun.append(1)
            self.wfile.write(b"HTTP/1.1 200 OK\r\n" + headers + b"Content-Length: 100000000\r\n\r\n")
            with suppress(OSError):  # who has waited long enough goes away
                while not over.wait(seconds):
                    self.wfile.write(b"x")

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", begun
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def as_hub(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


def registry(address: str, policy: RetryPolicy = QUICK) -> Registry:
    return Registry(RegistryReference(address.removeprefix("http://"), "models"), patience=Patience(policy))


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_of_the_hub_is_inflated_up_to_the_limit_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> None:
        with hub_errors("listing"), pytest.raises(ValueError, match="more than 8388608 bytes"):
            hub_client.files("o/n", "a" * 40)

    with serving(lambda _: Answer(200, BOMB, {"Content-Encoding": "gzip"})) as address:
        as_hub(monkeypatch, address)
        assert peak(ask) < MEMORY


def test_a_bomb_of_a_cluster_or_an_endpoint_is_inflated_up_to_the_limit_and_told() -> None:
    def ask() -> None:
        with BoundedClient(1 << 20) as client, pytest.raises(httpx.DecodingError, match="more than 1048576 bytes"):
            client.get(address)

    with serving(lambda _: Answer(200, BOMB, {"Content-Encoding": "gzip"})) as address:
        assert peak(ask) < MEMORY


def test_of_a_refusal_without_end_the_beginning_is_kept() -> None:
    with serving(lambda _: Answer(500, b"x" * (8 << 20))) as address, BoundedClient(1 << 20) as client:
        assert len(client.get(address).content) == answers.ERROR_LIMIT_BYTES


def test_an_answer_that_is_compressed_in_another_way_is_not_inflated() -> None:
    said = Answer(200, b"as it came", {"Content-Encoding": "br"})
    with serving(lambda _: said) as address, BoundedClient(1 << 20) as client:
        assert client.get(address).content == b"as it came"


def test_headers_that_are_no_ascii_come_through() -> None:
    said = httpx.Response(200, headers=[(b"x-said", b"\xff\x1b")], stream=httpx.ByteStream(b"{}"))
    client = httpx.Client(transport=httpx.MockTransport(lambda _: said))
    with client, client.stream("GET", "https://registry.example/") as response:
        assert held(response, 10).content == b"{}"


def test_a_blob_that_drips_is_given_up_three_times_and_then_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SILENCE_SECONDS", 0.2)
    with dripping(0.01) as (address, begun):
        started = time.monotonic()
        with pytest.raises(GaveUpError, match=r"\d+ bytes came in 0 s: gave up after 3 attempts"):
            list(registry(address).read_blob("sha256:" + "0" * 64, 100_000_000))
        assert time.monotonic() - started < 5
        assert len(begun) == 3


def test_a_manifest_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(answers, "_SLOWEST_BYTES_PER_SECOND", 100_000_000)
    with dripping(0.01) as (address, begun):
        with pytest.raises(GaveUpError, match="no more within the time for"):
            registry(address).manifest("v1")
        assert len(begun) == 3


def test_who_reads_slowly_is_not_the_other_sides_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SILENCE_SECONDS", 0.05)

    class Slow:
        headers: dict[str, str] = {}  # noqa: RUF012 - a test's

        def iter_raw(self) -> Iterator[bytes]:
            yield from [b"x"] * 5

    seen = []
    for chunk in moving(Slow(), 1, "reading"):
        time.sleep(0.03)
        seen.append(chunk)
    assert seen == [b"x"] * 5


def test_chunks_are_whole_and_the_rest_comes_last() -> None:
    class Pieces:
        headers: dict[str, str] = {}  # noqa: RUF012 - a test's

        def iter_raw(self) -> Iterator[bytes]:
            yield from (b"abc", b"de", b"", b"fghij", b"k")

    assert list(moving(Pieces(), 4, "reading")) == [b"abcd", b"efgh", b"ijk"]


def test_a_stall_is_not_tried_as_often_as_what_breaks() -> None:
    stalled, policy = StalledError("x"), RetryPolicy()
    assert [policy.gives_up(attempt, 0, stalled) for attempt in (1, 2, 3)] == [False, False, True]


@pytest.mark.parametrize(
    "form", ["{password}", "Basic {login}", "{login}", "me:{password}", '{{"auth": "Basic {login}"}}']
)
def test_what_we_logged_in_with_is_not_said_again(monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    password = "correct-horse-battery"
    login = base64.b64encode(f"me:{password}".encode()).decode()
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", password)

    def echo(request: Request) -> Answer:
        if "authorization" not in request.headers:
            return Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
        said = f"you sent {form.format(password=password, login=login)}, \x1b[2Jwhich is wrong"
        return Answer(403, said.encode(), {"Content-Type": "text/plain"})

    with serving(echo) as address, pytest.raises(RegistryError) as caught:
        registry(address).manifest("v1")
    assert "you sent" in str(caught.value)
    assert "[secret]" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in (password, login))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("token", ["hf_correct\nhorse", "hf_correct\x00horse"])
def test_a_hub_token_that_no_header_takes_is_not_said(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    with serving(lambda _: Answer(200, b"{}")) as address:
        as_hub(monkeypatch, address)
        refused = pytest.raises(ImageError, match="set HF_TOKEN")
        with refused as caught, hub_client.asking_with(token), hub_errors("asking"):
            hub_client.model_card("o/n")
    assert "correct" not in str(caught.value)


@pytest.mark.parametrize("body", [b'{"token": "a\\nb"}', b'{"token": ["a"]}', b'{"token": "\\u00e9"}', b"[" * 99_999])
def test_a_token_that_no_header_takes_is_none(body: bytes) -> None:
    def answer(request: Request) -> Answer:
        if request.path.startswith("/token"):
            return Answer(200, body)
        return Answer(401, b"", {"WWW-Authenticate": f'Bearer realm="{address}/token"'})

    with serving(answer) as address, pytest.raises(RegistryError, match="token"):
        registry(address).manifest("v1")


def test_listings_of_the_hub_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(request: Request) -> Answer:
        asked.append(request.path)
        return Answer(200, b"[]", {"Link": f'<{address}{request.path}>; rel="next"'})

    with serving(answer) as address:
        as_hub(monkeypatch, address)
        monkeypatch.setattr(hub_client, "_PAGES_LIMIT", 7)
        with pytest.raises(ImageError, match="has no end after 0 files"):
            hub_client.files("o/n", "a" * 40)
    assert len(asked) == 7


def test_a_part_takes_no_more_than_was_asked_for() -> None:
    part = BodyPart(4, "reading x")
    part.write(b"abc")
    with pytest.raises(ImageError, match="reading x: more came than was asked for"):
        part.write(b"de")
    assert part.getvalue() == b"abc"


def test_a_login_file_without_end_is_not_read_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelimage import credentials

    monkeypatch.setattr(credentials, "_LOGINS_LIMIT_BYTES", 1000)
    (tmp_path / "config.json").write_bytes(b" " * 2000)
    with pytest.raises(ImageError, match="repair or remove it"):
        credentials._read_logins(tmp_path / "config.json")
