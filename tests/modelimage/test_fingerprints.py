from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import modelimage
from modelimage import fingerprint, pack
from oci_model_serving.errors import InputError
from tests.weights import safetensors_bytes


def test_the_same_folder_has_the_same_fingerprint_and_small_files_count_by_content(model: Path) -> None:
    before = fingerprint(str(model))
    os.utime(model / "config.json", (1, 1))
    assert fingerprint(str(model)) == before
    (model / "config.json").write_text('{"model_type": "llama"}')
    assert fingerprint(str(model)) != before


def test_a_folders_fingerprint_stays_the_one_that_states_of_earlier_versions_hold(tmp_path: Path) -> None:
    (tmp_path / "nested" / "deeper").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for name, content in {
        ".git/HEAD": "x",
        "nested/.hidden": "x",
        "config.json": '{"model_type": "qwen2"}',
        "nested/extra.txt": "extra",
        "nested/deeper/empty": "",
        "nested-file": "sorts between",
    }.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "alias.json").symlink_to("config.json")
    assert fingerprint(str(tmp_path)) == "c29267e0f87cb5a3de031700b19ac941fe8826ca4a0085b0584f4e4fc108beac"
    (tmp_path / "weights.bin").write_bytes(bytes(2 << 20))
    os.utime(tmp_path / "weights.bin", ns=(1_700_000_000_123_456_789,) * 2)
    assert fingerprint(str(tmp_path)) == "6e82d21b11eaeeabf22eb5c514fdcea705bed306997030587a29178da90a9e3a"


def test_the_fingerprint_is_of_the_very_files_that_are_packed(tmp_path: Path, model: Path) -> None:
    (model / "alias.json").symlink_to("config.json")
    before = fingerprint(str(model))
    (tmp_path / "outside").write_text("not the model's")
    for name, target in (("leaves", "../outside"), ("nowhere", "gone"), ("folder", "nested")):
        (model / name).symlink_to(target)
    assert fingerprint(str(model)) == before
    assert pack(str(model), f"oci:{tmp_path / 'image'}", ignore=["leaves", "nowhere", "folder"]).digest


def test_an_unknown_kind_of_source_is_refused_as_packing_refuses_it() -> None:
    with pytest.raises(InputError, match="no such kind of source"):
        fingerprint("s3://bucket/model")


def test_a_renamed_or_added_file_changes_the_fingerprint_and_a_hidden_one_does_not(model: Path) -> None:
    before = fingerprint(str(model))
    (model / ".cache").mkdir()
    (model / ".cache" / "lock").write_text("x")
    assert fingerprint(str(model)) == before
    (model / "nested" / "extra.txt").rename(model / "nested" / "other.txt")
    assert fingerprint(str(model)) != before


def test_large_files_count_by_size_and_time_and_are_not_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = model / "model-00001-of-00003.safetensors"
    large.write_bytes(safetensors_bytes(bytes(2 << 20)))
    read: list[str] = []
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    before = fingerprint(str(model))
    assert "config.json" in read
    assert large.name not in read
    os.utime(large, ns=(1, 1))
    assert fingerprint(str(model)) != before


def test_a_pinned_address_is_hashed_as_it_is_written() -> None:
    one, other = (f"hf://org/name@{letter * 40}" for letter in "ab")
    assert fingerprint(one) == fingerprint(one)
    assert fingerprint(one) != fingerprint(other)
    assert len(fingerprint("gs://bucket/prefix")) == 64


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        fingerprint(str(tmp_path / "nothing"))


def test_importing_the_package_loads_no_heavy_library() -> None:
    program = (
        "import sys, modelimage; modelimage.fingerprint('hf://a/b');"
        "print([name for name in ('httpx', 'pydantic', 'huggingface_hub', 'google', 'rich', 'tenacity') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_had() -> None:
    assert all(getattr(modelimage, name) for name in modelimage.__all__)
    with pytest.raises(AttributeError):
        _ = modelimage.nothing
