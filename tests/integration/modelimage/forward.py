"""A forward proxy as firms have them: it leads to hosts that it alone can resolve, and may want a login."""

from __future__ import annotations

import base64
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import final


@final
class ForwardProxy:
    """CONNECT to any host's port leads to this machine's; a context manager. `asked` is what was asked for."""

    def __init__(self, login: str = "", refuse: int = 0) -> None:
        self.asked: list[str] = []
        self.wanted = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
        self.refuse = refuse
        self._server = _Server(self)
        self.host = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> ForwardProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: ForwardProxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_CONNECT(self) -> None:
        assert isinstance(self.server, _Server)
        proxy = self.server.proxy
        proxy.asked.append(self.path)
        self.close_connection = True
        if proxy.wanted and self.headers.get("Proxy-Authorization") != proxy.wanted:
            self.send_error(407)
            return
        if proxy.refuse:
            self.send_error(proxy.refuse)
            return
        with socket.create_connection(("127.0.0.1", int(self.path.rpartition(":")[2]))) as there:
            self.send_response(200)
            self.end_headers()
            ends = {self.connection: there, there: self.connection}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(1 << 16)
                    if not data:
                        return
                    ends[end].sendall(data)
