"""Where the seconds of a cold start go. Pure: read from a pod, its events and its node as the API server gave them.

Kubernetes' time stamps have a resolution of one second, and so have the figures; the kubelet's own durations of pulls
are finer. containerd downloads and unpacks within one pull, for which the kubelet reports one duration: what part of
it was unpacking is not told through the API, and is not guessed here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from oci_model_serving.reference import split
from watch.containers import container_statuses

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
    """The seconds of a cold start by phase, in the order in which they pass; None where nothing tells."""

    controller: float | None  # from the resume to the pod's creation
    node_provision: float | None  # from there to the pod's scheduling; a new node when `node_is_new`
    image_pull: float | None  # the model's image, download and unpack together; 0.0 when the node had it
    server_image_pull: float | None  # all other images of the pod
    unpack: float | None  # the part of the pulls that was unpacking; the API does not tell it, so it is always None
    container_start: float | None  # from the end of the last pull to the server container's start: mounts, sandbox
    server_start: float | None  # from there to the pod being ready: loading weights, compiling, warming up
    endpoint: float | None  # from there to the first answer of the endpoint
    total: float | None  # from the resume to the first answer, or to the pod being ready where it was not asked
    node_is_new: bool  # whether the node was created after the resume
    pulls: tuple[Pull, ...]


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
    """Divide the cold start of a ready pod into its phases; `repository` is that of the model's image."""
    created = parse_time(pod["metadata"].get("creationTimestamp"))
    node_created = parse_time(node["metadata"].get("creationTimestamp")) if node else None
    scheduled = _condition_time(pod, "PodScheduled")
    ready = _condition_time(pod, "Ready")
    started = _started(pod, container)
    of_pod = [event for event in events if event["involvedObject"].get("name") == pod["metadata"]["name"]]
    pulls, last_pulled = _pulls(of_pod)
    own = [pull.seconds for pull in pulls if split(pull.image)[0] == repository]
    others = [pull.seconds for pull in pulls if split(pull.image)[0] != repository]
    return ColdStart(
        controller=_between(resumed, created),
        node_provision=_between(created, scheduled),
        image_pull=sum(own) if of_pod else None,
        server_image_pull=sum(others) if of_pod else None,
        unpack=None,
        container_start=_between(last_pulled or scheduled, started),
        server_start=_between(started, ready),
        endpoint=_between(ready, answered),
        total=_between(resumed, answered or ready),
        node_is_new=node_created is not None and node_created >= resumed.replace(microsecond=0),
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
    for status in container_statuses(pod):
        if status["name"] == container:
            return parse_time(((status.get("state") or {}).get("running") or {}).get("startedAt"))
    return None


def _between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds from start to end; not below zero, which two clocks' rounding would give."""
    return round(max(0.0, (end - start).total_seconds()), 3) if start and end else None
