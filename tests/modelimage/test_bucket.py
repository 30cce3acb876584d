"""A bucket as a source, against Google Cloud Storage on loopback, by Google's own client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from modelimage import ImageError, inspect, pack, write_context
from modelimage.patience import RetryPolicy
from oci_model_serving.errors import InputError
from tests.google import faults
from tests.google.endpoints import Loopback, loopback
from tests.google.faults import Faults
from tests.modelimage.servers import Answer
from tests.weights import safetensors_bytes

QUICK = RetryPolicy(attempts=3, first_seconds=0.01)
SHARD = "model.safetensors"


FOLDER = "models/qwen"


class Bucket:
    """A bucket on loopback, and which objects' contents were asked for."""

    def __init__(self, google: Loopback) -> None:
        self.google = google

    def put(self, name: str, content: bytes) -> None:
        """Upload an object, as a new generation."""
        self.google.state.upload("bucket", name, content)

    def content(self, name: str) -> bytes:
        return self.google.state.contents["storage", f"b/bucket/o/{name}"]

    @property
    def downloads(self) -> list[str]:
        paths = [
            unquote(urlsplit(request.path).path) for request in self.google.requests if "alt=media" in request.path
        ]
        return [path.rpartition("/b/bucket/o/")[2] for path in paths]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with loopback(Faults(page_size=2)) as google:
        made = Bucket(google)
        made.put(f"{FOLDER}/{SHARD}", safetensors_bytes(bytes(range(256)) * 40_000))
        made.put(f"{FOLDER}/config.json", b"{}")
        made.put(f"{FOLDER}/sub/", b"")
        made.put(f"{FOLDER}/sub/a b.txt", b"spaces")
        made.put("models/qwen-other/config.json", b"another model")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.address("storage"))
        yield made
        assert google.violations == []


def test_a_prefix_is_packed_with_the_layers_of_the_same_folder(bucket: Bucket, tmp_path: Path) -> None:
    image = pack("gs://bucket/models/qwen", f"oci:{tmp_path / 'image'}", policy=QUICK)
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    for name in (SHARD, "config.json", "sub/a b.txt"):
        (folder / name).write_bytes(bucket.content(f"{FOLDER}/{name}"))
    local = pack(str(folder), f"oci:{tmp_path / 'local'}")
    assert [layer.digest for layer in image.layers] == [layer.digest for layer in local.layers]
    assert inspect(image.reference).annotations["org.opencontainers.image.source"] == "gs://bucket/models/qwen/"


def test_a_second_packing_downloads_no_weights_and_a_new_generation_does(bucket: Bucket, tmp_path: Path) -> None:
    pack("gs://bucket/models/qwen/", f"oci:{tmp_path / 'image'}", policy=QUICK)
    bucket.google.requests.clear()
    pack("gs://bucket/models/qwen/", f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert set(bucket.downloads) == {f"{FOLDER}/config.json"}  # judged anew each time
    bucket.put(f"{FOLDER}/{SHARD}", safetensors_bytes(b"new weights"))
    again = pack("gs://bucket/models/qwen/", f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert [layer.uploaded for layer in again.layers] == [True, False, True]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.gguf"])
def test_a_page_that_was_uploaded_in_a_files_place_is_refused_before_anything_is_packed(
    bucket: Bucket, tmp_path: Path, name: str
) -> None:
    bucket.put(f"{FOLDER}/{name}", b"<html><body>Sign in</body></html>")
    ignore = [SHARD] if name.endswith(".gguf") else []
    with pytest.raises(InputError, match=f"{name}: is .*an HTML page"):
        pack("gs://bucket/models/qwen/", f"oci:{tmp_path / 'image'}", ignore=ignore, policy=QUICK)
    assert not (tmp_path / "image").exists()


def test_an_object_that_is_replaced_meanwhile_does_not_mix_in(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bucket.google.google.answer

    def replaced(verb: str, target: str, raw: bytes, headers: dict[str, str]) -> Answer:
        if "alt=media" in target:
            bucket.put(f"{FOLDER}/{SHARD}", safetensors_bytes(b"other"))
        return real(verb, target, raw, headers)

    monkeypatch.setattr(bucket.google.google, "answer", replaced)
    with pytest.raises(ImageError, match="it was replaced meanwhile"):
        pack("gs://bucket/models/qwen", f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not (tmp_path / "image").exists()


def test_a_flipped_byte_is_found_by_the_checksum(bucket: Bucket, tmp_path: Path) -> None:
    content = bytearray(bucket.content(f"{FOLDER}/{SHARD}"))
    content[-1] ^= 1
    bucket.google.state.contents["storage", f"b/bucket/o/{FOLDER}/{SHARD}"] = bytes(content)
    with pytest.raises(ImageError, match="CRC-32C"):
        pack("gs://bucket/models/qwen", f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not (tmp_path / "image").exists()


def test_an_empty_prefix_and_a_malformed_address_are_refused(bucket: Bucket, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file to pack"):
        pack("gs://bucket/models/nothing", f"oci:{tmp_path / 'image'}", policy=QUICK)
    with pytest.raises(InputError, match="write gs://bucket/prefix"):
        pack("gs://", f"oci:{tmp_path / 'image'}", policy=QUICK)
    with pytest.raises(ImageError, match="no such bucket"):
        pack("gs://another-bucket/x", f"oci:{tmp_path / 'image'}", policy=QUICK)


def test_a_build_context_fetches_each_generation_once(bucket: Bucket, tmp_path: Path) -> None:
    for _ in range(2):
        write_context("gs://bucket/models/qwen", str(tmp_path / "context"), policy=QUICK)
    assert bucket.downloads.count(f"{FOLDER}/{SHARD}") == 2  # two ranges of one download
    shard = tmp_path / "context" / "layer-01" / "models" / SHARD
    assert shard.read_bytes() == bucket.content(f"{FOLDER}/{SHARD}")
    bucket.put(f"{FOLDER}/{SHARD}", safetensors_bytes(b"new"))
    bucket.google.state.delete("storage", f"b/bucket/o/{FOLDER}/sub/a b.txt")
    write_context("gs://bucket/models/qwen", str(tmp_path / "context"), policy=QUICK)
    assert shard.read_bytes() == safetensors_bytes(b"new")
    assert not (tmp_path / "context" / "layer-02" / "sub").exists()


def test_a_refusal_is_told_in_one_line_with_the_role_that_is_missing(bucket: Bucket, tmp_path: Path) -> None:
    bucket.google.faults.refusing = {"storage.objects.list": [faults.denied("storage.objects.list", "bucket")]}
    with pytest.raises(ImageError) as failed:
        pack("gs://bucket/models/qwen", f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert str(failed.value) == (
        "listing gs://bucket/models/qwen: not allowed: the account needs roles/storage.objectViewer on the bucket"
    )


def test_a_storage_that_is_busy_for_a_moment_is_asked_again(bucket: Bucket, tmp_path: Path) -> None:
    bucket.google.faults.refusing = {"storage.objects.get": [faults.busy(), faults.too_many("Reads", "storage")]}
    assert pack("gs://bucket/models/qwen", f"oci:{tmp_path / 'image'}", policy=QUICK).layers
