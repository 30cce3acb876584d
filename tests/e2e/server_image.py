"""The server's image: this machine's Python and busybox, and a stand-in for vLLM's module, in one layer.

Any glibc machine has what it takes: the running interpreter, its standard library, and the shared libraries that
`ldd` names, all at the paths that they have here, so that the interpreter finds itself.
"""

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO

import httpx

from tests.e2e.pod import forward

BUSYBOX = Path("/bin/busybox")
_MODULES = Path(__file__).parent / "server"
_APPLETS = ("sh", "ls", "find", "stat", "sleep", "cat", "sha256sum", "nc", "touch", "id")
_LEFT_OUT = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "tkinter",
    "lib2to3",
    "ensurepip",
    "turtledemo",
}
# Looks for the model before anything else: Python takes longer to start than a modelcar takes to make its link, and
# would hide a command that does not wait for it. A sidecar that streams finds this machine's registries first: their
# names mean the pod itself there.
_START = """\
#!/bin/sh
case "$FORWARD $1" in ?*" "*.zip) {interpreter} /pod/forward.py || exit 1 ;; esac
for word; do
  case "$word" in --model=*) model="${{word#--model=}}" ;; esac
done
case "$model" in /*)
  [ -e "$model/config.json" ] || {{ echo "$model holds no model" >&2; exit 1; }} ;;
esac
exec {interpreter} "$@"
"""
_OCTETS = "application/octet-stream"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CHUNK = 1 << 20


def push(
    registry: str,
    repository: str,
    folder: Path,
    more: Callable[[tarfile.TarFile], object] = lambda _: None,
    *,
    modules: Path | None = _MODULES,
    layers: Sequence[Path] = (),
    environment: Mapping[str, str] | None = None,
) -> str:
    """Build the image in `folder`, push it, and return its reference by digest.

    Args:
        registry: its host.
        repository: where in it.
        folder: for what is written meanwhile.
        more: adds to the files beside Python's.
        modules: the folder whose modules are the server; None where `layers` have it.
        layers: tar archives that lie above, pushed as they are.
        environment: of the image, beside the interpreter's.
    """
    tar = folder / "rootfs.tar"
    _write_layer(tar, modules, more)
    # Small in transfer and on disk; this image is pulled once.
    layer = gzip.compress(tar.read_bytes(), 1, mtime=0)
    known = {"PATH": "/bin", "PYTHONPATH": "/srv", "PYTHONDONTWRITEBYTECODE": "1", **(environment or {})}
    with httpx.Client(base_url=f"http://{registry}/v2/{repository}/", timeout=60, trust_env=False) as client:
        zipped = {"mediaType": f"{_LAYER}+gzip", **_push_blob(client, layer)}
        plain = [{"mediaType": _LAYER, **_push_file(client, path)} for path in layers]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": [f"{name}={value}" for name, value in known.items()]},
            "rootfs": {
                "type": "layers",
                "diff_ids": [_digest(tar.read_bytes()), *(one["digest"] for one in plain)],
            },
        }
        described = _push_blob(client, json.dumps(config).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **described},
            "layers": [zipped, *plain],
        }
        content = json.dumps(manifest).encode()
        client.put("manifests/server", content=content, headers={"Content-Type": _MANIFEST}).raise_for_status()
    tar.unlink()
    return f"{registry}/{repository}@{_digest(content)}"


def _push_blob(client: httpx.Client, blob: bytes) -> dict[str, str | int]:
    return _push_content(client, blob, _digest(blob), len(blob))


def _push_file(client: httpx.Client, path: Path) -> dict[str, str | int]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        file.seek(0)
        return _push_content(client, file, f"sha256:{digest.hexdigest()}", path.stat().st_size)


def _push_content(client: httpx.Client, content: bytes | IO[bytes], digest: str, size: int) -> dict[str, str | int]:
    upload = client.post("blobs/uploads/").raise_for_status().headers["Location"]
    where = httpx.URL(upload).copy_merge_params({"digest": digest})
    client.put(where, content=content, headers={"Content-Type": _OCTETS}).raise_for_status()
    return {"digest": digest, "size": size}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _write_layer(path: Path, modules: Path | None, more: Callable[[tarfile.TarFile], object]) -> None:
    interpreter = Path(os.path.realpath(sys.executable))
    with tarfile.open(path, "w") as tar:
        for file in {interpreter, *_standard(), *interpreters_libraries()}:
            add(tar, file, str(file))
        add(tar, BUSYBOX, "/bin/busybox")
        for applet in _APPLETS:
            _link(tar, f"/bin/{applet}", "busybox")
        write(tar, "/bin/python3", _START.format(interpreter=interpreter).encode())
        add(tar, Path(forward.__file__), "/pod/forward.py")
        if modules:
            for file in sorted(modules.rglob("*.py")):
                add(tar, file, f"/srv/{file.relative_to(modules)}")
        more(tar)
        writable = tarfile.TarInfo("tmp")
        writable.type, writable.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(writable)


@cache
def interpreters_libraries() -> frozenset[Path]:
    """The libraries that the interpreter and its standard library are linked with: in the image already."""
    extensions = [file for file in _standard() if file.suffix == ".so"]
    return frozenset(shared_libraries([Path(os.path.realpath(sys.executable)), *extensions]))


def _standard() -> list[Path]:
    return sorted(_files(Path(sysconfig.get_path("stdlib"))))


def _files(library: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(library):
        inner[:] = [name for name in inner if name not in _LEFT_OUT and not name.startswith("config-")]
        yield from (Path(folder, name) for name in names if not name.endswith((".a", ".opt-1.pyc", ".opt-2.pyc")))


def shared_libraries(programs: list[Path]) -> set[Path]:
    """The libraries that programs and extension modules are linked with."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True).stdout
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", said)}


def add(tar: tarfile.TarFile, file: Path, name: str) -> None:
    """Add a file under a name."""
    # Links are followed: a library is wanted under each name that it is asked for by.
    with file.open("rb") as content:
        entry = tarfile.TarInfo(name.lstrip("/"))
        entry.size = os.fstat(content.fileno()).st_size
        entry.mode = 0o755 if os.access(file, os.X_OK) else 0o644
        # What Python has compiled counts for a source of that time alone.
        entry.mtime = int(os.fstat(content.fileno()).st_mtime)
        tar.addfile(entry, content)


def write(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a program under a name."""
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)
