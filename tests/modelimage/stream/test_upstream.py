"""A registry that falters is asked again where it broke off; one that refuses is told with its reason."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from modelimage.errors import ImageError
from modelimage.patience import RetryPolicy
from modelimage.stream import upstream
from modelimage.stream.counters import Count
from modelimage.stream.faults import CorruptFault, StreamFault
from tests.modelimage.servers import Answer, Request, ranged, serving
from tests.modelimage.stream.rig import CHUNK, HostileRegistry, OpenDoor, content, door_of, single

BIG = content(4 * CHUNK)
LAYER = single("big.bin", BIG)


def blob(request: Request) -> bool:
    return "/blobs/" in request.path and "range" in request.headers


class Times:
    """Answers the first requests for ranges of the big layer, `count` of them, and is not asked any more."""

    def __init__(self, count: float, registry: HostileRegistry, answer: Answer | None = None) -> None:
        self.left, self._registry, self._answer = count, registry, answer

    def __call__(self, request: Request) -> Answer | None:
        if not blob(request) or self.left <= 0:
            return None
        self.left -= 1
        return self._answer or self.cut(request)

    def cut(self, request: Request) -> Answer:
        """An answer that breaks off in its middle."""
        whole = ranged(request, self._registry.blobs[request.path.rpartition("/")[2]])
        return Answer(whole.status, whole.body, whole.headers, cut_after=80_000)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(429, b"slow down", {"Retry-After": "0"}),
        Answer(503, b""),
        Answer(500, b"<html>"),
        None,
    ],
    ids=["429", "503", "500", "cut"],
)
def test_what_may_pass_is_tried_again(registry: HostileRegistry, answer: Answer | None) -> None:
    with door_of(registry.push([LAYER])) as opened:
        registry.hooks.append(Times(2, registry, answer))
        assert opened.get("big.bin").content == BIG
        assert opened.count(Count.RETRIES) == 2
        assert opened.failed == []


def test_an_answer_that_is_shorter_than_what_was_asked_for_is_gone_on_from(registry: HostileRegistry) -> None:
    def short(request: Request) -> Answer | None:
        if not blob(request):
            return None
        whole = ranged(request, LAYER[1])
        start = int(request.headers["range"].removeprefix("bytes=").partition("-")[0])
        part = whole.body[:70_000]
        said = f"bytes {start}-{start + len(part) - 1}/{len(LAYER[1])}"
        return Answer(206, part, {"Content-Range": said})

    with door_of(registry.push([LAYER])) as opened:
        registry.hooks.append(short)
        assert opened.get("big.bin").content == BIG


def test_a_retry_after_is_obeyed(registry: HostileRegistry) -> None:
    with door_of(registry.push([LAYER]), policy=RetryPolicy(attempts=3, first_seconds=0)) as opened:
        registry.hooks.append(Times(1, registry, Answer(429, b"", {"Retry-After": "0.3"})))
        begun = time.monotonic()
        assert opened.get("big.bin").content == BIG
        assert time.monotonic() - begun >= 0.3


def test_a_connection_that_breaks_again_and_again_is_taken_up_each_time_while_it_gets_on(
    registry: HostileRegistry,
) -> None:
    with door_of(registry.push([LAYER])) as opened:
        registry.hooks.append(Times(1000, registry))
        assert opened.get("big.bin").content == BIG
        assert opened.count(Count.RETRIES) >= 3  # as many as are given to one that does not get on
        assert opened.count(Count.FETCHED_BYTES) <= 5 * CHUNK


def test_what_does_not_pass_ends_the_sidecar_and_cuts_the_client_off(registry: HostileRegistry) -> None:
    with door_of(registry.push([LAYER])) as opened:
        registry.hooks.append(Times(1000, registry, Answer(503, b"out of order")))
        refused(opened, "the registry answered 503 Service Unavailable: gave up after 3 attempts")


def refused(opened: OpenDoor, message: str, kind: type[ImageError] = ImageError) -> ImageError:
    """See that a file is not given, and why."""
    with pytest.raises(httpx.HTTPError):
        opened.get("big.bin", Range=f"bytes={CHUNK}-{4 * CHUNK - 1}")
    assert len(opened.failed) == 1
    assert isinstance(opened.failed[0], kind)
    assert message in str(opened.failed[0])
    return opened.failed[0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(404, b""), "is not there (404)"),
        (Answer(403, b"denied"), "may not be read (403)"),
        (Answer(401, b"who are you"), "wants credentials (401)"),
        (Answer(200, LAYER[1]), "ignores ranges"),
        (Answer(206, b"x" * 10, {"Content-Range": f"bytes 7-16/{len(LAYER[1])}"}), "the answer has those from 7 on"),
        (Answer(302, b"", {"Location": "http://storage.example/x"}), "only loopback may do without TLS"),
        (Answer(302, b"", {"Location": "ftp://127.0.0.1/x"}), "only loopback may do without TLS"),
        (Answer(302, b"", {"Location": "http://[::1"}), "an address that is none"),
    ],
    ids=["404", "403", "401", "no ranges", "another part", "plain http", "ftp", "no address"],
)
def test_a_refusal_ends_the_sidecar_with_its_reason(registry: HostileRegistry, answer: Answer, message: str) -> None:
    with door_of(registry.push([LAYER])) as opened:
        registry.hooks.append(Times(1000, registry, answer))
        error = refused(opened, message)
        assert not isinstance(error, CorruptFault)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(206, BIG[:1000], {"Content-Range": "bytes 0-999/1000"}),
        Answer(416, b"", {"Content-Range": "bytes */1000"}),
        Answer(416, b""),
    ],
)
def test_a_blob_of_another_length_is_not_the_image(registry: HostileRegistry, answer: Answer) -> None:
    with door_of(registry.push([LAYER])) as opened:
        registry.hooks.append(Times(1000, registry, answer))
        refused(opened, f"of {len(LAYER[1])} bytes: it is not the one that was pushed", CorruptFault)


def test_a_flipped_byte_is_fetched_once_again_and_then_never_passed_on(registry: HostileRegistry) -> None:
    reference = registry.push([LAYER])
    digest = next(digest for digest, data in registry.blobs.items() if data == LAYER[1])
    with door_of(reference) as opened:
        flipped = bytearray(LAYER[1])
        flipped[2 * CHUNK + 700] ^= 1
        right = registry.blobs[digest]
        registry.blobs[digest] = bytes(flipped)
        assert opened.get("big.bin", Range="bytes=0-9").content == BIG[:10]
        error = refused(opened, f"{reference}: chunk 2 of layer {digest} is not what its list says", CorruptFault)
        assert error.exit_code == 3
        assert opened.count(Count.MISMATCHES) == 2
        registry.blobs[digest] = right
        assert opened.get("big.bin").content == BIG


def test_one_wrong_answer_is_made_up_for(registry: HostileRegistry) -> None:
    reference = registry.push([LAYER])

    def once(request: Request) -> Answer | None:
        if not blob(request):
            return None
        registry.hooks.remove(once)
        answer = ranged(request, LAYER[1])
        return Answer(answer.status, bytes([answer.body[0] ^ 1]) + answer.body[1:], answer.headers)

    with door_of(reference) as opened:
        registry.hooks.append(once)
        assert opened.get("big.bin").content == BIG
        assert (opened.count(Count.MISMATCHES), opened.failed) == (1, [])


class Tokens:
    """A registry's token service: each token holds for `uses` requests of blobs."""

    def __init__(self, registry: HostileRegistry, uses: int) -> None:
        self.registry, self.uses = registry, uses
        self.given = 0
        self.left: dict[str, int] = {}
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Answer | None:
        with self.lock:
            if request.path.startswith("/token"):
                self.given += 1
                self.left[f"Bearer t{self.given}"] = self.uses
                return Answer(200, json.dumps({"token": f"t{self.given}", "expires_in": 3600}).encode())
            held = request.headers.get("authorization", "")
            if self.left.get(held, 0) <= 0:
                realm = f'Bearer realm="http://{self.registry.host}/token",service="r",scope="repository:m:pull"'
                return Answer(401, b"{}", {"WWW-Authenticate": realm})
            self.left[held] -= blob(request)
            return None


