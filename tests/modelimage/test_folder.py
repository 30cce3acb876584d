from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from modelimage import choice, pack, rules
from modelimage.errors import ImageError
from modelimage.folder import FolderFile
from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.source import Selection, Source
from oci_model_serving.errors import InputError
from tests.weights import safetensors_bytes, write_model


def opened(folder: Path, allow: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> Source:
    return open_source(str(folder), Selection(allow, ignore), Patience())


def refused(folder: Path, allow: tuple[str, ...] = (), ignore: tuple[str, ...] = ()) -> str:
    with pytest.raises(InputError) as caught:
        opened(folder, allow, ignore)
    return str(caught.value)


def test_files_are_listed_in_order_without_the_hidden_ones(model: Path) -> None:
    source = opened(model)
    assert [file.path for file in source.files] == sorted(
        [
            "config.json",
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            "model.safetensors.index.json",
            "nested/extra.txt",
        ]
    )
    assert any(".gitattributes" in note for note in source.notes)
    assert all(b"".join(file.read()) == (model / file.path).read_bytes() for file in source.files)


def test_patterns_choose_the_files(model: Path) -> None:
    assert [f.path for f in opened(model, ignore=("*.safetensors*", "nested/")).files] == ["config.json"]
    assert [f.path for f in opened(model, allow=("nested/*",)).files] == ["nested/extra.txt"]


def test_a_missing_an_empty_and_a_hidden_only_folder_are_refused(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nothing")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    assert "no file to pack" in refused(tmp_path / "empty")
    (tmp_path / "empty" / ".hidden").write_text("x")
    assert "no file to pack" in refused(tmp_path / "empty")
    (tmp_path / "file").write_text("x")
    assert "not a folder" in refused(tmp_path / "file")


def test_a_link_inside_is_packed_as_its_file_and_one_that_leaves_is_refused(tmp_path: Path, model: Path) -> None:
    (model / "alias.json").symlink_to("config.json")
    alias = next(file for file in opened(model).files if file.path == "alias.json")
    assert b"".join(alias.read()) == (model / "config.json").read_bytes()
    (tmp_path / "secret.txt").write_text("outside")
    (model / "leak.txt").symlink_to("../secret.txt")
    (model / "nowhere").symlink_to("gone")
    (model / "folder").symlink_to("nested")
    message = refused(model)
    assert "leak.txt: the link leaves the folder" in message
    assert "nowhere: the link points nowhere" in message
    assert "folder: a link to a folder" in message
    assert "--ignore 'leak.txt'" in message
    opened(model, ignore=("leak.txt", "nowhere", "folder"))


def test_a_snapshot_of_the_hubs_cache_may_link_to_its_own_blobs_and_no_others(tmp_path: Path) -> None:
    repository = tmp_path / "models--org--name"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "abc").write_bytes(safetensors_bytes(b"weights"))
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    (snapshot / "config.json").write_text("{}")
    assert [file.path for file in opened(snapshot).files] == ["config.json", "model.safetensors"]
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "abc").write_text("another model's")
    (snapshot / "other").symlink_to("../../../blobs/abc")
    assert "leaves the folder" in refused(snapshot)


@pytest.mark.parametrize("given", ["models--org--name", "."])
def test_the_hubs_cache_itself_is_refused_with_the_folder_to_give(tmp_path: Path, given: str) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / ("a" * 40)
    write_model(snapshot)
    (tmp_path / "models--org--name" / "refs").mkdir()
    (tmp_path / "models--org--name" / "refs" / "main").write_text("a" * 40)
    message = refused(tmp_path / given)
    assert message.count("\n") == 0
    assert f"is the hub's cache, not the folder of a model: give {snapshot}" in message
    opened(snapshot)


def test_a_download_that_huggingface_hub_has_not_ended_is_refused_unless_it_is_ignored(model: Path) -> None:
    downloads = model / ".cache" / "huggingface" / "download"
    downloads.mkdir(parents=True)
    (downloads / "model-00003-of-00003.safetensors.abc.incomplete").write_bytes(b"half")
    assert "--ignore '.cache/huggingface/download/'" in refused(model)
    opened(model, ignore=(".cache/huggingface/download/",))


def test_what_is_no_regular_file_is_refused(model: Path) -> None:
    os.mkfifo(model / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(model / "socket"))
        message = refused(model)
    assert "pipe: not a regular file" in message
    assert "socket: not a regular file" in message


def test_names_that_would_hide_the_images_folders_are_refused(model: Path) -> None:
    (model / "bin").mkdir()
    (model / "bin" / "tool").write_text("x")
    (model / "models").write_text("x")
    message = refused(model)
    assert "'bin' would hide /bin" in message
    assert "'models' would hide /models" in message


def test_a_name_that_is_not_utf8_is_refused(model: Path) -> None:
    (Path(os.fsdecode(os.fsencode(model) + b"/caf\xe9.txt"))).write_text("x")
    assert "not UTF-8" in refused(model)


