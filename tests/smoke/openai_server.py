"""A real HTTP server that speaks the OpenAI API as vLLM does, and its ways to be wrong."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tests.smoke import loopback

FINGERPRINT = "vllm-0.23.0"


@dataclass
class OpenAIServer:
    """Listens on loopback. `host` is the only Host header it knows, as a gateway; "" takes any.

    `fault`: "" or one of unavailable, not-json, no-choices, buffered (a stream answered whole), cut (a stream without
    its end), garbage (a stream of something else), endless (a stream that never ends), dripping (one that never ends a
    line).
    """

    served_name: str
    host: str = ""
    fault: str = ""
    address: str = ""
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)


@contextlib.contextmanager
def serve(served_name: str, *, host: str = "", fault: str = "") -> Iterator[OpenAIServer]:
    """Run a server until the context ends."""
    server = OpenAIServer(served_name, host, fault)
    handler = type("Handler", (_Handler,), {"server_state": server})
    with loopback.serve(handler) as address:
        server.address = address
        yield server


class _Handler(loopback.Handler):
    server_state: ClassVar[OpenAIServer]

    def respond(self) -> None:
        body = json.loads(self.read_body() or b"{}")
        if self._refused(body):
            return
        if self.command == "POST":
            self._complete(body)
        elif not self.path.endswith("/v1/models"):
            self._answer(404, {"error": "no such path"})
        else:
            self._answer(200, {"object": "list", "data": [{"id": self.server_state.served_name, "object": "model"}]})

    def _complete(self, body: dict[str, Any]) -> None:
        if body["model"] != self.server_state.served_name:
            self._answer(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        elif body.get("stream") and self.server_state.fault != "buffered":
            self._stream()
        else:
            self._answer(200, self._completion())

    def _completion(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": "pong"}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": self.server_state.served_name,
            "choices": [] if self.server_state.fault == "no-choices" else [{"index": 0, "message": message}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 1},
            "system_fingerprint": FINGERPRINT,
        }

    def _refused(self, body: dict[str, Any]) -> bool:
        state = self.server_state
        host = self.headers["Host"]
        state.requests.append((self.path, host, body))
        if state.host and host != state.host:
            self._answer(404, {"error": "no route"})
        elif state.fault == "unavailable":
            self._answer(503, {"error": "no healthy upstream"})
        elif state.fault == "not-json":
            self.send(200, b"<html>welcome</html>", "text/html")
        else:
            return False
        return True

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.server_state.fault == "garbage":
            self.wfile.write(b"data: <html>\n\n")
        if self.server_state.fault in {"endless", "dripping"}:
            self._go_on(b": keep-alive\n" if self.server_state.fault == "endless" else b".")
        for word in ("po", "ng"):
            chunk = {"choices": [{"index": 0, "delta": {"content": word}}], "system_fingerprint": FINGERPRINT}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()
            time.sleep(0.02)
        if self.server_state.fault != "cut":
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _go_on(self, data: bytes) -> None:
        while True:  # until the client hangs up, which ends this handler
            self.wfile.write(data)
            self.wfile.flush()
            time.sleep(0.01)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.send(status, json.dumps(body).encode())
