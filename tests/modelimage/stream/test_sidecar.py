"""The sidecar as a process: what it answers, how it ends, and with which last word."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import socket
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest

from modelimage.bundle import stream_archive
from modelimage.stream.sidecar import everywhere
from tests.modelimage.handmade import digest_of, file
from tests.modelimage.servers import Answer, Request
from tests.modelimage.stream.process import gone, sidecar
from tests.modelimage.stream.rig import CHUNK, HostileRegistry, content, many, single

BIG = content(3 * CHUNK)
LAYERS = [single("big.bin", BIG), many(file("models/config.json", b"{}"))]


def test_it_serves_tells_what_it_does_and_ends_at_once_when_it_is_told_to(registry: HostileRegistry) -> None:
    reference = registry.push(LAYERS)
    with sidecar(reference) as running:
        running.until("/started")
        assert running.status("/ready") == 200
        assert [running.get(f"/models/m/{name}").content for name in ("big.bin", "config.json")] == [BIG, b"{}"]
        image = httpx.get(f"http://127.0.0.1:{running.health}/image", trust_env=False).json()
        assert image == {
            "image": str(reference),
            "digest": reference.digest,
            "files": 2,
            "size_bytes": len(BIG) + 2,
            "layers": {"by_list": 2, "whole": 0, "unverified": 0},
        }
        metrics = httpx.get(f"http://127.0.0.1:{running.health}/metrics", trust_env=False).text
        assert re.search(rf"^oci_model_serving_stream_served_bytes_total {len(BIG) + 2}$", metrics, re.MULTILINE)
        assert running.status("/other") == 404
        workers = running.children()
        assert len(workers) == 2
        begun = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        code, said = running.end()
        assert (code, time.monotonic() - begun < 5) == (0, True)
        assert said == f"stream: {reference}: 2 files, 196.6 kB: each chunk is compared with its list"
        assert gone(workers)


def test_a_flipped_byte_in_an_image_with_lists_ends_it_when_it_is_asked_for(registry: HostileRegistry) -> None:
    reference = registry.push(LAYERS)
    digest = digest_of(LAYERS[0][1])
    with sidecar(reference) as running:
        running.until("/ready")
        registry.blobs[digest] = LAYERS[0][1][:-20_000] + bytes(20_000)
        with pytest.raises(httpx.TransportError):
            running.get("/models/m/big.bin")
        code, said = running.end()
        assert code == 3
        assert said.startswith(f"stream: {reference}: chunk ")
        assert f"of layer {digest} is not what its list says" in said


def test_a_flipped_byte_in_an_image_without_lists_never_lets_it_become_ready(registry: HostileRegistry) -> None:
    reference = registry.push(LAYERS, lists=False)
    digest = digest_of(LAYERS[0][1])
    registry.blobs[digest] = LAYERS[0][1][:-20_000] + b"x" * 20_000
    with sidecar(reference) as running:
        code, said = running.end()
        assert (code, said) == (
            3,
            f"stream: {reference}: layer {digest} is not what its digest says: the registry gives other bytes",
        )


def test_it_ends_with_a_process_that_is_killed_and_they_with_it(registry: HostileRegistry) -> None:
    with sidecar(registry.push(LAYERS)) as running:
        running.until("/ready")
        first, second = running.children()
        os.kill(first, signal.SIGKILL)
        code, said = running.end()
        assert (code, "was ended by SIGKILL: if it was for want of memory" in said) == (1, True)
        assert gone([second])
    with sidecar(registry.push(LAYERS)) as running:
        running.until("/ready")
        workers = running.children()
        running.process.kill()
        assert gone(workers)


def test_bad_input_is_told_in_one_line(registry: HostileRegistry) -> None:
    with sidecar("r.example/m:latest", "--processes", "0") as running:
        code, said = running.end()
        assert code == 2
        assert said.startswith("stream: 'r.example/m:latest' names the tag 'latest'")
        assert "--processes 0: give 1 to" in said


def test_a_registry_that_keeps_failing_is_told_without_a_remedy_for_who_pushes(registry: HostileRegistry) -> None:
    image = registry.push([single("a.safetensors", content(CHUNK))])
    registry.hooks.append(lambda request: Answer(500) if "/manifests/" in request.path else None)

    with sidecar(image) as running:
        code, said = running.end()

    assert code == 1
    assert said.endswith("gave up after 3 attempts")


def test_an_image_that_is_not_there_is_told_as_such(registry: HostileRegistry) -> None:
    with sidecar(f"{registry.host}/m@sha256:{'0' * 64}") as running:
        assert running.end() == (
            1,
            f"stream: {registry.host}/m@sha256:{'0' * 64} is not there (404): was it removed from the registry? Build "
            "or copy it again",
        )


def test_a_second_one_does_not_take_a_share_of_the_firsts_port(registry: HostileRegistry) -> None:
    with sidecar(registry.push(LAYERS)) as first:
        first.until("/ready")
        with sidecar(registry.push([single("other.bin", b"x")]), "--port", str(first.port)) as second:
            code, said = second.end()
            assert code == 2
            assert f"ports {first.port} and {second.health}: cannot be listened at" in said


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("code") / "stream.zip"
    path.write_bytes(stream_archive())
    return path


def test_the_archive_is_the_same_each_time_and_fits_into_a_config_map(archive: Path) -> None:
    content = archive.read_bytes()
    assert content == stream_archive()
    assert len(content) < 400_000
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    assert not [name for name in names if ".dist-info" in name or "__pycache__" in name]


def test_the_archive_runs_where_only_a_servers_own_libraries_are(
    registry: HostileRegistry, archive: Path, tmp_path: Path
) -> None:
    """What a server's image has of ours: httpx and pydantic with what they need, of whatever version."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    packages = Path(httpx.__file__).parents[1]
    for name in ("httpx", "httpcore", "h11", "anyio", "certifi", "idna", "sniffio"):
        if (packages / name).exists():
            (theirs / name).symlink_to(packages / name)
    for name in ("pydantic", "pydantic_core", "annotated_types", "typing_inspection", "typing_extensions.py"):
        (theirs / name).symlink_to(packages / name)
    runner = tmp_path / "run.py"
    runner.write_text(
        f"import runpy, sys\nsys.path[:] = [path for path in sys.path if 'site-packages' not in path]\n"
        f"sys.path += [{str(theirs)!r}]\nsys.argv[0] = {str(archive)!r}\n"
        f"runpy.run_path({str(archive)!r}, run_name='__main__')\n"
    )
    reference = registry.push(LAYERS, lists=False)
    with sidecar(reference, command=["-I", "-S", str(runner)]) as running:
        running.until("/ready")
        assert running.get("/models/m/big.bin").content == BIG
        assert json.loads(httpx.get(f"http://127.0.0.1:{running.health}/image", trust_env=False).text)["files"] == 2
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0


def test_it_ends_at_once_while_it_waits_for_a_registry(registry: HostileRegistry) -> None:
    asked = threading.Event()

    def silent(request: Request) -> Answer | None:
        asked.set()
        time.sleep(20)
        return None

    registry.hooks.append(silent)
    with sidecar(registry.push(LAYERS)) as running:
        assert asked.wait(20)
        begun = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.end()[0] == 0
        assert time.monotonic() - begun < 5


def test_a_pod_without_the_newer_addresses_answers_at_the_older(monkeypatch: pytest.MonkeyPatch) -> None:
    real, families = socket.create_server, []

    def create(address: tuple[str, int], **how: Any) -> socket.socket:
        families.append(how.get("family"))
        if how.get("family") is socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return real(address, **how)

    monkeypatch.setattr(socket, "create_server", create)
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: True)
    with everywhere(0) as listening:
        assert listening.family is socket.AF_INET
    assert families == [socket.AF_INET6, None]
