"""What others hand in - registries, buckets, layouts, paths, terminals - and what is said of it in one message."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from modelimage import ImageError, copy, fingerprint, inspect, pack, write_context
from modelimage import hub as hub_module
from modelimage import images as images_module
from modelimage import writing as writing_module
from modelimage.cache import LayerCache, default_folder
from modelimage.credentials import Credentials
from modelimage.documents import INDEX_TYPE, MANIFEST_TYPE
from modelimage.errors import DigestMismatchError
from modelimage.layers import plan_layers
from modelimage.patience import GaveUpError, Patience, RetryPolicy
from modelimage.refusals import RegistryError
from modelimage.registry import Registry
from modelimage.rules import check_names
from modelimage.source import SourceFile
from modelimage.stores import StoredManifest
from modelimage.streams import Written
from modelimage.weights import HeaderCheck
from modelimage.writing import run_all
from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.reference import RegistryReference
from tests.modelimage.servers import Answer, Request, serving

DEEP = b"[" * 200_000


def put(layout: Path, content: bytes) -> dict[str, Any]:
    """Store a blob in a layout by hand, and return its digest and size."""
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def blobs(layout: Path) -> set[str]:
    return {path.name for path in (layout / "blobs" / "sha256").iterdir()}


def index_of(layout: Path) -> Any:
    return json.loads((layout / "index.json").read_text())


@pytest.fixture
def two_platforms(tmp_path: Path, model: Path) -> str:
    """A layout with an image of two platforms; the manifest of the second does not tell its own type."""
    layout = tmp_path / "two"
    image = pack(str(model), f"oci:{layout}")
    manifest = json.loads((layout / "blobs" / "sha256" / image.digest.removeprefix("sha256:")).read_text())
    amd64 = index_of(layout)["manifests"][0]
    config = put(layout, json.dumps({"os": "linux", "architecture": "arm64"}).encode())
    layer = put(layout, b"another platform's layer")
    manifest["config"] |= config
    manifest["layers"] = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **layer}]
    del manifest["mediaType"]
    arm64 = {"mediaType": MANIFEST_TYPE, "platform": {"os": "linux", "architecture": "arm64"}}
    arm64 |= put(layout, json.dumps(manifest).encode())
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [arm64, amd64]}
    entry = {"mediaType": INDEX_TYPE, **put(layout, json.dumps(index).encode())}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return f"oci:{layout}@{entry['digest']}"


# Images of several platforms


def test_an_image_of_two_platforms_is_copied_whole_and_the_folder_lists_only_it(
    tmp_path: Path, two_platforms: str, model: Path
) -> None:
    target = tmp_path / "copied"
    pack(str(model), f"oci:{target}")  # a former image whose blobs are partly needed again
    image = copy(two_platforms, f"oci:{target}")
    assert image.reference.endswith(two_platforms.rpartition("@")[2])
    assert blobs(target) == blobs(tmp_path / "two")
    assert [entry["digest"] for entry in index_of(target)["manifests"]] == [image.digest]
    assert inspect(f"oci:{target}").digest == image.digest
    assert copy(image.reference, f"oci:{tmp_path / 'again'}").digest == image.digest


def test_a_manifest_that_tells_no_type_has_the_one_that_its_index_tells(tmp_path: Path, two_platforms: str) -> None:
    layout = tmp_path / "two"
    digest = two_platforms.rpartition("@")[2]
    index = json.loads((layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_text())
    amd64 = index["manifests"][1]
    manifest = json.loads((layout / "blobs" / "sha256" / amd64["digest"].removeprefix("sha256:")).read_text())
    del manifest["mediaType"]
    amd64 |= put(layout, json.dumps(manifest).encode())
    top = put(layout, json.dumps(index).encode())
    assert inspect(f"oci:{layout}@{top['digest']}").platform == "linux/amd64"


# Damaged and hostile documents


def test_a_configuration_that_is_too_large_is_not_read(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    monkeypatch.setattr(images_module, "MANIFEST_LIMIT_BYTES", 100)
    with pytest.raises(ImageError, match=r"its configuration has \d+ bytes, more than 100"):
        inspect(image.reference)


def test_a_configuration_with_another_digest_is_refused(tmp_path: Path, model: Path) -> None:
    layout = tmp_path / "image"
    image = pack(str(model), f"oci:{layout}")
    manifest = json.loads((layout / "blobs" / "sha256" / image.digest.removeprefix("sha256:")).read_text())
    path = layout / "blobs" / "sha256" / manifest["config"]["digest"].removeprefix("sha256:")
    path.write_bytes(path.read_bytes().replace(b"modelimage", b"modelimagE"))
    with pytest.raises(DigestMismatchError, match="its configuration has the digest"):
        inspect(image.reference)


def test_a_broken_index_is_told_before_a_layer_is_written(tmp_path: Path, model: Path) -> None:
    pack(str(model), f"oci:{tmp_path / 'image'}")
    (tmp_path / "image" / "index.json").write_text("{")
    before = blobs(tmp_path / "image")
    (model / "config.json").write_text('{"new": true}')
    with pytest.raises(ImageError, match=r"index.json is not an image index.*remove the folder"):
        pack(str(model), f"oci:{tmp_path / 'image'}")
    assert blobs(tmp_path / "image") == before


def test_documents_that_are_nested_without_end_are_refused() -> None:
    check = HeaderCheck("model.safetensors", 8 + len(DEEP))
    with pytest.raises(InputError, match="its header is not the JSON"):
        check.feed(len(DEEP).to_bytes(8, "little") + DEEP)
    with pytest.raises(ImageError, match="its content is not a manifest"):
        StoredManifest.read("sha256:x", "", DEEP)


def test_a_shard_index_that_is_nested_without_end_is_refused(tmp_path: Path, model: Path) -> None:
    (model / "model.safetensors.index.json").write_bytes(DEEP)
    with pytest.raises(InputError, match="not a safetensors index"):
        pack(str(model), f"oci:{tmp_path / 'image'}")


@pytest.mark.parametrize("layers", [450, 1000])
def test_a_base_that_leaves_no_layer_is_refused(layers: int) -> None:
    small = SourceFile.of("config.json", b"{}")
    with pytest.raises(InputError, match=f"the base has {layers} layers"):
        plan_layers([small], base_layers=layers)
    assert len(plan_layers([small], base_layers=449)) == 1


# Names


@pytest.mark.parametrize("path", ["/etc/x", "a//b", "a/../../b", "../b", "a/", "./a"])
def test_a_name_that_leaves_its_folder_is_refused(path: str) -> None:
    assert any("is no path below the model's root" in problem for problem in check_names("gs://bucket", [path]))


def test_a_name_that_is_a_file_and_a_folder_is_refused() -> None:
    assert "also the folder of others" in check_names("gs://bucket", ["a", "a/b", "ab"])[0]
    assert check_names("gs://bucket", ["a/b", "a/c", "ab"]) == []


@pytest.mark.parametrize("name", ["a/b--c", "a/b..c", "a/b.git"])
def test_a_name_that_the_hub_does_not_allow_is_bad_input(name: str) -> None:
    with pytest.raises(InputError, match="no name that the hub allows"):
        hub_module.parse(f"hf://{name}@{'a' * 40}")


@pytest.mark.parametrize("endpoint", ["nonsense", "http://[::1", "http://localhost:port"])
def test_an_endpoint_that_is_no_address_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(InputError, match="HF_ENDPOINT"):
        pack(f"hf://a/b@{'a' * 40}", f"oci:{tmp_path / 'image'}", policy=RetryPolicy(attempts=1))


# Registries


def registry(address: str, attempts: int = 8) -> Registry:
    place = RegistryReference(address.removeprefix("http://"), "m")
    return Registry(place, patience=Patience(RetryPolicy(attempts=attempts, first_seconds=0.01)))


def test_blobs_are_asked_for_as_they_are_stored() -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        return Answer(200, b"blob")

    with serving(answer) as address, registry(address) as store:
        assert store.has_blob("sha256:x", 4)
        assert b"".join(store.read_blob("sha256:x", 4)) == b"blob"
    assert [request.headers["accept-encoding"] for request in asked] == ["identity", "identity"]


def test_a_registry_that_refuses_connections_is_given_up_after_three_tries() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        reference = f"127.0.0.1:{taken.getsockname()[1]}/m@sha256:{'a' * 64}"
        with pytest.raises(GaveUpError, match="gave up after 3 attempts"):
            inspect(reference, policy=RetryPolicy(first_seconds=0.01))


def test_a_registry_that_has_answered_is_waited_for() -> None:
    answers = [Answer(404), *[Answer(503)] * 5, Answer(404)]
    with serving(lambda _: answers.pop(0)) as address, registry(address) as store:
        assert store.digest_of_tag("one") is None
        assert store.digest_of_tag("two") is None


def test_a_name_server_that_is_busy_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [socket.EAI_AGAIN, socket.EAI_NONAME]

    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(failures.pop(0), "resolving failed")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with registry("registry.invalid") as store, pytest.raises(RegistryError, match="check the name"):
        store.manifest("x")
    assert failures == []


# An interrupt


def test_an_interrupt_is_passed_on_while_a_task_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_module, "_INTERRUPT_SECONDS", 0.05)
    real, calls = concurrent.futures.wait, []
    release, stop = threading.Event(), threading.Event()

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(options)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    def hang() -> Written:
        release.wait(60)
        return Written("sha256:x", uploaded=False)

    monkeypatch.setattr(writing_module, "wait", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_all([(1, hang), (1, hang)], 1, stop)
        assert stop.is_set()
        assert calls[1] == {"timeout": 0.05}
    finally:
        release.set()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_hangs_in_a_read_ends_when_it_is_told_to_and_leaves_nothing(
    tmp_path: Path, model: Path, end: signal.Signals
) -> None:
    layout, target = tmp_path / "image", tmp_path / "copied"
    image = pack(str(model), f"oci:{layout}")
    layers = {layer.digest for layer in image.layers}
    hangs, release = threading.Event(), threading.Event()

    def answer(request: Request) -> Answer:
        digest = request.path.rpartition("/")[2]
        if digest in layers:
            hangs.set()
            release.wait(60)
        return Answer(200, (layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes())

    with serving(answer) as address:
        reference = f"{address.removeprefix('http://')}/m@{image.digest}"
        command = [sys.executable, "-m", "modelimage", "copy", reference, f"oci:{target}"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            assert hangs.wait(30)
            process.send_signal(end)
            _, err = process.communicate(timeout=30)
        finally:
            release.set()
            process.kill()
    assert process.returncode == 130, err
    assert "interrupted: no manifest and no tag was written" in err
    assert "Traceback" not in err
    assert not target.exists()


# Paths and surroundings


def test_a_path_that_is_too_long_is_told_in_one_line(tmp_path: Path, model: Path) -> None:
    name = "x" * 300
    for attempt in (
        lambda: pack(name, f"oci:{tmp_path / 'image'}"),
        lambda: pack(str(model), f"oci:{tmp_path / name}"),
        lambda: inspect(f"oci:{tmp_path / name}"),
        lambda: write_context(str(model), str(tmp_path / name)),
        lambda: fingerprint(name),
    ):
        with pytest.raises(OmsError, match="File name too long"):
            attempt()


@pytest.mark.parametrize("folder", [".", "..", "/"])
def test_a_context_has_a_folder_with_a_name(model: Path, folder: str) -> None:
    with pytest.raises(InputError, match="give one by its name"):
        write_context(str(model), folder)


def test_copying_with_no_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--jobs is 0: give 1 or more"):
        copy(f"oci:{tmp_path}@sha256:{'a' * 64}", f"oci:{tmp_path / 'image'}", jobs=0)


def test_a_user_without_a_home_has_no_cache_and_no_configuration(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("DOCKER_CONFIG")
    assert LayerCache(default_folder()).repositories_with("sha256:x") == []
    assert Credentials("localhost:5000", use_environment=False).find() is None
    assert pack(str(model), f"oci:{tmp_path / 'image'}").digest


def tiny(tmp_path: Path, shell: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m modelimage tiny '{tmp_path / 'tiny-ü'}' {shell}"
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_stdout_is_told_with_what_is_done(tmp_path: Path) -> None:
    done = tiny(tmp_path, "--json > /dev/full")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be written to stdout" in done.stderr
    assert "this is done: " in done.stderr


def test_a_stdout_that_cannot_take_the_text_is_told_with_what_is_done(tmp_path: Path) -> None:
    done = tiny(tmp_path, "", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "tiny-\\xfc" in done.stderr


def test_a_bucket_is_listed_by_a_person_whose_credentials_name_no_project(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    anonymous: Any = AnonymousCredentials  # google-auth has no types here
    for variable in ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("google.auth.default", lambda *_, **__: (anonymous(), None))
    monkeypatch.setattr(storage.Client, "list_blobs", lambda *_, **__: SimpleNamespace(pages=iter([[]])))
    with pytest.raises(InputError, match="no file to pack"):
        pack("gs://bucket/models", f"oci:{tmp_path / 'image'}")


def test_credentials_that_cannot_be_read_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path))
    with pytest.raises(ImageError, match="listing gs://bucket/models"):
        pack("gs://bucket/models", f"oci:{tmp_path / 'image'}")
