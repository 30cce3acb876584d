from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import modelimage
from modelimage import cache as cache_module
from modelimage import fingerprint, former_fingerprint, pack
from modelimage import fingerprints as fingerprints_module
from modelimage.folder import FolderFile
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
    assert former_fingerprint(str(tmp_path)) is None
    (tmp_path / "weights.bin").write_bytes(bytes(2 << 20))
    os.utime(tmp_path / "weights.bin", ns=(1_700_000_000_123_456_789,) * 2)
    assert former_fingerprint(str(tmp_path)) == "6e82d21b11eaeeabf22eb5c514fdcea705bed306997030587a29178da90a9e3a"
    assert fingerprint(str(tmp_path)) == "44af7fe995240471fd3443c71a3af5330dfc1548d72c1757110b825e40737033"


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


@pytest.fixture
def large(model: Path) -> Path:
    """A file of the model that is not read at each plan."""
    path = model / "model-00001-of-00003.safetensors"
    path.write_bytes(safetensors_bytes(bytes(2 << 20)))
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read, in order; fresh files are remembered from now on."""
    monkeypatch.setattr(cache_module, "RACY_SECONDS", 0.0)
    read: list[str] = []
    real = FolderFile._read

    def reading(self: FolderFile, start: int, end: int) -> Iterator[bytes]:
        read.append(Path(self.real).name)
        return real(self, start, end)

    monkeypatch.setattr(FolderFile, "_read", reading)
    return read


def test_a_copy_with_other_time_stamps_elsewhere_has_the_same_fingerprint(tmp_path: Path, model: Path) -> None:
    (model / "large.safetensors").write_bytes(safetensors_bytes(bytes(3 << 20)))
    shutil.copytree(model, tmp_path / "elsewhere" / "copy", copy_function=shutil.copyfile)
    os.utime(tmp_path / "elsewhere" / "copy" / "large.safetensors", (1, 1))
    before = fingerprint(str(model))
    assert fingerprint(str(tmp_path / "elsewhere" / "copy")) == before
    (model / "large.safetensors").touch()
    assert fingerprint(str(model)) == before


def test_a_byte_in_a_large_file_changes_the_fingerprint_although_size_and_time_stay(model: Path, large: Path) -> None:
    before, status = fingerprint(str(model)), large.stat()
    content = bytearray(large.read_bytes())
    content[-1] ^= 1
    large.write_bytes(content)
    os.utime(large, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint(str(model)) != before


def test_a_large_file_is_read_once_and_again_when_it_was_touched(model: Path, large: Path, reads: list[str]) -> None:
    before = fingerprint(str(model))
    assert reads.count(large.name) == 1
    reads.clear()
    assert fingerprint(str(model)) == before
    assert "config.json" in reads
    assert large.name not in reads
    os.utime(large, ns=(1, 1))
    assert fingerprint(str(model)) == before
    assert reads.count(large.name) == 1


def test_a_file_that_has_just_changed_is_not_remembered(
    model: Path, large: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "RACY_SECONDS", 3600.0)
    assert fingerprint(str(model)) == fingerprint(str(model))
    assert reads.count(large.name) == 2


def test_a_cache_that_cannot_be_written_is_no_hindrance(model: Path, large: Path, own_cache: Path) -> None:
    own_cache.parent.mkdir(parents=True)
    own_cache.write_text("a file is in the way")
    assert fingerprint(str(model)) == fingerprint(str(model))


def test_a_long_reading_tells_how_far_it_is(model: Path, large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints_module, "_FIRST_WORD_SECONDS", 0.0)
    said: list[str] = []
    fingerprint(str(model), said.append)
    assert f"reading {model}, to see whether it has changed:" in said[0]
    assert "of 2.3 MB" in said[0]


def test_a_reading_that_is_stopped_ends_at_its_next_piece(model: Path, large: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(InputError, match="the reading was given up"):
        fingerprint(str(model), stop=stop)


def test_a_short_reading_tells_nothing(model: Path, large: Path) -> None:
    said: list[str] = []
    fingerprint(str(model), said.append)
    assert said == []


def test_a_file_that_is_being_written_gives_no_fingerprint(model: Path, large: Path, reads: list[str]) -> None:
    real = FolderFile._read

    def growing(self: FolderFile, start: int, end: int) -> Iterator[bytes]:
        for chunk in real(self, start, end):
            with Path(self.real).open("ab") as out:
                out.write(b"x")
            yield chunk

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FolderFile, "_read", growing)
        with pytest.raises(InputError, match="run again when nothing writes to the folder"):
            fingerprint(str(model))


def test_the_former_fingerprint_is_of_time_stamps_and_reads_no_weights(
    model: Path, large: Path, reads: list[str]
) -> None:
    before = former_fingerprint(str(model))
    assert large.name not in reads
    os.utime(large, ns=(1, 1))
    assert former_fingerprint(str(model)) != before
    assert former_fingerprint(f"hf://org/name@{'a' * 40}") is None


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
