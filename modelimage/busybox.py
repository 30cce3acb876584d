"""A minimal base image from a static busybox, for where no registry that has one can be reached.

KServe's modelcar needs `sh`, `ln` and `sleep` in the image (it runs `ln -sf /proc/$$/root/models /mnt/models &&
sleep infinity`); the other applets are for whoever looks into a running container. Debian's package busybox-static
installs a fitting binary as /bin/busybox. The same binary gives the same digest on any machine.
"""

import io
import tarfile
from pathlib import Path

from modelimage.documents import LAYER_TYPE, Descriptor, ImageConfig
from modelimage.images import Image, Session
from modelimage.progress import Reporter
from modelimage.streams import Blob, Written
from modelimage.writing import Documents, Draft, Part, write
from oci_model_serving.errors import InputError
from oci_model_serving.reference import LayoutReference

_APPLETS = """
sh ash ln sleep ls cat cp mv rm mkdir rmdir touch chmod chown readlink realpath stat find grep sed awk head
tail wc sort uniq cut tr tee echo printf test [ true false env id whoami hostname uname date df du dd
sha256sum md5sum cmp diff od hexdump tar gzip gunzip zcat ps kill top free mount umount vi less more xargs
which basename dirname pwd yes seq timeout nc wget ping nslookup
"""
_ELF = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_MACHINES = {62: "linux/amd64", 183: "linux/arm64"}
"""By e_machine (System V ABI; ELF for the Arm 64-bit architecture)."""


def write_base(folder: str, busybox: str, *, reporter: Reporter | None = None) -> Image:
    """Write the base image to an OCI image layout `folder`, for the machines of its program, and return it.

    Raises:
        InputError: `busybox` is no static program for x86-64 or arm64.
        ImageError: the layout cannot be written.
    """
    binary, platform = _static_binary(Path(busybox))
    layer = Blob.of("busybox", _layer(binary))
    shell = ImageConfig(config={"Env": ["PATH=/bin"], "Cmd": ["sh"]})

    def finish(written: list[Written]) -> Documents:
        descriptor = Descriptor(mediaType=LAYER_TYPE, digest=written[0].digest, size=layer.size)
        noted = {"org.opencontainers.image.title": "busybox"}
        return Documents.composed(shell, [], [(descriptor, layer.title)], noted, platform)

    place, session = LayoutReference(Path(folder)), Session.start(reporter)
    with session.writing(place) as store:
        return write(session, store, place, Draft(finish, [Part(layer)]))


def _static_binary(path: Path) -> tuple[bytes, str]:
    """The program, and the platform that it is for."""
    remedy = "give a static busybox for x86-64 or arm64, as /bin/busybox of Debian's busybox-static"
    try:
        binary = path.read_bytes()
    except OSError as error:
        raise InputError(f"--busybox {path}: cannot be read: {error.strerror}: {remedy}") from error
    platform = _MACHINES.get(int.from_bytes(binary[18:20], "little"))
    if not binary.startswith(_ELF) or platform is None:
        raise InputError(f"--busybox {path}: not a program for x86-64 or arm64: {remedy}")
    if _wants_interpreter(binary):
        raise InputError(f"--busybox {path}: linked dynamically, so it would not run in an empty image: {remedy}")
    return binary, platform


def _wants_interpreter(binary: bytes) -> bool:
    """Tell whether the program headers hold a PT_INTERP (3): the dynamic loader's path."""
    table = int.from_bytes(binary[32:40], "little")
    entry, count = int.from_bytes(binary[54:56], "little"), int.from_bytes(binary[56:58], "little")
    kinds = (binary[table + number * entry : table + number * entry + 4] for number in range(count))
    return any(int.from_bytes(kind, "little") == 3 for kind in kinds)


def _layer(binary: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, mode in (("bin", 0o755), ("tmp", 0o1777)):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            archive.addfile(folder)
        program = tarfile.TarInfo("bin/busybox")
        program.mode, program.size = 0o755, len(binary)
        archive.addfile(program, io.BytesIO(binary))
        for applet in sorted(_APPLETS.split()):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.mode, link.linkname = tarfile.SYMTYPE, 0o777, "busybox"
            archive.addfile(link)
    return buffer.getvalue()
