"""What is pushed: weights that look like trained ones, and a model of very many small files."""

import json
import os
import random
import struct
from pathlib import Path

MIB = 1 << 20


def make_weights(folder: Path, gib: float, shards: int, *, tensor_mib: int = 0) -> None:
    """Write safetensors shards whose bytes look like trained bfloat16 weights: normal values, random mantissas.

    Each has one tensor, or with `tensor_mib` as many of that size as there is room for.
    """
    folder.mkdir()
    generator = random.Random(1)  # noqa: S311 - benchmark data
    # The high byte of a bfloat16 is its sign and most of its exponent: what little a compressor can use. A cycle of
    # two million is far longer than its window.
    high = bytes(struct.pack(">f", generator.gauss(0, 0.02))[0] for _ in range(2 * MIB))
    size = int(gib * 1024 / shards) * MIB
    block = bytearray(4 * MIB)
    block[1::2] = high
    weight_map = {}
    for number in range(1, shards + 1):
        name = f"model-{number:05d}-of-{shards:05d}.safetensors"
        tensors = _tensors(f"w{number}", size, tensor_mib * MIB or size)
        header = json.dumps(tensors).encode()
        header += b" " * (-len(header) % 8)
        weight_map.update(dict.fromkeys(tensors, name))
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            written = 0
            while written < size:
                block[0::2] = os.urandom(2 * MIB)
                piece = memoryview(block)[: min(len(block), size - written)]
                file.write(piece)
                written += len(piece)
            os.fsync(file.fileno())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text('{"model_type": "qwen2"}')


def _tensors(name: str, size: int, each: int) -> dict[str, object]:
    starts = range(0, size, each)
    ends = [min(start + each, size) for start in starts]
    return {
        f"{name}.{start // each}" if each < size else name: {
            "dtype": "BF16",
            "shape": [(end - start) // 2],
            "data_offsets": [start, end],
        }
        for start, end in zip(starts, ends, strict=True)
    }


def make_small_files(folder: Path, count: int) -> None:
    """Write a model with `count` small files beside its weights, as voices, prompts or compiled kernels are."""
    folder.mkdir()
    generator = random.Random(1)  # noqa: S311 - benchmark data
    header = json.dumps({"w": {"dtype": "BF16", "shape": [512], "data_offsets": [0, 1024]}}).encode()
    header += b" " * (-len(header) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(1024))
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    for number in range(count):
        below = folder / "assets" / f"part-{number // 500:03d}"
        if number % 500 == 0:
            below.mkdir(parents=True)
        values = [generator.random() for _ in range(generator.randint(5, 100))]
        (below / f"voice-{number:05d}.json").write_text(json.dumps({"id": number, "values": values}))
