"""A stand-in of the Hugging Face Hub on loopback, for a folder of files: its listing, and the files with ranges.

    python bench/image/hub.py FOLDER

Prints its address (for HF_ENDPOINT) and serves `bench/model` until its stdin ends. Weights are a redirect to the same
host, as at the hub; nothing is asked of callers.
"""

import hashlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

MODEL = "bench/model"
COMMIT = "c" * 40
_WEIGHTS = ".safetensors"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    entries: bytes

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, *, body: bool) -> None:
        path = urlsplit(self.path).path
        if "/tree/" in path:
            self._json(self.entries)
        elif path.startswith("/api/"):
            self._json(
                json.dumps({"id": MODEL, "sha": COMMIT, "gated": False, "private": False, "cardData": {}}).encode()
            )
        elif path.endswith(_WEIGHTS) and not path.startswith("/elsewhere/"):
            self.send_response(302)
            self.send_header("Location", f"/elsewhere/{path.rpartition('/')[2]}")
            self._end(0)
        else:
            self._file(self.folder / path.rpartition("/")[2], body=body)

    def _json(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self._end(len(content))
        self.wfile.write(content)

    def _file(self, path: Path, *, body: bool) -> None:
        size = path.stat().st_size
        start, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        first, last = int(start), min(int(end or size - 1), size - 1)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("X-Repo-Commit", COMMIT)
        self._end(last - first + 1)
        if body:
            with path.open("rb") as file:
                self.wfile.flush()
                self.connection.sendfile(file, first, last - first + 1)

    def _end(self, length: int) -> None:
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _entry(path: Path) -> dict[str, object]:
    content = path.read_bytes()
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    entry: dict[str, object] = {"type": "file", "oid": git, "size": len(content), "path": path.name}
    if path.name.endswith(_WEIGHTS):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return entry


def main() -> None:
    """Serve a folder."""
    _Handler.folder = Path(sys.argv[1])
    _Handler.entries = json.dumps([_entry(path) for path in sorted(_Handler.folder.iterdir())]).encode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
