"""A registry in memory, for what a real one here cannot be asked to be: with the Referrers API, or with odd habits."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final
from urllib.parse import parse_qs, urlsplit

from modelimage.documents import INDEX_TYPE
from modelimage.streams import digest_of
from tests.modelimage.servers import Answer, Request, serving


@final
@dataclass
class MemoryRegistry:
    """`api` says whether it lists referrers itself, in pages of `page`; `unknown` is what it answers where it does not.

    `immutable` are tags (a pattern) that are written once; `conditional` says whether it minds If-Match; `before_tag`
    and `after_tag` are called before and after a tag is written, as another client's hand. `pushed` tells when
    manifests were pushed (milliseconds), as Google's registries do; `removes` is whether it lets remove them.
    """

    api: bool = True
    page: int = 100
    unknown: Answer = field(default_factory=lambda: Answer(404, b"404 page not found"))
    immutable: str = "(?!)"
    conditional: bool = False
    before_tag: Callable[[str], None] = lambda _: None
    after_tag: Callable[[str], None] = lambda _: None
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)
    pushed: dict[str, str] = field(default_factory=dict)
    removes: bool = True
    asked: list[str] = field(default_factory=list)
    host: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)

    @contextmanager
    def running(self) -> Iterator[MemoryRegistry]:
        with serving(self) as address:
            self.host = address.removeprefix("http://")
            yield self

    def put(self, document: dict[str, Any], tag: str = "") -> str:
        """Have a manifest there, as its client would have pushed it."""
        content = json.dumps(document).encode()
        digest = digest_of(content)
        with self.lock:
            self.manifests[digest] = (document["mediaType"], content)
            if tag:
                self.tags[tag] = digest
        return digest

    def blob(self, content: bytes) -> dict[str, Any]:
        """Have a blob there, and describe it."""
        self.blobs[digest_of(content)] = content
        return {"mediaType": "application/vnd.example.part", "digest": digest_of(content), "size": len(content)}

    def document(self, name: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.manifests[self.tags.get(name, name)][1])
        return document

    def __call__(self, request: Request) -> Answer:
        url = urlsplit(request.path)
        kind, _, name = re.sub(r"^/v2/[^/]+/", "", url.path).partition("/")
        with self.lock:
            self.asked.append(f"{request.method} {request.path}")
            if url.path == "/v2/":
                return Answer(200, b"{}")
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            return {
                "blobs": self._blobs,
                "manifests": self._manifests,
                "referrers": self._referrers,
                "tags": self._tags,
            }[kind](request, name, query)

    def _tags(self, _: Request, __: str, query: dict[str, str]) -> Answer:
        names = [tag for tag in sorted(self.tags) if tag > query.get("last", "")]
        page = names[: self.page]
        link = {"Link": f'</v2/m/tags/list?n=9&last={page[-1]}>; rel="next"'} if page != names else {}
        said = {"manifest": {digest: {"timeUploadedMs": time} for digest, time in self.pushed.items()}}
        return Answer(200, json.dumps({"name": "m", "tags": page, **(said if self.pushed else {})}).encode(), link)

    def _remove(self, name: str) -> Answer:
        if not self.removes:
            return Answer(405, b'{"errors":[{"code":"UNSUPPORTED"}]}')
        if ":" not in name:
            if re.match(self.immutable, name):
                return Answer(400, b'{"errors":[{"code":"DENIED","message":"tag is immutable"}]}')
            return Answer(202 if self.tags.pop(name, None) else 404)
        tagged = [tag for tag, digest in self.tags.items() if digest == name]
        if tagged and self.pushed:  # as Google's registries
            return Answer(400, b'{"errors":[{"code":"GOOGLE_MANIFEST_DANGLING_TAG"}]}')
        for tag in tagged:
            del self.tags[tag]
        return Answer(202 if self.manifests.pop(name, None) else 404)

    def _blobs(self, request: Request, name: str, query: dict[str, str]) -> Answer:
        if not name.startswith("uploads/"):
            content = self.blobs.get(name)
            return Answer(404) if content is None else Answer(200, content)
        if request.method == "POST":
            number = str(len(self.uploads))
            self.uploads[number] = b""
            return Answer(202, headers={"Location": f"/v2/m/blobs/uploads/{number}"})
        number = name.removeprefix("uploads/")
        if request.method == "DELETE":
            return Answer(204)
        self.uploads[number] += request.body
        if request.method == "PATCH":
            return Answer(202, headers={"Location": f"/v2/m/blobs/uploads/{number}"})
        if digest_of(self.uploads[number]) != query["digest"]:
            return Answer(400, b'{"errors":[{"code":"DIGEST_INVALID"}]}')
        self.blobs[query["digest"]] = self.uploads[number]
        return Answer(201)

    def _manifests(self, request: Request, name: str, _: dict[str, str]) -> Answer:
        if request.method == "PUT":
            return self._put_manifest(request, name)
        if request.method == "DELETE":
            return self._remove(name)
        digest = self.tags.get(name, name)
        if digest not in self.manifests:
            return Answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        media_type, content = self.manifests[digest]
        return Answer(200, content, {"Content-Type": media_type, "ETag": f'"{digest}"'})

    def _put_manifest(self, request: Request, name: str) -> Answer:
        digest = digest_of(request.body)
        if ":" not in name:
            self.before_tag(name)
            condition = request.headers.get("if-match", "").strip('"')
            there = self.tags.get(name)
            if self.conditional and (
                (condition and condition != there) or ("if-none-match" in request.headers and there)
            ):
                return Answer(412)
            if there and re.match(self.immutable, name):
                return Answer(409, b'{"errors":[{"code":"DENIED","message":"tag is immutable"}]}')
            self.tags[name] = digest
        self.manifests[digest] = (request.headers["content-type"], request.body)
        if ":" not in name:
            self.after_tag(name)
        subject = json.loads(request.body).get("subject")
        headers = {"OCI-Subject": subject["digest"]} if subject and self.api else {}
        return Answer(201, headers={"Docker-Content-Digest": digest, **headers})

    def _referrers(self, _: Request, name: str, query: dict[str, str]) -> Answer:
        if not self.api:
            return self.unknown
        start = int(query.get("next", "0"))
        entries = [
            {
                "mediaType": media_type,
                "digest": digest,
                "size": len(content),
                "artifactType": json.loads(content).get("artifactType", ""),
            }
            for digest, (media_type, content) in self.manifests.items()
            if (json.loads(content).get("subject") or {}).get("digest") == name
        ]
        index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries[start : start + self.page]}
        more = start + self.page < len(entries)
        link = {"Link": f'</v2/m/referrers/{name}?next={start + self.page}>; rel="next"'} if more else {}
        return Answer(200, json.dumps(index).encode(), {"Content-Type": INDEX_TYPE, **link})
