"""Makes `exec`, logs, port-forwarding and the proxy to the kubelet work on the test cluster's node.

The cluster's API server has no credentials for its kubelet and does not know its address. The front stands before it:
requests of those kinds go to the kubelet itself, with the admin's certificate, and all others to the API server.
Bytes are passed on as they are once the first line is rewritten, so upgrades to websockets work.
"""

import base64
import contextlib
import re
import secrets
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import yaml

_KUBELET = ("127.0.0.1", 20250)
_API_SERVER = ("127.0.0.1", 16443)
_SEND_SECONDS = 30
_REQUEST = re.compile(
    r"(?P<method>\w+) /api/v1/namespaces/(?P<namespace>[^/]+)/pods/(?P<pod>[^/]+)"
    r"/(?P<kind>exec|log|portForward|portforward)(?:\?(?P<query>\S*))? "
)
_OF_NODE = re.compile(r"(?P<method>\w+) /api/v1/nodes/[^/]+/proxy(?P<path>/\S*) ")
_FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}


@contextlib.contextmanager
def front(kubeconfig: Path, folder: Path) -> Iterator[Path]:
    """Yield a kubeconfig, written to `folder`, whose server is the front; it needs no client certificate."""
    pki = kubeconfig.parent / "pki"
    inside = ssl.create_default_context(cafile=pki / "ca.crt")
    inside.check_hostname = False
    # The kubelet's serving certificate is its own.
    inside.verify_mode = ssl.CERT_NONE
    inside.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    outside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    outside.load_cert_chain(pki / "webhook.crt", pki / "webhook.key")
    # Whoever has the token is the admin: nobody else on the machine may use the front.
    token = secrets.token_hex(16)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stopped = threading.Event()
        thread = threading.Thread(target=_accept, args=(listener, outside, inside, token, stopped), daemon=True)
        thread.start()
        written = folder / "kubeconfig"
        written.write_text(_kubeconfig(listener.getsockname()[1], pki / "ca.crt", token))
        try:
            yield written
        finally:
            stopped.set()
            with contextlib.suppress(OSError):
                socket.create_connection(listener.getsockname()).close()
            thread.join()


def _kubeconfig(port: int, authority: Path, token: str) -> str:
    cluster = {
        "server": f"https://127.0.0.1:{port}",
        "certificate-authority-data": base64.b64encode(authority.read_bytes()).decode(),
    }
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "front", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "front", "context": {"cluster": "front", "user": "admin"}}],
            "current-context": "front",
        }
    )


def _accept(
    listener: socket.socket, outside: ssl.SSLContext, inside: ssl.SSLContext, token: str, stopped: threading.Event
) -> None:
    while True:
        connection, _ = listener.accept()
        if stopped.is_set():
            connection.close()
            return
        threading.Thread(target=_serve, args=(connection, outside, inside, token), daemon=True).start()


def _serve(connection: socket.socket, outside: ssl.SSLContext, inside: ssl.SSLContext, token: str) -> None:
    with contextlib.suppress(OSError), outside.wrap_socket(connection, server_side=True) as peer:
        head = b""
        while b"\r\n\r\n" not in head:
            received = peer.recv(65536)
            if not received:
                return
            head += received
        first, _, rest = head.partition(b"\r\n\r\n")
        lines = first.decode().split("\r\n")
        if f"Bearer {token}" not in first.decode():
            peer.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        target, lines[0] = _route(lines[0])
        # One request a connection, and no token where the certificate is the identity.
        kept = [line for line in lines if not line.lower().startswith(("authorization:", "connection:"))]
        upgrade = any(line.lower().startswith("upgrade:") for line in lines)
        kept.append("Connection: Upgrade" if upgrade else "Connection: close")
        with inside.wrap_socket(socket.create_connection(target)) as upstream:
            upstream.sendall("\r\n".join(kept).encode() + b"\r\n\r\n" + rest)
            _exchange(peer, upstream)


def _route(line: str) -> tuple[tuple[str, int], str]:
    of_node = _OF_NODE.match(line)
    if of_node:
        return _KUBELET, f"{of_node['method']} {of_node['path']} {line[of_node.end() :]}"
    match = _REQUEST.match(line)
    if not match:
        return _API_SERVER, line
    query = parse_qsl(match["query"] or "")
    container = dict(query).get("container", "")
    rest = line[match.end() :]
    where = f"{match['namespace']}/{match['pod']}"
    if match["kind"] == "log":
        kept = [(key, value) for key, value in query if key != "container"]
        return _KUBELET, f"{match['method']} /containerLogs/{where}/{container}?{urlencode(kept)} {rest}"
    if match["kind"] == "exec":
        flags = [(_FLAGS[key], "1") for key, value in query if key in _FLAGS and value in {"true", "True", "1"}]
        commands = [(key, value) for key, value in query if key == "command"]
        return _KUBELET, f"{match['method']} /exec/{where}/{container}?{urlencode(commands + flags)} {rest}"
    return _KUBELET, f"{match['method']} /portForward/{where}?{urlencode(query)} {rest}"


def _exchange(one: ssl.SSLSocket, other: ssl.SSLSocket) -> None:
    """Pass bytes both ways until either end closes.

    One thread does both: an OpenSSL connection may not be read and written by two at once.
    """
    across = {one: other, other: one}
    while True:
        waiting = [end for end in across if end.pending()] or select.select(list(across), [], [])[0]
        for end in waiting:
            end.settimeout(0)
            try:
                data = end.recv(65536)
            except ssl.SSLWantReadError:  # a TLS record without data, such as a session ticket
                continue
            if not data:
                return
            across[end].settimeout(_SEND_SECONDS)
            across[end].sendall(data)
