"""An HTTP server that answers as a Kubernetes API server from objects in memory.

It keeps objects by path, lists and selects by labels, applies merge patches, gives containers' logs as a kubelet does
(times before lines, cut after so many bytes), and answers what a test has set for a method and path instead. The
refusals that tests set are copies of what kube-apiserver 1.35 says.
"""

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.smoke import loopback

JSON = dict[str, Any]
Answer = tuple[int, Any]


@dataclass
class RecordedApi:
    """The server's state; `answers` go before `objects`, `patched` is called after each patch.

    `logs` has the lines of a container, by its pod's path and its name, each with its time.
    """

    url: str = ""
    objects: dict[str, JSON] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    logs: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)
    requests: list[tuple[str, str, JSON]] = field(default_factory=list)
    patched: Callable[[str, JSON], object] = lambda _path, _object: None

    @property
    def kubeconfig(self) -> str:
        """The text of a kubeconfig for it."""
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": self.url}}],
                "users": [{"name": "u", "user": {"token": "very-secret-token"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "c",
            }
        )

    def answer(self, method: str, path: str, body: JSON) -> Answer:
        """Answer one request."""
        parts = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.requests.append((method, path, body))
        if (method, parts.path) in self.answers:
            return self.answers[method, parts.path]
        if method == "GET":
            return self._get(parts.path, query)
        if method == "POST":
            return 201, body
        found = self.objects.get(parts.path)
        if found is None:
            return not_found(parts.path)
        if method == "DELETE":
            del self.objects[parts.path]
            return 200, {"kind": "Status", "status": "Success"}
        pretended = bool(query.get("dryRun"))
        found = copy.deepcopy(found) if pretended else found
        merge(found, body)
        if not pretended:
            self.patched(parts.path, found)
        return 200, found

    def _get(self, path: str, query: dict[str, str]) -> Answer:
        if path in self.objects:
            return 200, self.objects[path]
        if path.endswith("/log"):
            return self._log(path.removesuffix("/log"), query)
        if not path.rstrip("/").endswith(
            ("pods", "events", "nodes", "networkpolicies", "replicasets", "inferenceservices", "models/")
        ):
            return not_found(path)
        items = [found for key, found in self.objects.items() if key.rpartition("/")[0] == path]
        wanted = [pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair]
        return 200, {
            "items": [
                item
                for item in items
                if all(item["metadata"].get("labels", {}).get(key) == value for key, value in wanted)
            ]
        }

    def _log(self, pod: str, query: dict[str, str]) -> Answer:
        if pod not in self.objects:
            return not_found(pod)
        name, names = pod.rpartition("/")[2], [one["name"] for one in self.objects[pod]["spec"]["containers"]]
        container = query.get("container", names[0] if len(names) == 1 else "")
        if not container:
            return bad_request(f"a container name must be specified for pod {name}, choose one of: {names}")
        if container not in names:
            return bad_request(f"container {container} is not valid for pod {name}")
        lines = self.logs.get((pod, container), [])
        stamped = query.get("timestamps") == "true"
        text = "".join(f"{at} {line}\n" if stamped else f"{line}\n" for at, line in lines).encode()
        return 200, text[: int(query.get("limitBytes", len(text)))].decode(errors="replace")


def merge(target: JSON, patch: JSON) -> None:
    """Apply a JSON merge patch (RFC 7396) in place."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def not_found(path: str) -> Answer:
    return 404, {"kind": "Status", "reason": "NotFound", "message": f"{path} not found", "code": 404}


def forbidden(message: str) -> Answer:
    return 403, {"kind": "Status", "reason": "Forbidden", "message": message, "code": 403}


def bad_request(message: str) -> Answer:
    return 400, {"kind": "Status", "reason": "BadRequest", "message": message, "code": 400}


def invalid(message: str) -> Answer:
    return 422, {"kind": "Status", "reason": "Invalid", "message": message, "code": 422}


@contextlib.contextmanager
def serve() -> Iterator[RecordedApi]:
    """Run a server on loopback until the context ends."""
    state = RecordedApi()
    with loopback.serve(type("Handler", (_Handler,), {"server_state": state})) as address:
        state.url = f"http://{address}"
        yield state


class _Handler(loopback.Handler):
    server_state: ClassVar[RecordedApi]

    def respond(self) -> None:
        raw = self.read_body()
        status, body = self.server_state.answer(self.command, self.path, json.loads(raw) if raw else {})
        text = isinstance(body, str)
        self.send(status, (body if text else json.dumps(body)).encode(), "text/plain" if text else "application/json")
