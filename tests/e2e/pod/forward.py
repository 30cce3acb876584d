"""In a pod: gives the ports of FORWARD on loopback to GATEWAY, the machine that the node runs on.

The tests' registry and hub listen on that machine's loopback alone, under names that mean the pod itself here. It binds
and goes to the background, so that whoever starts after it finds the ports open. With RATE all that comes in, and all
that goes out, passes at so many bytes a second: the line of a machine of its own.
"""

import os
import socket
import threading
import time


class Line:
    """One direction of a machine's line; without a rate it takes what comes."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free = 0.0

    def take(self, count: int) -> None:
        """Wait until so many bytes have passed."""
        if not self._rate:
            return
        with self._lock:
            self._free = max(self._free, time.monotonic()) + count / self._rate
            free = self._free
        time.sleep(max(0.0, free - time.monotonic()))


def main() -> None:
    """Listen, and let the caller go on."""
    ports = [int(port) for port in os.environ.get("FORWARD", "").split(",") if port]
    servers = [(socket.create_server(("127.0.0.1", port)), port) for port in ports]
    if os.fork():
        os._exit(0)
    for name in (0, 1, 2):
        os.close(name)
    rate = float(os.environ.get("RATE", "0"))
    lines = Line(rate), Line(rate)
    gateway = os.environ["GATEWAY"]
    waiting = [threading.Thread(target=serve, args=(server, gateway, port, lines)) for server, port in servers]
    for thread in waiting:
        thread.start()


def serve(server: socket.socket, host: str, port: int, lines: tuple[Line, Line] = (Line(0), Line(0))) -> None:
    """Hand each connection on, both ways by a line each, until either end closes."""
    while True:
        here, _ = server.accept()
        try:
            there = socket.create_connection((host, port), timeout=10)
        except OSError:
            here.close()
            continue
        there.settimeout(None)
        for one, other, line in ((here, there, lines[0]), (there, here, lines[1])):
            threading.Thread(target=pump, args=(one, other, line), daemon=True).start()


def pump(one: socket.socket, other: socket.socket, line: Line) -> None:
    """Copy from one to the other."""
    try:
        while data := one.recv(1 << 16):
            line.take(len(data))
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (one, other):
            end.close()


if __name__ == "__main__":
    main()
