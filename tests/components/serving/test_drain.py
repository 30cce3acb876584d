"""The hook that keeps a pod until it answers nothing, run as a pod runs it, and the shell that waits for weights."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.serving import vllm
from tests.integration.cluster import wait_for

ENOUGH = 60
"""Seconds that a hook may take which waits for nothing, on a machine with much other work."""
CATCHES, DOES_NOT = "SigCgt:\t0000000180014a07", "SigCgt:\t0000000000000000"
RUNNING = 'vllm:num_requests_running{{engine="0",model_name="m"}} {}\n'


class Server(ThreadingHTTPServer):
    """Says how many requests it is answering, the last figure for ever; counts how often it was asked."""

    def __init__(self, *figures: float) -> None:
        self.figures, self.asked = [*figures], 0
        super().__init__(("127.0.0.1", 0), Metrics)


class Metrics(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        figures = self.server.figures
        self.server.asked += 1
        body = RUNNING.format(figures.pop(0) if len(figures) > 1 else figures[0]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(*request.param) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def drained(port: int, patience: int, *statuses: str) -> float:
    """Run the hook where the container's first process says this of its signals, one after the other; its seconds."""
    script = vllm.drain(patience, settle=0, port=port)["preStop"]["exec"]["command"][2]
    pod = (
        "import io, sys\n"
        f"statuses = {list(statuses)!r}\n"
        "def told(path):\n"
        "    assert path == '/proc/1/status'\n"
        "    return io.StringIO('Name:\\tvllm\\n' + (statuses.pop(0) if len(statuses) > 1 else statuses[0]) + '\\n')\n"
        f"exec({script!r}, {{'open': told}})\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", pod, str(port), "0", str(patience)], check=True, timeout=120)
    return time.monotonic() - began


@pytest.mark.parametrize("server", [(2.0, 1.0, 0.0)], indirect=True)
def test_the_signal_waits_until_nothing_is_answered_any_more(server: Server) -> None:
    drained(server.server_port, 30, CATCHES)

    assert server.asked == 3


@pytest.mark.parametrize("server", [(1.0,)], indirect=True)
def test_a_server_that_is_never_idle_is_given_its_patience(server: Server) -> None:
    assert 2 <= drained(server.server_port, 2, CATCHES) < ENOUGH


@pytest.fixture
def closed_port() -> int:
    with Server(0.0) as server:
        return int(server.server_port)


def test_a_server_that_has_ended_is_not_waited_for(closed_port: int) -> None:
    assert drained(closed_port, 90, CATCHES) < ENOUGH


def test_a_server_that_would_lose_the_signal_gets_it_once_it_has_a_handler(closed_port: int) -> None:
    assert 2 <= drained(closed_port, 90, DOES_NOT, DOES_NOT, CATCHES) < ENOUGH


def test_a_server_that_never_takes_a_signal_is_given_its_patience_too(closed_port: int) -> None:
    assert 2 <= drained(closed_port, 2, DOES_NOT) < ENOUGH


def test_a_shell_that_waits_for_weights_ends_when_its_pod_has_to_go() -> None:
    waiting = subprocess.Popen([*vllm.waiting(["true"])], stderr=subprocess.PIPE)

    def catches() -> int:
        said = Path(f"/proc/{waiting.pid}/status").read_text().splitlines()
        return int(next(line for line in said if line.startswith("SigCgt"))[7:], 16) >> (signal.SIGTERM - 1) & 1

    # As the first process of a container it would be told of nothing that it does not catch.
    wait_for(catches)
    waiting.send_signal(signal.SIGTERM)

    assert waiting.wait(ENOUGH) == 143
