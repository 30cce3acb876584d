"""The image that packs in a cluster: the server's Python and the libraries that the packer needs, so that none is
installed; and the way from a pod to what listens on this machine's loopback."""

import contextlib
import importlib.metadata
import socket
import sys
import sysconfig
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from modelimage import bundle
from tests.e2e import server_image
from tests.e2e.pod import forward

GATEWAY = "10.245.0.1"
"""This machine as pods see it: the node's network gives it to this end of each pod's line (shared/cluster/up)."""
_START = """\
#!/bin/sh
{interpreter} /pod/forward.py || exit 1
exec {interpreter} "$@"
"""
_IP_FREEBIND = 15  # ip(7): the address is there only while there is a pod


def push(registry: str, repository: str, folder: Path) -> str:
    """Build the image in `folder`, push it, and return its reference by digest."""
    return server_image.push(registry, repository, folder, _add)


def _add(tar: tarfile.TarFile) -> None:
    target = Path(sysconfig.get_path("purelib", vars={"base": sys.base_prefix}))
    distributions = _distributions([name.partition("==")[0] for name in bundle.requirements()])
    files = {
        str(target / file): Path(str(distribution.locate_file(file)))
        for distribution in distributions
        for file in distribution.files or ()
        if ".." not in file.parts and file.suffix != ".pyc"
    }
    for name, path in files.items():
        if path.is_file():
            server_image.add(tar, path, name)
    for library in server_image.shared_libraries([path for path in files.values() if path.suffix == ".so"]):
        server_image.add(tar, library, str(library))
    server_image.write(tar, "/bin/python", _START.format(interpreter=Path(sys.executable).resolve()).encode())


def _distributions(names: list[str]) -> list[importlib.metadata.Distribution]:
    """The distributions of these names, with all that they need."""
    found: dict[str, importlib.metadata.Distribution] = {}
    while names:
        name = names.pop().lower().replace("_", "-")
        if name not in found:
            found[name] = importlib.metadata.distribution(name)
            needs = map(Requirement, found[name].requires or ())
            names += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return list(found.values())


@contextlib.contextmanager
def reachable(*ports: int) -> Iterator[dict[str, str]]:
    """Let pods reach these ports of this machine's loopback; yields the variables that its pods need for it."""
    servers = []
    for port in ports:
        server = socket.socket()
        server.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((GATEWAY, port))
        server.listen(64)
        servers.append(server)
    threads = [
        threading.Thread(target=_serve, args=(server, port), daemon=True)
        for server, port in zip(servers, ports, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        yield {"FORWARD": ",".join(map(str, ports)), "GATEWAY": GATEWAY}
    finally:
        for server in servers:
            server.shutdown(socket.SHUT_RDWR)
            server.close()


def _serve(server: socket.socket, port: int) -> None:
    with contextlib.suppress(OSError):  # closed
        forward.serve(server, "127.0.0.1", port)
