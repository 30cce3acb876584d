"""Where the seconds of a cold start go. Pure: read from a pod, its events and its node as the API server gave them.

Kubernetes' time stamps have a resolution of one second, and so have the figures; the kubelet's own durations of pulls
are finer. containerd downloads and unpacks within one pull, for which the kubelet reports one duration: what part of
it was unpacking is not told through the API, and is not guessed here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

JSON = Mapping[str, Any]

# kubelet 1.31 to 1.35, pkg/kubelet/images/image_manager.go.
_PULLED = re.compile(
    r'Successfully pulled image "(?P<image>[^"]+)" in (?P<pull>[\d.hmsµu]+)'
    r"(?: \((?P<waiting>[\d.hmsµu]+) including waiting\))?(?:\. Image size: (?P<size>\d+) bytes)?"
)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Pull:
    """One image pull: `seconds` of work (download and unpack), `waiting_seconds` in the kubelet's queue before it."""

    image: str
    seconds: float
    waiting_seconds: float
    size_bytes: int | None


@dataclass(frozen=True)
class ColdStart:
    """The seconds of a cold start by phase, in the order in which they pass; None where nothing tells.

    Attributes:
        controller: from the resume to the pod's creation.
        node_provision: from there to the pod's scheduling; a new node when `node_is_new`.
        image_pull: the model's image, download and unpack together; 0.0 when the node had it.
        server_image_pull: all other images of the pod.
        unpack: the part of the pulls that was unpacking; the API does not tell it, so it is always None.
        container_start: from the end of the last pull to the server container's start: mounts, sandbox.
        server_start: from there to the pod being ready: loading weights, compiling, warming up.
        endpoint: from there to the first answer of the endpoint.
        total: from the resume to the first answer, or to the pod being ready where the endpoint was not asked.
        node_is_new: whether the node was created after the resume.
        pulls: each pull, with its size.
    """

    controller: float | None
    node_provision: float | None
    image_pull: float | None
    server_image_pull: float | None
    unpack: float | None
    container_start: float | None
    server_start: float | None
    endpoint: float | None
    total: float | None
    node_is_new: bool
    pulls: tuple[Pull, ...]

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON-ready values, seconds."""
        return asdict(self)


def measure(
    pod: JSON,
    events: Sequence[JSON],
    node: JSON | None,
    *,
    container: str,
    repository: str,
    resumed: datetime,
    answered: datetime | None = None,
) -> ColdStart:
    """Divide a cold start into its phases.

    Args:
        pod: a ready pod.
        events: its events.
        node: its node, where it may be read.
        container: name of the server's container.
        repository: the model image's repository, `host/path`.
        resumed: when the model was resumed.
        answered: when its endpoint answered first, None where it was not asked.
    """
    created = parse_time(pod["metadata"].get("creationTimestamp"))
    scheduled = _condition_time(pod, "PodScheduled")
    ready = _condition_time(pod, "Ready")
    started = _started(pod, container)
    of_pod = [event for event in events if event["involvedObject"].get("name") == pod["metadata"]["name"]]
    pulls, last_pulled = _pulls(of_pod)
    model_pulls = [pull.seconds for pull in pulls if pull.image.startswith((f"{repository}@", f"{repository}:"))]
    other_pulls = [pull.seconds for pull in pulls if not pull.image.startswith((f"{repository}@", f"{repository}:"))]
    told = bool(of_pod)
    return ColdStart(
        controller=_between(resumed, created),
        node_provision=_between(created, scheduled),
        image_pull=sum(model_pulls) if told else None,
        server_image_pull=sum(other_pulls) if told else None,
        unpack=None,
        container_start=_between(last_pulled or scheduled, started),
        server_start=_between(started, ready),
        endpoint=_between(ready, answered),
        total=_between(resumed, answered or ready),
        node_is_new=_is_new(node, resumed),
        pulls=tuple(pulls),
    )


def parse_time(text: str | None) -> datetime | None:
    """Read a time of the Kubernetes API (RFC 3339, UTC, with or without microseconds)."""
    if not text:
        return None
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if "." in text else "%Y-%m-%dT%H:%M:%SZ"
    return datetime.strptime(text, form).replace(tzinfo=timezone.utc)


def parse_duration(text: str) -> float:
    """Read a duration as Go prints it (`1m2.5s`, `300ms`), in seconds."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|us|µs|ns|h|m|s)", text))


def _pulls(events: Sequence[JSON]) -> tuple[list[Pull], datetime | None]:
    pulls: dict[str, Pull] = {}
    last = None
    for event in events:
        if event.get("reason") != "Pulled":
            continue
        when = parse_time(event.get("lastTimestamp") or event.get("eventTime"))
        last = max(filter(None, (last, when)), default=None)
        match = _PULLED.search(event.get("message", ""))
        if match:
            seconds = parse_duration(match["pull"])
            waiting = parse_duration(match["waiting"]) - seconds if match["waiting"] else 0.0
            size = int(match["size"]) if match["size"] else None
            # An image that the pod uses twice (init container and sidecar) is pulled once.
            pulls.setdefault(match["image"], Pull(match["image"], seconds, round(max(0.0, waiting), 3), size))
    return list(pulls.values()), last


def _condition_time(pod: JSON, kind: str) -> datetime | None:
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition["type"] == kind and condition["status"] == "True":
            return parse_time(condition.get("lastTransitionTime"))
    return None


def _started(pod: JSON, container: str) -> datetime | None:
    for status in pod.get("status", {}).get("containerStatuses") or []:
        if status["name"] == container:
            return parse_time(((status.get("state") or {}).get("running") or {}).get("startedAt"))
    return None


def _is_new(node: JSON | None, resumed: datetime) -> bool:
    created = parse_time(node["metadata"].get("creationTimestamp")) if node else None
    return created is not None and created >= resumed.replace(microsecond=0)


def _between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds from start to end; not below zero, which two clocks' rounding would give."""
    return round(max(0.0, (end - start).total_seconds()), 3) if start and end else None
