"""Read every tensor of a model's safetensors with Run:ai's streamer, as vLLM's loader does; print what it cost as JSON.

Run by `run.py` in the environment of the tests' vLLM: `python bench/stream/load.py FOLDER | s3://bucket/prefix`. There
is no GPU: where vLLM copies each tensor, this adds its words up, so that all that was read is looked at, and the sum
tells that every way of delivery gave the same bytes.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch
from runai_model_streamer import SafetensorsStreamer
from runai_model_streamer.safetensors_streamer.safetensors_streamer import list_safetensors


def main(place: str) -> None:
    """Read what is there."""
    torch.set_num_threads(1)  # a copy to a GPU takes no processors
    cpu, began = _cpu(), time.monotonic()
    words, size = 0, 0
    with SafetensorsStreamer() as streamer:
        streamer.stream_files(sorted(list_safetensors(path=place)))
        for _, tensor in streamer.get_tensors():
            words += int(tensor.view(torch.int64).sum())
            size += tensor.nbytes
    told = {
        "seconds": time.monotonic() - began,
        "cpu": _cpu() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "written_mb": _written() / 1e6,
        "bytes": size,
        "sum": words % (1 << 64),
    }
    print(json.dumps(told))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _written() -> int:
    (said,) = [line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("write_bytes")]
    return int(said.split()[1])


if __name__ == "__main__":
    main(sys.argv[1])
