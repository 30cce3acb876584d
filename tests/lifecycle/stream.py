"""A slow stream of requests to a model through its Service, as a client sends them that never asks twice."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.integration import cluster

_NOT_THERE = {404, 503}
"""What the API server answers for a Service that is not there or has no pod."""


@dataclass(frozen=True)
class Pace:
    """How requests come.

    Attributes:
        rate: of them a second.
        patience: seconds that an answer may take.
        at_once: how many may be waiting for their answers.
    """

    rate: float = 5
    patience: float = 15
    at_once: int = 16


@dataclass(frozen=True)
class Address:
    """Where a model answers: its Service, and the name that requests call it by."""

    namespace: str
    service: str
    model: str

    @property
    def path(self) -> str:
        """The path of a chat completion through the API server's proxy."""
        return f"/api/v1/namespaces/{self.namespace}/services/{self.service}:80/proxy/v1/chat/completions"


class Stream:
    """Requests at a pace, while it flows.

    Attributes:
        addresses: where to ask, the newest first: whoever knows both addresses of a model that moves asks the old one
            while there is nobody yet at the new one.
    """

    def __init__(self, kubeconfig: Path, pace: Pace) -> None:
        self.addresses: tuple[Address, ...] = ()
        self._pace = pace
        self._client = cluster.client(kubeconfig, connections=pace.at_once)
        self._pool = ThreadPoolExecutor(pace.at_once)
        self._flows, self._ended = threading.Event(), threading.Event()
        self._sent: list[Future[str]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Let it flow."""
        self._flows.set()

    def stop(self) -> None:
        """Send nothing more; what was sent is still to be answered."""
        self._flows.clear()

    def taken(self) -> tuple[int, list[str]]:
        """How many requests were sent since this was last asked, and what became of those without an answer."""
        sent, self._sent = self._sent, []
        said = [future.result() for future in sent]
        return len(said), [one for one in said if one]

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._flows.set()
        self._thread.join()
        self._pool.shutdown()
        self._client.close()

    def _run(self) -> None:
        due = time.monotonic()
        while self._flows.wait() and not self._ended.is_set():
            self._sent.append(self._pool.submit(self._ask, self.addresses))
            due = max(due + 1 / self._pace.rate, time.monotonic())
            self._ended.wait(due - time.monotonic())

    def _ask(self, addresses: tuple[Address, ...]) -> str:
        """Ask once; what went wrong, if anything."""
        said = "there is no address"
        for address in addresses:
            question = {"model": address.model, "messages": [{"role": "user", "content": "ping"}]}
            try:
                answer = self._client.post(address.path, json=question, timeout=self._pace.patience)
            except httpx.HTTPError as error:
                return repr(error)
            if answer.is_success:
                return ""
            said = f"{answer.status_code} {answer.text[:200]}"
            if answer.status_code not in _NOT_THERE:
                break
        return said
