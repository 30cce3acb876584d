"""The doors that hostile inputs come to. Each takes one input of a seed; it may raise an `OmsError`, and no more.

What a person would see of each is looked at: it has an end, and no terminal obeys it.
"""

from __future__ import annotations

import atexit
import base64
import gzip
import io
import json
import shutil
import struct
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import httpx
import httpx2

from components.serving import engine_args
from components.settings import plain_yaml
from modelimage import cache_key, chunks, gguf_header, hub_client, image_address, safetensors_header
from modelimage.archives import ArchiveError, UnreadableError
from modelimage.artifacts import artifact_kind, check_image
from modelimage.attachments import entry_of, listed_in, merged, subject_of, type_of
from modelimage.authorisation import Authorisations
from modelimage.credentials import Credentials
from modelimage.documents import Descriptor, ImageConfig, read_config, read_index, read_manifest
from modelimage.fit import Purpose, find_model, misfits
from modelimage.hub_refusals import hub_errors
from modelimage.listing import Bounds, list_files
from modelimage.patience import Patience, RetryPolicy
from modelimage.progress import readable
from modelimage.registry import Registry
from modelimage.source import SourceFile
from modelimage.stores import StoredManifest
from modelimage.transport import Transport
from modelimage.weights import HeaderCheck
from oci_model_serving import foreign, outputs, reference
from oci_model_serving.delivery import Delivery
from oci_model_serving.errors import OmsError
from offline import comment, diff, plan
from policy import rules
from smoke.answers import object_of
from tests.fuzz import material
from watch.causes import unlike
from watch.complaints import Case
from watch.diagnosis import diagnose
from watch.signs import Look, Signs

DIGEST = "sha256:" + "3" * 64
IMAGE = f"registry.example/models/qwen@{DIGEST}"
ROOT = Path(__file__).parents[2]
MESSAGE_CHARACTERS = 100_000
Door = Callable[[Random], None]


def told(message: str) -> None:
    """See that what a person would read has an end, and moves no cursor."""
    assert len(message) <= MESSAGE_CHARACTERS, f"a message of {len(message)} characters"
    shown = message.replace("\n", "")
    assert shown.isprintable(), "a message that a terminal would obey"
    message.encode()


def _told_or(read: Callable[..., object], *given: object) -> object:
    """What is read, or None where it is refused: then in words that can be shown."""
    try:
        return read(*given)
    except OmsError as error:
        told(str(error))
        return None


def references(rng: Random) -> None:
    """Names of images, addresses of sources and tags, however they are written."""
    words = (IMAGE, "localhost:5000/m:v1", "oci:/a@" + DIGEST, "oci://h.example/m", "gs://b/p", "hf://o/n@" + "a" * 40)
    written = rng.choice(words) if rng.random() < 0.7 else material.text(rng)
    if rng.random() < 0.8:
        written = material.damaged(rng, written.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogateescape")
    readers: Sequence[Callable[[str], object]] = (
        reference.parse,
        reference.parse_pinned,
        reference.ImageReference.parse,
        image_address.read,
        image_address.mistake,
    )
    for read in readers:
        found = _told_or(read, written)
        if isinstance(found, reference.ImageReference):
            assert reference.ImageReference.parse(str(found)) == found
    for total in (reference.is_loopback, reference.google_repository, reference.digest_of, reference.packed_digest_of):
        total(written)


_LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": DIGEST, "size": 10}
_CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST, "size": 2}
_MANIFEST: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "artifactType": "application/x",
    "config": _CONFIG,
    "layers": [_LAYER, {**_LAYER, "annotations": {"org.opencontainers.image.title": "a.tar"}}],
    "subject": {**_LAYER},
    "annotations": {"a": "b"},
}
_INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.oci.image.index.v1+json",
    "manifests": [{**_LAYER, "platform": {"os": "linux", "architecture": "amd64"}, "artifactType": "x"}] * 2,
}
_IMAGE_CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "config": {"Env": ["PATH=/bin"]},
    "rootfs": {"diff_ids": [DIGEST]},
}


