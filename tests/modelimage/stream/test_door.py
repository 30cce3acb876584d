"""The door gives each file's own bytes, whatever part of them is asked for, and by whatever client."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelimage.stream import door as door_module
from modelimage.stream.counters import Count
from modelimage.tiny import write_tiny_model
from tests.modelimage.handmade import file, folder, link
from tests.modelimage.stream.rig import CHUNK, HostileRegistry, OpenDoor, content, door_of, many, single

BIG = content(5 * CHUNK + 123)
NAMES = {"a b.bin": b"space", "ü.bin": b"umlaut", "100%.bin": b"percent", "sub/x+y.bin": b"plus", "none.bin": b""}


def layers() -> list[tuple[str, bytes, dict[str, str]]]:
    return [single("big.bin", BIG), many(*(file(f"models/{name}", data) for name, data in NAMES.items()))]


@pytest.mark.parametrize("lists", [True, False])
def test_any_part_of_a_file_is_that_part(registry: HostileRegistry, lists: bool) -> None:
    with door_of(registry.push(layers(), lists=lists)) as opened:

        @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(st.integers(0, len(BIG) - 1), st.integers(1, len(BIG)))
        def check(start: int, count: int) -> None:
            answer = opened.get("big.bin", Range=f"bytes={start}-{start + count - 1}")
            end = min(start + count, len(BIG))
            assert answer.status_code == 206
            assert answer.content == BIG[start:end]
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BIG)}"

        check()
        assert opened.get("big.bin").content == BIG
        assert opened.get("big.bin", Range=f"bytes=-{CHUNK}").content == BIG[-CHUNK:]
        assert opened.failed == []


def test_files_of_all_names_and_without_a_byte_are_there(registry: HostileRegistry) -> None:
    with door_of(registry.push(layers())) as opened:
        for name, data in NAMES.items():
            quoted = quote(name)
            answer = opened.get(quoted)
            assert (answer.status_code, answer.content) == (200, data), name
            head = opened.client.head(f"/models/m/{quoted}")
            assert head.headers["content-length"] == str(len(data))
            assert head.headers["etag"] == answer.headers["etag"]
        assert opened.get("none.bin", Range="bytes=0-0").status_code == 416


def test_what_is_not_below_the_models_folder_is_not_there(registry: HostileRegistry) -> None:
    secret = many(file("etc/passwd", b"root"), folder("models/sub"), file("models.bin", b"x"), link("m", "etc"))
    with door_of(registry.push([*layers(), secret])) as opened:
        for path in ("../etc/passwd", "%2e%2e/etc/passwd", "sub", "sub/", "etc/passwd", "passwd", "big.bin/"):
            assert opened.get(path).status_code == 404, path
        for path in ("/models/other/big.bin", "/big.bin", "/", "/etc/passwd", "/model/m/big.bin"):
            assert opened.client.get(path).status_code == 404, path
        assert b"NoSuchKey" in opened.get("absent").content
        assert b"NoSuchBucket" in opened.client.get("/other/x").content


def test_conditions_are_kept(registry: HostileRegistry) -> None:
    with door_of(registry.push(layers())) as opened:
        tag = opened.client.head("/models/m/big.bin").headers["etag"]
        assert opened.get("big.bin", **{"If-Match": tag, "Range": "bytes=0-9"}).status_code == 206
        assert opened.get("big.bin", **{"If-Match": '"other"'}).status_code == 412
        assert opened.get("big.bin", **{"If-None-Match": tag}).status_code == 304
        assert opened.get("big.bin", **{"If-Range": tag, "Range": "bytes=0-9"}).status_code == 206
        assert opened.get("big.bin", **{"If-Range": '"other"', "Range": "bytes=0-9"}).status_code == 200
        behind = opened.get("big.bin", Range=f"bytes={len(BIG)}-")
        assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(BIG)}")


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_nothing_is_written(registry: HostileRegistry, method: str) -> None:
    with door_of(registry.push(layers())) as opened:
        assert opened.client.request(method, "/models/m/big.bin", content=b"x").status_code == 501
        assert opened.get("big.bin").content == BIG


def test_the_bucket_is_there_and_only_the_second_version_of_lists(registry: HostileRegistry) -> None:
    with door_of(registry.push(layers())) as opened:
        assert opened.client.head("/models").status_code == 200
        assert opened.client.get("/models").status_code == 501
        assert opened.client.get("/models?list-type=2&max-keys=x").status_code == 400
        assert opened.client.get("/models?list-type=2&prefix=m/sub").text.count("<Key>") == 1


def test_what_vllm_has_asked_is_answered_as_a_bucket_would(registry: HostileRegistry, tmp_path: Path) -> None:
    model = write_tiny_model(str(tmp_path / "tiny"))
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    shards = [single(name, data) for name, data in files.items() if name.endswith(".safetensors")]
    small = many(*(file(f"models/{name}", data) for name, data in files.items() if not name.endswith(".safetensors")))
    recorded = json.loads(Path(__file__).with_name("recorded_vllm.json").read_text())["requests"]
    with door_of(registry.push([*shards, small]), prefix="models/tiny") as opened:
        for asked in recorded:
            status, headers, body = raw(opened, asked["method"], asked["target"], asked["headers"])
            name = asked["target"].rpartition("/")[2]
            if "list-type" in asked["target"]:
                assert (status, body.count(b"<Key>tiny%2F") + body.count(b"<Key>tiny/")) == (200, len(files))
                continue
            first, _, last = asked["headers"].get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            part = files[name][int(first) : int(last) + 1 if last else None]
            assert status == (206 if last else 200)
            assert headers["content-length"] == str(len(part))
            assert body == (b"" if asked["method"] == "HEAD" else part)


def raw(opened: OpenDoor, method: str, target: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    """Ask with a request line as it is: HTTP libraries would write a path where a client sent an address."""
    with socket.create_connection(opened.address) as connection:
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}, body


def test_many_connections_at_once_are_all_served(registry: HostileRegistry) -> None:
    with door_of(registry.push(layers()), slots=4) as opened:
        found: list[bool] = []

        def take(number: int) -> None:
            start = number * 1000
            status, _, body = raw(opened, "GET", "/models/m/big.bin", {"Range": f"bytes={start}-{start + 70_000}"})
            found.append(status == 206 and body == BIG[start : start + 70_001])

        threads = [threading.Thread(target=take, args=(number,)) for number in range(256)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert found == [True] * 256


def test_a_neighbours_chunk_is_not_fetched_again(registry: HostileRegistry) -> None:
    with door_of(registry.push(layers())) as opened:
        half = CHUNK // 2
        for start in range(0, 4 * CHUNK, half):
            assert opened.get("big.bin", Range=f"bytes={start}-{start + half - 1}").content == BIG[start : start + half]
        assert opened.count(Count.FETCHED_BYTES) <= 5 * CHUNK
        assert opened.count(Count.REUSED_CHUNKS) >= 4


def test_several_that_read_all_of_it_at_once_cost_the_registry_one_reading(registry: HostileRegistry) -> None:
    """The ranks of a server: each asks for all ranges, by connections of its own."""
    large = content(64 * CHUNK, seed=4)
    reference = registry.push([single("large.bin", large)])
    with door_of(reference, slots=16, readers=4) as opened:
        found: list[bool] = []
        together = threading.Barrier(4)

        def rank() -> None:
            for start in range(0, len(large), 3 * CHUNK - 100):
                together.wait(30)
                part = {"Range": f"bytes={start}-{start + 3 * CHUNK - 101}"}
                status, _, body = raw(opened, "GET", "/models/m/large.bin", part)
                found.append(status == 206 and body == large[start : start + 3 * CHUNK - 100])

        threads = [threading.Thread(target=rank) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert all(found)
        assert opened.count(Count.SERVED_BYTES) == 4 * len(large)
        assert opened.count(Count.FETCHED_BYTES) < 1.1 * len(large)


def test_a_client_that_takes_nothing_does_not_keep_others_from_their_chunks(
    registry: HostileRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "_BLOCKED_SECONDS", 0.05)
    large = content(64 * CHUNK, seed=3)
    reference = registry.push([single("large.bin", large), *layers()])
    with door_of(reference, slots=1) as opened, socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(opened.address)
        idle.sendall(b"GET /models/m/large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
        assert opened.get("big.bin").content == BIG
        idle.settimeout(20)
        answer = bytearray(idle.recv(1 << 16))
        whole = answer.index(b"\r\n\r\n") + 4 + len(large)
        while len(answer) < whole:
            answer += idle.recv(1 << 20)
        assert answer[-len(large) :] == large


def test_a_client_that_goes_away_leaves_nothing_behind(registry: HostileRegistry) -> None:
    with door_of(registry.push(layers()), slots=1) as opened:
        for _ in range(5):
            with socket.create_connection(opened.address) as gone:
                gone.sendall(b"GET /models/m/big.bin HTTP/1.1\r\nHost: x\r\n\r\n")
                gone.recv(100)
        assert opened.get("big.bin").content == BIG
        assert opened.failed == []
