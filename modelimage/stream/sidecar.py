"""The sidecar: it reads the image, starts the processes of the door, and ends with the first that fails."""

import errno
import os
import select
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NoReturn

from modelimage.errors import ImageError
from modelimage.patience import Patience
from modelimage.progress import readable
from modelimage.registry import Registry
from modelimage.stream.counters import Count, Counters
from modelimage.stream.door import Objects
from modelimage.stream.faults import LINE, CorruptFault, StreamFault, as_fault, unexpected
from modelimage.stream.files import ServedImage, read_image
from modelimage.stream.health import Health
from modelimage.stream.options import OWN_MIB, StreamOptions
from modelimage.stream.pool import ChunkPool
from modelimage.stream.rights import PodCredentials
from modelimage.stream.whole import WholeLayers
from modelimage.stream.worker import LINE_BYTES, Shared, serve
from oci_model_serving.errors import InputError, OmsError

_BACKLOG = 4096
_LOOPBACK = "127.0.0.1"
_POLL_SECONDS = 1.0
_QUIET_SECONDS = 5.0
_LAST_WORD = Path("/dev/termination-log")


def run(options: StreamOptions) -> int:
    """Serve an image until something ends it, and return the exit code. SIGTERM and Ctrl-C end it at once, with 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # the door's processes end with us; nothing is left to be written
    try:
        _serve(options)
    except OmsError as error:
        told = as_fault(error, options.reference) if isinstance(error, ImageError) else error
        return end(str(told), told.exit_code)
    except Exception as error:  # noqa: BLE001 - the last word is read by programs
        return end(str(unexpected(error)), 1)


def end(message: str, code: int) -> int:
    """Leave the last word, and return the exit code."""
    line = LINE + message.replace("\n", " ")
    print(line, file=sys.stderr, flush=True)
    with suppress(OSError):
        if _LAST_WORD.exists():
            _LAST_WORD.write_text(line, encoding="utf-8")
    return code


def _serve(options: StreamOptions) -> NoReturn:
    reference, patience = options.reference, Patience(tell=_note, remedy="")  # nobody runs it again: the kubelet does
    login = PodCredentials(reference.host, reference.repository, use_environment=True)
    with ExitStack() as stack:
        doors, health = _sockets(options, stack)
        with Registry(reference, patience=patience, credentials=login) as registry:
            image = read_image(registry, reference)
            address = registry.address
        slots = max((options.memory_mib - OWN_MIB << 20) * options.processes // image.ledger.chunk_bytes, 4)
        faults, told = os.pipe()
        alive, held = os.pipe()
        shared = Shared(
            image,
            Objects(image, options.prefix),
            address,
            ChunkPool(slots, image.ledger.chunk_bytes, options.readers),
            Counters(options.processes + 1),
            patience,
            told,
            alive,
        )
        shared.counters.row = options.processes
        # Nothing of ours runs in threads yet: what is forked is whole.
        children = {_forked(shared, row, doors, health, (faults, held)) for row in range(options.processes)}
        stack.callback(_kill, children)
        whole = WholeLayers(shared)
        whole.start()
        Health(health, image, shared.counters, whole).start()
        _note(_described(image))
        _watch(children, faults, shared.counters)


def _sockets(options: StreamOptions, stack: ExitStack) -> tuple[list[socket.socket], socket.socket]:
    try:
        socket.create_server((_LOOPBACK, options.port)).close()  # or we would share it with another sidecar
        doors = []
        for _ in range(options.processes):
            door = stack.enter_context(socket.socket())
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # The kernel spreads connections over the processes.
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            door.bind((_LOOPBACK, options.port))
            doors.append(door)
        for door in doors:
            door.listen(_BACKLOG)
        return doors, stack.enter_context(everywhere(options.health_port))
    except OSError as error:
        raise InputError(
            f"ports {options.port} and {options.health_port}: cannot be listened at ({error.strerror}): give --port "
            "and --health-port that are free"
        ) from error


def everywhere(port: int) -> socket.socket:
    """Listen at all addresses of the pod, of whichever kind it has."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:  # as where IPv6 is switched off
                raise
    return socket.create_server(("", port))


def _forked(
    shared: Shared, row: int, doors: list[socket.socket], health: socket.socket, parents: tuple[int, ...]
) -> int:
    child = os.fork()
    if child:
        return child

    def others() -> None:
        health.close()
        for number, door in enumerate(doors):
            if number != row:
                door.close()
        for end in parents:
            os.close(end)

    try:
        serve(shared, row, doors[row], others=others)
    finally:
        os._exit(1)


def _kill(children: set[int]) -> None:
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    for child in children:
        with suppress(ChildProcessError):
            os.waitpid(child, 0)
    children.clear()


def _watch(children: set[int], faults: int, counters: Counters) -> NoReturn:
    """Wait for what ends the sidecar, and tell of each load meanwhile.

    Raises:
        StreamFault: a process has said what ends us, or has ended without a word.
    """
    told = 0
    while True:
        told = _told(counters, told)
        if select.select([faults], [], [], _POLL_SECONDS)[0]:
            said = os.read(faults, LINE_BYTES + 1).decode("utf-8", "replace")
            code, _, message = said.partition("\n")[0].partition(" ")
            raise CorruptFault(message) if int(code) == CorruptFault.exit_code else StreamFault(message)
        child, status = os.waitpid(-1, os.WNOHANG)
        if child:
            children.discard(child)
            ended = os.waitstatus_to_exitcode(status)
            why = signal.Signals(-ended).name if ended < 0 else f"exit code {ended}"
            raise StreamFault(
                f"a process of the door was ended by {why}: if it was for want of memory, give the sidecar more"
            )


def _told(counters: Counters, before: int) -> int:
    """Tell what a load has taken, once no byte was wanted for a while; the bytes that were told of so far."""
    served, last = counters.total(Count.SERVED_BYTES), counters.total(Count.LAST_BYTE_MICROSECONDS) / 1e6
    if served == before or time.time() - last < _QUIET_SECONDS:
        return before
    seconds = last - counters.total(Count.FIRST_BYTE_MICROSECONDS) / 1e6
    retries = counters.total(Count.RETRIES)
    _note(f"{readable(served)} passed on within {seconds:.1f} s of the first byte, {retries} retries")
    return served


def _described(image: ServedImage) -> str:
    size = readable(sum(file.size for file in image.files.values()))
    left = len(image.unread)
    how = f"{left} layers without a list are read as a whole beside" if left else "each chunk is compared with its list"
    return f"{image.reference}: {len(image.files)} files, {size}: {how}"


def _note(text: str) -> None:
    print(f"{LINE}{text}", file=sys.stderr, flush=True)