def test_all_problems_are_told_together(model: Path) -> None:
    (model / "models").write_text("x")
    (model / "leak").symlink_to("/etc/hostname")
    os.mkfifo(model / "pipe")
    assert len(refused(model).splitlines()) == 3


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become a user without rights")
def test_an_unreadable_file_and_folder_are_told_before_anything_is_packed() -> None:
    # Not below tmp_path: pytest's own folders let nobody else through.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        model = write_model(Path(name) / "model")
        (model / "config.json").chmod(0o600)
        (model / "nested").chmod(0o700)
        program = (
            "import os, sys\n"
            "import modelimage.folder\n"
            "from modelimage.patience import Patience\n"
            "from modelimage.origins import open_source\n"
            "from modelimage.source import Selection\n"
            "os.setuid(65534)\n"
            "try: open_source(sys.argv[1], Selection(), Patience())\n"
            "except Exception as error: print(error); sys.exit(getattr(error, 'exit_code', 99))"
        )
        done = subprocess.run([sys.executable, "-c", program, str(model)], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "nested: cannot be read: Permission denied" in done.stdout
    assert "config.json: cannot be read: Permission denied" in done.stdout


def test_a_file_that_changes_while_it_is_read_stops_the_pass(model: Path) -> None:
    path = model / "model-00001-of-00003.safetensors"
    path.write_bytes(safetensors_bytes(bytes(3 << 20)))
    file = next(file for file in opened(model).files if file.path == path.name)
    chunks = file.read()
    next(chunks)
    with path.open("r+b") as out:
        out.write(b"changed!")
    with pytest.raises(ImageError, match="changed while it was being packed"):
        list(chunks)


def test_a_file_that_shrinks_or_vanishes_or_is_replaced_is_told(model: Path) -> None:
    source = opened(model)
    file = next(file for file in source.files if file.path == "config.json")
    (model / "config.json").write_text("")
    with pytest.raises(ImageError, match="changed while it was being packed"):
        list(file.read())
    with pytest.raises(ImageError, match="changed"):
        source.verify()
    (model / "config.json").unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        list(file.read())
    with pytest.raises(ImageError, match="removed while it was being packed"):
        source.verify()


def test_a_swapped_in_link_is_not_followed(tmp_path: Path, model: Path) -> None:
    file = next(file for file in opened(model).files if file.path == "config.json")
    (tmp_path / "secret").write_text('{"model_type": "qwen2"}')
    (model / "config.json").unlink()
    (model / "config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ImageError, match="cannot be read"):
        list(file.read())


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written just now counts as written long ago."""
    monkeypatch.setattr(rules, "RACY_SECONDS", -60.0)


@pytest.mark.usefixtures("settled")
def test_a_file_that_was_read_to_be_judged_is_packed_as_it_was_then_and_its_change_is_told(model: Path) -> None:
    source = opened(model)
    file = next(file for file in source.files if file.path == "config.json")
    before = (model / "config.json").read_bytes()

    (model / "config.json").write_bytes(before.replace(b"{", b"{ "))

    assert b"".join(file.read()) == before
    with pytest.raises(ImageError, match="changed while it was being packed"):
        source.verify()


@pytest.mark.parametrize(
    ("seconds", "kept_bytes", "opened_times"),
    [(-60.0, 32 << 20, {1}), (2.0, 32 << 20, {2}), (-60.0, 50 * 15 // 2, {1, 2}), (-60.0, 0, {2})],
    ids=["settled", "young", "some fit", "none fits"],
)
def test_a_small_file_is_opened_once_where_it_has_settled_and_there_is_room_and_else_twice(
    tmp_path: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    kept_bytes: int,
    opened_times: set[int],
) -> None:
    monkeypatch.setattr(rules, "RACY_SECONDS", seconds)
    monkeypatch.setattr(rules, "_KEPT_BYTES", kept_bytes)
    for number in range(50):
        (model / "nested" / f"voice-{number}.json").write_text('{"sk-": "hf_"}')
    times: Counter[str] = Counter()
    real = FolderFile._opened

    def count(self: FolderFile) -> int:
        times[self.path] += 1
        return real(self)

    monkeypatch.setattr(FolderFile, "_opened", count)
    packed = pack(str(model), f"oci:{tmp_path / 'image'}")
    assert {times[f"nested/voice-{number}.json"] for number in range(50)} == opened_times
    assert pack(str(model), f"oci:{tmp_path / 'again'}", fresh=True).digest == packed.digest


def test_the_names_of_a_folder_are_gone_through_once_however_many_they_are(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (model / "nested" / f"voice-{number}.json").write_text("{}")
    seen: list[set[str]] = []
    real = choice._best_format

    def best_format(names: set[str]) -> str:
        seen.append(names)
        return real(names)

    monkeypatch.setattr(choice, "_best_format", best_format)
    open_source(str(model), Selection(), Patience())
    assert len(seen) == 2
