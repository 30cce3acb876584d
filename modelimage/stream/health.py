"""What the pod's kubelet, Prometheus and our own checks ask of the sidecar, on the pod's address."""

import json
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from modelimage.stream.bounded import BoundedServer
from modelimage.stream.counters import Count, Counters
from modelimage.stream.files import ServedImage
from modelimage.stream.whole import WholeLayers

_SECONDS = 10.0
_AT_ONCE = 32
_PREFIX = "oci_model_serving_stream"
_METRICS = (
    ("requests_total", "counter", Count.REQUESTS, "Requests at the door."),
    ("failed_requests_total", "counter", Count.FAILED_REQUESTS, "Requests that broke off, most by the client."),
    ("served_bytes_total", "counter", Count.SERVED_BYTES, "Bytes of files passed on to the server."),
    ("fetched_bytes_total", "counter", Count.FETCHED_BYTES, "Bytes of layers read from the registry."),
    ("fetches_total", "counter", Count.FETCHES, "Ranges asked for at the registry."),
    ("reused_chunks_total", "counter", Count.REUSED_CHUNKS, "Chunks that were in memory already."),
    ("retries_total", "counter", Count.RETRIES, "Ranges that were asked for again."),
    ("mismatches_total", "counter", Count.MISMATCHES, "Chunks that were not what they should be."),
    ("logins_total", "counter", Count.LOGINS, "Times that the registry asked who we are."),
    ("redirects_total", "counter", Count.REDIRECTS, "Signed addresses that the registry gave."),
)


class Health(BoundedServer):
    """Answers `/started`, `/ready`, `/metrics` and `/image`; made once the image is known."""

    def __init__(self, listening: socket.socket, image: ServedImage, counters: Counters, whole: WholeLayers) -> None:
        super().__init__(listening, _Handler, at_once=_AT_ONCE)
        self._image, self._counters, self._whole = image, counters, whole

    def handle_error(self, *_: Any) -> None:
        """Who asks goes away as they like (socketserver's interface)."""

    def start(self) -> None:
        """Answer in a thread of its own."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Status, type and body of what is answered at a path."""
        if path == "/started":
            return HTTPStatus.OK, "text/plain", b"the image is known\n"
        if path == "/ready":
            left = self._whole.left
            said = f"{left} layers are not verified yet\n" if left else "every byte is as the digest says\n"
            return HTTPStatus.SERVICE_UNAVAILABLE if left else HTTPStatus.OK, "text/plain", said.encode()
        if path == "/metrics":
            return HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", self._metrics()
        if path == "/image":
            return HTTPStatus.OK, "application/json", json.dumps(self._described()).encode() + b"\n"
        return HTTPStatus.NOT_FOUND, "text/plain", b"/started, /ready, /metrics and /image are here\n"

    def _metrics(self) -> bytes:
        total = self._counters.total
        first, last = (total(what) / 1e6 for what in (Count.FIRST_BYTE_MICROSECONDS, Count.LAST_BYTE_MICROSECONDS))
        rows = [(name, kind, str(total(what)), help_) for name, kind, what, help_ in _METRICS]
        speed = total(Count.SERVED_BYTES) / (last - first) if last > first else 0.0
        rows += [
            ("serving_seconds", "gauge", f"{max(last - first, 0.0):.3f}", "From the first byte to the last."),
            ("served_bytes_per_second", "gauge", f"{speed:.0f}", "On average over that time."),
            ("unverified_layers", "gauge", str(self._whole.left), "Layers that are still to be read as a whole."),
        ]
        lines = [
            f"# HELP {_PREFIX}_{name} {help_}\n# TYPE {_PREFIX}_{name} {kind}\n{_PREFIX}_{name} {value}\n"
            for name, kind, value, help_ in rows
        ]
        return "".join(lines).encode()

    def _described(self) -> dict[str, Any]:
        image, left = self._image, self._whole.left
        used = {file.layer for file in image.files.values()}
        by_list = len(used & image.ledger.listed)
        return {
            "image": str(image.reference),
            "digest": image.reference.digest,
            "files": len(image.files),
            "size_bytes": sum(file.size for file in image.files.values()),
            "layers": {"by_list": by_list, "whole": len(used) - by_list, "unverified": left},
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "oci-model-serving", ""
    timeout = _SECONDS
    server: Health

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        status, kind, body = self.server.answer(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
