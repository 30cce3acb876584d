from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import safetensors

from modelimage import write_tiny_model
from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.source import Selection
from oci_model_serving.errors import InputError


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path: Path) -> None:
    one, two, other = (
        write_tiny_model(str(tmp_path / name), seed=seed) for name, seed in (("one", 7), ("two", 7), ("other", 8))
    )
    files = sorted(path.name for path in one.iterdir())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)
    shard = "model-00001-of-00002.safetensors"
    assert (one / shard).read_bytes() != (other / shard).read_bytes()


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_the_library_reads_every_tensor_that_the_index_names(tmp_path: Path, shards: int) -> None:
    folder = write_tiny_model(str(tmp_path / "model"), shards=shards)
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(weight_map.values())) == shards
    for file in set(weight_map.values()):
        read = {name for name, _ in safetensors.deserialize((folder / file).read_bytes())}  # type: ignore[no-untyped-call]
        assert read == {name for name, shard in weight_map.items() if shard == file}
    assert open_source(str(folder), Selection(), Patience()).notes == ()


def test_the_shapes_are_those_of_the_configuration_and_all_values_are_finite(tmp_path: Path) -> None:
    folder = write_tiny_model(str(tmp_path / "model"), shards=1)
    config = json.loads((folder / "config.json").read_text())
    content = (folder / "model-00001-of-00001.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    assert header["model.embed_tokens.weight"]["shape"] == [config["vocab_size"], config["hidden_size"]]
    layers = {name.split(".")[2] for name in header if name.startswith("model.layers.")}
    assert len(layers) == config["num_hidden_layers"]
    key_value = config["hidden_size"] // config["num_attention_heads"] * config["num_key_value_heads"]
    assert header["model.layers.0.self_attn.k_proj.weight"]["shape"] == [key_value, config["hidden_size"]]
    data = content[8 + length :]
    exponents = {(value >> 7) & 0xFF for (value,) in struct.iter_unpack("<H", data)}
    assert exponents == {121, 127}  # 2^-6 for weights, 2^0 for norms: neither zero, infinite nor not a number


def test_the_tokenizer_knows_every_byte_once(tmp_path: Path) -> None:
    folder = write_tiny_model(str(tmp_path / "model"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    assert sorted(vocabulary.values()) == list(range(256))
    assert all(len(character) == 1 for character in vocabulary)
    config = json.loads((folder / "config.json").read_text())
    assert max(token["id"] for token in tokenizer["added_tokens"]) < config["vocab_size"]


def test_servers_may_read_every_file(tmp_path: Path) -> None:
    assert all(path.stat().st_mode & 0o004 for path in write_tiny_model(str(tmp_path / "model")).iterdir())


def test_a_folder_in_use_and_an_impossible_number_of_shards_are_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not empty"):
        write_tiny_model(str(tmp_path))
    with pytest.raises(InputError, match="--shards is 0"):
        write_tiny_model(str(tmp_path / "new"), shards=0)
