"""What the sidecar is told: `oci+stream://HOST/REPO@sha256:… --prefix models/NAME`."""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from oci_model_serving.delivery import STREAM_DOOR_PORT, STREAM_HEALTH_PORT, STREAM_SCHEME
from oci_model_serving.errors import InputError
from oci_model_serving.reference import ImageReference, RegistryReference

MEMORY_MIB = 64
"""Of memory for each process."""
OWN_MIB = 32
"""Of that what its chunks do not have: the interpreter, threads, TLS."""
MOST_MIB = 1024
_LEAST_MIB = 40
_MOST_PROCESSES = 64
_ENOUGH_PROCESSES = 8
_MOST_READERS = 64
_PREFIX = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}(/[A-Za-z0-9._-]+)*/?")


def _processes() -> int:
    """One for each processor, up to where more would only take memory."""
    return min(len(os.sched_getaffinity(0)), _ENOUGH_PROCESSES)


@dataclass(frozen=True)
class StreamOptions:
    """What is served, where, by how many processes with how much memory each, and to how many readers."""

    reference: RegistryReference
    prefix: str
    port: int
    health_port: int
    processes: int
    memory_mib: int
    readers: int


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}: write {STREAM_SCHEME}HOST/REPO@sha256:… --prefix models/NAME")


def read(arguments: Sequence[str]) -> StreamOptions:
    """Read the command's arguments.

    Raises:
        InputError: one is missing or wrong; all problems at once.
    """
    parser = _Parser(prog="modelimage.stream", description=__doc__, allow_abbrev=False)
    parser.add_argument("image", help=f"{STREAM_SCHEME}HOST/REPO@sha256:…")
    parser.add_argument("--prefix", required=True, help="bucket and key prefix of the files, as models/NAME")
    parser.add_argument("--port", type=int, default=STREAM_DOOR_PORT, help="port of the door, on loopback")
    parser.add_argument(
        "--health-port", type=int, default=STREAM_HEALTH_PORT, help="port of probes and metrics, on all addresses"
    )
    parser.add_argument("--processes", type=int, default=_processes(), help="processes of the door")
    parser.add_argument("--readers", type=int, default=1, help="processes of the server that read all of the model")
    parser.add_argument("--memory-mib", type=int, default=MEMORY_MIB, help="memory of each process")
    said = parser.parse_args(arguments)
    problems = []
    image = None
    if not said.image.startswith(STREAM_SCHEME):
        problems.append(f"{said.image!r}: write {STREAM_SCHEME}HOST/REPO@sha256:<64 hex digits>")
    else:
        try:
            image = ImageReference.parse(said.image.removeprefix(STREAM_SCHEME))
        except InputError as error:
            problems += error.problems
    if not _PREFIX.fullmatch(said.prefix):
        problems.append(f"--prefix {said.prefix!r} is no bucket with a key: write models/NAME")
    for name, value, least, most in (
        ("--port", said.port, 1, 65535),
        ("--health-port", said.health_port, 1, 65535),
        ("--processes", said.processes, 1, _MOST_PROCESSES),
        ("--readers", said.readers, 1, _MOST_READERS),
        ("--memory-mib", said.memory_mib, _LEAST_MIB, MOST_MIB),
    ):
        if not least <= value <= most:
            problems.append(f"{name} {value}: give {least} to {most}")
    if said.port == said.health_port:
        problems.append(f"--port and --health-port are both {said.port}: give two")
    if problems or image is None:
        raise InputError(*problems)
    place = RegistryReference(image.host, image.repository.partition("/")[2], None, image.digest)
    return StreamOptions(place, said.prefix, said.port, said.health_port, said.processes, said.memory_mib, said.readers)
