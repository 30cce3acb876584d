"""Plan and pack the shapes of large published models, from sparse files, into a registry that only counts.

    python bench/shapes/run.py --pack-gb 50

Each shape is planned whole, in a process of its own: seconds and peak resident memory. Then as many of its files as
`--pack-gb` takes (0: none; a large number: all) are packed by `oms image pack` and pushed to a registry on loopback
that takes the bytes, counts them and throws them away; it answers as registries do and checks no digest. The files are
sparse: they have true headers, as many tensors as the real ones, and zeros, which take no room on a disk.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Process, Queue
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

ROOT = Path(__file__).resolve().parents[2]
GB = 1_000_000_000
PLAN = """
import json, sys
from modelimage.layers import notes_on, plan_layers
from modelimage.origins import open_source
from modelimage.patience import Patience
from modelimage.source import Selection
layers = plan_layers(open_source(sys.argv[1], Selection(), Patience()).files, base_layers=1)
print(json.dumps([len(layers), max(layer.size for layer in layers), notes_on(layers, base_layers=1)]))
"""


@dataclass(frozen=True)
class Shape:
    """A published layout: how many files of how many bytes, and of what tensors they are made."""

    name: str
    files: int
    file_bytes: int
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]

    @property
    def size(self) -> int:
        """All files in bytes."""
        return self.files * self.file_bytes


_EXPERT = (
    ("gate_proj.weight", "F8_E4M3", (2048, 7168)),
    ("gate_proj.weight_scale_inv", "F32", (16, 56)),
    ("down_proj.weight", "F8_E4M3", (7168, 2048)),
    ("down_proj.weight_scale_inv", "F32", (56, 16)),
)
_DENSE = (("mlp.up_proj.weight", "BF16", (53248, 16384)), ("self_attn.q_proj.weight", "BF16", (16384, 16384)))
SHAPES = (
    Shape("DeepSeek-R1", 163, 4_300_000_000, _EXPERT),
    Shape("Llama-405B", 191, 4_300_000_000, _DENSE),
    Shape("Kimi-K2", 61, 17_000_000_000, _EXPERT),
    Shape("one file of 200 GB", 1, 200_000_000_000, (("mlp.up_proj.weight", "BF16", (28672, 8192)),)),
    Shape("GGUF of 48 GB", 1, 48_000_000_000, ()),
)
_BYTES = {"F8_E4M3": 1, "BF16": 2, "F32": 4}


def make(folder: Path, shape: Shape) -> None:
    """Write a shape's files, sparse."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    if not shape.tensors:
        write_gguf(folder / "model-Q5_K_M.gguf", shape.file_bytes)
        return
    weight_map: dict[str, str] = {}
    for number in range(1, shape.files + 1):
        single = shape.files == 1
        name = "model.safetensors" if single else f"model-{number:05d}-of-{shape.files:06d}.safetensors"
        weight_map |= dict.fromkeys(write_safetensors(folder / name, shape, number), name)
    if shape.files > 1:
        index = {"metadata": {"total_size": shape.size}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_safetensors(path: Path, shape: Shape, layer: int) -> list[str]:
    """Write one file and return its tensors' names."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for number in range(1 << 20):
        suffix, dtype, dimensions = shape.tensors[number % len(shape.tensors)]
        size = _BYTES[dtype] * dimensions[0] * dimensions[1]
        if position + size > shape.file_bytes:
            break
        name = f"model.layers.{layer}.mlp.experts.{number // len(shape.tensors)}.{suffix}"
        header[name] = {"dtype": dtype, "shape": dimensions, "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + position)
    return [name for name in header if name != "__metadata__"]


def write_gguf(path: Path, size: int) -> None:
    """Write a file of one format version 3 header, with a vocabulary and 800 tensors."""
    words = b"".join(struct.pack("<Q", 12) + b"token-%06d" % number for number in range(128_000))
    key = b"tokenizer.ggml.tokens"
    metadata = struct.pack("<Q", len(key)) + key + struct.pack("<IIQ", 9, 8, 128_000) + words
    tensors, each = 800, size // 800 // 32 * 32
    described = b""
    for number in range(tensors):
        name = b"blk.%03d.weight" % number
        described += struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, each, 24, number * each)
    header = b"GGUF" + struct.pack("<IQQ", 3, tensors, 1) + metadata + described
    with path.open("wb") as file:
        file.write(header + bytes(-len(header) % 32))
        file.truncate(file.tell() + tensors * each)


class Counting(BaseHTTPRequestHandler):
    """A registry that takes everything and keeps manifests alone."""

    protocol_version = "HTTP/1.1"
    manifests: dict[str, bytes]
    received: "Queue[int]"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer; `headers` are names with underscores."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def take(self) -> bytes:
        """Take the request's body; all but small ones are thrown away."""
        left = int(self.headers.get("Content-Length") or 0)
        if left < 8 << 20:
            return self.rfile.read(left)
        self.received.put(left)
        buffer = memoryview(bytearray(1 << 20))
        while left:
            count = self.rfile.readinto(buffer[: min(left, len(buffer))])
            if not count:
                raise ConnectionError
            left -= count
        return b""

    def do_any(self) -> None:
        """Answer a request of any kind."""
        content = self.take()
        path = urlsplit(self.path)
        if self.command == "POST":
            self.answer(202, Location=f"{path.path}upload")
        elif self.command == "PATCH":
            self.answer(202, Location=path.path)
        elif self.command == "PUT" and "/manifests/" in path.path:
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            name = path.path.rpartition("/")[2]
            self.manifests |= {digest: content, name: content}
            self.answer(201, Docker_Content_Digest=digest)
        elif self.command == "PUT":
            self.answer(201, Docker_Content_Digest=parse_qs(path.query)["digest"][0])
        elif path.path == "/v2/":
            self.answer(200, b"{}")
        elif found := self.manifests.get(path.path.rpartition("/")[2]):
            digest = f"sha256:{hashlib.sha256(found).hexdigest()}"
            self.answer(200, found, Docker_Content_Digest=digest, Content_Type=json.loads(found)["mediaType"])
        else:
            self.answer(404, b'{"errors": []}')

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_any  # noqa: N815 - http.server's names


def serve(ports: "Queue[int]", received: "Queue[int]") -> None:
    """Serve until the process is ended."""
    handler = type("Handler", (Counting,), {"manifests": {}, "received": received})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    ports.put(server.server_port)
    server.serve_forever()


@contextmanager
def registry() -> Iterator[tuple[str, "Queue[int]"]]:
    """Run the counting registry in a process of its own; gives its host and the sizes of the blobs it took."""
    ports: Queue[int] = Queue()
    received: Queue[int] = Queue()
    process = Process(target=serve, args=(ports, received), daemon=True)
    process.start()
    try:
        yield f"127.0.0.1:{ports.get(timeout=10)}", received
    finally:
        process.terminate()
        process.join()


@dataclass(frozen=True)
class Ran:
    """A command's output, its seconds on the clock and on processors, and its peak resident memory in MB."""

    output: str
    seconds: float
    cpu_seconds: float
    mb: float


def run(command: list[str], env: dict[str, str]) -> Ran:
    """Run a command to its end."""
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, cwd=ROOT, env={**os.environ, **env})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        output.seek(0)
        if os.waitstatus_to_exitcode(status):
            raise SystemExit(f"{' '.join(command)} failed")
        return Ran(output.read().decode(), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure(shape: Shape, pack_gb: float, work: Path) -> str:
    """Plan a shape whole, pack what is to be packed, and return the table's row."""
    folder = work / re.sub(r"\W", "-", shape.name)
    env = {"XDG_CACHE_HOME": str(work / "cache")}
    print(f"  {shape.name}", file=sys.stderr, flush=True)
    make(folder, shape)
    planned = run([sys.executable, "-c", PLAN, str(folder)], env)
    layers, largest, notes = json.loads(planned.output)
    row = f"| {shape.name} | {shape.files} of {shape.file_bytes / GB:.1f} GB | {layers} | {largest / GB:.1f} | "
    row += f"{planned.seconds:.1f} | {planned.cpu_seconds:.1f} | {planned.mb:.0f} | "
    files = min(shape.files, int(pack_gb * GB // shape.file_bytes))
    if not files:
        return row + "not packed | | | |"
    if files < shape.files:
        folder = work / f"{folder.name}-{files}"
        make(folder, replace(shape, files=files))
    with registry() as (host, received):
        command = [sys.executable, "-m", "oms", "image", "pack", str(folder), f"{host}/bench:1", "--json"]
        packed = run(command, env)
        moved = 0
        while not received.empty():
            moved += received.get()
    for note in notes:
        print(f"    {note}", file=sys.stderr)
    return (
        row
        + f"{files} files, {moved / GB:.1f} GB | {packed.seconds:.0f} | {packed.cpu_seconds:.0f} | {packed.mb:.0f} |"
    )


def main() -> None:
    """Measure the shapes and print the table."""
    parser = argparse.ArgumentParser(description="Plan and pack the shapes of large models from sparse files.")
    parser.add_argument("--pack-gb", type=float, default=50, help="pack at most so much of each shape (default 50)")
    parser.add_argument("--shape", action="append", choices=[shape.name for shape in SHAPES], help="only these")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, sparse files, registry that counts\n")
    print("| shape | files | layers | largest, GB | plan, s | CPU s | MB | packed | s | CPU s | MB |")
    print("|---|---|--:|--:|--:|--:|--:|---|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as work:
        for shape in SHAPES:
            if not options.shape or shape.name in options.shape:
                print(measure(shape, options.pack_gb, Path(work)), flush=True)


if __name__ == "__main__":
    main()
