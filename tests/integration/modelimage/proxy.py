"""A registry that misbehaves on demand: an HTTP proxy before a real one, with faults to order.

Each fault is spent when it strikes; ``log`` tells what was asked for. With ``tokens`` the proxy also plays a token
server (https://distribution.github.io/distribution/spec/auth/token/), whose tokens a test can let expire.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import final
from urllib.parse import parse_qs, urlsplit


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests of ``method`` whose path matches ``path``.

    ``status`` answers with an error (``headers``, ``body``) before the request goes on; ``reset_after`` tears the
    connection down after so many bytes of the request's body; ``lose_answer`` lets the registry act and resets the
    connection instead of telling; ``delay`` waits first; ``corrupt`` flips a byte of the body; ``then`` is called when
    the fault strikes; ``cut_answer_after`` ends a download early, ``stall_answer_after`` lets it fall silent,
    ``damage`` flips a byte of it;
    ``lead_to`` sends the request on to another host; ``keep_after`` tears an upload down that the registry then has so
    many bytes of, and says so when it is asked (unless ``forgetful``: then it says more than it has).
    """

    method: str
    path: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset_after: int | None = None
    lose_answer: bool = False
    delay: float = 0.0
    corrupt: bool = False
    cut_answer_after: int | None = None
    stall_answer_after: int | None = None
    damage: bool = False
    lead_to: str = ""
    keep_after: int | None = None
    forgetful: bool = False
    then: Callable[[], None] | None = None


@dataclass
class Kept:
    """An upload that broke: how many bytes the registry has of it, how many it says, and where it goes on."""

    size: int
    said: int
    location: str


@dataclass
class Tokens:
    """The token server's users, the tokens that are valid now, and the scopes that were asked for."""

    users: dict[str, str]
    valid: dict[str, frozenset[str]] = field(default_factory=dict)
    scopes: list[str] = field(default_factory=list)
    issued: int = 0

    def expire(self) -> None:
        self.valid.clear()


