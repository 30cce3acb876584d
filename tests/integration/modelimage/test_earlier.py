"""Pushing what a real registry has already, with an empty cache: no byte of a layer is sent a second time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from modelimage import cache as cache_module
from modelimage import copy, pack
from modelimage.documents import MANIFEST_TYPE
from modelimage.patience import RetryPolicy
from modelimage.streams import digest_of
from oci_model_serving.reference import digest_tag, packed_tag, referrers_tag
from tests.hub import COMMIT, FakeHub
from tests.integration.modelimage.proxy import Fault, FaultProxy
from tests.registry import RegistryServer
from tests.weights import safetensors_bytes

pytestmark = pytest.mark.integration

QUICK = RetryPolicy(attempts=4, first_seconds=0.02)
TAGS = "/tags/list"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub() as fake:
        shards = {f"model-0000{n}-of-00002.safetensors": safetensors_bytes(bytes([n]) * 300_000) for n in (1, 2)}
        index = json.dumps({"weight_map": {str(n): name for n, name in enumerate(shards)}}).encode()
        fake.add(
            "org/name",
            {**shards, "config.json": b"{}", "model.safetensors.index.json": index, "notes.txt": b"n" * 20_000},
        )
        yield fake.used_by(monkeypatch, tmp_path / "hub-cache")


def uploads(proxy: FaultProxy) -> int:
    return proxy.count("POST", "/blobs/uploads/") + proxy.count("PATCH", "") + proxy.count("PUT", "/blobs/uploads/")


def forget(proxy: FaultProxy) -> None:
    proxy.log.clear()
    proxy.body_bytes = 0


@pytest.mark.parametrize("tag", [":v1", ":v2", ""])
def test_a_second_push_of_a_folder_with_an_empty_cache_sends_no_byte_of_a_layer(
    proxy: FaultProxy, tmp_path: Path, model: Path, tag: str
) -> None:
    first = pack(str(model), f"{proxy.host}/m:v1", cache=tmp_path / "one")
    forget(proxy)
    second = pack(str(model), f"{proxy.host}/m{tag}", cache=tmp_path / "two")
    assert second.digest == first.digest
    assert not any(layer.uploaded for layer in second.layers)
    assert uploads(proxy) == 0
    assert proxy.body_bytes < 10_000  # manifests alone


def test_an_image_of_the_version_before_is_used_by_its_sizes(
    registry: RegistryServer, proxy: FaultProxy, tmp_path: Path, model: Path
) -> None:
    first = pack(str(model), f"{proxy.host}/m:v1", cache=tmp_path / "one")
    manifest = registry.manifest("m", "v1").json()
    for layer in manifest["layers"]:
        del layer["annotations"]
    content = json.dumps(manifest).encode()
    registry.stop()
    shutil.rmtree(registry.storage / "docker/registry/v2/repositories/m/_manifests")
    registry.start()
    for name in ("v1", referrers_tag(digest_of(content))):
        url = f"http://{registry.host}/v2/m/manifests/{name}"
        assert httpx.put(url, content=content, headers={"Content-Type": MANIFEST_TYPE}).status_code == 201
    forget(proxy)
    second = pack(str(model), f"{proxy.host}/m:v1", cache=tmp_path / "two")
    assert second.digest == first.digest
    assert uploads(proxy) == 0


def test_a_shard_with_other_content_of_the_same_size_is_sent_and_the_others_are_not(
    registry: RegistryServer, proxy: FaultProxy, tmp_path: Path, model: Path
) -> None:
    pack(str(model), f"{proxy.host}/m:v1", cache=tmp_path / "one")
    shard = model / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    forget(proxy)
    second = pack(str(model), f"{proxy.host}/m:v2", cache=tmp_path / "two")
    assert [layer.uploaded for layer in second.layers] == [False, True, False, False, True]
    assert proxy.count("PATCH", "") == 0  # its digest is known by then: one PUT
    with RegistryServer(tmp_path / "other") as other:
        assert pack(str(model), f"{other.host}/m:v2", cache=tmp_path / "three").digest == second.digest


def test_the_hub_is_not_asked_for_what_the_repository_has(proxy: FaultProxy, hub: FakeHub, tmp_path: Path) -> None:
    first = pack(f"hf://org/name@{COMMIT}", f"{proxy.host}/m", cache=tmp_path / "one")
    forget(proxy)
    hub.forget()
    second = pack(f"hf://org/name@{COMMIT}", f"{proxy.host}/m", cache=tmp_path / "two")
    assert second.digest == first.digest
    assert hub.elsewhere == []
    assert hub.reads("notes.txt") == []
    assert uploads(proxy) == 0


def test_another_commit_reads_and_sends_only_what_it_has_changed(
    proxy: FaultProxy, hub: FakeHub, tmp_path: Path
) -> None:
    pack(f"hf://org/name@{COMMIT}", f"{proxy.host}/m", cache=tmp_path / "one")
    changed = {**hub.models["org/name"].files, "config.json": b'{"model_type": "qwen2"}'}
    hub.add("org/name", changed, commit="d" * 40)
    forget(proxy)
    hub.forget()
    second = pack(f"hf://org/name@{'d' * 40}", f"{proxy.host}/m", cache=tmp_path / "two")
    assert [layer.uploaded for layer in second.layers] == [False, False, True, True]
    assert hub.elsewhere == []


def test_a_recognised_layer_that_the_repository_lost_is_mounted_where_the_cache_knows_another(
    registry: RegistryServer, proxy: FaultProxy, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "RACY_SECONDS", 0.0)
    source = f"hf://org/name@{COMMIT}"
    pack(source, f"{proxy.host}/one", cache=tmp_path / "one")
    first = pack(source, f"{proxy.host}/two", cache=tmp_path / "two")
    cache = cache_module.LayerCache(tmp_path / "three")
    for layer in first.layers:
        cache.seen_in(f"{proxy.host}/one", layer.digest)
    links = registry.storage / "docker/registry/v2/repositories/two/_layers/sha256"
    for layer in first.layers:
        (links / layer.digest.removeprefix("sha256:") / "link").unlink()
    forget(proxy)
    hub.forget()
    third = pack(source, f"{proxy.host}/two", cache=tmp_path / "three")
    assert third.digest == first.digest
    assert hub.elsewhere == []
    assert proxy.count("POST", "mount=.*from=one") == 4
    assert proxy.count("PATCH", "") == proxy.count("PUT", "/blobs/uploads/") == 0


REFUSALS = {
    "no such list": Fault("GET", TAGS, times=99, status=404, body=b'{"errors":[{"code":"NAME_UNKNOWN"}]}'),
    "denied": Fault("GET", TAGS, times=99, status=403, body=b'{"errors":[{"code":"DENIED"}]}'),
    "ailing": Fault("GET", TAGS, times=99, status=503),
    "no list": Fault("GET", TAGS, times=99, status=200, body=b"<html>"),
    "another form": Fault("GET", TAGS, times=99, status=200, body=b'{"tags": {"a": 1}}'),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_registry_that_tells_no_tags_is_pushed_to_all_the_same_and_asked_once(
    proxy: FaultProxy, tmp_path: Path, model: Path, name: str
) -> None:
    first = pack(str(model), f"{proxy.host}/m", cache=tmp_path / "one")
    forget(proxy)
    proxy.faults = [Fault(**vars(REFUSALS[name]))]
    assert pack(str(model), f"{proxy.host}/m", cache=tmp_path / "two", policy=QUICK).digest == first.digest
    assert proxy.count("PATCH", "") == 4
    assert proxy.count("GET", TAGS) == 1


def test_who_may_push_and_not_read_sends_all(proxy: FaultProxy, tmp_path: Path, model: Path) -> None:
    pack(str(model), f"{proxy.host}/m", cache=tmp_path / "one")
    forget(proxy)
    denied = b'{"errors":[{"code":"DENIED"}]}'
    proxy.faults = [Fault("GET", "/manifests/packed-", times=1, status=403, body=denied)]
    pack(str(model), f"{proxy.host}/m", cache=tmp_path / "two", policy=QUICK)
    assert proxy.count("PATCH", "") == 4


def tagged(registry: RegistryServer, count: int) -> None:
    """Give the repository so many more images, of no layers, as packing does."""
    manifest = registry.manifest("m", "v1").json()
    with httpx.Client() as client:
        for number in range(count):
            content = json.dumps({**manifest, "layers": [], "annotations": {"number": str(number)}}).encode()
            for name in (digest_tag(digest_of(content)), packed_tag(digest_of(content))):
                put(registry, "m", name, content, client)


def put(
    registry: RegistryServer, repository: str, name: str, content: bytes, client: httpx.Client | None = None
) -> None:
    url = f"http://{registry.host}/v2/{repository}/manifests/{name}"
    send = client.put if client else httpx.put
    assert send(url, content=content, headers={"Content-Type": MANIFEST_TYPE}).status_code == 201


@pytest.mark.parametrize("tag", [":v1", ":new"])
def test_a_layer_is_recognised_in_a_repository_of_sixty_images(
    registry: RegistryServer, proxy: FaultProxy, hub: FakeHub, tmp_path: Path, tag: str
) -> None:
    first = pack(f"hf://org/name@{COMMIT}", f"{proxy.host}/m:v1", cache=tmp_path / "one")
    tagged(registry, 60)
    forget(proxy)
    hub.forget()
    assert pack(f"hf://org/name@{COMMIT}", f"{proxy.host}/m{tag}", cache=tmp_path / "two").digest == first.digest
    assert hub.elsewhere == []
    assert uploads(proxy) == 0
    assert proxy.count("GET", TAGS) == (tag == ":new")


def lying(registry: RegistryServer, repository: str) -> str:
    """Push an image with the keys of another's true layers on layers of the same size; its digest."""
    manifest = registry.manifest(repository, "v1").json()
    first = manifest["layers"][0]
    other = bytes(first["size"])
    address = httpx.post(f"http://{registry.host}/v2/{repository}/blobs/uploads/").headers["location"]
    httpx.put(f"{address}&digest={digest_of(other)}", content=other).raise_for_status()
    first["digest"] = digest_of(other)
    content = json.dumps(manifest).encode()
    put(registry, repository, "evil", content)
    return digest_of(content)


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("tag", [":thirdparty", ""])
def test_the_keys_of_an_image_that_was_copied_into_the_repository_are_not_believed(
    registry: RegistryServer, hub: FakeHub, tmp_path: Path, tag: str, moved: bool
) -> None:
    source = f"hf://org/name@{COMMIT}"
    right = pack(source, f"{registry.host}/others:v1", cache=tmp_path / "one")
    evil = lying(registry, "others")
    copy(f"{registry.host}/others@{evil}", f"{registry.host}/mine:thirdparty", cache=tmp_path / "two")
    assert registry.tags("mine") == sorted(["thirdparty", digest_tag(evil)])
    if moved:  # a tag of a packed image that no longer points to it
        put(registry, "mine", packed_tag(right.digest), registry.manifest("mine", "thirdparty").content)
    assert pack(source, f"{registry.host}/mine{tag}", cache=tmp_path / "three").digest == right.digest
    assert packed_tag(evil) not in registry.tags("mine")