def manifests(rng: Random) -> None:
    """Manifests, indexes and configurations of images, and what is read of an artifact's."""
    document = rng.choice((_MANIFEST, _MANIFEST, _INDEX, _IMAGE_CONFIG))
    content = material.encoded(rng, material.mutated(rng, document))
    stored = StoredManifest.read(DIGEST, "x", content)
    subject_of(stored)
    entry_of(stored)
    type_of(stored)
    for read in (read_index, read_config):
        _told_or(read, content, IMAGE)
    manifest = read_manifest(content, IMAGE)
    readable(manifest.size_bytes)
    artifact_kind(manifest)
    check_image(manifest, IMAGE)


def referrers(rng: Random) -> None:
    """Lists of what is attached to an image."""
    content = material.encoded(rng, material.mutated(rng, _INDEX))
    if listed_in(content) is not None:
        merged(content, [{"digest": DIGEST}])


_CACHE_KEY = {
    "version": 1,
    "model": DIGEST,
    "server": DIGEST,
    "gpu": "nvidia-l4",
    "gpus": 1,
    "args": {"--max-model-len": "8192"},
    "env": {"HOME": "/root"},
}


def compile_caches(rng: Random) -> None:
    """What images say that a compile cache was made of, held against what is served."""
    text = material.encoded(rng, material.mutated(rng, _CACHE_KEY)).decode("utf-8", "surrogateescape")
    made = _told_or(cache_key.key_in, {cache_key.ANNOTATION: text}, IMAGE)
    if isinstance(made, cache_key.CacheKey):
        told("; ".join(made.differences(cache_key.CacheKey.model_validate(_CACHE_KEY))))
        made.written()


_HEADER = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]},
}


def safetensors(rng: Random) -> None:
    """Headers of safetensors files, as the packer checks and as it splits them."""
    header = material.encoded(rng, material.mutated(rng, _HEADER))
    length = len(header) if rng.random() < 0.8 else rng.choice((0, 2**63, 2**64 - 1, len(header) - 1))
    content = (length % 2**64).to_bytes(8, "little") + header + bytes(24)
    content = material.damaged(rng, content) if rng.random() < 0.2 else content
    file = SourceFile.of("model.safetensors", content)
    try:
        HeaderCheck(file.path, file.size).feed(content)
    except OmsError as error:
        told(str(error))
    found = safetensors_header.read(file)
    for cut in found.cuts:
        found.of_part(0, cut)


