"""Stands in for vLLM's OpenAI server in the tests' image: same module, arguments, paths and answers, no model.

As vLLM it reads all weights before it listens, and ends with an error when there are none. The digest of what it has
read is its `system_fingerprint`, so that an answer proves which weights are behind it. Nothing but the standard
library: the image holds no other packages.
"""

import argparse
import hashlib
import json
import signal
import sys
import threading
import time
from collections.abc import Sequence
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
    weights: str
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
            self._answer(200, {"object": "list", "data": [{"id": self.served_name, "object": "model"}]})
        else:
            self._answer(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self._path() != "/v1/chat/completions":
            self._answer(404, {"detail": "Not Found"})
        elif request.get("model") != self.served_name:
            self._answer(404, {"error": {"message": f"The model `{request.get('model')}` does not exist."}})
        else:
            self._generate(stream=bool(request.get("stream")))

    def _generate(self, *, stream: bool) -> None:
        server = type(self)
        with self.counted:
            server.running += 1
        try:
            time.sleep(self.answer_seconds)
            if stream:
                self._stream()
            else:
                self._answer(200, self._completion())
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

    def _completion(self) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": self.served_name,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "pong"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            "system_fingerprint": self.weights,
        }

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in ("po", "ng"):
            chunk = {"choices": [{"index": 0, "delta": {"content": word}}], "system_fingerprint": self.weights}
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


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--max-model-len", type=int)
    parser.add_argument("--cache-mib", type=int, default=0, help="what the server writes to its own disk")
    parser.add_argument("--answer-seconds", type=float, default=0.0, help="how long an answer takes")
    options = parser.parse_args(arguments)
    if not (options.model / "config.json").is_file() or not any(options.model.glob("*.safetensors")):
        sys.exit(f"{options.model} holds no model: {sorted(options.model.glob('*'))}")
    Path("/tmp/cache").write_bytes(bytes(options.cache_mib << 20))  # noqa: S108 - the container's own
    known = {
        "served_name": options.served_model_name,
        "weights": fingerprint(options.model),
        "answer_seconds": options.answer_seconds,
    }
    handler = type("Handler", (_Handler,), known)
    # As the first process of its container it would otherwise ignore the request to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"serving {options.model} as {options.served_model_name}", flush=True)
    ThreadingHTTPServer(("0.0.0.0", options.port), handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
