"""The stream sidecar under a load of ranges: bytes a second, processor's time a GB, memory.

What asks is no loader: threads that take ranges as Run:ai's streamer asks for them, a connection each or kept, and
throw them away. So the door's own part is seen, beside that of a plain copy of the blobs by the same hands.
"""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_RANGE_BYTES = 8 << 20
_PIECE_BYTES = 1 << 20
_SAMPLE_SECONDS = 0.1


@dataclass
class Sidecar:
    """A running sidecar: the addresses of its door and of its health, and what it has used so far."""

    process: subprocess.Popen[bytes]
    port: int
    health_port: int
    peak_mib: float = 0.0
    largest_mib: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def get(self, path: str) -> str:
        """What its health answers."""
        with urlopen(f"http://127.0.0.1:{self.health_port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> int:
        """A number of its metrics."""
        found = re.search(rf"^oci_model_serving_stream_{name} (\S+)$", self.get("/metrics"), re.MULTILINE)
        assert found, name  # noqa: S101
        return int(float(found[1]))

    def processes(self) -> list[int]:
        """It and its children."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def cpu_seconds(self) -> float:
        """User's and system's time of all its processes."""
        total = 0
        for pid in self.processes():
            total += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return total / _TICKS

    def watch_memory(self) -> None:
        """Sample what it holds, each page counted once (PSS), until it ends."""
        while not self._stop.wait(_SAMPLE_SECONDS):
            try:
                each = [_pss_mib(pid) for pid in self.processes()]
            except OSError:
                return
            self.peak_mib, self.largest_mib = max(self.peak_mib, sum(each)), max(self.largest_mib, *each)

    def stop(self) -> None:
        """End it as kubelet does."""
        self._stop.set()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def _pss_mib(pid: int) -> float:
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    reference: str, processes: int, prefix: str = "models/m", *, memory_mib: int = 64, readers: int = 1
) -> Iterator[Sidecar]:
    """The sidecar of an image (`HOST/REPO@sha256:…`), once it is ready."""
    port, health = free_port(), free_port()
    command = [sys.executable, "-m", "modelimage.stream", f"oci+stream://{reference}", "--prefix", prefix]
    command += ["--port", str(port), "--health-port", str(health), "--processes", str(processes)]
    command += ["--memory-mib", str(memory_mib), "--readers", str(readers)]
    sidecar = Sidecar(subprocess.Popen(command, cwd=ROOT), port, health)
    try:
        deadline = time.monotonic() + 600
        while True:
            try:
                sidecar.get("/ready")
                break
            except OSError as error:
                if sidecar.process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the sidecar is not ready: {error}") from error
                time.sleep(0.1)
        threading.Thread(target=sidecar.watch_memory, daemon=True).start()
        yield sidecar
    finally:
        sidecar.stop()


def take(port: int, paths: Sequence[tuple[str, int]], connections: int, *, keep: bool) -> float:
    """Ask for all of the files (path, size) in ranges by `connections` at once; the seconds that it took."""
    todo = [
        (path, start, min(start + _RANGE_BYTES, size)) for path, size in paths for start in range(0, size, _RANGE_BYTES)
    ]
    todo.reverse()
    failed: list[BaseException] = []

    def work() -> None:
        held = bytearray(_PIECE_BYTES)
        connection: socket.socket | None = None
        try:
            while not failed:
                try:
                    path, start, end = todo.pop()
                except IndexError:
                    return
                connection = connection or socket.create_connection(("127.0.0.1", port))
                _take_range(connection, path, start, end, held)
                if not keep:
                    connection.close()
                    connection = None
        except (OSError, ValueError) as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise SystemExit(f"a range was not answered: {failed[0]!r}")
    return time.perf_counter() - begun


def _take_range(connection: socket.socket, path: str, start: int, end: int, held: bytearray) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes={start}-{end - 1}\r\n\r\n"
    connection.sendall(request.encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(1 << 16)
        if not piece:
            raise ValueError("the connection was closed")
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    if b" 206 " not in head.splitlines()[0]:
        raise ValueError(head.splitlines()[0].decode())
    left = end - start - len(body)
    while left:
        count = connection.recv_into(held, min(left, len(held)))
        if not count:
            raise ValueError(f"{left} bytes did not come")
        left -= count


def main() -> None:
    """Print a table of one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", help="HOST/REPO@sha256:… in a registry without TLS on loopback")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 4, 16, 64, 256])
    parser.add_argument(
        "--readers", type=int, default=1, help="who each takes all of the files, by so many connections"
    )
    parser.add_argument("--memory-mib", type=int, default=64)
    parser.add_argument("--blobs", type=Path, help="JSON of the layers' digests and sizes: the registry itself")
    said = parser.parse_args()
    print("| what | connections | GB/s | CPU s/GB | fetched / served | memory, MiB | largest process, MiB |")
    print("|---|---|---|---|---|---|---|")
    if said.blobs:
        host, _, name = said.reference.partition("@")[0].partition("/")
        blobs = [(f"/v2/{name}/blobs/{digest}", size) for digest, size in json.loads(said.blobs.read_text())]
        for connections in said.connections:
            gigabytes = sum(size for _, size in blobs) / 1e9
            seconds = take(int(host.rpartition(":")[2]), blobs, connections, keep=False)
            print(f"| the blobs themselves | {connections} | {gigabytes / seconds:.2f} | | | | |", flush=True)
    for processes in said.processes:
        with running(said.reference, processes, memory_mib=said.memory_mib, readers=said.readers) as sidecar:
            listed = _files(sidecar)
            gigabytes = said.readers * sum(size for _, size in listed) / 1e9
            for connections in said.connections:
                before, fetched, served = (
                    sidecar.cpu_seconds(),
                    sidecar.metric("fetched_bytes_total"),
                    sidecar.metric("served_bytes_total"),
                )
                seconds = _by_all(said.readers, sidecar.port, listed, connections)
                cpu = (sidecar.cpu_seconds() - before) / gigabytes
                share = (sidecar.metric("fetched_bytes_total") - fetched) / (
                    sidecar.metric("served_bytes_total") - served
                )
                print(
                    f"| door, {processes} processes | {connections} | {gigabytes / seconds:.2f} | {cpu:.2f} "
                    f"| {share:.3f} | {sidecar.peak_mib:.0f} | {sidecar.largest_mib:.0f} |",
                    flush=True,
                )


def _by_all(readers: int, port: int, paths: Sequence[tuple[str, int]], connections: int) -> float:
    """`take` by several at once; the seconds of the slowest."""
    with ThreadPoolExecutor(readers) as pool:
        return max(pool.map(lambda _: take(port, paths, connections, keep=False), range(readers)))


def _files(sidecar: Sidecar) -> list[tuple[str, int]]:
    with urlopen(f"http://127.0.0.1:{sidecar.port}/models?list-type=2", timeout=10) as answer:
        page = answer.read().decode()
    found = re.findall(r"<Key>([^<]+)</Key>.*?<Size>(\d+)</Size>", page)
    return [(f"/models/{key}", int(size)) for key, size in found if int(size)]


if __name__ == "__main__":
    main()
