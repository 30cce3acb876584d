"""The door: S3 and plain HTTP ranges on loopback, for the server in the same pod."""

import select
import socket
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from modelimage.documents import Descriptor
from modelimage.errors import ImageError
from modelimage.stream import s3
from modelimage.stream.bounded import BoundedServer
from modelimage.stream.checked import CheckedChunks
from modelimage.stream.counters import Count, Counters
from modelimage.stream.faults import unexpected
from modelimage.stream.files import ServedFile, ServedImage
from oci_model_serving.foreign import in_line

_AT_ONCE = 512
"""Connections of one process; the others wait in the backlog, as the client's own."""
_IDLE_SECONDS = 120.0
_BLOCKED_SECONDS = 1.0
"""How long a client may take no byte before the chunk in its hand is given to others; it is fetched again later."""
_GONE_SECONDS = 600.0
"""How long a client may take no byte at all."""


class Objects:
    """The image's files as objects of a bucket: `models/NAME` has them below the key `NAME/`."""

    def __init__(self, image: ServedImage, prefix: str) -> None:
        self.bucket, _, folder = prefix.strip("/").partition("/")
        start = f"{folder}/" if folder else ""
        self._files = {f"{start}{path}": file for path, file in image.files.items()}
        tags = {key: entity_tag(image.layers, file) for key, file in self._files.items()}
        self.listing = s3.Listing(self.bucket, {key: (file.size, tags[key]) for key, file in self._files.items()})
        self._tags = tags

    def find(self, key: str) -> tuple[ServedFile, str] | None:
        """A file and its entity tag."""
        file = self._files.get(key)
        return (file, self._tags[key]) if file else None


def entity_tag(layers: Any, file: ServedFile) -> str:
    """What names a file's content: its layer's digest and its place there."""
    layer: Descriptor = layers[file.layer]
    return f'"{layer.digest.removeprefix("sha256:")}-{file.offset}-{file.size}"'


class Door(BoundedServer):
    """One process' share of the door. `failed` is told what ends the sidecar."""

    def __init__(
        self,
        listening: socket.socket,
        objects: Objects,
        chunks: CheckedChunks,
        counters: Counters,
        failed: Callable[[ImageError], None],
    ) -> None:
        super().__init__(listening, _Handler, at_once=_AT_ONCE)
        self.objects, self.chunks, self.counters = objects, chunks, counters
        self.failed = failed

    def handle_error(self, *_: Any) -> None:
        """Clients go away as they like; what else goes wrong is ours, and ends us (socketserver's interface)."""
        self.counters.add(Count.FAILED_REQUESTS)
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.failed(unexpected(error))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "oci-model-serving", ""
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True
    server: Door

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.counters.add(Count.REQUESTS)
        target = s3.target_of(self.path)
        if target.bucket != self.server.objects.bucket:
            self._refuse(HTTPStatus.NOT_FOUND, "NoSuchBucket", f"the bucket is {self.server.objects.bucket}")
        elif target.key:
            self._object(target.key)
        elif self.command == "HEAD":
            self._answer(HTTPStatus.OK, {}, b"")
        elif target.query.get("list-type") == "2":
            self._list(target.query)
        else:
            self._refuse(HTTPStatus.NOT_IMPLEMENTED, "NotImplemented", "only ListObjectsV2 is known of a bucket")

    do_HEAD = do_GET  # noqa: N815 - http.server's names

    def _refuse(self, status: HTTPStatus, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self._answer(status, {"Content-Type": "application/xml", **(headers or {})}, s3.error(code, message, self.path))

    def _answer(self, status: HTTPStatus, headers: Mapping[str, str], body: bytes, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD" and body:
            self.wfile.write(body)

    def _list(self, query: Mapping[str, str]) -> None:
        try:
            page = self.server.objects.listing.page(query)
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, "InvalidArgument", in_line(str(error)))
            return
        self._answer(HTTPStatus.OK, {"Content-Type": "application/xml"}, page)

    def _object(self, key: str) -> None:
        found = self.server.objects.find(key)
        if found is None:
            self._refuse(HTTPStatus.NOT_FOUND, "NoSuchKey", "the image has no such file")
            return
        file, tag = found
        wanted = self.headers.get("if-match", "").strip()
        if wanted and wanted != "*" and tag not in [one.strip() for one in wanted.split(",")]:
            self._refuse(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed", "If-Match names another content")
            return
        known = self.headers.get("if-none-match", "").strip()
        headers = {"ETag": tag, "Last-Modified": s3.EPOCH_DATE, "Accept-Ranges": "bytes"}
        if known and (known == "*" or tag in [one.strip().removeprefix("W/") for one in known.split(",")]):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self.send_header("ETag", tag)
            self.end_headers()
            return
        is_same = self.headers.get("if-range", tag).strip() in {tag, s3.EPOCH_DATE}
        try:
            part = s3.byte_range(self.headers.get("range") if is_same else None, file.size)
        except ValueError:
            self._refuse(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                "InvalidRange",
                f"the file has {file.size} bytes",
                {"Content-Range": f"bytes */{file.size}"},
            )
            return
        start, end = part or (0, file.size)
        if part:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        headers["Content-Type"] = "application/octet-stream"
        status = HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK
        # Before the first chunk is here: AWS' client asks again where an answer begins much later than others.
        self._answer(status, headers, b"", end - start)
        if self.command != "HEAD" and start < end:
            self._pass_on(file, start, end)

    def _pass_on(self, file: ServedFile, start: int, end: int) -> None:
        """Send a file's bytes from `start` to `end`; where they cannot be had, the connection ends before they do."""
        size = self.server.chunks.chunk_bytes
        at, stop = file.offset + start, file.offset + end
        try:
            with self.server.chunks.stretch(file.layer, at, stop) as run:
                while at < stop:
                    number = at // size
                    with self.server.chunks.chunk(run, file.layer, number) as slot:
                        sent = self._send(slot.view[at - number * size : stop - number * size])
                        slot.passed_on += sent
                    at += sent
                    self._wait_until_taken(at < stop and at // size == number)
        except ImageError as error:
            self.close_connection = True
            self.server.failed(error)

    def _send(self, view: memoryview) -> int:
        """Send what the client takes while it takes something."""
        done = 0
        self.connection.settimeout(_BLOCKED_SECONDS)
        try:
            while done < len(view):
                done += self.connection.send(view[done:])
        except TimeoutError:
            pass
        finally:
            self.connection.settimeout(_IDLE_SECONDS)
            self.server.counters.served(done)
        return done

    def _wait_until_taken(self, is_blocked: bool) -> None:  # noqa: FBT001 - it is what is asked
        if not is_blocked:
            return
        poll = select.poll()
        poll.register(self.connection, select.POLLOUT)
        if not poll.poll(_GONE_SECONDS * 1000):
            raise TimeoutError("the client takes nothing")
