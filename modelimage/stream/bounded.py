"""A server of HTTP that serves a bounded number of connections at once, each in a thread, at a socket that is there."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class BoundedServer(ThreadingHTTPServer):
    """Serves `at_once` connections; the others wait in the backlog until one ends."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, handler: type[BaseHTTPRequestHandler], *, at_once: int) -> None:
        super().__init__(listening.getsockname()[:2], handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self._room = threading.BoundedSemaphore(at_once)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, once there is room (socketserver's interface)."""
        self._room.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As `process_request`, in that thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()