@cache
def _gguf() -> bytes:
    def text(said: bytes) -> bytes:
        return struct.pack("<Q", len(said)) + said

    keys = (
        text(b"general.architecture") + struct.pack("<I", 8) + text(b"qwen2"),
        text(b"general.alignment") + struct.pack("<II", 4, 32),
        text(b"tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"b"),
        text(b"split.no") + struct.pack("<IH", 2, 0),
    )
    tensors = (
        text(b"a.weight") + struct.pack("<IQQIQ", 2, 4, 4, 0, 0),
        text(b"b.weight") + struct.pack("<IQIQ", 1, 32, 8, 64),
    )
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join((*keys, *tensors))
    return header + bytes(-len(header) % 32) + bytes(128)


def gguf(rng: Random) -> None:
    """Headers of GGUF files."""
    gguf_header.read(SourceFile.of("model.gguf", material.damaged(rng, _gguf())))


@cache
def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind in (("models/", tarfile.DIRTYPE), ("models/config.json", tarfile.REGTYPE)):
            info = tarfile.TarInfo(name)
            info.type, content = kind, b'{"architectures": ["Qwen2ForCausalLM"]}' if kind == tarfile.REGTYPE else b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo("models/model-" + "x" * 120 + ".safetensors")
        info.size = 700
        archive.addfile(info, io.BytesIO(bytes(700)))
        for number, target in enumerate(("models/config.json", "../../etc/passwd", "link-1", "/")):
            info = tarfile.TarInfo(f"link-{number}")
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()


class _Blob:
    """A store of one layer, that gives it whole or in ranges."""

    def __init__(self, content: bytes, *, ranges: bool) -> None:
        self._content, self._ranges = content, ranges

    def manifest(self, _: str | None) -> StoredManifest:
        raise AssertionError

    def read_blob(self, _: str, __: int, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        yield self._content[start:end]

    def read_range(self, _: str, __: int, start: int, end: int) -> bytes | None:
        return self._content[start:end] if self._ranges else None


def _checksummed(content: bytes) -> bytes:
    """The archive with its headers' checksums made right, so that what they say is believed."""
    made = bytearray(content)
    for at in range(0, len(made) - 511, 512):
        if made[at + 257 : at + 262] == b"ustar":
            made[at + 148 : at + 156] = b" " * 8
            made[at + 148 : at + 156] = b"%06o\0 " % sum(made[at : at + 512])
    return bytes(made)


def layers(rng: Random) -> None:
    """Layers of images: tar archives, plain and compressed, read by their headers; and what is found in them."""
    content = material.damaged(rng, _tar())
    content = _checksummed(content) if rng.random() < 0.8 else content
    kind = "application/vnd.oci.image.layer.v1.tar"
    if rng.random() < 0.2:
        content, kind = gzip.compress(content, 1), f"{kind}+gzip"
        content = material.damaged(rng, content) if rng.random() < 0.7 else content
    layer = Descriptor(mediaType=kind, digest=DIGEST, size=max(0, len(content) + rng.choice((0, 0, -1, 600))))
    store = _Blob(content, ranges=rng.random() < 0.5)
    contents = list_files(store, [layer], bounds=Bounds(seconds=10, stream_bytes=1 << 20, plain_bytes=1 << 20))
    find_model(contents)
    purposes: tuple[Purpose, ...] = (Delivery.MODELCAR, Delivery.KUBEAI, Delivery.STREAM, "adapter")
    for purpose in purposes:
        for said in misfits(contents, ImageConfig(), purpose, IMAGE, [layer]):
            told(str(OmsError(said)))


def chunk_lists(rng: Random) -> None:
    """The layer of an image's chunk lists, and what layers say of it and of their one file."""
    sizes = [rng.choice((0, 5, 70_000, 300_000, 1 << 40)) for _ in range(rng.randrange(4))]
    digests = [f"sha256:{number:064x}" for number in range(len(sizes))]
    content = chunks.written({digest: rng.randbytes(32 * rng.randrange(9)) for digest in digests})
    content = material.damaged(rng, content) if rng.random() < 0.8 else content
    content = _checksummed(content) if rng.random() < 0.8 else content
    numbers = ("65536", "1048576", "0", "-1", "1e9", "9" * 5000, "\u0661", "", "\x1b[2J")
    kind = rng.choice(("application/vnd.oci.image.layer.v1.tar", "application/\x1b[2J.gzip"))
    holder = Descriptor(
        mediaType=kind, digest=DIGEST, size=len(content), annotations={chunks.CHUNKS: rng.choice(numbers)}
    )
    noted = [{chunks.OFFSET: rng.choice(numbers), chunks.SIZE: rng.choice(numbers)} for _ in sizes]
    layers = [
        Descriptor(mediaType=kind, digest=digest, size=size, annotations=notes)
        for digest, size, notes in zip(digests, sizes, noted, strict=True)
    ]
    assert chunks.list_layer([*layers, holder]) is holder
    for layer in layers:
        _told_or(chunks.place_of, layer)
    lists = _told_or(chunks.read, content, holder, layers)
    if isinstance(lists, chunks.Lists):
        for layer in layers:
            if layer.digest in lists.of:
                wanted = chunks.list_bytes(layer.size, lists.chunk_bytes)
                assert len(lists.of[layer.digest]) == wanted, "a list that does not fit its layer"


_PAGE: list[dict[str, Any]] = [
    {"type": "file", "path": "config.json", "size": 7, "oid": "a" * 40},
    {"type": "directory", "path": "onnx", "size": 0, "oid": "b" * 40},
    {
        "type": "file",
        "path": "model.safetensors",
        "size": 9,
        "oid": "c" * 40,
        "lfs": {"oid": "d" * 64, "size": 9, "pointerSize": 3},
    },
]


def hub(rng: Random) -> None:
    """Answers of the hub: a model's card and the pages of its files, with their links."""
    asked = httpx2.Request("GET", "https://huggingface.co/api/models/o/n")

    def answer(url: str) -> httpx2.Response:
        link = rng.choice(("", "", f"<{material.text(rng)}>; rel=next", '<https://huggingface.co/x>; rel="next"', "<"))
        headers = [(b"link", link.encode("utf-8", "replace").replace(b"\n", b"").replace(b"\0", b""))]
        document = material.mutated(rng, rng.choice((_PAGE, _PAGE, {"sha": "a" * 40, "cardData": {"license": "mit"}})))
        return httpx2.Response(200, headers=headers, content=material.encoded(rng, document), request=asked)

    before = hub_client._get
    hub_client._get = answer
    try:
        with hub_errors("listing hf://o/n"):
            for file in hub_client.files("o/n", "a" * 40):
                assert isinstance(file.path, str)
                assert 0 <= file.size < 1 << 63
        with hub_errors("looking up the commit"):
            hub_client.model_card("o/n").get("sha")
    finally:
        hub_client._get = before


_HEADERS = (
    'Bearer realm="https://registry.example/token",service="r",scope="repository:m:pull"', "Basic realm=x", "Bearer",
    'Bearer realm="http://evil.example/"', 'Bearer realm="https://[::1"', 'Bearer realm=""', "Digest x", "Bearer realm",
)  # fmt: skip
_TOKEN = {"token": "t0ken", "access_token": "t0ken", "expires_in": 300}
_REFUSED = {"errors": [{"code": "DENIED", "message": "no", "detail": {"a": 1}}]}


def registry(rng: Random) -> None:
    """A registry's answers to all that it is asked: statuses, headers, challenges, tokens, redirects, bodies."""

    def header(value: str) -> bytes:
        raw = value.encode("utf-8", "surrogatepass")
        raw = material.damaged(rng, raw) if rng.random() < 0.2 else raw
        return raw.translate(None, b"\r\n\0")

    def answer(request: httpx.Request) -> httpx.Response:
        headers = [
            (b"content-type", header(rng.choice(("application/json", "text/plain", "text/plain; charset=x", "\x1b"))))
        ]
        for name, values in {
            b"www-authenticate": _HEADERS,
            b"location": ("/v2/x", "https://other.example/x", "http://169.254.169.254/", "https://[", "\x1b]", "//"),
            b"link": ('</v2/m/tags/list?last=a>; rel="next"', "<https://[>; rel=next", "<", material.text(rng)),
            b"retry-after": ("1", "nan", "-1", "1e999", "Wed, 21 Oct 2015 07:28:00 GMT", "x"),
            b"content-encoding": ("gzip", "br", "deflate"),
            b"content-range": ("bytes 0-1/2", "bytes 5-", "bytes 99999999999999999999999999-"),
            b"docker-content-digest": (DIGEST, "x"),
        }.items():
            if rng.random() < 0.3:
                headers.append((name, header(rng.choice(values))))
        documents = (_TOKEN, _REFUSED, _MANIFEST, _INDEX, {"tags": ["a", "b"]})
        body = material.encoded(rng, material.mutated(rng, rng.choice(documents)))
        if rng.random() < 0.1:
            body = request.headers.get("authorization", "").encode() * rng.randrange(1, 200)
        status = rng.choice((200, 200, 200, 200, 401, 401, 404, 403, 307, 302, 206, 416, 429, 500, 204, 299))
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))

    place = reference.RegistryReference("registry.example", "models")
    store = Registry(place, own=False, patience=Patience(RetryPolicy(attempts=1)))
    http: Transport = store._http
    client = httpx.Client(transport=httpx.MockTransport(answer), event_hooks={"request": [http._check_scheme]})
    http._client.close()
    http._client, http._authorisations = client, Authorisations(client, place.host, _credentials())
    asks: Sequence[Callable[[], object]] = (
        lambda: store.manifest(DIGEST),
        lambda: store.manifest("v1"),
        lambda: store.tags(5),
        lambda: store.referrers(DIGEST),
        lambda: store.has_blob(DIGEST, 7),
        lambda: store.read_range(DIGEST, 100, 3, 9),
        lambda: b"".join(store.read_blob(DIGEST, 100)),
        lambda: store.prepare(()),
    )
    said = ""
    try:
        rng.choice(asks)()
    except OmsError as error:
        said = str(error)
    told(said)
    assert _PASSWORD not in said, "our own password is said again"
    assert base64.b64encode(f"me:{_PASSWORD}".encode()).decode() not in said


