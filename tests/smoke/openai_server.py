"""A real HTTP server that speaks the OpenAI API as vLLM does, and its ways to be wrong."""

import contextlib
import io
import json
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from typing import Any, ClassVar

from tests.smoke import loopback

FINGERPRINT = "vllm-0.23.0"
_PATHS = {
    "generation": {"/v1/chat/completions"},
    "embedding": {"/v1/embeddings", "/v1/rerank", "/pooling"},
    "reranking": {"/v1/rerank", "/pooling"},
    "pooling": {"/pooling"},
    "speech": {"/v1/audio/transcriptions"},
}
"""What there is for each task (vLLM v0.23.0, vllm/entrypoints/*/factories.py)."""


@dataclass
class OpenAIServer:
    """Listens on loopback. `host` is the only Host header it knows, as a gateway; "" takes any.

    `task` decides which paths there are, `adapters` are served beside the model; `listed` is the query of /v1/models
    for which there is a list (KubeAI's features).

    `fault`: "" or one of unavailable, not-json, no-choices, odd (an answer of another form), deaf (no library for
    sound), buffered (a stream answered whole), cut (a stream without its end), garbage (a stream of something else),
    endless (a stream that never ends), dripping (one that never ends a line).
    """

    served_name: str
    host: str = ""
    fault: str = ""
    task: str = "generation"
    adapters: tuple[str, ...] = ()
    listed: str = ""
    address: str = ""
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)


@contextlib.contextmanager
def serve(served_name: str, *, host: str = "", fault: str = "", **more: Any) -> Iterator[OpenAIServer]:
    """Run a server until the context ends."""
    server = OpenAIServer(served_name, host, fault, **more)
    handler = type("Handler", (_Handler,), {"server_state": server})
    with loopback.serve(handler) as address:
        server.address = address
        yield server


class _Handler(loopback.Handler):
    server_state: ClassVar[OpenAIServer]

    def respond(self) -> None:
        path, _, query = self.path.partition("?")
        body = self._body(self.read_body())
        if self._refused(body):
            return
        state = self.server_state
        if self.command == "POST":
            self._complete(path, body)
        elif not path.endswith("/v1/models"):
            self._answer(404, {"error": "no such path"})
        else:
            names = [state.served_name, *state.adapters] if query == state.listed else []
            self._answer(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})

    def _body(self, content: bytes) -> dict[str, Any]:
        kind = self.headers.get("Content-Type", "")
        if not kind.startswith("multipart/form-data"):
            parsed: dict[str, Any] = json.loads(content or b"{}")
            return parsed
        form: Any = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
        parts: dict[str, bytes] = {
            part.get_param("name", header="Content-Disposition"): part.get_payload(decode=True) for part in form.walk()
        }
        return {**parts, "model": parts["model"].decode()}

    def _complete(self, path: str, body: dict[str, Any]) -> None:
        state = self.server_state
        if path not in _PATHS[state.task]:
            self._answer(404, {"detail": "Not Found"})
        elif body["model"] not in {state.served_name, *state.adapters}:
            self._answer(404, {"error": {"message": f"The model `{body['model']}` does not exist."}})
        elif state.fault == "odd":
            self._answer(200, {"object": "list", "data": [], "results": [{"index": 0}], "text": None})
        elif state.task != "generation":
            self._pool(body)
        elif body.get("stream") and state.fault != "buffered":
            self._stream()
        else:
            self._answer(200, self._completion())

    def _pool(self, body: dict[str, Any]) -> None:
        state = self.server_state
        if state.task == "speech":
            if state.fault == "deaf":
                self._answer(400, {"error": {"message": "Invalid or unsupported audio file."}})
                return
            with wave.open(io.BytesIO(body["file"])) as sound:
                self._answer(200, {"text": "." * (sound.getnframes() // sound.getframerate())})
        elif state.task == "reranking":
            documents = [{"index": at, "document": {"text": text}} for at, text in enumerate(body["documents"])]
            self._answer(
                200, {"model": body["model"], "results": [{**one, "relevance_score": 0.5} for one in documents]}
            )
        else:
            of = {"embedding": {"embedding": [0.25, -0.5]}, "pooling": {"data": [0.1, 0.9]}}[state.task]
            self._answer(200, {"object": "list", "data": [{"index": 0, **of}], "model": body["model"]})

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
