"""A small, valid model folder with random weights: what the local stack and the tests pack when none is given.

The architecture is Qwen2's (config.json keys and tensor names as in Hugging Face transformers' Qwen2ForCausalLM),
with a byte-level tokenizer, in bfloat16. It answers nonsense, but loads and runs like the real thing.
"""

import ctypes
import json
import math
import random
from pathlib import Path
from typing import Any

from modelimage.errors import ImageError
from oci_model_serving.errors import InputError

_HIDDEN, _INTERMEDIATE, _LAYERS, _HEADS, _KEY_VALUE_HEADS, _VOCABULARY = 128, 512, 4, 4, 2, 512
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_tiny_model(folder: str, *, shards: int = 2, seed: int = 0) -> Path:
    """Write the model to `folder` (which must be new or empty) in `shards` safetensors files and return its path.

    The same `seed` and `shards` give the same bytes.

    Raises:
        InputError: `shards` is out of range or the folder holds something.
        ImageError: the folder cannot be written.
    """
    import safetensors  # noqa: PLC0415 - needed here alone

    tensors = _shapes()
    if not 1 <= shards <= len(tensors):
        raise InputError(f"--shards is {shards}: give 1 to {len(tensors)}")
    root = Path(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise InputError(f"{folder}: is not empty: give a new folder")
        names = sorted(tensors)
        weight_map: dict[str, str] = {}
        generator = random.Random(seed)  # noqa: S311 - random weights guard nothing
        for number in range(shards):
            file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
            part = names[number * len(names) // shards : (number + 1) * len(names) // shards]
            buffers = {name: _weights(generator, name, tensors[name]) for name in part}
            specs: dict[str, Any] = {
                name: safetensors.TensorSpec(
                    dtype="bfloat16", shape=tensors[name], data_ptr=ctypes.addressof(buffer), data_len=len(buffer)
                )
                for name, buffer in buffers.items()
            }
            safetensors.serialize_file(specs, root / file, {"format": "pt"})
            (root / file).chmod(0o644)  # the library makes them private, and docker builds keep a file's mode
            weight_map |= dict.fromkeys(part, file)
        total = sum(2 * math.prod(shape) for shape in tensors.values())
        _write_json(root, "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": weight_map})
        for name, content in _documents().items():
            _write_json(root, name, content)
    except OSError as error:
        raise ImageError(f"{folder}: cannot be written: {error.strerror}") from error
    return root


def _write_json(root: Path, name: str, content: dict[str, Any]) -> None:
    (root / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _shapes() -> dict[str, list[int]]:
    head = _HIDDEN // _HEADS
    key_value = head * _KEY_VALUE_HEADS
    shapes = {
        "model.embed_tokens.weight": [_VOCABULARY, _HIDDEN],
        "model.norm.weight": [_HIDDEN],
        "lm_head.weight": [_VOCABULARY, _HIDDEN],
    }
    for number in range(_LAYERS):
        layer = f"model.layers.{number}"
        shapes |= {
            f"{layer}.input_layernorm.weight": [_HIDDEN],
            f"{layer}.post_attention_layernorm.weight": [_HIDDEN],
            f"{layer}.self_attn.q_proj.weight": [_HIDDEN, _HIDDEN],
            f"{layer}.self_attn.q_proj.bias": [_HIDDEN],
            f"{layer}.self_attn.k_proj.weight": [key_value, _HIDDEN],
            f"{layer}.self_attn.k_proj.bias": [key_value],
            f"{layer}.self_attn.v_proj.weight": [key_value, _HIDDEN],
            f"{layer}.self_attn.v_proj.bias": [key_value],
            f"{layer}.self_attn.o_proj.weight": [_HIDDEN, _HIDDEN],
            f"{layer}.mlp.gate_proj.weight": [_INTERMEDIATE, _HIDDEN],
            f"{layer}.mlp.up_proj.weight": [_INTERMEDIATE, _HIDDEN],
            f"{layer}.mlp.down_proj.weight": [_HIDDEN, _INTERMEDIATE],
        }
    return shapes


def _weights(generator: random.Random, name: str, shape: list[int]) -> ctypes.Array[ctypes.c_char]:
    """Return bfloat16 values: ones for norms, else random with a magnitude from 2^-6 to 2^-5, as weights have."""
    count = math.prod(shape)
    if name.endswith("norm.weight"):
        content = b"\x80\x3f" * count  # 1.0
    else:
        # Sign and mantissa are random; the exponent is fixed, so that no value is infinite or not a number.
        mask = int.from_bytes(b"\x7f\x80" * count, "little")
        exponent = int.from_bytes(b"\x80\x3c" * count, "little")
        noise = int.from_bytes(generator.randbytes(2 * count), "little")
        content = (noise & mask | exponent).to_bytes(2 * count, "little")
    return (ctypes.c_char * len(content)).from_buffer_copy(content)


def _documents() -> dict[str, dict[str, Any]]:
    first_special = 256
    tokens = {token: first_special + number for number, token in enumerate(_SPECIAL)}
    added = [
        {"id": number, "content": token, "special": True, "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False}
        for token, number in tokens.items()
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "config.json": {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "hidden_size": _HIDDEN,
            "intermediate_size": _INTERMEDIATE,
            "num_hidden_layers": _LAYERS,
            "num_attention_heads": _HEADS,
            "num_key_value_heads": _KEY_VALUE_HEADS,
            "vocab_size": _VOCABULARY,
            "max_position_embeddings": 2048,
            "max_window_layers": _LAYERS,
            "sliding_window": 2048,
            "use_sliding_window": False,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "hidden_act": "silu",
            "initializer_range": 0.02,
            "attention_dropout": 0.0,
            "tie_word_embeddings": False,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "bos_token_id": tokens["<|endoftext|>"],
            "eos_token_id": tokens["<|im_end|>"],
        },
        "generation_config.json": {
            "bos_token_id": tokens["<|endoftext|>"],
            "pad_token_id": tokens["<|endoftext|>"],
            "eos_token_id": [tokens["<|im_end|>"], tokens["<|endoftext|>"]],
            "do_sample": True,
            "temperature": 0.7,
        },
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": byte_level,
            "post_processor": byte_level,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": "",
                "fuse_unk": False,
                "byte_fallback": False,
                "vocab": {character: number for number, character in enumerate(_byte_alphabet())},
                "merges": [],
            },
        },
        "tokenizer_config.json": {
            "tokenizer_class": "Qwen2Tokenizer",
            "added_tokens_decoder": {
                str(entry["id"]): {key: value for key, value in entry.items() if key != "id"} for entry in added
            },
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "model_max_length": 2048,
            "clean_up_tokenization_spaces": False,
            "chat_template": _CHAT_TEMPLATE,
        },
    }


def _byte_alphabet() -> list[str]:
    """The printable character that stands for each byte in byte-level BPE (GPT-2's published table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return [table[byte] for byte in range(256)]
