"""Images and artifacts made by hand: layers entry by entry, and the documents around them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelimage.archives import ArchiveError
from tests.weights import safetensors_bytes

TAR = "application/vnd.oci.image.layer.v1.tar"
GZIP = f"{TAR}+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MODEL = {
    "config.json": b'{"architectures": ["Qwen2ForCausalLM"]}',
    "model.safetensors": safetensors_bytes(b"\x02" * 3000),
}


@dataclass
class Bytes:
    """An archive at hand, read as a stream."""

    content: bytes
    position: int = 0

    def read(self, count: int) -> bytes:
        data = self.content[self.position : self.position + count]
        self.position += len(data)
        return data

    def skip(self, count: int) -> None:
        if self.position + count > len(self.content) + 511:
            raise ArchiveError("it is cut short")
        self.position = min(self.position + count, len(self.content))


def file(path: str, content: bytes = b"x", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(content), mode
    return info, content


def folder(path: str) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.type, info.mode = tarfile.DIRTYPE, 0o755
    return info, b""


def link(path: str, target: str, *, hard: bool = False) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path)
    info.type, info.linkname, info.mode = (tarfile.LNKTYPE if hard else tarfile.SYMTYPE), target, 0o777
    return info, b""


def tar(*entries: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def model_in(place: str, **more: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [file(f"{place}{name}", content) for name, content in {**MODEL, **more}.items()]


def shell(path: str = "bin/") -> list[tuple[tarfile.TarInfo, bytes]]:
    applets = [link(f"{path}{name}", "busybox") for name in ("sh", "ln", "sleep")]
    return [file(f"{path}busybox", b"\x7fELF", 0o755), *applets]


def packed(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


@dataclass
class Made:
    """An image layout folder with what was put there by hand."""

    folder: Path
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        return f"oci:{self.folder}@{self.digest}"

    @property
    def digest(self) -> str:
        return digest_of(json.dumps(self.manifest).encode())

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def put(self, content: bytes) -> dict[str, Any]:
        digest = digest_of(content)
        path = self.blob(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return {"digest": digest, "size": len(content)}


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def make(
    place: Path,
    layers: Sequence[tuple[str, bytes] | tuple[str, bytes, dict[str, str]]],
    *,
    config: dict[str, Any] | None = None,
    config_type: str = CONFIG,
    **more: Any,
) -> Made:
    """Write a layout of one manifest: `layers` are (media type, bytes) with annotations where there are any."""
    made = Made(place)
    said = {"os": "linux", "architecture": "amd64", "config": config or {}, "rootfs": {"type": "layers"}}
    described = []
    for layer in layers:
        noted = {"annotations": layer[2]} if len(layer) > 2 else {}
        described.append({"mediaType": layer[0], **made.put(layer[1]), **noted})
    made.manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        **more,
        "config": {"mediaType": config_type, **made.put(json.dumps(said).encode())},
        "layers": described,
    }
    entry = {"mediaType": MANIFEST, **made.put(json.dumps(made.manifest).encode())}
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return made


@dataclass
class Shelf:
    """A store of blobs that counts what is asked of it; `ranges` off, it gives blobs as a whole only."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    asked: int = 0
    given: int = 0

    def add(self, content: bytes) -> str:
        digest = digest_of(content)
        self.blobs[digest] = content
        return digest

    def read_blob(self, digest: str, size: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.asked += 1
        content = self.blobs[digest][start:end]
        for at in range(0, len(content), 1 << 16):
            self.given += len(content[at : at + (1 << 16)])
            yield content[at : at + (1 << 16)]

    def read_range(self, digest: str, size: int, start: int, end: int) -> bytes | None:
        self.asked += 1
        if not self.ranges:
            return None
        self.given += end - start
        return self.blobs[digest][start:end]

    def manifest(self, name: str | None) -> Any:
        raise AssertionError("no manifest is asked for")
