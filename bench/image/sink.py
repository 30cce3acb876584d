"""A registry that neither hashes nor stores: what a client costs, without what a registry costs.

    python bench/image/sink.py [--stream-mb MB]

Prints its address and serves on loopback until its stdin ends. Uploads are thrown away in the kernel (`MSG_TRUNC`), so
that two cores are the client's; it answers as registries do and checks no digest. Manifests are kept, blobs are not
there. With `--stream-mb` each connection takes so many MB a second at most, as a distant registry's do.
"""

import argparse
import hashlib
import re
import socket
import sys
import threading
import time
import uuid

_DISCARDED_AT_ONCE = 8 << 20
_BUFFER = bytearray(_DISCARDED_AT_ONCE)
_TLS_HANDSHAKE = 0x16
_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Sink:
    """The manifests that were pushed, by path, and how to answer a connection, of at most `rate` bytes a second."""

    def __init__(self, rate: float = 0) -> None:
        self._rate = rate
        self._manifests: dict[str, tuple[str, bytes]] = {}

    def serve(self, connection: socket.socket) -> None:
        """Answer one connection's requests until it ends."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection:
            while request := _head(connection):
                line, headers = request
                method, target, _ = line.split(" ")
                if headers.get("expect", "").lower() == "100-continue":
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                path = target.partition("?")[0]
                if "/manifests/" in path:
                    connection.sendall(self._manifest(method, path, headers, connection))
                else:
                    self._discard(connection, headers)
                    connection.sendall(_upload(method, target, headers["host"]))

    def _manifest(self, method: str, path: str, headers: dict[str, str], connection: socket.socket) -> bytes:
        if method == "PUT":
            content = connection.recv(int(headers["content-length"]), socket.MSG_WAITALL)
            digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
            kind = headers.get("content-type", _TYPE)
            for name in (path, f"{path.rpartition('/')[0]}/{digest}"):
                self._manifests[name] = (kind, content)
            return _answer("201 Created", {"Docker-Content-Digest": digest})
        if path not in self._manifests:
            return _answer("404 Not Found")
        kind, content = self._manifests[path]
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return _answer(
            "200 OK", {"Content-Type": kind, "Docker-Content-Digest": digest}, content, head_only=method == "HEAD"
        )

    def _discard(self, connection: socket.socket, headers: dict[str, str]) -> None:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            _discard_chunks(connection)
            return
        left = int(headers.get("content-length", 0))
        while left:
            # TCP drops what is received with MSG_TRUNC and copies nothing (tcp(7)); the buffer only says how much.
            got = connection.recv_into(_BUFFER, min(left, len(_BUFFER)), socket.MSG_TRUNC)
            if not got:
                return
            left -= got
            if self._rate:
                time.sleep(got / self._rate)


def _discard_chunks(connection: socket.socket) -> None:
    with connection.makefile("rb") as body:
        while size := int(body.readline().split(b";")[0], 16):
            while size:
                size -= len(body.read(min(size, 1 << 20)))
            body.readline()
        body.readline()


def _upload(method: str, target: str, host: str) -> bytes:
    path = target.partition("?")[0]
    if method == "POST":
        return _answer("202 Accepted", {"Location": f"http://{host}{path}{uuid.uuid4()}"})
    if method == "PATCH":
        return _answer("202 Accepted", {"Location": f"http://{host}{path}", "Range": "0-0"})
    if method == "PUT":
        digest = (re.findall(r"digest=(sha256(?::|%3A)[0-9a-f]{64})", target) or [""])[0].replace("%3A", ":")
        return _answer("201 Created", {"Location": f"http://{host}{path}", "Docker-Content-Digest": digest})
    if method == "DELETE":
        return _answer("204 No Content")
    return _answer("200 OK" if path == "/v2/" else "404 Not Found")


def _answer(
    status: str, headers: dict[str, str] | None = None, content: bytes = b"", *, head_only: bool = False
) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in (headers or {}).items())]
    lines += [f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + (b"" if head_only else content)


def _head(connection: socket.socket) -> tuple[str, dict[str, str]] | None:
    """A request's first line and headers; nothing of its body is taken from the socket."""
    seen = b""
    while b"\r\n\r\n" not in seen:
        seen = connection.recv(65536, socket.MSG_PEEK)
        if not seen or seen[0] == _TLS_HANDSHAKE:  # some clients try https first
            return None
    head = seen.partition(b"\r\n\r\n")[0]
    connection.recv(len(head) + 4)
    line, *rest = head.decode("latin-1").split("\r\n")
    return line, {name.lower(): value.strip() for name, _, value in (header.partition(":") for header in rest)}


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description="A registry that neither hashes nor stores.")
    parser.add_argument("--stream-mb", type=float, default=0, help="MB a second of each connection (default: no limit)")
    sink = Sink(parser.parse_args().stream_mb * 1e6)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        print(f"127.0.0.1:{server.getsockname()[1]}", flush=True)
        threading.Thread(target=_accept, args=(server, sink), daemon=True).start()
        sys.stdin.read()


def _accept(server: socket.socket, sink: Sink) -> None:
    while True:
        connection, _ = server.accept()
        threading.Thread(target=sink.serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
