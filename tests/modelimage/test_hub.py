"""The hub as a source, against a fake hub on loopback that speaks the real one's API."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import pytest

from modelimage import ImageError, copy, inspect, pack, write_context
from modelimage.patience import RetryPolicy
from oci_model_serving.errors import InputError
from tests.modelimage.servers import Answer, Request, ranged, serving
from tests.weights import safetensors_bytes

COMMIT = "c" * 40
QUICK = RetryPolicy(attempts=4, first_seconds=0.01)


class FakeHub:
    """One repository with one commit; large files are LFS objects behind a redirect to another path."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.cdn = ""
        self.requests: list[Request] = []
        self.next: list[Answer] = []
        self.cut: int | None = None
        self.token: str | None = None
        self.lie: dict[str, bytes] = {}

    def __call__(self, request: Request) -> Answer:  # noqa: PLR0911 - one for each kind of address
        self.requests.append(request)
        path = unquote(urlsplit(request.path).path)
        if (
            self.token
            and path.startswith(("/api", "/org"))
            and request.headers.get("authorization") != f"Bearer {self.token}"
        ):
            return Answer(401, b"{}", {"X-Error-Code": "RepoNotFound"})
        if path in {"/api/models/org/name/revision/main", "/api/models/org/name"}:
            return self._json({"id": "org/name", "sha": COMMIT, "siblings": []})
        if path == f"/api/models/org/name/revision/{COMMIT}":
            return self._json(
                {"id": "org/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            )
        if path == f"/api/models/org/name/tree/{COMMIT}":
            return self._json([self._entry(name) for name in self.files])
        if path.startswith(f"/org/name/resolve/{COMMIT}/"):
            return self._resolve(request, path.split(COMMIT + "/")[1])
        if path.startswith("/cdn/"):
            return self._content(request, path.removeprefix("/cdn/"))
        return Answer(404, b"{}", {"X-Error-Code": "RepoNotFound" if "/api/" in path else "EntryNotFound"})

    def _json(self, document: object) -> Answer:
        return Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _is_lfs(self, name: str) -> bool:
        return name.endswith(".safetensors")

    def _git_hash(self, name: str) -> str:
        content = self.files[name]
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()

    def _entry(self, name: str) -> dict[str, object]:
        content = self.files[name]
        entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": self._git_hash(name)}
        if self._is_lfs(name):
            entry["oid"] = "e" * 40
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return entry

    def _resolve(self, request: Request, name: str) -> Answer:
        content = self.files[name]
        headers = {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if self._is_lfs(name):
            headers |= {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Linked-Size": str(len(content))}
            headers |= {"X-Linked-ETag": headers["ETag"], "Location": f"{self.cdn}/cdn/{name}"}
            return Answer(302, b"", headers)
        answer = self._content(request, name)
        answer.headers |= headers | {"ETag": f'"{self._git_hash(name)}"'}
        return answer

    def _content(self, request: Request, name: str) -> Answer:
        if self.next:
            return self.next.pop(0)
        answer = ranged(request, self.lie.get(name, self.files[name]))
        if self.cut is not None and self._is_lfs(name):
            answer.cut_after, self.cut = self.cut, None
        return answer

    def reads(self, name: str) -> list[Request]:
        return [r for r in self.requests if r.method == "GET" and r.path.endswith(name) and "/api/" not in r.path]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    shards = {f"model-0000{n}-of-00002.safetensors": safetensors_bytes(bytes([n]) * 3_000_000) for n in (1, 2)}
    index = {"weight_map": {str(number): name for number, name in enumerate(shards)}}
    fake = FakeHub(
        {
            **shards,
            "config.json": b'{"model_type": "qwen2"}',
            "model.safetensors.index.json": json.dumps(index).encode(),
            "sub folder/notes.txt": b"notes",
            ".gitattributes": b"*.safetensors filter=lfs",
        }
    )
    with serving(fake) as address:
        fake.cdn = address.replace("127.0.0.1", "localhost")  # another host by name, as the real one's CDN
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        yield fake


SOURCE = f"hf://org/name@{COMMIT}"


def as_folder(hub: FakeHub, folder: Path) -> Path:
    for name, content in hub.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_commit_is_packed_with_the_layers_of_the_same_folder(hub: FakeHub, tmp_path: Path) -> None:
    image = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    local = pack(str(as_folder(hub, tmp_path / "folder")), f"oci:{tmp_path / 'local'}")
    assert [layer.digest for layer in image.layers] == [layer.digest for layer in local.layers]
    annotations = inspect(image.reference).annotations
    assert annotations["org.opencontainers.image.source"] == "https://huggingface.co/org/name"
    assert annotations["org.opencontainers.image.revision"] == COMMIT


def test_a_second_packing_reads_no_weights_from_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    hub.requests.clear()
    again = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not any(layer.uploaded for layer in again.layers)
    assert hub.reads(".safetensors") == []


def test_nothing_lands_on_a_disk_but_the_image(hub: FakeHub, tmp_path: Path) -> None:
    pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not (tmp_path / "hub-cache").exists()


def test_a_branch_a_tag_and_no_revision_are_refused_with_the_commit_to_use(hub: FakeHub, tmp_path: Path) -> None:
    for source in ("hf://org/name@main", "hf://org/name"):
        with pytest.raises(InputError, match=f"it is at hf://org/name@{COMMIT} now"):
            pack(source, f"oci:{tmp_path / 'image'}")
    with pytest.raises(InputError, match="from the repository's history page"):
        pack("hf://org/name@unknown", f"oci:{tmp_path / 'image'}")
    with pytest.raises(InputError, match="write hf://org/name@<40-hex commit>"):
        pack("hf://name", f"oci:{tmp_path / 'image'}")


def test_patterns_choose_what_is_streamed(hub: FakeHub, tmp_path: Path) -> None:
    image = pack(SOURCE, f"oci:{tmp_path / 'image'}", ignore=["*.safetensors", "*.index.json"], policy=QUICK)
    assert len(image.layers) == 1
    assert hub.reads(".safetensors") == []


def test_a_broken_connection_is_taken_up_where_it_broke(hub: FakeHub, tmp_path: Path) -> None:
    hub.cut = 1_500_000
    image = pack(SOURCE, f"oci:{tmp_path / 'image'}", jobs=1, policy=QUICK)
    assert {r.headers["range"] for r in hub.requests if "range" in r.headers} == {"bytes=1048576-"}  # a whole chunk
    local = pack(str(as_folder(hub, tmp_path / "folder")), f"oci:{tmp_path / 'local'}")
    assert [layer.digest for layer in image.layers] == [layer.digest for layer in local.layers]


def test_a_busy_hub_is_asked_again_and_one_that_stays_busy_is_told(hub: FakeHub, tmp_path: Path) -> None:
    hub.next = [Answer(503), Answer(429)]
    pack(SOURCE, f"oci:{tmp_path / 'image'}", jobs=1, policy=QUICK)
    hub.next = [Answer(503)] * 100
    with pytest.raises(ImageError, match="gave up after 4 attempts"):
        pack(SOURCE, f"oci:{tmp_path / 'other'}", jobs=1, policy=QUICK, cache=tmp_path / "fresh")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "config.json"])
def test_content_that_is_not_what_the_hub_lists_is_refused(hub: FakeHub, tmp_path: Path, name: str) -> None:
    content = bytearray(hub.files[name])
    content[-2] ^= 1
    hub.lie[name] = bytes(content)
    with pytest.raises(ImageError, match="what came is not what the hub lists"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert not (tmp_path / "image").exists()


def test_a_shard_that_is_broken_on_the_hub_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    hub.files["model-00001-of-00002.safetensors"] = b"version https://git-lfs.github.com/spec/v1\n"
    with pytest.raises(InputError, match="not a whole safetensors file"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)


def test_a_missing_shard_is_refused_before_anything_is_streamed(hub: FakeHub, tmp_path: Path) -> None:
    del hub.files["model-00002-of-00002.safetensors"]
    with pytest.raises(InputError, match="it is not there"):
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert hub.reads(".safetensors") == []


def test_a_private_model_needs_the_token_which_stays_out_of_the_message(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ImageError, match="private: check the name, or set HF_TOKEN") as caught:
        pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert "hf_wrong" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.requests.clear()
    pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    sent = {request.path.startswith("/cdn/"): "authorization" in request.headers for request in hub.requests}
    assert sent == {False: True, True: False}  # the token is the hub's, not its CDN's


def test_an_unknown_model_is_told(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such model"):
        pack(f"hf://org/other@{COMMIT}", f"oci:{tmp_path / 'image'}", policy=QUICK)


def test_a_build_context_links_the_weights_of_the_hubs_cache(hub: FakeHub, tmp_path: Path) -> None:
    context = write_context(SOURCE, str(tmp_path / "context"), policy=QUICK)
    shard = tmp_path / "context" / "layer-01" / "models" / "model-00001-of-00002.safetensors"
    assert shard.read_bytes() == hub.files[shard.name]
    assert shard.stat().st_nlink == 2
    assert context.fingerprint
    hub.requests.clear()
    write_context(SOURCE, str(tmp_path / "context"), policy=QUICK)
    assert hub.reads(".safetensors") == []


def test_an_image_made_from_the_hub_can_be_copied(hub: FakeHub, tmp_path: Path) -> None:
    image = pack(SOURCE, f"oci:{tmp_path / 'image'}", policy=QUICK)
    assert copy(image.reference, f"oci:{tmp_path / 'copy'}").digest == image.digest
