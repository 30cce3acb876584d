"""Stands in for vLLM's OpenAI server in the tests' image: same module, arguments, paths and answers, no model.

As vLLM it reads all weights before it listens, and ends with an error when there are none, or no adapter where it was
told of one, or one of a higher rank than it was told. The digest of what it has read is its `system_fingerprint`, so
that an answer proves which weights are behind it; an adapter's answer has the digest of the adapter's. Nothing but the
standard library: the image holds no other packages.
"""

import argparse
import hashlib
import json
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_CHUNK = 1 << 20


def fingerprint(folder: Path) -> str:
    """Return the digest of all weights of a model folder, in the order of their names."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as weights:
            while chunk := weights.read(_CHUNK):
                digest.update(chunk)
    return f"weights-{digest.hexdigest()}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served_name: str
    weights: Mapping[str, str]
    answer_seconds: float
    running = 0
    counted = threading.Lock()

    def do_GET(self) -> None:
        path = self._path()
        if path == "/health":
            self._send(200, b"", "text/plain")
        elif path == "/metrics":
            self._send(200, self._metrics().encode(), "text/plain; version=0.0.4")
        elif path == "/v1/models":
            self._answer(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.weights]})
        else:
            self._answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self._path() != "/v1/chat/completions":
            self._answer(404, {"detail": "Not Found"})
        elif request.get("model") not in self.weights:
            self._answer(404, {"error": {"message": f"The model `{request.get('model')}` does not exist."}})
        else:
            self._generate(request["model"], stream=bool(request.get("stream")))

    def _generate(self, name: str, *, stream: bool) -> None:
        server = type(self)
        with self.counted:
            server.running += 1
        try:
            time.sleep(self.answer_seconds)
            if stream:
                self._stream(name)
            else:
                self._answer(200, self._completion(name))
        finally:
            with self.counted:
                server.running -= 1

    def _metrics(self) -> str:
        labels = f'{{engine="0",model_name="{self.served_name}"}}'
        counts = {"running": type(self).running, "waiting": 0}
        return "".join(f"vllm:num_requests_{name}{labels} {float(count)}\n" for name, count in counts.items())

    def _path(self) -> str:
        # KubeAI's own proxy takes this prefix away; in the tests its Service leads here directly.
        return self.path.removeprefix("/openai")

    def _completion(self, name: str) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": name,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "pong"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            "system_fingerprint": self.weights[name],
        }

    def _stream(self, name: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in ("po", "ng"):
            chunk = {"choices": [{"index": 0, "delta": {"content": word}}], "system_fingerprint": self.weights[name]}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _adapters(modules: Sequence[str], most: int, rank: int) -> dict[str, str]:
    """The digests of adapters by their names, as `--lora-modules` gives them; ends where vLLM would."""
    named = dict(module.split("=") for module in modules)
    if len(named) > most:
        sys.exit(f"{len(named)} adapters, and --max-loras is {most}")
    for path in map(Path, named.values()):
        config = path / "adapter_config.json"
        if not config.is_file():
            sys.exit(f"{path} holds no adapter: {sorted(path.glob('*'))}")
        if json.loads(config.read_text())["r"] > rank:
            sys.exit(f"the rank of {path} is greater than max_lora_rank {rank}")
    return {name: fingerprint(Path(path)) for name, path in named.items()}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--cache-mib", type=int, default=0, help="what the server writes to its own disk")
    parser.add_argument("--answer-seconds", type=float, default=0.0, help="how long an answer takes")
    parser.add_argument("--memory-mib", type=int, default=0, help="what the server takes of its memory")
    parser.add_argument("--start-seconds", type=float, default=0.0, help="how long the start takes")
    parser.add_argument("--fail", default="", help="the last words of a server that ends at its start")
    parser.add_argument("--enable-lora", action="store_true")
    parser.add_argument("--lora-modules", nargs="+", default=[])
    parser.add_argument("--max-loras", type=int, default=1)
    parser.add_argument("--max-lora-rank", type=int, default=16)
    options = parser.parse_args(arguments)
    if not (options.model / "config.json").is_file() or not any(options.model.glob("*.safetensors")):
        sys.exit(f"{options.model} holds no model: {sorted(options.model.glob('*'))}")
    if options.fail:
        # The process that is asked says last that another one has failed, as vLLM's does.
        sys.exit(f"{options.fail}\nRuntimeError: Engine core initialization failed. See root cause above.")
    taken = bytearray(b"x") * (options.memory_mib << 20)
    modules = options.lora_modules if options.enable_lora else []
    adapters = _adapters(modules, options.max_loras, options.max_lora_rank)
    Path("/tmp/cache").write_bytes(bytes(options.cache_mib << 20))  # noqa: S108 - the container's own
    # As the first process of its container it would otherwise ignore the request to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    time.sleep(options.start_seconds)
    known = {
        "served_name": options.served_model_name,
        "weights": {options.served_model_name: fingerprint(options.model), **adapters},
        "answer_seconds": options.answer_seconds,
        "taken": taken,
    }
    handler = type("Handler", (_Handler,), known)
    print(f"serving {options.model} as {options.served_model_name}", flush=True)
    ThreadingHTTPServer(("0.0.0.0", options.port), handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
