from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelimage import ImageError, chunks, fingerprint, pack, write_context
from oci_model_serving.errors import InputError

BASE = "localhost:5000/busybox@sha256:" + "a" * 64


def test_weights_are_linked_and_small_files_are_readable_copies(tmp_path: Path, model: Path) -> None:
    (model / "config.json").chmod(0o600)
    former = os.umask(0o077)
    try:
        context = write_context(str(model), str(tmp_path / "context"), base=BASE)
    finally:
        os.umask(former)
    assert context.fingerprint == fingerprint(str(model))
    lines = (tmp_path / "context" / "Dockerfile").read_text().splitlines()
    assert lines[1:] == [f"FROM {BASE}", *(f"COPY layer-0{n}/ /" for n in (1, 2, 3, 4)), "ENTRYPOINT []"]
    shard = tmp_path / "context" / "layer-02" / "models" / "model-00002-of-00003.safetensors"
    assert shard.stat().st_ino == (model / shard.name).stat().st_ino
    small = tmp_path / "context" / "layer-04" / "models"
    assert (small / "config.json").stat().st_mode & 0o777 == 0o644
    assert (small / "config.json").stat().st_ino != (model / "config.json").stat().st_ino
    assert (small / "nested").stat().st_mode & 0o777 == 0o755
    assert (small / "nested" / "extra.txt").read_text() == "extra"
    assert (tmp_path / "context" / "layer-04" / shard.name).readlink() == Path("models") / shard.name


def test_the_size_is_that_of_the_packed_layers_without_the_lists_that_docker_cannot_make(
    tmp_path: Path, model: Path
) -> None:
    context = write_context(str(model), str(tmp_path / "context"))
    *layers, lists = pack(str(model), f"oci:{tmp_path / 'image'}").layers
    assert context.size_bytes == sum(layer.size_bytes for layer in layers)
    assert lists.size_bytes == chunks.layer_size(layer.size_bytes for layer in layers)


def test_a_context_of_ours_is_replaced_and_anything_else_is_not(tmp_path: Path, model: Path) -> None:
    write_context(str(model), str(tmp_path / "context"))
    (model / "config.json").write_text("{}")
    write_context(str(model), str(tmp_path / "context"))
    assert (tmp_path / "context" / "layer-04" / "models" / "config.json").read_text() == "{}"
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="holds something else"):
        write_context(str(model), str(tmp_path / "home"))
    assert (tmp_path / "home" / "letter.txt").read_text() == "dear"


def test_a_base_that_docker_cannot_read_is_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(InputError, match="oms image copy oci:x@sha256"):
        write_context(str(model), str(tmp_path / "context"), base="oci:x@sha256:" + "a" * 64)
    with pytest.raises(InputError, match="names no digest"):
        write_context(str(model), str(tmp_path / "context"), base="localhost:5000/busybox:latest")
    assert not (tmp_path / "context").exists()


def test_weights_that_servers_could_not_read_are_refused_and_nothing_is_left(tmp_path: Path, model: Path) -> None:
    (model / "model-00003-of-00003.safetensors").chmod(0o600)
    with pytest.raises(InputError, match="chmod o\\+r"):
        write_context(str(model), str(tmp_path / "context"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_another_file_system_is_told(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(ImageError, match="put the context on the same file system"):
        write_context(str(model), str(tmp_path / "context"))
    assert not (tmp_path / "context").exists()
