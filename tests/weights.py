"""Small model folders for the tests of the packer and of what uses it."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def safetensors_bytes(payload: bytes) -> bytes:
    """A valid safetensors file that holds one tensor of bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(payload)], "data_offsets": [0, len(payload)]}}).encode()
    return struct.pack("<Q", len(header)) + header + payload


def write_model(folder: Path) -> Path:
    """All that matters in a few hundred kB: three shards, an index, small files, a subfolder, a hidden file."""
    (folder / "nested").mkdir(parents=True)
    names = [f"model-{number:05d}-of-00003.safetensors" for number in (1, 2, 3)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(safetensors_bytes(bytes([number]) * (100_000 + number)))
    weight_map = {f"t{number}": name for number, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    (folder / "nested" / "extra.txt").write_text("extra")
    (folder / ".gitattributes").write_text("*.safetensors filter=lfs")
    return folder
