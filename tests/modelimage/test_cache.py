from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from modelimage import cache as cache_module
from modelimage.cache import LayerCache, default_folder
from modelimage.layers import Layer
from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.source import Selection

DIGEST = "sha256:" + "a" * 64


def first_layer(model: Path) -> Layer:
    return Layer((open_source(str(model), Selection(), Patience()).files[0],))


def test_a_digest_is_remembered_for_the_very_same_file(tmp_path: Path, model: Path) -> None:
    cache, later = LayerCache(tmp_path / "cache"), time.time() + 10
    cache.remember(first_layer(model), DIGEST, later)
    assert LayerCache(tmp_path / "cache").digest_of(first_layer(model)) == DIGEST
    cache.forget(first_layer(model))
    assert cache.digest_of(first_layer(model)) is None


def test_a_file_that_changed_just_before_it_was_hashed_is_not_trusted(tmp_path: Path, model: Path) -> None:
    cache = LayerCache(tmp_path / "cache")
    changed = first_layer(model).changed_at
    assert changed is not None
    cache.remember(first_layer(model), DIGEST, changed + cache_module.RACY_SECONDS - 0.1)
    assert cache.digest_of(first_layer(model)) is None
    cache.remember(first_layer(model), DIGEST, changed + cache_module.RACY_SECONDS + 0.1)
    assert cache.digest_of(first_layer(model)) == DIGEST


def test_a_change_that_keeps_size_and_modification_time_is_noticed(tmp_path: Path, model: Path) -> None:
    cache, path = LayerCache(tmp_path / "cache"), model / "config.json"
    cache.remember(first_layer(model), DIGEST, time.time() + 10)
    status = path.stat()
    time.sleep(0.02)  # one tick of the file system's clock
    path.write_text(path.read_text().replace("qwen2", "qwen3"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert cache.digest_of(first_layer(model)) is None


def test_a_copy_and_a_replaced_file_are_other_files(tmp_path: Path, model: Path) -> None:
    cache, path = LayerCache(tmp_path / "cache"), model / "config.json"
    cache.remember(first_layer(model), DIGEST, time.time() + 10)
    content = path.read_bytes()
    (model / "new").write_bytes(content)
    (model / "new").replace(path)
    assert cache.digest_of(first_layer(model)) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"digest": "sha256:abc", "size": 1}', b'{"digest": 7}'])
def test_a_damaged_entry_is_no_entry(tmp_path: Path, model: Path, content: bytes) -> None:
    cache, layer = LayerCache(tmp_path / "cache"), first_layer(model)
    cache.remember(layer, DIGEST, time.time() + 10)
    entry = next((tmp_path / "cache" / "layers").iterdir())
    entry.write_bytes(content)
    assert cache.digest_of(layer) is None


def test_a_cache_that_cannot_be_written_is_as_good_as_none(tmp_path: Path, model: Path) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    cache, layer = LayerCache(tmp_path / "cache"), first_layer(model)
    cache.remember(layer, DIGEST, time.time() + 10)
    cache.seen_in("localhost/a", DIGEST)
    cache.forget(layer)
    assert cache.digest_of(layer) is None
    assert cache.repositories_with(DIGEST) == []


def test_the_latest_repositories_with_a_blob_are_kept(tmp_path: Path) -> None:
    cache = LayerCache(tmp_path / "cache")
    for number in range(12):
        cache.seen_in(f"localhost/{number}", DIGEST)
    cache.seen_in("localhost/5", DIGEST)
    known = cache.repositories_with(DIGEST)
    assert known[:3] == ["localhost/5", "localhost/11", "localhost/10"]
    assert len(known) == 8


def test_the_users_cache_is_closed_to_others_also_where_it_was_open(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    LayerCache(default_folder()).seen_in("registry.example/a", f"sha256:{'0' * 64}")
    made = default_folder().stat().st_mode
    default_folder().chmod(0o755)

    assert (made & 0o777, default_folder().stat().st_mode & 0o777) == (0o700, 0o700)


def test_a_relative_xdg_folder_is_ignored_as_the_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path.home() / ".cache" / "oci-model-serving"
    monkeypatch.setenv("XDG_CACHE_HOME", "/srv/cache")
    assert default_folder() == Path("/srv/cache/oci-model-serving")
