"""Runs the project's program for the engine: what the language host does, for many runs in one process.

It serves the Automation API's inline programs, prints its port and ends with its input. The working directory is the
project, and the interpreter is the project's, so that the program sees what it sees in a checkout.
"""

import runpy
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import grpc  # type: ignore[import-untyped]
from pulumi.automation._server import LanguageServer
from pulumi.runtime.proto import language_pb2_grpc


def run_program() -> Any:
    """Run the program on a thread of the server, where no signal handler can be set."""
    with mock.patch.object(signal, "signal"):
        runpy.run_path("__main__.py", run_name="__main__")


def main() -> None:
    """Serve until nobody has work any more."""
    sys.path.insert(0, "")
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 400 << 20)])
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageServer(run_program), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdout = sys.stderr  # of what the program says, nobody reads more than the log
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    main()