_PASSWORD = "correct-horse-battery"


class _Known(Credentials):
    def _from_logins(self) -> Any:
        from modelimage.credentials import Credential

        return Credential("me", _PASSWORD, source="a test")


@cache
def _credentials() -> Credentials:
    return _Known("registry.example", use_environment=False)


_LOGINS: dict[str, Any] = {
    "auths": {
        "registry.example": {"auth": base64.b64encode(b"me:pw").decode()},
        "https://registry.example": {"username": "me", "password": "pw"},
        "registry.example/models": {"identitytoken": "x"},
    },
    "credHelpers": {"registry.example": "none-of-that-name"},
    "credsStore": "none-of-that-name",
}


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def logins(rng: Random) -> None:
    """Files of registries' logins."""
    path = _folder() / "config.json"
    path.write_bytes(material.encoded(rng, material.mutated(rng, _LOGINS)))
    found = Credentials("registry.example", "models", use_environment=False)._from_login(path)
    if found is not None:
        found.basic()


@cache
def _outputs() -> dict[str, Any]:
    model = {
        "image": IMAGE, "digest": DIGEST, "size_bytes": 7, "traits": {"task": "generation"}, "delivery": "modelcar",
        "platform": "kserve", "name": "qwen", "namespace": "models", "storage_uri": f"oci://{IMAGE}",
        "served_name": "qwen", "url": "http://qwen.models.example", "paused": False, "node_pool": "l4", "replicas": 1,
        "adapters": {"sql": {"image": IMAGE, "digest": DIGEST, "size_bytes": 7}},
    }  # fmt: skip
    pool = {
        "accelerator": "nvidia-l4", "count": 1, "machine_type": "g2", "disk_size_gb": 200, "labels": {"a": "b"},
        "taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}], "min_nodes": 0, "max_nodes": 1, "spot": True,
    }  # fmt: skip
    return {
        "contract_version": 1, "registry_url": "registry.example/models", "models": {"qwen": model},
        "cluster": {"name": "c", "location": "l", "version": "1.35"}, "node_pools": {"l4": pool},
        "platforms": {"kserve": {"version": "v0.20.0", "namespace": "kserve", "gateway": "gke"}},
        "node_service_accounts": {"l4": "a@b"},
    }  # fmt: skip