@final
class FaultProxy:
    """The proxy, on a free loopback port; a context manager."""

    def __init__(self, upstream: str, tokens: Tokens | None = None) -> None:
        self.upstream, self.tokens = upstream, tokens
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.body_bytes = 0
        self.authorizations: list[str] = []
        self.relative_locations = False
        self.kept: dict[str, Kept] = {}
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self._server = _Server(self)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()

    def strikes(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None

    def count(self, method: str, path: str) -> int:
        return sum(1 for line in self.log if line.startswith(f"{method} ") and re.search(path, line))


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def proxy(self) -> FaultProxy:
        assert isinstance(self.server, _Server)
        return self.server.proxy

    def log_message(self, *_: object) -> None:
        pass

    def do(self) -> None:
        with self.proxy.lock:
            self.proxy.log.append(f"{self.command} {self.path}")
            self.proxy.authorizations.append(self.headers.get("Authorization", ""))
        if self.proxy.tokens is not None:
            if self.path.startswith("/token"):
                self._issue(self.proxy.tokens)
                return
            if not self._allowed(self.proxy.tokens):
                return
        fault = self.proxy.strikes(self.command, self.path)
        if fault is not None:
            time.sleep(fault.delay)
            if fault.then:
                fault.then()
            if fault.lead_to:
                self._refuse(307, {"Location": f"http://{fault.lead_to}{self.path}"}, b"")
                return
            if fault.status is not None:
                self._refuse(fault.status, fault.headers, fault.body)
                return
        if self._goes_on():
            self._forward(fault)

    def _goes_on(self) -> bool:
        """Answer for an upload that is kept, as registries do that take chunks; False where that was the answer."""
        kept = self.proxy.kept.get(urlsplit(self.path).path)
        if kept is None:
            return True
        if self.command == "GET":
            self._refuse(204, {"Range": f"0-{kept.said - 1}", "Location": kept.location}, b"")
            return False
        if self.command == "PATCH" and not self.headers.get("Content-Range", "").startswith(f"{kept.size}-"):
            self._refuse(416, {}, b'{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}')
            return False
        return True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815 - http.server's names

    def _refuse(self, status: int, headers: dict[str, str], body: bytes) -> None:
        # As a front end does: answers at once, and hangs up on whatever body is still on its way.
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self._drain()

    def _drain(self) -> None:
        left = int(self.headers.get("Content-Length") or 0)
        while left and (data := self.rfile.read(min(left, 1 << 16))):
            left -= len(data)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RD)
        self.connection.close()
        self.wfile = _Nowhere()  # type: ignore[assignment]

    def _forward(self, fault: Fault | None) -> None:
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() == "content-length":
                    upstream.putheader(name, str(self._length(fault)))
                    continue
                # The host stays the proxy's, so that the registry's Location headers lead back here.
                if not (self.proxy.tokens is not None and name.lower() == "authorization"):
                    upstream.putheader(name, value)
            upstream.endheaders()
            if not self._pass_body(upstream, fault):
                return
            answer = upstream.getresponse()
            if fault and fault.keep_after is not None:
                location, size = answer.getheader("Location") or "", self._length(fault)
                said = size + (1000 if fault.forgetful else 0)
                self.proxy.kept[urlsplit(self.path).path] = Kept(size, said, location)
                answer.read()
                self._reset()
                return
            if fault and fault.lose_answer:
                answer.read()
                self._reset()
                return
            self._answer(answer, fault)
        except (ConnectionError, http.client.HTTPException):
            self._reset()
        finally:
            upstream.close()

    def _length(self, fault: Fault | None) -> int:
        """How much of the request's body goes on to the registry."""
        length = int(self.headers.get("Content-Length") or 0)
        return min(length, fault.keep_after) if fault and fault.keep_after is not None else length

    def _pass_body(self, upstream: http.client.HTTPConnection, fault: Fault | None) -> bool:
        """Hand the request's body on; False when the connection ended on the way."""
        left = self._length(fault)
        passed = 0
        while left:
            limit = left
            if fault and fault.reset_after is not None:
                limit = min(left, fault.reset_after - passed)
                if limit <= 0:
                    self._reset()
                    return False
            data = self.rfile.read(min(limit, 1 << 16))
            if not data:
                return False
            left -= len(data)
            passed += len(data)
            with self.proxy.lock:
                self.proxy.body_bytes += len(data)
            if fault and fault.corrupt:
                data = bytes([data[0] ^ 1]) + data[1:]
            upstream.send(data)
        return True

    def _answer(self, answer: http.client.HTTPResponse, fault: Fault | None) -> None:
        self.send_response(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() == "location" and self.proxy.relative_locations:
                parts = urlsplit(value)
                self.send_header(name, f"{parts.path}?{parts.query}")
            elif name.lower() not in {"connection", "date", "server", "transfer-encoding"}:
                self.send_header(name, value)
        chunked = answer.read() if answer.getheader("Content-Length") is None and self.command != "HEAD" else None
        if chunked is not None:
            self.send_header("Content-Length", str(len(chunked)))
        self.end_headers()
        if chunked is not None:
            self.wfile.write(chunked)
        if self.command == "HEAD":
            return
        sent = 0
        while data := answer.read(1 << 16):
            if fault and fault.cut_answer_after is not None and sent + len(data) > fault.cut_answer_after:
                self.wfile.write(data[: fault.cut_answer_after - sent])
                self.wfile.flush()
                self._reset()
                return
            if fault and fault.stall_answer_after is not None and sent + len(data) > fault.stall_answer_after:
                self.wfile.write(data[: fault.stall_answer_after - sent])
                self.wfile.flush()
                self.proxy.ended.wait(30)
                self._reset()
                return
            sent += len(data)
            if fault and fault.damage:
                data = bytes([data[0] ^ 1]) + data[1:]
            self.wfile.write(data)

    def _issue(self, tokens: Tokens) -> None:
        basic = self.headers.get("Authorization", "").removeprefix("Basic ")
        user, _, password = base64.b64decode(basic).decode().partition(":")
        if tokens.users.get(user) != password:
            self._refuse(401, {}, b'{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}')
            return
        scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
        token = secrets.token_hex(8)
        with self.proxy.lock:
            tokens.scopes.extend(scopes)
            tokens.issued += 1
            tokens.valid[token] = frozenset(scopes)
        body = json.dumps({"token": token, "expires_in": 300}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _allowed(self, tokens: Tokens) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in tokens.valid:
            return True
        challenge = f'Bearer realm="http://{self.proxy.host}/token",service="test",scope="repository:x:pull,push"'
        self._refuse(401, {"WWW-Authenticate": challenge}, b'{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}')
        return False


class _Nowhere:
    """Takes the place of a torn-down connection's output."""

    closed = False

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
