"""Packing into an image layout: the whole packer, without a network."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelimage import ImageError, NotFoundError, copy, inspect, pack, tag, write_base
from modelimage import cache as cache_module
from modelimage import origins as origins_module
from modelimage.errors import CancelledError
from modelimage.layers import Layer
from modelimage.progress import Reporter
from oci_model_serving.errors import InputError
from tests.weights import safetensors_bytes, write_model

BUSYBOX = Path("/bin/busybox")


def blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def manifest_of(layout: Path) -> dict[str, Any]:
    index = json.loads((layout / "index.json").read_text())
    assert len(index["manifests"]) == 1
    content: dict[str, Any] = json.loads(blob(layout, index["manifests"][0]["digest"]).read_text())
    return content


def partial_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".partial")]


@pytest.fixture
def fake_busybox(tmp_path: Path) -> Path:
    """A file with the header of a static x86-64 program: enough for all but running it."""
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    header[18:20] = (62).to_bytes(2, "little")
    path = tmp_path / "busybox"
    path.write_bytes(bytes(header))
    return path


def test_the_layout_holds_the_files_under_models_and_the_links_at_the_root(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    assert image.reference == f"oci:{tmp_path / 'image'}@{image.digest}"
    root = tmp_path / "unpacked"
    for layer in image.layers:
        with tarfile.open(blob(tmp_path / "image", layer.digest)) as archive:
            archive.extractall(root)  # noqa: S202 - our own
    for path in ("config.json", "nested/extra.txt", "model-00003-of-00003.safetensors"):
        assert (root / "models" / path).read_bytes() == (model / path).read_bytes()
        assert (root / path).read_bytes() == (model / path).read_bytes()
    assert (root / "config.json").readlink() == Path("models/config.json")
    assert (root / "nested").readlink() == Path("models/nested")
    assert sorted(path.name for path in root.iterdir()) == sorted(
        [
            ".chunks",
            "models",
            "nested",
            *(path.name for path in model.iterdir() if path.is_file() and path.name[0] != "."),
        ]
    )


def test_the_documents_say_what_they_must(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    manifest = manifest_of(tmp_path / "image")
    assert [layer["mediaType"] for layer in manifest["layers"]] == ["application/vnd.oci.image.layer.v1.tar"] * 5
    assert manifest["annotations"] == {
        "org.opencontainers.image.created": "1970-01-01T00:00:00Z",
        "oci-model-serving.size-bytes": str(image.size_bytes),
    }
    config = json.loads(blob(tmp_path / "image", manifest["config"]["digest"]).read_text())
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["rootfs"]["diff_ids"] == [layer.digest for layer in image.layers]
    assert "Entrypoint" not in config["config"]
    assert image.size_bytes == sum(layer["size"] for layer in manifest["layers"])


def test_the_same_files_give_the_same_digest_anywhere(tmp_path: Path, model: Path) -> None:
    other = tmp_path / "elsewhere" / "same"
    shutil.copytree(model, other)
    for number, path in enumerate(sorted(other.rglob("*"))):
        os.utime(path, (number, number))
        path.chmod(0o700 if path.is_dir() else 0o600)
    former = os.umask(0o077)
    try:
        second = pack(str(other), f"oci:{tmp_path / 'second'}", jobs=1)
    finally:
        os.umask(former)
    assert pack(str(model), f"oci:{tmp_path / 'first'}").digest == second.digest


def test_a_changed_byte_changes_one_layer_and_the_lists(tmp_path: Path, model: Path) -> None:
    first = pack(str(model), f"oci:{tmp_path / 'image'}")
    (model / "model-00002-of-00003.safetensors").write_bytes(safetensors_bytes(b"new"))
    second = pack(str(model), f"oci:{tmp_path / 'image'}")
    assert second.digest != first.digest
    assert [layer.uploaded for layer in second.layers] == [False, True, False, False, True]


def test_a_new_image_takes_the_place_of_the_old_one_and_its_blobs(tmp_path: Path, model: Path) -> None:
    first = pack(str(model), f"oci:{tmp_path / 'image'}")
    (model / "config.json").write_text("{}")
    second = pack(str(model), f"oci:{tmp_path / 'image'}")
    assert inspect(f"oci:{tmp_path / 'image'}").digest == second.digest
    assert not blob(tmp_path / "image", first.digest).exists()
    assert not blob(tmp_path / "image", first.layers[-1].digest).exists()
    named = {layer.digest for layer in second.layers} | {
        second.digest,
        manifest_of(tmp_path / "image")["config"]["digest"],
    }
    assert {f"sha256:{path.name}" for path in (tmp_path / "image" / "blobs" / "sha256").iterdir()} == named


def test_an_image_that_another_tool_has_named_is_kept(tmp_path: Path, model: Path) -> None:
    first = pack(str(model), f"oci:{tmp_path / 'image'}")
    index = json.loads((tmp_path / "image" / "index.json").read_text())
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "mine"}
    (tmp_path / "image" / "index.json").write_text(json.dumps(index))
    (model / "config.json").write_text("{}")
    second = pack(str(model), f"oci:{tmp_path / 'image'}")
    for digest in (first.digest, second.digest):
        assert inspect(f"oci:{tmp_path / 'image'}@{digest}").digest == digest
    with pytest.raises(NotFoundError, match="holds 2 images"):
        inspect(f"oci:{tmp_path / 'image'}")


def test_a_second_packing_reads_no_weights(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "RACY_SECONDS", 0.0)
    first = pack(str(model), f"oci:{tmp_path / 'image'}")

    def chunks(self: Layer) -> Iterator[bytes]:
        raise AssertionError(f"{self.title} was read")

    monkeypatch.setattr(Layer, "chunks", chunks)
    second = pack(str(model), f"oci:{tmp_path / 'image'}")
    assert second.digest == first.digest
    assert not any(layer.uploaded for layer in second.layers)


def test_a_remembered_digest_that_is_wrong_is_found_out(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    monkeypatch.setattr(cache_module, "RACY_SECONDS", 0.0)
    first = pack(str(model), f"oci:{tmp_path / 'first'}")
    for entry in (own_cache / "layers").iterdir():
        content = json.loads(entry.read_text())
        entry.write_text(json.dumps({**content, "digest": "sha256:" + "0" * 64}))
    assert pack(str(model), f"oci:{tmp_path / 'second'}").digest == first.digest


def test_a_base_from_a_layout_lies_below(tmp_path: Path, model: Path, fake_busybox: Path) -> None:
    base = write_base(str(tmp_path / "base"), str(fake_busybox))
    image = pack(str(model), f"oci:{tmp_path / 'image'}", base=base.reference)
    assert image.layers[0].digest == base.layers[0].digest
    manifest = manifest_of(tmp_path / "image")
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == base.digest
    assert inspect(image.reference).config == {"Cmd": ["sh"], "Env": ["PATH=/bin"]}
    config = json.loads(blob(tmp_path / "image", manifest["config"]["digest"]).read_text())
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == 6


def test_the_base_is_the_same_wherever_it_is_made(tmp_path: Path, fake_busybox: Path) -> None:
    one, two = (write_base(str(tmp_path / name), str(fake_busybox)) for name in ("one", "two"))
    assert one.digest == two.digest


@pytest.mark.skipif(not BUSYBOX.exists(), reason="there is no /bin/busybox (Debian: busybox-static)")
def test_the_base_has_a_shell_that_runs(tmp_path: Path) -> None:
    base = write_base(str(tmp_path / "base"), str(BUSYBOX))
    with tarfile.open(blob(tmp_path / "base", base.layers[0].digest)) as archive:
        archive.extractall(tmp_path / "root")  # noqa: S202 - our own
    programs = tmp_path / "root" / "bin"
    script = f"{programs}/ln -sf /models {tmp_path}/link && {programs}/sleep 0 && {programs}/readlink {tmp_path}/link"
    done = subprocess.run([programs / "sh", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "/models\n"), done.stderr


@pytest.mark.parametrize("content", [b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(60), b""])
def test_a_busybox_that_is_no_static_program_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "busybox").write_bytes(content)
    with pytest.raises(InputError, match="busybox-static"):
        write_base(str(tmp_path / "base"), str(tmp_path / "busybox"))
    with pytest.raises(InputError, match="linked dynamically"):
        write_base(str(tmp_path / "base"), shutil.which("ls") or "/bin/ls")
    assert not (tmp_path / "base").exists()


def test_all_bad_arguments_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        pack(str(tmp_path / "nothing"), "busybox", base="localhost:5000/base:latest", jobs=0)
    message = str(caught.value)
    assert len(caught.value.problems) == 4, message
    assert "--base 'localhost:5000/base:latest' names no digest" in message


def test_a_destination_with_a_digest_and_an_unknown_source_are_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(InputError, match="has no digest yet"):
        pack(str(model), "localhost:5000/m@sha256:" + "a" * 64)
    with pytest.raises(InputError, match="no such kind of source"):
        pack("s3://bucket/x", f"oci:{tmp_path / 'image'}")


def test_a_folder_with_other_things_is_not_made_a_layout(tmp_path: Path, model: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is no image layout"):
        pack(str(model), f"oci:{tmp_path / 'home'}")
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letter.txt"]
    with pytest.raises(InputError, match="a file is in the way"):
        pack(str(model), f"oci:{tmp_path / 'home' / 'letter.txt'}")


def test_two_runs_do_not_write_to_one_layout_at_once(tmp_path: Path, model: Path) -> None:
    seen: list[str] = []

    class Nested(Reporter):
        def finished(self, title: str, outcome: str) -> None:
            if not seen:
                seen.append(title)
                with pytest.raises(ImageError, match="another run is writing there"):
                    pack(str(model), f"oci:{tmp_path / 'image'}")

    pack(str(model), f"oci:{tmp_path / 'image'}", reporter=Nested(), jobs=1)
    assert seen
    assert inspect(f"oci:{tmp_path / 'image'}")


def test_a_full_disk_is_told_before_a_byte_is_written(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ImageError, match=r"the disk has 1.0 kB free .*: make room"):
        pack(str(model), f"oci:{tmp_path / 'image'}")
    assert not (tmp_path / "image").exists()


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, model: Path) -> None:
    program = (
        "import resource, sys; from oms.main import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "sys.exit(main(['image', 'pack', sys.argv[1], 'oci:' + sys.argv[2]]))"
    )
    target = tmp_path / "image"
    done = subprocess.run(
        [sys.executable, "-c", program, str(model), str(target)], capture_output=True, text=True, check=False
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 50_000
    assert done.returncode == 1
    assert "File too large: make room" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not target.exists()


def test_a_failed_run_leaves_the_former_image_whole(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(str(model), f"oci:{tmp_path / 'image'}")
    (model / "config.json").write_text("{}")
    real = origins_module.open_source

    def changing(*arguments: Any) -> Any:
        source = real(*arguments)
        (model / "nested" / "extra.txt").write_text("written meanwhile")
        return source

    monkeypatch.setattr("modelimage.packer.open_source", changing)
    with pytest.raises(ImageError, match=r"extra.txt: changed while it was being packed"):
        pack(str(model), f"oci:{tmp_path / 'image'}")
    assert inspect(f"oci:{tmp_path / 'image'}").digest == first.digest
    assert partial_files(tmp_path / "image") == []


def test_a_change_after_the_last_byte_was_read_is_still_noticed(tmp_path: Path, model: Path) -> None:
    class Meddler(Reporter):
        def finished(self, title: str, outcome: str) -> None:
            with (model / "model-00001-of-00003.safetensors").open("ab") as out:
                out.write(b"x")

    with pytest.raises(ImageError, match="changed while it was being packed"):
        pack(str(model), f"oci:{tmp_path / 'image'}", reporter=Meddler(), jobs=1)
    assert not (tmp_path / "image").exists()


def test_a_stopped_run_leaves_nothing(tmp_path: Path, model: Path) -> None:
    stop = threading.Event()

    class Stopper(Reporter):
        def advanced(self, title: str, count: int) -> None:
            stop.set()

    with pytest.raises(CancelledError):
        pack(str(model), f"oci:{tmp_path / 'image'}", reporter=Stopper(), stop=stop)
    assert not (tmp_path / "image").exists()


def test_what_a_killed_run_left_is_swept_and_completed(tmp_path: Path, model: Path) -> None:
    blobs = tmp_path / "image" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (blobs / ".partial-abc").write_bytes(b"half")
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    assert partial_files(tmp_path / "image") == []
    assert inspect(image.reference).digest == image.digest


def test_inspect_tells_what_is_missing_or_damaged(tmp_path: Path, model: Path) -> None:
    with pytest.raises(NotFoundError, match="pack an image there first"):
        inspect(f"oci:{tmp_path}")
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    with pytest.raises(NotFoundError, match="has no image sha256:aaa"):
        inspect(f"oci:{tmp_path / 'image'}@sha256:{'a' * 64}")
    with pytest.raises(ImageError, match="a layout has no tags"):
        inspect(image.reference, require_digest_tag=True)
    with pytest.raises(InputError, match="a layout has no tags"):
        tag(image.reference)
    layer = blob(tmp_path / "image", image.layers[0].digest)
    layer.write_bytes(layer.read_bytes()[:-1])
    with pytest.raises(ImageError, match="damaged"):
        inspect(image.reference)
    manifest = blob(tmp_path / "image", image.digest)
    manifest.write_text(manifest.read_text().replace("amd64", "arm64") + " ")
    with pytest.raises(ImageError, match="damaged"):
        inspect(image.reference)


def test_a_copy_has_the_same_digest(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    copied = copy(image.reference, f"oci:{tmp_path / 'copy'}")
    assert copied.digest == image.digest
    assert inspect(copied.reference).layers == inspect(image.reference).layers


def test_more_small_shards_than_docker_reads_layers_share_layers(tmp_path: Path, fake_busybox: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for number in range(150):
        (folder / f"model-{number:05d}.safetensors").write_bytes(safetensors_bytes(bytes(number + 1)))
    base = write_base(str(tmp_path / "base"), str(fake_busybox))
    image = pack(str(folder), f"oci:{tmp_path / 'image'}", base=base.reference)
    assert len(image.layers) <= 120
    assert image.layers[0].digest == base.layers[0].digest


def test_two_models_with_one_shard_in_common_share_its_layer(tmp_path: Path, model: Path) -> None:
    other = write_model(tmp_path / "other")
    (other / "config.json").write_text('{"another": 1}')
    one = pack(str(model), f"oci:{tmp_path / 'one'}")
    two = pack(str(other), f"oci:{tmp_path / 'two'}")
    assert [layer.digest for layer in one.layers[:3]] == [layer.digest for layer in two.layers[:3]]
    assert one.layers[3].digest != two.layers[3].digest


def test_the_digest_of_a_layer_is_no_image(tmp_path: Path, model: Path) -> None:
    image = pack(str(model), f"oci:{tmp_path / 'image'}")
    with pytest.raises(ImageError, match="is no image"):
        inspect(f"oci:{tmp_path / 'image'}@{image.layers[0].digest}")
