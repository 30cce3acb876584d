"""A hub for tests: HTTP on loopback that answers as the Hugging Face Hub does, and a second host for large files.

What it imitates, from huggingface_hub 2.4.0 (utils/_http.py, hf_api.py, file_download.py) and its issues: a gated
model's listing is public and its files are not (huggingface.js #945); a bad token is refused even for public models
(huggingface_hub #2847); an unknown model is 401 to strangers and 404 to accounts; listings come in pages with a `Link`;
a renamed model is a 307; large files are a 302 to a signed address elsewhere, by LFS or by Xet.

    with FakeHub() as hub:
        hub.add("org/name", files, gated=True)
        hub.accounts["hf_token"] = Account(granted={"org/name"})
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import parse_qs, quote, unquote, urlsplit

import huggingface_hub.constants
import pytest

from tests.modelimage.servers import Answer, Request, ranged, serving

COMMIT = "c" * 40
LARGE = (".safetensors", ".gguf", ".bin")


@dataclass
class Account:
    """Who a token belongs to: what it was granted, what it waits for, and whether a fine-grained token may read it."""

    granted: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    reads_gated: bool = True


@dataclass
class Model:
    """A repository with one commit."""

    files: dict[str, bytes]
    commit: str = COMMIT
    gated: bool = False
    private: bool = False
    card: dict[str, Any] = field(default_factory=dict)
    xet: bool = True


_Hub = TypeVar("_Hub", bound="FakeHub")


class FakeHub:
    """The server; what it was asked is in `requests`, what the other host was asked in `elsewhere`."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.renamed: dict[str, str] = {}
        self.accounts: dict[str, Account] = {}
        self.requests: list[Request] = []
        self.elsewhere: list[Request] = []
        self.page_size = 1000
        self.link_host: str | None = None
        """Another host that a listing's `Link` leads to."""
        self.next: list[Answer] = []
        """Answers to the next requests for the API or a small file, in place of the right ones."""
        self.next_elsewhere: list[Answer] = []
        self.cut: int | None = None
        """After how many bytes the next large file breaks off."""
        self.lie: dict[str, bytes] = {}
        self.hold: threading.Event | None = None
        """Answers wait for it, where it is given."""
        self.address = self.cdn = ""
        self._stack = ExitStack()

    def __enter__(self: _Hub) -> _Hub:  # noqa: PYI019 - Python 3.10 has no Self
        self.address = self._stack.enter_context(serving(self._answer))
        # Another server, and by name another host, as the real one's.
        self.cdn = self._stack.enter_context(serving(self._content_elsewhere)).replace("127.0.0.1", "localhost")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def add(self, name: str, files: dict[str, bytes], **more: Any) -> Model:
        """Publish a model."""
        self.models[name] = Model(files, **more)
        return self.models[name]

    def used_by(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> FakeHub:
        """Let this process, and those that it starts, ask this hub and no other."""
        monkeypatch.setenv("HF_ENDPOINT", self.address)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
        # Xet's own protocol is not spoken here: the library then takes the redirect, as our own reader always does.
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        return self

    def forget(self) -> None:
        """Forget what was asked so far."""
        self.requests.clear()
        self.elsewhere.clear()

    def reads(self, ending: str) -> list[Request]:
        """The requests for the content of files whose name ends so."""
        asked = [*self.requests, *self.elsewhere]
        return [
            r for r in asked if r.method == "GET" and urlsplit(r.path).path.endswith(ending) and "/api/" not in r.path
        ]

    # What the hub itself answers.

    def _answer(self, request: Request) -> Answer:  # noqa: PLR0911 - one for each kind of answer
        self.requests.append(request)
        if self.hold:
            self.hold.wait(30)
        if self.next:
            return self.next.pop(0)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in self.accounts:
            return _refusal(401, "", "Invalid credentials in Authorization header")
        account = self.accounts.get(token)
        path, query = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
        parts = [unquote(part) for part in path.strip("/").split("/")]
        owner, name, *rest = parts[2:] if parts[:2] == ["api", "models"] else parts
        repository = f"{owner}/{name}"
        if repository in self.renamed:
            target = path.replace(f"/{quote(repository)}", f"/{quote(self.renamed[repository])}", 1)
            target += f"?{urlsplit(request.path).query}" if query else ""
            return Answer(307, b"Temporary Redirect", {"Location": target, "Content-Type": "text/plain"})
        model = self.models.get(repository)
        if model is None or (model.private and (account is None or repository not in account.granted)):
            if account is None:
                return _refusal(401, "RepoNotFound", "Invalid username or password.")
            return _refusal(404, "RepoNotFound", "Repository not found")
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in {"main", model.commit, model.commit[:7]}:
            return _refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if parts[0] != "api":
            return self._resolve(request, repository, model, account, "/".join(rest[2:]))
        return self._listing(repository, model, query) if rest[:1] == ["tree"] else _described(repository, model)

    def _listing(self, repository: str, model: Model, query: dict[str, list[str]]) -> Answer:
        names = sorted(model.files)
        folders = sorted({"/".join(name.split("/")[:-1]) for name in names if "/" in name})
        entries = [{"type": "directory", "oid": "d" * 40, "size": 0, "path": folder} for folder in folders]
        entries += [_entry(model, name) for name in names]
        start = int(query.get("cursor", ["0"])[0])
        answer = _json(entries[start : start + self.page_size])
        if start + self.page_size < len(entries):
            here = self.link_host or self.address
            more = f"recursive=true&expand=false&cursor={start + self.page_size}"
            answer.headers["Link"] = f'<{here}/api/models/{repository}/tree/{model.commit}?{more}>; rel="next"'
        return answer

    def _resolve(self, request: Request, repository: str, model: Model, account: Account | None, name: str) -> Answer:
        if model.gated and (refusal := _gate(repository, account)):
            return refusal
        if name not in model.files:
            return _refusal(404, "EntryNotFound", "Entry not found")
        content = model.files[name]
        headers = {"X-Repo-Commit": model.commit, "Accept-Ranges": "bytes"}
        if name.endswith(LARGE):
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": etag, "Content-Type": "text/plain"}
            if model.xet:
                headers |= {"X-Xet-Hash": hashlib.sha256(b"xet" + content).hexdigest()}
                auth = f"{self.address}/api/models/{repository}/xet-read-token/{model.commit}"
                headers |= {"Link": f'<{auth}>; rel="xet-auth"'}
            route = "xet-bridge-us" if model.xet else "repos"
            headers["Location"] = f"{self.cdn}/{route}/{quote(repository)}/{quote(name)}?Expires=1&Signature=SIGNED"
            return Answer(302, b"Found. Redirecting", headers)
        answer = ranged(request, self.lie.get(name, content))
        answer.headers |= headers | {"ETag": f'"{_git_hash(content)}"'}
        return answer

    # What the other host answers.

    def _content_elsewhere(self, request: Request) -> Answer:
        self.elsewhere.append(request)
        if self.next_elsewhere:
            return self.next_elsewhere.pop(0)
        if "authorization" in request.headers:  # as S3 and CloudFront do with a signed address
            return Answer(400, b"Only one auth mechanism allowed", {"Content-Type": "text/plain"})
        _, owner, name, *rest = [unquote(part) for part in urlsplit(request.path).path.strip("/").split("/")]
        path = "/".join(rest)
        answer = ranged(request, self.lie.get(path, self.models[f"{owner}/{name}"].files[path]))
        if self.cut is not None and request.method == "GET":
            answer.cut_after, self.cut = self.cut, None
        return answer


def _gate(repository: str, account: Account | None) -> Answer | None:
    """What a gated model's file is refused with; None where it is given."""
    if account is None:
        what = (
            f"Access to model {repository} is restricted. You must have access to it and be authenticated to access it."
        )
        return _refusal(401, "GatedRepo", f"{what} Please log in.")
    if repository in account.pending:
        what = f"Your request to access model {repository} is awaiting a review from the repo authors."
        return _refusal(403, "GatedRepo", what)
    if repository not in account.granted:
        what = f"Access to model {repository} is restricted and you are not in the authorized list."
        return _refusal(403, "GatedRepo", f"{what} Visit https://huggingface.co/{repository} to ask for access.")
    if not account.reads_gated:
        what = "Please enable access to public gated repositories in your fine-grained token settings"
        return _refusal(403, "", f"{what} to view this repository.")
    return None


def _refusal(status: int, code: str, message: str) -> Answer:
    headers = {"X-Error-Message": message, "Content-Type": "application/json; charset=utf-8"}
    if code:
        headers["X-Error-Code"] = code
    return Answer(status, json.dumps({"error": message}).encode(), headers)


def _described(repository: str, model: Model) -> Answer:
    return _json(
        {
            "_id": "6" * 24,
            "id": repository,
            "modelId": repository,
            "sha": model.commit,
            "private": model.private,
            "gated": "manual" if model.gated else False,
            "cardData": model.card,
            "siblings": [{"rfilename": name} for name in sorted(model.files)],
        }
    )


def _entry(model: Model, name: str) -> dict[str, Any]:
    content = model.files[name]
    entry: dict[str, Any] = {"type": "file", "oid": _git_hash(content), "size": len(content), "path": name}
    if name.endswith(LARGE):
        # The object's own id is that of the pointer file; what it points to is in `lfs`.
        entry |= {"oid": "e" * 40, "lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}}
        entry["lfs"]["pointerSize"] = 135
        if model.xet:
            entry["xetHash"] = hashlib.sha256(b"xet" + content).hexdigest()
    return entry


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _json(document: object) -> Answer:
    return Answer(200, json.dumps(document).encode(), {"Content-Type": "application/json; charset=utf-8"})
