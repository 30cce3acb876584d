"""What an image's files say to a server."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from modelimage.architecture import Task
from modelimage.forecast import Prospect, forecasts
from modelimage.packer import pack
from modelimage.source import SourceFile
from modelimage.tiny import write_tiny_model
from modelimage.traits import Traits, traits_of
from oci_model_serving.outputs import TraitsOutput


def files(*paths: str, **traits: Any) -> Iterator[SourceFile]:
    texts = dict.fromkeys(paths, b"") | {
        name.replace("_json", ".json"): json.dumps(value).encode() for name, value in traits.items()
    }
    for path, text in texts.items():
        yield SourceFile.of(path, text)


def test_a_folder_of_safetensors_needs_no_telling() -> None:
    made = traits_of(files("model.safetensors", "x.gguf", "tokenizer.json", config_json={"architectures": ["A"]}))

    assert made == Traits(architecture="A", has_tokenizer=True, has_config=True)


@pytest.mark.parametrize(
    ("paths", "weights_file"),
    [
        (["model-Q4_K_M.gguf"], "model-Q4_K_M.gguf"),
        (["Q4/m-00002-of-00002.gguf", "Q4/m-00001-of-00002.gguf"], "Q4/m-00001-of-00002.gguf"),
        (["m-1-of-2.gguf", "m-2-of-2.gguf"], "m-1-of-2.gguf"),
        (["m.gguf", "mmproj-F16.gguf"], "m.gguf"),
        (["a.gguf", "b.gguf"], ""),  # two models: nobody but the user can choose
        (["model.safetensors"], ""),
        ([], ""),
    ],
)
def test_a_gguf_is_named_by_its_only_file_or_first_part(paths: list[str], weights_file: str) -> None:
    assert traits_of(files(*paths)).weights_file == weights_file


@pytest.mark.parametrize(
    ("paths", "whole"),
    [
        (["tokenizer.json", "tokenizer_config.json"], True),
        (["tokenizer.model", "config.json"], True),
        (["tokenizer.json"], False),  # nothing tells its kind
        (["tokenizer_config.json", "config.json"], False),
    ],
)
def test_a_tokenizer_counts_where_a_server_can_load_it(paths: list[str], whole: bool) -> None:
    assert traits_of(files(*paths)).has_tokenizer is whole


def test_an_adapters_rank_is_the_largest_of_its_modules() -> None:
    config = {"r": 16, "rank_pattern": {"q_proj": 64, "odd": "x"}}

    assert traits_of(files(adapter_config_json=config)).lora_rank == 64
    assert traits_of(files(adapter_config_json={"r": "many", "rank_pattern": []})).lora_rank == 0
    assert traits_of(files("adapter_config.json")).lora_rank == 0


def test_a_folder_says_the_same_before_and_after_it_is_packed(tmp_path: Path) -> None:
    model = write_tiny_model(str(tmp_path / "model"))
    (model / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))

    told = forecasts({"model": Prospect(str(model))})["model"]
    packed = pack(str(model), f"oci:{tmp_path / 'image'}")

    assert told is not None
    assert told.traits == packed.traits
    assert packed.traits.task == packed.as_json()["task"] == "embedding"
    assert packed.traits.has_tokenizer
    assert packed.traits.has_config


def test_what_lies_beside_a_gguf_is_no_model() -> None:
    for name in ("mmproj-F16.gguf", "gemma3mmproj.gguf", "a-imatrix.gguf", "imatrix.gguf"):
        assert traits_of(files("a-Q4_K_M.gguf", name)).weights_file == "a-Q4_K_M.gguf"


def test_of_two_quantisations_none_is_the_file_to_serve() -> None:
    assert traits_of(files("a.gguf", "b.gguf")).weights_file == ""
    assert traits_of(files("a.gguf")).weights_file == "a.gguf"


@pytest.mark.parametrize(
    ("paths", "streams"),
    [
        (["model.safetensors"], True),
        (["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"], True),
        (["model-00000-of-00001.safetensors", "model-00001-of-00001.safetensors"], True),  # gpt-oss counts from 0
        (["model.safetensors", "1_Pooling/model.safetensors"], True),  # the streamer looks into no folder
        (["model.safetensors", "consolidated.safetensors"], False),  # vllm#40765: both sets would be loaded
        (["consolidated.safetensors"], False),  # of Mistral's own format
        (["model.safetensors", "mtp.safetensors"], False),  # an index may leave one of them out
        (["model-00001-of-00002.safetensors"], False),
        (["a-00001-of-00002.safetensors", "b-00002-of-00002.safetensors"], False),
        (["model-00001-of-00002.safetensors", "x.safetensors"], False),
        (["adapter_model.safetensors"], False),
        (["model.gguf"], False),
        (["pytorch_model.bin"], False),
        (["weights/model.safetensors"], False),
    ],
)
def test_the_streamer_is_for_weights_that_are_one_set(paths: list[str], *, streams: bool) -> None:
    assert traits_of(files(*paths, config_json={"architectures": ["Qwen2ForCausalLM"]})).streams is streams


@pytest.mark.parametrize(
    ("config", "streams"),
    [
        ({"architectures": ["Gemma3ForConditionalGeneration"]}, True),
        ({"architectures": ["Qwen3ForCausalLM"], "quantization_config": {"quant_method": "fp8"}}, True),
        ({"architectures": ["Qwen3ForCausalLM"], "quantization_config": {"quant_method": "bitsandbytes"}}, False),
        ({"architectures": ["UltravoxModel"]}, False),  # its other half comes by the default loader
        ({"architectures": ["XLMRobertaModel"]}, False),
        ({}, False),
    ],
)
def test_the_streamer_is_for_models_whose_weights_it_is_given_all_of(config: dict[str, Any], *, streams: bool) -> None:
    assert traits_of(files("model.safetensors", config_json=config)).streams is streams


def test_the_outputs_of_a_stack_have_the_same_traits_and_defaults() -> None:
    assert TraitsOutput().model_dump() == asdict(Traits())
    for task in Task:
        assert TraitsOutput.model_validate(asdict(Traits(task=task.value))).task == task.value
