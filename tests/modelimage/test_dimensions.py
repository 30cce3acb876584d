"""How large models are: read from the configurations of those that people serve."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelimage.dimensions import Dimensions, read


def of(**config: Any) -> Dimensions:
    return read(json.dumps(config).encode(), 7)


LAYERS = {"num_hidden_layers": 32, "num_attention_heads": 32, "hidden_size": 4096}


def test_a_plain_model() -> None:
    made = of(**LAYERS, num_key_value_heads=8, max_position_embeddings=8192, torch_dtype="bfloat16")
    assert made == Dimensions(
        weights_bytes=7,
        dtype="bfloat16",
        layers=32,
        heads=32,
        context=8192,
        full_layers=32,
        kv_heads=8,
        kv_width=256,
    )
    assert made.tells_cache


@pytest.mark.parametrize(
    ("config", "kv_heads", "kv_width"),
    [
        ({**LAYERS}, 32, 256),
        ({**LAYERS, "head_dim": 256, "num_key_value_heads": 4}, 4, 512),
        ({"n_layer": 12, "n_head": 12, "n_embd": 768}, 12, 128),
        ({**LAYERS, "multi_query": True}, 1, 256),
        ({**LAYERS, "multi_query": True, "new_decoder_architecture": True, "num_kv_heads": 8}, 8, 256),
        ({"d_model": 4096, "n_heads": 32, "n_layers": 32, "attn_config": {"kv_n_heads": 8}}, 8, 256),
        ({**LAYERS, "model_type": "deepseek_v3", "kv_lora_rank": 512, "qk_rope_head_dim": 64}, 1, 576),
        ({**LAYERS, "text_config": {**LAYERS, "num_key_value_heads": 2}}, 2, 256),
        ({"thinker_config": {"text_config": {**LAYERS, "num_key_value_heads": 4}}}, 4, 256),
        ({**LAYERS, "num_key_value_heads": [1, 2]}, 0, 0),
        ({**LAYERS, "block_configs": [{}]}, 0, 0),
    ],
)
def test_heads_of_keys_and_values(config: dict[str, Any], kv_heads: int, kv_width: int) -> None:
    made = of(**config)
    assert (made.kv_heads, made.kv_width) == (kv_heads, kv_width)


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        ({}, (32, 0, 0)),
        ({"sliding_window": 4096}, (0, 32, 4096)),
        ({"sliding_window": 4096, "use_sliding_window": False}, (32, 0, 0)),
        ({"sliding_window": None}, (32, 0, 0)),
        ({"sliding_window": 1024, "sliding_window_pattern": 4}, (8, 24, 1024)),
        ({"sliding_window": 4096, "model_type": "gemma2"}, (16, 16, 4096)),
        ({"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 16}, (16, 16, 128)),
        ({"layer_types": ["linear_attention"] * 3 + ["full_attention"]}, (1, 0, 0)),
        ({"layer_types": ["full_attention"] * 30, "num_kv_shared_layers": 10}, (20, 0, 0)),
        ({"attention_chunk_size": 8192}, (8, 24, 8192)),
        ({"full_attention_interval": 4, "linear_num_value_heads": 8}, (8, 0, 0)),
        ({"attn_layer_period": 8, "mamba_d_state": 16}, (4, 0, 0)),
        ({"hybrid_override_pattern": "M-M*-M*"}, (2, 0, 0)),
        ({"attn_layer_indices": [9, 18], "mamba_n_heads": 8}, (2, 0, 0)),
        ({"attn_type_list": [0, 0, 1, 0, 1]}, (2, 0, 0)),
        ({"mamba_d_state": 16}, (0, 0, 0)),
    ],
)
def test_layers_that_keep_all_tokens_and_a_window_of_them(config: dict[str, Any], layers: tuple[int, int, int]) -> None:
    made = of(**LAYERS, **config)
    assert (made.full_layers, made.local_layers, made.window) == layers


@pytest.mark.parametrize(
    ("config", "context"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"n_positions": 1024}, 1024),
        ({"max_position_embeddings": 8192, "model_max_length": 131072}, 131072),
        ({"max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131072),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "linear", "factor": 4.0}}, 16384),
        ({"max_position_embeddings": 4096, "rope_scaling": {"type": "dynamic", "factor": 2}}, 8192),
        (
            {
                "max_position_embeddings": 163840,
                "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
            },
            163840,
        ),
        (
            {
                "max_position_embeddings": 131072,
                "original_max_position_embeddings": 4096,
                "rope_scaling": {"type": "longrope", "long_factor": [1.0]},
            },
            4096,
        ),
        ({"max_position_embeddings": 131072, "rope_parameters": {"full_attention": {"rope_type": "default"}}}, 131072),
        ({}, 0),
    ],
)
def test_the_context_is_the_one_that_vllm_derives(config: dict[str, Any], context: int) -> None:
    assert of(**LAYERS, **config).context == context


@pytest.mark.parametrize(
    ("config", "dtype", "quantisation"),
    [
        ({"dtype": "float16"}, "float16", ""),
        ({"torch_dtype": "torch.bfloat16"}, "bfloat16", ""),
        ({"text_config": {"torch_dtype": "bfloat16"}}, "bfloat16", ""),
        ({"quantization_config": {"quant_method": "awq"}}, "", "awq"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "", "fp8"),
        ({"compression_config": {"format": "x"}}, "", "unknown"),
    ],
)
def test_types_and_quantisation(config: dict[str, Any], dtype: str, quantisation: str) -> None:
    made = of(**config)
    assert (made.dtype, made.quantisation) == (dtype, quantisation)


KEYS = st.sampled_from(
    [
        *("num_hidden_layers", "num_attention_heads", "hidden_size", "head_dim", "num_key_value_heads", "layer_types"),
        *("sliding_window", "sliding_window_pattern", "rope_scaling", "text_config", "quantization_config", "factor"),
        *("kv_lora_rank", "model_type", "max_position_embeddings", "multi_query", "attn_config", "type", "dtype"),
        *("attn_layer_period", "hybrid_override_pattern", "num_kv_shared_layers", "rope_parameters"),
    ]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 1 << 40) | st.floats() | st.sampled_from(["yarn", "deepseek_v3", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, ANY, max_size=8))
def test_whatever_a_configuration_holds_is_read(config: dict[str, Any]) -> None:
    made = of(**config)
    assert min(made.layers, made.heads, made.context, made.full_layers, made.local_layers, made.kv_heads) >= 0


@given(st.binary(max_size=40))
def test_what_is_no_configuration_says_nothing(content: bytes) -> None:
    assert read(content).weights_bytes == 0
