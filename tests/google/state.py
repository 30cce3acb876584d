"""What Google knows: resources, policies and operations, in memory."""

from __future__ import annotations

import base64
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone

import google_crc32c

from tests.google.discovery import Method
from tests.google.errors import JSON, GoogleError
from tests.google.faults import Faults
from tests.google.script import Script


@dataclass(frozen=True)
class Call:
    """A request that was understood."""

    method: Method
    path: dict[str, str]
    query: dict[str, str]
    body: JSON
    name: str
    """The path without version and verb: `projects/demo/locations/us/repositories/models`."""
    headers: dict[str, str]

    @property
    def project(self) -> str:
        """The project that it is about, or an empty text."""
        parts = self.name.split("/")
        return parts[1] if parts[0] == "projects" and len(parts) > 1 else ""

    @property
    def parent(self) -> str:
        """What the collection or the resource is below."""
        return self.name.rpartition("/")[0]


@dataclass
class Operation:
    """Work under way: done after its time, when `finish` has put its result in place."""

    name: str
    call: Call
    target: str
    ends: float
    finish: Callable[[], JSON]
    error: GoogleError | None = None
    failed: Callable[[GoogleError], object] = lambda _error: None
    result: JSON = field(default_factory=dict)
    done: bool = False

    def settle(self, now: float) -> None:
        """End it if its time has come."""
        if self.done or now < self.ends:
            return
        self.done = True
        if self.error is not None:
            self.failed(self.error)
            return
        try:
            self.result = self.finish()
        except GoogleError as error:
            self.error = error
            self.failed(error)


@dataclass
class State:
    """All that the server holds. `lock` is held while a request is answered."""

    faults: Faults
    resources: dict[tuple[str, str], JSON] = field(default_factory=dict)
    """By service and name."""
    contents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """The bytes of objects and of versions of secrets."""
    policies: dict[tuple[str, str], JSON] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    born: dict[tuple[str, str], float] = field(default_factory=dict)
    script: Script = field(default_factory=Script)
    """What builds do."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    clock: Callable[[], float] = time.monotonic
    """Seconds, by which accounts become known and operations end."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def number(self) -> int:
        """A number that has not been given yet."""
        return next(self._numbers)

    def get(self, service: str, name: str) -> JSON | None:
        """A resource, or None."""
        return self.resources.get((service, name))

    def put(self, service: str, name: str, resource: JSON) -> JSON:
        """Keep a resource."""
        self.born.setdefault((service, name), self.clock())
        self.resources[service, name] = resource
        return resource

    def age(self, service: str, name: str) -> float:
        """Seconds since a resource was made."""
        return self.clock() - self.born.get((service, name), float("-inf"))

    def delete(self, service: str, name: str) -> None:
        """Forget a resource and all below it."""
        gone = [key for key in self.resources if key[0] == service and f"{key[1]}/".startswith(f"{name}/")]
        for key in gone:
            for held in (self.resources, self.policies, self.born, self.contents):
                held.pop(key, None)

    def below(self, service: str, collection: str) -> Iterator[tuple[str, JSON]]:
        """The resources of a collection (`projects/demo/locations/us/repositories`); `-` stands for any part."""
        wanted = collection.split("/")
        for (own, name), resource in sorted(self.resources.items()):
            parts = name.split("/")
            fits = len(parts) == len(wanted) + 1
            if own == service and fits and all(one in {"-", part} for one, part in zip(wanted, parts, strict=False)):
                yield name, resource

    def upload(self, bucket: str, name: str, content: bytes) -> None:
        """Put an object into a bucket, which is made where it is not there; each upload is a new generation."""
        self.resources.setdefault(("storage", f"b/{bucket}"), {"name": bucket})
        key = ("storage", f"b/{bucket}/o/{name}")
        checksum = base64.b64encode(google_crc32c.value(content).to_bytes(4, "big")).decode()
        generation = str(1_700_000_000_000_000 + self.number())
        self.resources[key] = {"generation": generation, "crc32c": checksum}
        self.contents[key] = content

    def append(self, bucket: str, name: str, content: bytes) -> None:
        """Let an object grow, as a build's log does."""
        self.upload(bucket, name, self.contents.get(("storage", f"b/{bucket}/o/{name}"), b"") + content)

    def settle(self) -> None:
        """End the operations whose time has come."""
        for operation in list(self.operations.values()):
            operation.settle(self.clock())

    def start(
        self,
        call: Call,
        name: str,
        target: str,
        finish: Callable[[], JSON],
        failed: Callable[[GoogleError], object] = lambda _error: None,
    ) -> Operation:
        """Begin an operation, which is done at once unless operations are slow."""
        now = self.clock()
        error = self.faults.failing.get(call.method.id)
        seconds = self.faults.slow.get(call.method.id, self.faults.operation_seconds)
        operation = Operation(name, call, target, now + seconds, finish, error, failed)
        self.operations[name] = operation
        operation.settle(now)
        return operation


def timestamp() -> str:
    """Now, as Google writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
