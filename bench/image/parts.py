"""Measure what a push is made of on this machine, and calculate what it would be on a larger one.

    python bench/image/parts.py

Each part alone, in GB a second of one thread: reading a file that is in memory, SHA-256, handing chunks to a second
thread that hashes (`HashedPass`), and sending to a registry that neither hashes nor stores. Then the model: how fast a
machine of so many cores, behind such a network, can push, and which part limits it.
"""

import argparse
import hashlib
import os
import platform
import resource
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script's own folder is all that Python looks in

import httpx
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.image.servers import serving
from modelimage.source import CHUNK_BYTES
from modelimage.streams import Blob, HashedPass

GB = 1e9
_HAND_OVER = "hand chunks to a hashing thread, without the hash"
_SEND = "read and send, httpx (as the packer does)"
_TLS = "AES-128-GCM, as in TLS"


@dataclass(frozen=True)
class Rate:
    """How fast a part is: GB a second of wall time in one stream, and the seconds of processor that a GB takes."""

    gb_a_second: float
    cpu_a_gb: float
    user_a_gb: float


@dataclass(frozen=True)
class Machine:
    """A machine to calculate for: cores, GB/s that one of them hashes, and what network and disk carry in GB/s."""

    name: str
    cores: int
    hash_gb: float
    network_gb: float
    disk_gb: float


MACHINES = (
    # As reported, without a firm source: a core with SHA extensions hashes about 1.8 GB/s, one without 0.5 GB/s, and 16
    # Local SSDs of 375 GB read 6.2 GB/s. 100 Gbit/s is 12.5 GB/s.
    Machine("2 cores, 10 Gbit/s, a balanced disk of 400 GB", 2, 1.8, 1.25, 0.24),
    Machine("8 cores, 16 Gbit/s, files in memory", 8, 1.8, 2.0, 100),
    Machine("32 cores, 100 Gbit/s, 16 Local SSDs", 32, 1.8, 12.5, 6.2),
    Machine("32 cores, 100 Gbit/s, files in memory", 32, 1.8, 12.5, 100),
    Machine("the same without SHA extensions (0.5 GB/s a core)", 32, 0.5, 12.5, 100),
)


def timed(total: int, run: Callable[[], object]) -> Rate:
    """The best of three: what another process takes from the machine is no property of the part."""
    best = Rate(0, float("inf"), float("inf"))
    for _ in range(3):
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        run()
        after, size = resource.getrusage(resource.RUSAGE_SELF), total / GB
        user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        best = Rate(
            max(best.gb_a_second, size / (time.perf_counter() - started)),
            min(best.cpu_a_gb, (user + system) / size),
            min(best.user_a_gb, user / size),
        )
    return best


def chunks(path: Path) -> Iterator[bytes]:
    """A file as the packer reads it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while data := os.read(descriptor, CHUNK_BYTES):
            yield data
    finally:
        os.close(descriptor)


class _NoHash:
    """Stands in for SHA-256: what is left of a pass is the handing over."""

    def update(self, data: bytes) -> None:
        """Take nothing."""


def measure(path: Path, total: int) -> dict[str, Rate]:
    """Measure each part over a file that is in memory."""
    block = next(chunks(path))

    def hashing() -> None:
        running = hashlib.sha256()
        for _ in range(total // len(block)):
            running.update(block)

    def handing_over() -> None:
        same = Blob("blob", total, lambda: (block for _ in range(total // len(block))))
        with mock.patch.object(hashlib, "sha256", _NoHash):
            deque(HashedPass(same), maxlen=0)

    def both() -> None:
        deque(HashedPass(Blob("blob", total, lambda: chunks(path))), maxlen=0)

    def encrypting() -> None:
        key, nonce = AESGCM(bytes(16)), bytes(12)
        for _ in range(total // len(block)):
            key.encrypt(nonce, block, None)

    parts = {
        "read a file that is in memory": timed(total, lambda: deque(chunks(path), maxlen=0)),
        "SHA-256": timed(total, hashing),
        _HAND_OVER: timed(total, handing_over),
        "read, hand over and hash": timed(total, both),
        _TLS: timed(total, encrypting),
    }
    with serving("sink.py") as host:
        target = f"http://{host}/v2/parts/blobs/uploads/one"
        name, port = host.split(":")
        head = f"PUT /v2/parts/blobs/uploads/one HTTP/1.1\r\nHost: {host}\r\nContent-Length: {total}\r\n\r\n".encode()

        def by_httpx() -> None:
            with httpx.Client(trust_env=False, timeout=60) as client:
                client.put(target, content=chunks(path), headers={"Content-Length": str(total)}).raise_for_status()

        def by_socket() -> None:
            with socket.create_connection((name, int(port))) as connection:
                connection.sendall(head)
                for data in chunks(path):
                    connection.sendall(data)
                connection.recv(4096)

        def by_sendfile() -> None:
            with socket.create_connection((name, int(port))) as connection, path.open("rb") as file:
                connection.sendall(head)
                connection.sendfile(file)
                connection.recv(4096)

        parts[_SEND] = timed(total, by_httpx)
        parts["read and send, a bare socket"] = timed(total, by_socket)
        parts["sendfile, which TLS in Python cannot"] = timed(total, by_sendfile)
    return parts


def limits(machine: Machine, parts: Mapping[str, Rate], *, known: bool) -> dict[str, float]:
    """GB a second that each part of a push over TLS allows on a machine, where layers' digests are known or not."""
    send, handing, encrypting = parts[_SEND], parts[_HAND_OVER], parts[_TLS]
    hashed = 0 if known else 1 / machine.hash_gb + handing.cpu_a_gb
    return {
        "the network": machine.network_gb,
        "the disk": machine.disk_gb,
        "the cores": machine.cores / (send.cpu_a_gb + encrypting.cpu_a_gb + hashed),
        # One interpreter does what is no system call and no hash, for all streams: user time of the sending.
        "the interpreter's lock": 1 / (send.user_a_gb + (0 if known else handing.user_a_gb)),
    }


def main() -> None:
    """Measure, calculate and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024, help="how much each part works on (default: 1024)")
    parser.add_argument("--work", type=Path, help="folder for a file of that size (default: a temporary one)")
    options = parser.parse_args()
    total = options.mib << 20
    with tempfile.TemporaryDirectory(prefix="bench-parts-", dir=options.work) as folder:
        path = Path(folder) / "file"
        with path.open("wb") as file:
            for _ in range(options.mib):
                file.write(os.urandom(1 << 20))
        load = os.getloadavg()[0]
        parts = measure(path, total)
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f}, {options.mib} MiB\n")
    print("| part | GB/s in one stream | CPU seconds a GB |\n|---|--:|--:|")
    for name, rate in parts.items():
        print(f"| {name} | {rate.gb_a_second:.1f} | {rate.cpu_a_gb:.2f} |")
    print("\n| machine | digests | GB/s | limited by | then by |\n|---|---|--:|---|---|")
    for machine in MACHINES:
        for known in (False, True):
            what = "known" if known else "made"
            first, second, *_ = sorted(limits(machine, parts, known=known).items(), key=lambda one: one[1])
            print(f"| {machine.name} | {what} | {first[1]:.1f} | {first[0]} | {second[0]} ({second[1]:.1f}) |")


if __name__ == "__main__":
    main()
