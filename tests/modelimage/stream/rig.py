"""A registry that misbehaves as it is told to, images in it, and a door to them: all in the test's own process."""

from __future__ import annotations

import hashlib
import io
import json
import random
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from modelimage import chunks
from modelimage.chunks import CHUNKS, OFFSET, SIZE
from modelimage.credentials import Credentials
from modelimage.documents import LAYER_TYPE, PATH_ANNOTATION
from modelimage.errors import ImageError
from modelimage.patience import Patience, RetryPolicy
from modelimage.registry import Registry
from modelimage.stream.checked import CheckedChunks
from modelimage.stream.counters import Count, Counters
from modelimage.stream.door import Door, Objects
from modelimage.stream.files import ServedImage, read_image
from modelimage.stream.pool import ChunkPool
from modelimage.stream.upstream import Upstream
from oci_model_serving.reference import RegistryReference
from tests.modelimage.handmade import CONFIG, MANIFEST, digest_of, file, tar
from tests.modelimage.servers import Answer, Request, ranged, serving

CHUNK = 64 << 10
"""The smallest chunks that are read: a test's files have several of them."""
QUICK = RetryPolicy(attempts=3, first_seconds=0.01, longest_seconds=0.02, retry_after_limit_seconds=0.05)

Hook = Callable[[Request], Answer | None]
Layer = tuple[str, bytes, dict[str, str]]


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - the same at each run


def single(path: str, data: bytes) -> Layer:
    """A layer as the packer writes it: one file, and where it is."""
    blob = tar(file(f"models/{path}", data))
    offset = _offset(blob)
    return LAYER_TYPE, blob, {PATH_ANNOTATION: f"/models/{path}", OFFSET: str(offset), SIZE: str(len(data))}


def _offset(blob: bytes) -> int:
    with tarfile.open(fileobj=io.BytesIO(blob)) as archive:
        found = archive.next()
        assert found is not None
        return found.offset_data


def many(*entries: tuple[tarfile.TarInfo, bytes]) -> Layer:
    """A layer of several files, as any tool writes it."""
    return LAYER_TYPE, tar(*entries), {}


def lists_of(layers: Sequence[Layer], chunk: int = CHUNK) -> Layer:
    """The layer of the lists of others."""
    lists = {
        digest_of(blob): b"".join(hashlib.sha256(blob[at : at + chunk]).digest() for at in range(0, len(blob), chunk))
        for _, blob, _ in layers
    }
    return LAYER_TYPE, chunks.written(lists), {CHUNKS: str(chunk)}


@dataclass
class HostileRegistry:
    """A registry whose `hooks` answer first, each until it answers nothing."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    hooks: list[Hook] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    host: str = ""

    @contextmanager
    def running(self) -> Iterator[HostileRegistry]:
        with serving(self) as address:
            self.host = address.removeprefix("http://")
            yield self

    def __call__(self, request: Request) -> Answer:
        self.asked.append(request)
        for hook in list(self.hooks):
            if (answer := hook(request)) is not None:
                return answer
        if request.path == "/v2/":
            return Answer(200, b"{}")
        kind, _, name = request.path.removeprefix("/v2/m/").partition("/")
        if kind == "manifests" and name in self.manifests:
            media_type, document = self.manifests[name]
            return Answer(200, document, {"Content-Type": media_type})
        if kind == "blobs" and name in self.blobs:
            return ranged(request, self.blobs[name])
        return Answer(404, b'{"errors":[{"code":"NAME_UNKNOWN","message":"unknown"}]}')

    def put(self, data: bytes) -> dict[str, Any]:
        self.blobs[digest_of(data)] = data
        return {"digest": digest_of(data), "size": len(data)}

    def push(self, layers: Sequence[Layer], *, lists: bool = True, **more: Any) -> RegistryReference:
        """Have an image there, and name it."""
        layers = [*layers, lists_of(layers)] if lists else layers
        config = {"os": "linux", "architecture": "amd64", "config": {}, "rootfs": {"type": "layers"}}
        described = [
            {"mediaType": kind, **self.put(blob), **({"annotations": notes} if notes else {})}
            for kind, blob, notes in layers
        ]
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **self.put(json.dumps(config).encode())},
            "layers": described,
            **more,
        }
        return self.document(document)

    def document(self, document: Mapping[str, Any]) -> RegistryReference:
        data = json.dumps(document).encode()
        self.manifests[digest_of(data)] = (document["mediaType"], data)
        return RegistryReference(self.host, "m", None, digest_of(data))

    def ranges(self, digest: str = "") -> list[str]:
        """The ranges of blobs that were asked for."""
        return [
            request.headers.get("range", "")
            for request in self.asked
            if "/blobs/" in request.path and request.path.endswith(digest)
        ]


@dataclass
class OpenDoor:
    """An image's door, and what it is made of."""

    image: ServedImage
    door: Door
    upstream: Upstream
    counters: Counters
    failed: list[ImageError]
    client: httpx.Client
    address: tuple[str, int]

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(f"/models/m/{path}", headers=headers)

    def count(self, what: Count) -> int:
        return self.counters.total(what)


def read(reference: RegistryReference, policy: RetryPolicy = QUICK) -> ServedImage:
    with Registry(reference, patience=Patience(policy)) as registry:
        return read_image(registry, reference)


@contextmanager
def door_of(
    reference: RegistryReference,
    *,
    slots: int = 8,
    readers: int = 1,
    policy: RetryPolicy = QUICK,
    prefix: str = "models/m",
) -> Iterator[OpenDoor]:
    """Open the door to an image, with a client at it."""
    image = read(reference, policy)
    counters = Counters(1)
    login = Credentials(reference.host, reference.repository, use_environment=True)
    upstream = Upstream(
        reference,
        image.layers,
        httpx.URL(f"http://{reference.host}"),
        login,
        patience=Patience(policy),
        counters=counters,
    )
    failed: list[ImageError] = []
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(512)
    held = CheckedChunks(upstream, image.ledger, ChunkPool(slots, image.ledger.chunk_bytes, readers))
    address = ("127.0.0.1", int(listening.getsockname()[1]))
    door = Door(listening, Objects(image, prefix), held, counters, failed.append)
    thread = threading.Thread(target=door.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{address[1]}", trust_env=False, timeout=20) as client:
            yield OpenDoor(image, door, upstream, counters, failed, client, address)
    finally:
        door.shutdown()
        door.server_close()
