"""Cases from the field: what is right is written beside each."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.source import Selection
from oci_model_serving.errors import InputError

CASES = Path(__file__).parents[3] / "shared" / "cases" / "weights"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="needs the cases from the field beside the checkout")

REFUSED = {
    "html-config": ("config.json: is not JSON but an HTML page",),
    "lfs-pointer-tokenizer-json": ("tokenizer.json: a git-lfs pointer", "run `git lfs pull`"),
    "lora-only": ("is an adapter, and its base model's weights are not there",),
    "remedy-with-absolute-path": ("--ignore 'model.safetensors'",),
    "unfinished-download": ("b.safetensors.incomplete: a download", "model.safetensors.aria2: a download"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_folder_that_no_server_could_load_is_refused_with_what_is_wrong(name: str) -> None:
    with pytest.raises(InputError) as caught:
        open_source(str(CASES / name / "model"), Selection(), Patience())
    for words in REFUSED[name]:
        assert words in str(caught.value)


def test_the_remedy_works(tmp_path: Path) -> None:
    folder = CASES / "remedy-with-absolute-path" / "model"
    source = open_source(str(folder), Selection(ignore=("model.safetensors",)), Patience())
    assert "b.safetensors" in {file.path for file in source.files}


def test_a_second_copy_of_the_weights_is_left_out_and_said() -> None:
    source = open_source(str(CASES / "dead-weight-consolidated" / "model"), Selection(), Patience())
    assert "consolidated.safetensors" not in {file.path for file in source.files}
    assert any("consolidated.safetensors" in note for note in source.notes)


def test_the_seeds_example_has_two_ways_and_packs_nothing_else(tmp_path: Path) -> None:
    names = (CASES / "seed-example-opt-125m" / "files.txt").read_text().split()
    for name in names:
        content = b"\x80\x02}q\x00." if name.endswith(".bin") else b"{}" if name.endswith(".json") else b"text"
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"files\.convert: safetensors.*files\.pickle: allow"):
        open_source(str(tmp_path), Selection(), Patience())
    for selection in (Selection(pickle=True), Selection(convert=True)):
        source = open_source(str(tmp_path), selection, Patience())
        assert {file.path for file in source.files} == set(names) - {"flax_model.msgpack", "tf_model.h5"}
    assert source.pickles == ("pytorch_model.bin",)
