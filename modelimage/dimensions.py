"""How large a model is in a server's memory: what its `config.json` says of layers, heads, context and types.

The keys and their order are those by which vLLM reads the same file (v0.23.0,
vllm/transformers_utils/model_arch_config_convertor.py and `_get_and_verify_max_len` of vllm/config/model.py). What
cannot be told is 0 or empty: a server's memory is then judged by the weights alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modelimage import architecture

_TEXT = ("text_config", "llm_config", "language_config", "thinker_config")
"""Where a model of several modalities keeps what its language model is."""
_LATENT = frozenset(
    {
        *("AXK1", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm_moe_dsa", "glm4_moe_lite", "kimi_k2"),
        *("kimi_linear", "longcat_flash", "pangu_ultra_moe", "bailing_hybrid"),
    }
)
"""Model types of multi-head latent attention, which keep one compressed vector a token (`is_deepseek_mla`)."""
_CONTEXT = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"),
    *("max_target_positions", "max_sequence_length", "max_seq_length", "seq_len"),
)
_FULL = frozenset({"full_attention", "attention", "global"})
_LOCAL = frozenset({"sliding_attention", "chunked_attention", "local_attention", "local"})
_OTHER_LAYERS = (
    *("mamba", "ssm", "linear_attn", "linear_attention", "linear_num", "conv_kernel", "state_size", "layer_group_size"),
    *("rwkv", "lru_width", "attn_type_list"),
)
"""Parts of keys of models that have layers without a KV cache: how many is only known where `layer_types` says it."""
_LARGEST_FACTOR = 10_000
_UNEVEN = (
    *("block_configs", "global_head_dim", "compress_ratios", "num_kv_heads_per_layer", "swa_num_key_value_heads"),
    *("swa_head_dim", "attention_other_setting", "attention_k_eq_v"),
)
"""Keys of models whose layers are not all alike."""


@dataclass(frozen=True)
class Dimensions:
    """What decides how much memory a model takes.

    Attributes:
        weights_bytes: of the files that hold its weights; 0 where nothing has listed them.
        dtype: the type that `config.json` names for the weights: bfloat16, float32 …; empty where it names none.
        quantisation: how they are quantised (`quant_method`: awq, fp8, mxfp4 …); empty where they are not.
        layers: of the language model.
        heads: of attention, of one layer.
        context: tokens that the model is made for; 0 where it names none.
        full_layers: layers that keep keys and values of every token.
        local_layers: layers that keep those of the last `window` tokens.
        window: tokens of a sliding window or an attention chunk.
        kv_heads: heads of keys and values, of one layer; 1 of latent attention.
        kv_width: numbers that one of those heads keeps for a token: keys and values, or the latent vector.
        latent: whether it has latent attention, whose vectors every GPU keeps whole.
    """

    weights_bytes: int = 0
    dtype: str = ""
    quantisation: str = ""
    layers: int = 0
    heads: int = 0
    context: int = 0
    full_layers: int = 0
    local_layers: int = 0
    window: int = 0
    kv_heads: int = 0
    kv_width: int = 0
    latent: bool = False

    @property
    def tells_cache(self) -> bool:
        """Whether the size of a token in the KV cache follows."""
        return self.kv_heads * self.kv_width * (self.full_layers + self.local_layers) > 0


def read(config: bytes, weights_bytes: int = 0) -> Dimensions:
    """What a `config.json` says; what cannot be read says nothing.

    Args:
        config: its content; empty where there is none.
        weights_bytes: of the files that hold the weights.
    """
    whole = architecture.json_object(config)
    text = next((whole[key] for key in _TEXT if isinstance(whole.get(key), dict)), whole)
    if isinstance(text.get("text_config"), dict):
        text = text["text_config"]  # of a model that hears and speaks: thinker_config.text_config
    layers = _number(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    heads = _number(text, "num_attention_heads", "n_head", "n_heads")
    latent = _word(text, "model_type") in _LATENT and _number(text, "kv_lora_rank") > 0
    full, local, window = _attention(text, layers)
    kv_heads, kv_width = _cached(text, heads, latent=latent)
    return Dimensions(
        weights_bytes=weights_bytes,
        dtype=_dtype(whole, text),
        quantisation=architecture.quantisation(whole) or architecture.quantisation(text),
        layers=layers,
        heads=heads,
        context=_context(text),
        full_layers=full,
        local_layers=local,
        window=window,
        kv_heads=kv_heads,
        kv_width=kv_width,
        latent=latent,
    )


def _word(config: Mapping[str, Any], key: str) -> str:
    value = config.get(key)
    return value if isinstance(value, str) else ""


def _number(config: Mapping[str, Any], *keys: str) -> int:
    """The first of some keys that holds a number above 0."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0