def test_a_token_that_ends_in_the_middle_is_replaced(registry: HostileRegistry) -> None:
    reference = registry.push([LAYER])
    tokens = Tokens(registry, uses=3)
    registry.hooks.append(tokens)
    with door_of(reference) as opened:
        for start in range(0, 4 * CHUNK, CHUNK // 2):
            assert opened.get("big.bin", Range=f"bytes={start}-{start + 9}").content == BIG[start : start + 10]
        assert tokens.given > 2
        assert opened.failed == []


def test_many_that_are_challenged_at_once_ask_for_one_token(registry: HostileRegistry) -> None:
    reference = registry.push([LAYER])
    tokens = Tokens(registry, uses=1000)
    registry.hooks.append(tokens)
    with door_of(reference, slots=16) as opened:
        before = tokens.given

        def take(start: int) -> None:
            with httpx.Client(base_url=f"http://127.0.0.1:{opened.address[1]}", trust_env=False) as client:
                client.get("/models/m/big.bin", headers={"Range": f"bytes={start}-{start + 9}"})

        threads = [threading.Thread(target=take, args=(number * 1000,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert tokens.given == before + 1
        assert opened.failed == []


class Storage:
    """Where a registry sends for its blobs: each address holds for `uses` requests; it is never shown who we are."""

    def __init__(self, registry: HostileRegistry, *, uses: int = 1000, refusal: int = 403) -> None:
        self.registry, self.uses, self.refusal = registry, uses, refusal
        self.left: dict[str, int] = {}
        self.asked: list[Request] = []
        self.address, self.busy = "", 0

    @contextmanager
    def running(self) -> Iterator[Storage]:
        with serving(self.give) as address:
            self.address = address
            yield self

    def send(self, request: Request) -> Answer | None:
        """The registry's hook."""
        if "/blobs/" not in request.path:
            return None
        digest = request.path.rpartition("/")[2]
        signed = f"/{digest}?X-Goog-Expires=600&X-Goog-Signature={len(self.left)}"
        self.left[signed] = self.uses
        return Answer(307, b"", {"Location": f"{self.address}{signed}"})

    def give(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.busy:
            self.busy -= 1
            return Answer(503, b"")
        if self.left.get(request.path, 0) <= 0:
            return Answer(self.refusal, b"<Error><Code>ExpiredToken</Code></Error>")
        self.left[request.path] -= 1
        return ranged(request, self.registry.blobs[request.path.split("?")[0][1:]])


def halves(opened: OpenDoor) -> None:
    for start in range(0, 4 * CHUNK, CHUNK):
        assert opened.get("big.bin", Range=f"bytes={start}-{start + 99}").content == BIG[start : start + 100]


def test_a_signed_address_serves_many_ranges_and_is_never_shown_who_we_are(
    registry: HostileRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "s3cret-word")
    reference = registry.push([LAYER])
    tokens, storage = Tokens(registry, uses=1000), Storage(registry)
    registry.hooks += [tokens, storage.send]
    with storage.running(), door_of(reference) as opened:
        before = len(registry.ranges())
        halves(opened)
        sent = [request for request in registry.asked[-(len(registry.ranges()) - before) :] if blob(request)]
        assert len(sent) <= 2  # with the first 401
        assert opened.count(Count.REDIRECTS) == 1
        assert all("authorization" not in request.headers for request in storage.asked)
        assert any("authorization" in request.headers for request in registry.asked)


@pytest.mark.parametrize("refusal", [400, 401, 403, 404])
def test_a_signed_address_that_holds_no_longer_is_asked_for_afresh(registry: HostileRegistry, refusal: int) -> None:
    reference = registry.push([LAYER])
    storage = Storage(registry, uses=1, refusal=refusal)
    registry.hooks.append(storage.send)
    with storage.running(), door_of(reference) as opened:
        halves(opened)
        assert opened.count(Count.RETRIES) == 0
        assert opened.failed == []


def test_a_storage_that_refuses_a_fresh_address_ends_the_sidecar(registry: HostileRegistry) -> None:
    reference = registry.push([LAYER])
    storage = Storage(registry)
    with storage.running(), door_of(reference) as opened:
        registry.hooks.append(storage.send)
        storage.uses = 0
        refused(opened, "may not be read (403)", StreamFault)


def test_a_storage_that_is_busy_is_asked_again_at_the_same_address(registry: HostileRegistry) -> None:
    reference = registry.push([LAYER])
    storage = Storage(registry)
    with storage.running(), door_of(reference) as opened:
        registry.hooks.append(storage.send)
        assert opened.get("big.bin", Range="bytes=0-9").content == BIG[:10]
        addresses = len(storage.left)
        storage.busy = 1
        assert opened.get("big.bin").content == BIG
        assert opened.count(Count.RETRIES) == 1
        assert len(storage.left) == addresses


def test_a_circle_of_redirects_is_left(registry: HostileRegistry) -> None:
    with door_of(registry.push([LAYER])) as opened:

        def back(request: Request) -> Answer | None:
            return Answer(307, b"", {"Location": request.path}) if blob(request) else None

        registry.hooks.append(back)
        refused(opened, "sends from one address to the next")


def suppressed(serve: Callable[[socket.socket], None], listening: socket.socket) -> None:
    """Serve until the test has closed what is listened at."""
    with suppress(OSError):
        serve(listening)


def test_connections_are_kept_and_one_that_was_closed_meanwhile_is_no_failure(registry: HostileRegistry) -> None:
    ports: list[int] = []
    data = LAYER[1]

    def serve(listening: socket.socket) -> None:
        while True:
            connection, peer = listening.accept()
            ports.append(peer[1])
            # Three answers a connection, and then it is closed without a word.
            for _ in range(3):
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = connection.recv(4096)
                    if not piece:
                        break
                    head += piece
                if not head:
                    break
                found = re.search(rb"bytes=(\d+)-(\d+)", head)
                assert found is not None
                first, last = int(found[1]), int(found[2])
                connection.sendall(
                    f"HTTP/1.1 206 x\r\nContent-Length: {last + 1 - first}\r\n"
                    f"Content-Range: bytes {first}-{last}/{len(data)}\r\n\r\n".encode()
                    + data[first : last + 1]
                )
            connection.close()

    with socket.socket() as listening, door_of(registry.push([LAYER])) as opened:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        threading.Thread(target=suppressed, args=(serve, listening), daemon=True).start()
        opened.upstream._base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        for start in [*range(0, 4 * CHUNK, CHUNK), 0]:
            at = start + CHUNK - 1000  # ends a chunk: the answer is read to its end
            assert opened.get("big.bin", Range=f"bytes={at}-{at + 9}").content == BIG[at : at + 10]
        time.sleep(0.05)
        assert len(ports) == 2
        assert opened.count(Count.RETRIES) == 0


def test_silence_is_a_failure_that_may_pass(registry: HostileRegistry) -> None:
    silent = threading.Event()

    def hang(request: Request) -> Answer | None:
        if blob(request) and not silent.is_set():
            silent.set()
            time.sleep(0.5)
        return None

    policy = RetryPolicy(attempts=9, first_seconds=0.01, silence_seconds=0.1, stalled_attempts=9)
    with door_of(registry.push([LAYER]), policy=policy) as opened:
        registry.hooks.append(hang)
        assert opened.get("big.bin").content == BIG
        assert opened.count(Count.RETRIES) >= 1


def test_a_trickle_is_a_failure_too(registry: HostileRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "SILENCE_SECONDS", 0.2)
    with socket.socket() as listening, door_of(registry.push([LAYER])) as opened:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def trickle(listening: socket.socket) -> None:
            while True:
                connection, _ = listening.accept()
                connection.recv(4096)
                connection.sendall(f"HTTP/1.1 206 x\r\nContent-Length: {len(BIG)}\r\n\r\n".encode())
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

        def drip(connection: socket.socket) -> None:
            try:
                while True:
                    connection.sendall(b"x")
                    time.sleep(0.05)
            except OSError:
                connection.close()

        threading.Thread(target=suppressed, args=(trickle, listening), daemon=True).start()
        opened.upstream._base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        refused(opened, "s: gave up after 3 attempts")


def test_logins_are_in_no_message(registry: HostileRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELIMAGE_USERNAME", "me")
    monkeypatch.setenv("MODELIMAGE_PASSWORD", "s3cret-word")
    with door_of(registry.push([LAYER])) as opened:
        registry.hooks.append(
            lambda request: (
                Answer(400, f"you are {request.headers.get('authorization')}".encode())
                if blob(request) and "authorization" in request.headers
                else Answer(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
                if blob(request)
                else None
            )
        )
        error = refused(opened, "the registry answered 400")
        assert "s3cret" not in str(error)
        assert "bWU6" not in str(error)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_a_registry_does_no_wrong_byte_is_passed_on(registry: HostileRegistry, seed: int) -> None:
    """Cut off, flipped, busy, moved, short, of another length: an answer is right, or it breaks off before its end."""
    dice = random.Random(seed)  # noqa: S311 - the same at each run
    reference = registry.push([LAYER])

    def whim(request: Request) -> Answer | None:
        if not blob(request) or dice.random() < 0.4:
            return None
        whole = ranged(request, LAYER[1])
        at = dice.randrange(len(whole.body))
        flipped = whole.body[:at] + bytes([whole.body[at] ^ 1]) + whole.body[at + 1 :]
        return dice.choice(
            [
                Answer(206, whole.body, whole.headers, cut_after=at),
                Answer(206, flipped, whole.headers),
                Answer(206, whole.body[:at], {}),
                Answer(206, whole.body[at:], {}),
                Answer(206, whole.body + b"more", whole.headers),
                Answer(503, b""),
                Answer(429, b"", {"Retry-After": "0"}),
                Answer(307, b"", {"Location": f"http://{registry.host}{request.path}"}),
                Answer(200, LAYER[1]) if dice.random() < 0.1 else Answer(500, b""),
            ]
        )

    with door_of(reference, slots=2, policy=RetryPolicy(attempts=5, first_seconds=0, longest_seconds=0)) as opened:
        registry.hooks.append(whim)
        right = 0
        for _ in range(40):
            start = dice.randrange(len(BIG))
            end = dice.randrange(start, len(BIG))
            with suppress(httpx.HTTPError):
                answer = opened.get("big.bin", Range=f"bytes={start}-{end}")
                assert answer.status_code == 206
                assert answer.content == BIG[start : end + 1]
                right += 1
        assert right > 0