def stack_outputs(rng: Random) -> None:
    """Outputs of other stacks."""
    found = material.mutated(rng, _outputs())
    if isinstance(found, dict):
        made = outputs.parse(found, stack="acme/oms/dev")
        for model in made.models.values():
            assert model.size_bytes >= 0
            assert model.reference.digest == model.digest


@cache
def _settings() -> str:
    return (ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8")


_YAML = (
    "&a ", "*a", "<<: *a", "!!binary ", "!!set ", "!!timestamp x", "- ", ": ", "{", "[", "}", "]", "\t", "\0", "|\n",
    ">-\n", "? ", "%YAML 9.9\n", "---\n", "...\n", "'", '"', '"\\ud800"', ".nan", "0x" + "f" * 40, "1_000", "1:30",
    "\ufeff", "#", "! ", "!!python/object/apply:os.system [id]", "\n  a: &b [*b]", "[" * 300, "\u2028", "\x85",
)  # fmt: skip


def settings_files(rng: Random) -> None:
    """Stacks' files: a committed one with pieces of YAML where they do not belong."""
    lines = _settings().splitlines(keepends=True)
    start = rng.randrange(len(lines))
    made = "".join(lines[start : start + rng.randrange(1, 25)])
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(made) + 1)
        piece = rng.choice(_YAML) if rng.random() < 0.8 else material.text(rng)
        made = made[:at] + piece + made[at + rng.choice((0, 0, 1, 5)) :]
    found = plain_yaml.parsed(made, "Pulumi.dev.yaml")
    json.dumps(found, allow_nan=False).encode()


@cache
def _plan() -> dict[str, Any]:
    read = json.loads((ROOT / "tests" / "plans" / "dev.json").read_text(encoding="utf-8"))
    kinds: dict[str, Any] = {}
    for one in read["resources"]:
        kinds.setdefault(one["type"], one)
    return {**read, "resources": list(kinds.values())[:12]}


def plans(rng: Random) -> None:
    """Plans in JSON, as an artifact brings them: their difference, its comment, and the policy on them."""
    made = json.loads(json.dumps(_plan()))
    kept = rng.sample(range(len(made["resources"])), 2)
    made["resources"] = [made["resources"][at] for at in kept]
    changed = material.mutated(rng, made)
    if not plan.is_plan(changed):
        return
    found = diff.compare(made, changed)
    told(comment.as_text(found).rstrip("\n"))
    told(comment.as_markdown(found, "dev"))
    for violation in rules.check(changed, "dev"):
        told(str(OmsError(foreign.in_line(str(violation), 5000))))


