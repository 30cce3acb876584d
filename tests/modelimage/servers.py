"""Small HTTP servers on loopback that stand in for the hub, for Google Cloud Storage and for token services."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None


@contextmanager
def serving(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """Serve with ``answer`` until the block ends; gives the server's address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            said = answer(Request(self.command, self.path, headers, body))
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if not any(name.lower() == "content-length" for name in said.headers):
                self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if said.cut_after is not None:
                self.wfile.write(said.body[: said.cut_after])
                self.close_connection = True
                return
            self.wfile.write(said.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 - http.server's names

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            if not isinstance(sys.exc_info()[1], ConnectionError):  # who has read enough goes away
                super().handle_error(request, client_address)  # type: ignore[arg-type]

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def ranged(request: Request, content: bytes) -> Answer:
    """Answer a GET of ``content`` as servers do that know byte ranges."""
    wanted = request.headers.get("range", "")
    if not wanted.startswith("bytes="):
        return Answer(200, content)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last) + 1 if last else len(content), len(content))
    if start >= len(content):
        return Answer(416)
    return Answer(206, content[start:end], {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"})
