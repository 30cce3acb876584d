"""A bucket as a source, against a fake Google Cloud Storage on loopback, by Google's own client."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c
import pytest

from modelimage import ImageError, inspect, pack, write_context
from modelimage.patience import RetryPolicy
from oci_model_serving.errors import InputError
from tests.modelimage.servers import Answer, Request, ranged, serving
from tests.weights import safetensors_bytes

QUICK = RetryPolicy(attempts=3, first_seconds=0.01)
SHARD = "model.safetensors"


class FakeStorage:
    """The JSON API of one bucket: listing in pages, and media downloads by generation and range."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.lie: dict[str, bytes] = {}
        self.downloads: list[str] = []
        self.fail = 0

    def put(self, name: str, content: bytes, generation: int = 1) -> None:
        self.objects[name] = (generation, content)

    def __call__(self, request: Request) -> Answer:
        parts = urlsplit(request.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/storage/v1/b/bucket/o":
            return self._list(query)
        if parts.path.startswith("/download/storage/v1/b/bucket/o/") or query.get("alt") == "media":
            return self._download(request, unquote(parts.path.rsplit("/o/", 1)[1]), query)
        return Answer(404, b'{"error": {"code": 404, "message": "not found"}}', {"Content-Type": "application/json"})

    def _list(self, query: dict[str, str]) -> Answer:
        names = sorted(name for name in self.objects if name.startswith(query.get("prefix", "")))
        start = int(query.get("pageToken", "0"))
        page: dict[str, Any] = {"kind": "storage#objects", "items": [self._entry(n) for n in names[start : start + 2]]}
        if start + 2 < len(names):
            page["nextPageToken"] = str(start + 2)
        return Answer(200, json.dumps(page).encode(), {"Content-Type": "application/json"})

    def _entry(self, name: str) -> dict[str, str]:
        generation, content = self.objects[name]
        checksum = google_crc32c.value(content).to_bytes(4, "big")
        return {
            "name": name,
            "bucket": "bucket",
            "generation": str(generation),
            "size": str(len(content)),
            "crc32c": base64.b64encode(checksum).decode(),
        }

    def _download(self, request: Request, name: str, query: dict[str, str]) -> Answer:
        self.downloads.append(name)
        if self.fail:
            self.fail -= 1
            return Answer(503, b"busy")
        generation, content = self.objects[name]
        if query.get("generation") != str(generation):
            return Answer(404, b"no such generation")
        return ranged(request, self.lie.get(name, content))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStorage]:
    fake = FakeStorage()
    fake.put("models/qwen/" + SHARD, safetensors_bytes(bytes(range(256)) * 40_000))
    fake.put("models/qwen/config.json", b"{}")
    fake.put("models/qwen/sub/", b"")
    fake.put("models/qwen/sub/a b.txt", b"spaces")
    fake.put("models/qwen-other/config.json", b"another model")
    with serving(fake) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        yield fake


def test_a_prefix_is_packed_with_the_layers_of_the_same_folder(bucket: FakeStorage, tmp_path: Path) -> None:
    image = pack("gs://bucket/models/qwen", f"oci:{tmp_path / 'image'}", policy=QUICK)
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for name in (SHARD, "config.json", "sub/a b.txt"):
        (folder / name).write_bytes(bucket.objects[f"models/qwen/{name}"][1])
    local = pack(str(folder), f"oci:{tmp_path / 'local'}")
    assert [layer.digest for layer in image.layers] == [layer.digest for layer in local.layers]
    assert inspect(image.reference).annotations["org.opencontainers.image.source"] == "gs://bucket/models/qwen/"


def test_a_second_packing_downloads_no_weights_and_a_new_generation_does(bucket: FakeStorage, tmp_path: Path) -> None:
    pack("gs://bucket/models/qwen/", f"oci:{tmp_path / 'image'}", policy=QUICK)
    bucket.downloads.clear()
    pack("gs://bucket/models/qwen/", f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert bucket.downloads == []
    bucket.put("models/qwen/" + SHARD, safetensors_bytes(b"new weights"), generation=2)
    again = pack("gs://bucket/models/qwen/", f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert [layer.uploaded for layer in again.layers] == [True, False]


def test_an_object_that_is_replaced_meanwhile_does_not_mix_in(
    bucket: FakeStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FakeStorage._download

    def replaced(self: FakeStorage, request: Request, name: str, query: dict[str, str]) -> Answer:
        self.put("models/qwen/" + SHARD, safetensors_bytes(b"other"), generation=2)
        return real(self, request, name, query)

    monkeypatch.setattr(FakeStorage, "_download", replaced)
    with pytest.raises(ImageError, match="it was replaced meanwhile"):
        pack("gs://bucket/models/qwen", f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not (tmp_path / "image").exists()


def test_a_flipped_byte_is_found_by_the_checksum(bucket: FakeStorage, tmp_path: Path) -> None:
    content = bytearray(bucket.objects["models/qwen/" + SHARD][1])
    content[-1] ^= 1
    bucket.lie["models/qwen/" + SHARD] = bytes(content)
    with pytest.raises(ImageError, match="CRC-32C"):
        pack("gs://bucket/models/qwen", f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not (tmp_path / "image").exists()


def test_an_empty_prefix_and_a_malformed_address_are_refused(bucket: FakeStorage, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file to pack"):
        pack("gs://bucket/models/nothing", f"oci:{tmp_path / 'image'}", policy=QUICK)
    with pytest.raises(InputError, match="write gs://bucket/prefix"):
        pack("gs://", f"oci:{tmp_path / 'image'}", policy=QUICK)
    with pytest.raises(ImageError, match="no such bucket"):
        pack("gs://another-bucket/x", f"oci:{tmp_path / 'image'}", policy=QUICK)


def test_a_build_context_fetches_each_generation_once(bucket: FakeStorage, tmp_path: Path) -> None:
    for _ in range(2):
        write_context("gs://bucket/models/qwen", str(tmp_path / "context"), policy=QUICK)
    assert bucket.downloads.count("models/qwen/" + SHARD) == 2  # two ranges of one download
    shard = tmp_path / "context" / "layer-01" / "models" / SHARD
    assert shard.read_bytes() == bucket.objects["models/qwen/" + SHARD][1]
    bucket.put("models/qwen/" + SHARD, safetensors_bytes(b"new"), generation=2)
    del bucket.objects["models/qwen/sub/a b.txt"]
    write_context("gs://bucket/models/qwen", str(tmp_path / "context"), policy=QUICK)
    assert shard.read_bytes() == safetensors_bytes(b"new")
    assert not (tmp_path / "context" / "layer-02" / "sub").exists()