def _dtype(*configs: Mapping[str, Any]) -> str:
    named = (config.get(key) for config in configs for key in ("dtype", "torch_dtype"))
    return next((name.removeprefix("torch.") for name in named if isinstance(name, str)), "")


def _cached(text: Mapping[str, Any], heads: int, *, latent: bool) -> tuple[int, int]:
    """KV heads of a layer, and the numbers that each keeps for a token; zeros where layers or keys differ."""
    if latent:
        return 1, _number(text, "kv_lora_rank") + _number(text, "qk_rope_head_dim")
    if any(text.get(key) for key in _UNEVEN):
        return 0, 0
    width = _number(text, "head_dim", "hidden_size_per_head")
    if not width and heads:
        width = _number(text, "hidden_size", "n_embd", "d_model") // heads
    below = text.get("attn_config")
    kv_heads = _number(text, "n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num")
    kv_heads = kv_heads or _number(text, "num_attention_groups")
    if text.get("multi_query") is True and not text.get("new_decoder_architecture"):
        kv_heads = _number(text, "multi_query_group_num") or 1
    elif not kv_heads and isinstance(below, dict):
        kv_heads = _number(below, "kv_n_heads")
    if isinstance(text.get("num_key_value_heads"), list) or isinstance(text.get("num_kv_heads"), list):
        return 0, 0
    values = _number(text, "v_head_dim") or width
    return kv_heads or heads, width + values


def _attention(text: Mapping[str, Any], layers: int) -> tuple[int, int, int]:
    """Layers that keep every token, those that keep a window of them, and that window."""
    window = _number(text, "sliding_window", "attention_chunk_size")
    if text.get("use_sliding_window") is False:
        window = 0
    kinds = text.get("layer_types")
    if isinstance(kinds, list) and kinds:
        full, local = _counted(kinds)
        # The last layers of some share the keys and values of earlier ones (Gemma 3n).
        shared = _number(text, "num_kv_shared_layers")
        if shared and shared < len(kinds):
            full, local = _counted(kinds[: len(kinds) - shared])
    elif any(part in key for key in text for part in _OTHER_LAYERS) or text.get("hybrid_override_pattern"):
        return _of_hybrid(text, layers), 0, 0
    else:
        full, local = _patterned(text, layers, window)
    return (full, local, window) if window else (full + local, 0, 0)


_WAYS = ("hybrid_override_pattern", "attn_layer_indices", "attn_type_list")


def _of_hybrid(text: Mapping[str, Any], layers: int) -> int:
    """The layers that keep a KV cache among others that do not, where the configuration says it in one of its ways."""
    pattern, indices, kinds = (text.get(key) for key in _WAYS)
    if isinstance(pattern, str):
        return pattern.count("*")  # Nemotron-H
    if isinstance(indices, list):
        return len(indices)  # Bamba
    if isinstance(kinds, list):
        return kinds.count(1)  # MiniMax
    every = _number(text, "full_attention_interval", "attn_layer_period")  # Qwen3-Next, Jamba
    return layers // every if every else 0


def _counted(kinds: Sequence[Any]) -> tuple[int, int]:
    named = [kind for kind in kinds if isinstance(kind, str)]
    return sum(kind in _FULL for kind in named), sum(kind in _LOCAL for kind in named)


def _patterned(text: Mapping[str, Any], layers: int, window: int) -> tuple[int, int]:
    every = _number(text, "sliding_window_pattern")  # one layer in so many sees all (Gemma 3, Cohere 2)
    if window and every > 1:
        return layers // every, layers - layers // every
    if window and _word(text, "model_type").startswith("gemma2"):
        return layers // 2, layers - layers // 2
    if text.get("attention_chunk_size"):
        return layers // 4, layers - layers // 4  # Llama 4: three layers in four are chunked
    return (0, layers) if window else (layers, 0)


def _context(text: Mapping[str, Any]) -> int:
    """Tokens that a server takes at most where it is not told otherwise."""
    named = [number for key in _CONTEXT if (number := _number(text, key))]
    context = _number(text, "model_max_length") or min(named, default=0)
    scaling = text.get("rope_parameters") or text.get("rope_scaling")
    if not context or not isinstance(scaling, dict) or "gemma3" in _word(text, "model_type"):
        return context
    if all(isinstance(part, dict) for part in scaling.values()):
        return context  # by kind of layer; none of those published scales the context
    kind, factor = _word(scaling, "rope_type") or _word(scaling, "type"), scaling.get("factor")
    original = _number(scaling, "original_max_position_embeddings")
    if kind in {"longrope", "su"}:
        return original or _number(text, "original_max_position_embeddings") or context
    if kind.endswith("yarn"):
        context = original or context
    if kind in {"llama3", "default", "mrope", ""} or not isinstance(factor, int | float) or isinstance(factor, bool):
        return context
    return int(context * factor) if 0 < factor < _LARGEST_FACTOR else context