@cache
def _statuses() -> list[dict[str, Any]]:
    folder = ROOT / "tests" / "watch" / "statuses"
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def cluster_objects(rng: Random) -> None:
    """Pods, events and nodes as an API server that is none could tell them: why a pod does not run."""
    recorded = material.mutated(rng, rng.choice(_statuses()))
    with unlike("an API server"):
        pod, events, nodes = recorded["pod"], recorded.get("events", []), recorded.get("nodes", [])
        for cause in diagnose(Case(pod, events, nodes, 7, "a@b", "l4")):
            told(str(OmsError(cause.evidence)))
            told(str(OmsError(cause.remedy)))
        Signs().verdict(Look([pod], going=False, complaint="", events=events), 1e9)


_ARGUMENTS = (
    "--max-model-len=8192", "--max-model-len", "8k", "--gpu-memory-utilization", "0.9", "--no-enable-prefix-caching",
    "--served-model-name", "a", "b", "-tp", "2", "-tp=2", "--model", "--hf-overrides", "{}", "--port=0", "--", "-", "=",
    "--quantization=fp8", "--kv-cache-dtype=", "--tensor-parallel-size=9" + "9" * 5000, "--max-model-len=1e999",
)  # fmt: skip


def server_arguments(rng: Random) -> None:
    """Arguments of vLLM."""
    words = [
        rng.choice(_ARGUMENTS) if rng.random() < 0.8 else material.text(rng) for _ in range(rng.choice((1, 2, 4, 8)))
    ]
    found = engine_args.read(words)
    for said in (*found.problems, *found.doubts):
        told(str(OmsError(foreign.in_line(said, 10_000))))
    for word in words:
        engine_args.count(word)


def endpoint_answers(rng: Random) -> None:
    """What an endpoint answers to the smallest question of each task."""
    from smoke.questions import QUESTIONS

    document: dict[str, Any] = {
        "data": [{"embedding": [0.1, 0.2], "data": [1], "id": "m"}],
        "results": [{"relevance_score": 0.1}, {"relevance_score": 0.2}],
        "text": "x",
    }
    answer = object_of(material.encoded(rng, material.mutated(rng, document)))
    if answer is not None:
        for question in QUESTIONS.values():
            question.read(answer)


def words(rng: Random) -> None:
    """Words of others, as a person reads them."""
    said = "".join(chr(rng.randrange(0x11_0000)) if rng.random() < 0.5 else material.text(rng) for _ in range(8))
    told(foreign.lines(said))
    assert foreign.shown(said).isprintable()
    assert foreign.lines(foreign.lines(said)) == foreign.lines(said)
    line = foreign.in_line(said * rng.choice((1, 500)), 300)
    assert line.isprintable()
    assert len(line) <= 303 * len("\\U0010ffff")
    login = "Basic " + base64.b64encode(b"me:" + b"s3cret-s3cret").decode()
    assert "s3cret-s3cret" not in foreign.without_login(f"{said} me:s3cret-s3cret {login}", login)


KINDS: Mapping[str, Door] = {
    door.__name__: door
    for door in (
        references, manifests, referrers, compile_caches, safetensors, gguf, layers, chunk_lists, hub, registry, logins,
        stack_outputs, settings_files, plans, cluster_objects, server_arguments, endpoint_answers, words,
    )
}  # fmt: skip


def failure(kind: str, seed: int, number: int) -> str:
    """What is wrong with what one input led to; "" for nothing."""
    try:
        KINDS[kind](Random(f"{kind} {seed} {number}"))  # noqa: S311 - an input that can be made again
    except OmsError as error:
        try:
            told(str(error))
        except (AssertionError, UnicodeError) as wrong:
            return f"{kind} {seed} {number}: {wrong}"
    except (ArchiveError, UnreadableError, Exception) as error:  # noqa: BLE001 - that is what is looked for
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        at = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
        return f"{kind} {seed} {number}: {type(error).__name__} at {at}: {str(error)[:200]!r}"
    return ""
