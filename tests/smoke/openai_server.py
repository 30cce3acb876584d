"""A real HTTP server that speaks the OpenAI API as vLLM does, and its ways to be wrong."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FINGERPRINT = "vllm-0.23.0"


@dataclass
class OpenAIServer:
    """Listens on loopback. `host` is the only Host header it knows, as a gateway; "" takes any.

    `fault`: "" or one of unavailable, not-json, no-choices, buffered (a stream answered whole), cut (a stream without
    its end).
    """

    served_name: str
    host: str = ""
    fault: str = ""
    address: str = ""
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)


@contextlib.contextmanager
def serve(served_name: str, *, host: str = "", fault: str = "") -> Iterator[OpenAIServer]:
    """Run a server until the context ends."""
    state = OpenAIServer(served_name, host, fault)
    server = _Server(("127.0.0.1", 0), _handler(state))
    state.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hang up, which is what a check does with an answer that it refuses."""


def _handler(state: OpenAIServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self._refused({}):
                return
            if not self.path.endswith("/v1/models"):
                self._answer(404, {"error": "no such path"})
                return
            self._answer(200, {"object": "list", "data": [{"id": state.served_name, "object": "model"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self._refused(body):
                return
            if body["model"] != state.served_name:
                self._answer(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
            elif body.get("stream") and state.fault != "buffered":
                self._stream()
            else:
                self._answer(200, self._completion())

        def _completion(self) -> dict[str, Any]:
            message = {"role": "assistant", "content": "pong"}
            choices = [] if state.fault == "no-choices" else [{"index": 0, "message": message}]
            return {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "model": state.served_name,
                "choices": choices,
                "usage": {"prompt_tokens": 3, "completion_tokens": 1},
                "system_fingerprint": FINGERPRINT,
            }

        def _refused(self, body: dict[str, Any]) -> bool:
            host = self.headers["Host"]
            state.requests.append((self.path, host, body))
            if state.host and host != state.host:
                self._answer(404, {"error": "no route"})
            elif state.fault == "unavailable":
                self._answer(503, {"error": "no healthy upstream"})
            elif state.fault == "not-json":
                self._send(200, "text/html", b"<html>welcome</html>")
            else:
                return False
            return True

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Connection", "close")
            self.end_headers()
            for word in ("po", "ng"):
                chunk = {"choices": [{"index": 0, "delta": {"content": word}}], "system_fingerprint": FINGERPRINT}
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.02)
            if state.fault != "cut":
                self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            self._send(status, "application/json", json.dumps(body).encode())

        def _send(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
