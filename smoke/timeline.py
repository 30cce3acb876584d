"""Where the seconds of a cold start go. Pure: read from a pod, its events, its node and its server's log.

Kubernetes' time stamps have a resolution of one second, and so have the figures; the kubelet's own durations of pulls
and the log's times are finer. containerd downloads and unpacks within one pull, for which the kubelet reports one
duration: what part of it was unpacking is not told through the API, and is not guessed here. containerd itself says it
in its log on the node, and there only at the level debug (2.2, core/unpack/unpacker.go); the kubelet's metrics
(`kubelet_image_pull_duration_seconds`) have the durations that its events have.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from oci_model_serving.reference import split
from smoke.engine_log import EngineStart
from smoke.times import between, parse_duration, parse_time
from watch.containers import container_statuses

JSON = Mapping[str, Any]

SCHEMA = 1
"""Of the figures as JSON (docs/coldstart.md): a new key keeps it, a changed or removed one raises it."""
MODEL, SERVER, ADAPTER, OTHER = "model", "server", "adapter", "other"
"""What an image is to a pod."""

# kubelet 1.31 to 1.35, pkg/kubelet/images/image_manager.go.
_PULLED = re.compile(
    r'Successfully pulled image "(?P<image>[^"]+)" in (?P<pull>[\d.hmsµu]+)'
    r"(?: \((?P<waiting>[\d.hmsµu]+) including waiting\))?(?:\. Image size: (?P<size>\d+) bytes)?"
)
# The DaemonSets of container-engine-accelerators call it so; whether GKE's own plugin does was not seen.
_DRIVER = "nvidia-driver-installer"


@dataclass(frozen=True)
class Pull:
    """One image pull: `seconds` of work (download and unpack), `waiting_seconds` in the kubelet's queue before it.

    `role` is what the image is to the pod (`model`, `server`, `adapter` or `other`); `size_bytes` are those that the
    registry holds, and `mb_per_second` is what comes of them, in megabytes (10^6).
    """

    image: str
    seconds: float
    waiting_seconds: float
    size_bytes: int | None
    role: str = OTHER
    mb_per_second: float | None = None


@dataclass(frozen=True)
class ColdStart:
    """The seconds of a cold start by stage, in the order in which they pass; None where nothing tells.

    A stage that is indented below another in docs/coldstart.md is a part of it.
    """

    controller: float | None  # from the resume to the pod's creation
    node_provision: float | None  # from there to the pod's scheduling; a new node when `node_is_new`
    node_created: float | None  # of that from the pod's creation to the new node's
    node_ready: float | None  # from there to the new node being ready
    driver: float | None  # of that and what follows the installation of the GPU's driver
    image_pull: float | None  # the model's image, download and unpack together; 0.0 when the node had it
    adapters_pull: float | None  # those of its adapters
    server_image_pull: float | None  # all other images of the pod
    unpack: float | None  # the part of the pulls that was unpacking; the API does not tell it, so it is always None
    container_start: float | None  # from the end of the last pull to the server container's start: mounts, sandbox
    server_start: float | None  # from there to the pod being ready: loading weights, compiling, warming up
    process_start: float | None  # of that until the server begins to load the model: imports, processes
    load: float | None  # the weights
    engine_init: float | None  # profile run, KV cache and warm-up, with the two that follow
    compile: float | None
    graph_capture: float | None
    ready: float | None  # from its HTTP server being up to the pod being ready: the probe
    endpoint: float | None  # from there to the first answer of the endpoint
    total: float | None  # from the resume to the first answer, or to the pod being ready where it was not asked
    node_is_new: bool  # whether the node was created after the resume
    pulls: tuple[Pull, ...]
    machine_type: str = ""  # of the node, as its label says; "" where that is not known
    kubelet: str = ""  # its version
    runtime: str = ""  # the container runtime's
    server_version: str = ""  # vLLM's, as its log says
    restarts: int = 0  # of the server's container: its log is that of the last start alone
    schema: int = SCHEMA


@dataclass(frozen=True)
class Images:
    """The repositories of the model's image and of its adapters': by them a pull is known."""

    model: str
    adapters: frozenset[str] = frozenset()


def measure(
    pod: JSON,
    events: Sequence[JSON],
    node: JSON | None,
    *,
    container: str,
    images: Images,
    resumed: datetime,
    answered: datetime | None = None,
    engine: EngineStart | None = None,
    beside: Iterable[JSON] = (),
) -> ColdStart:
    """Divide the cold start of a ready pod into its stages.

    Args:
        pod: it.
        events: about it, and others.
        node: its node; None where it may not be seen.
        container: the server's name in the pod.
        images: by which a pull is known.
        resumed: when the model was told to start.
        answered: when the endpoint gave its first answer.
        engine: what the server's log says.
        beside: the pods on that node which install drivers, and others.
    """
    engine = engine or EngineStart()
    created = parse_time(pod["metadata"].get("creationTimestamp"))
    node_created = parse_time(node["metadata"].get("creationTimestamp")) if node else None
    is_new = node_created is not None and node_created >= resumed.replace(microsecond=0)
    new_node = node if is_new else None
    born = node_created if is_new else None
    scheduled = _condition_time(pod, "PodScheduled")
    ready = _condition_time(pod, "Ready")
    status: JSON = next((one for one in container_statuses(pod) if one["name"] == container), {})
    started = parse_time(((status.get("state") or {}).get("running") or {}).get("startedAt"))
    of_pod = [event for event in events if event["involvedObject"].get("name") == pod["metadata"]["name"]]
    pulls, last_pulled = _pulls(of_pod, _roles(pod, container, images))

    def pulled(*roles: str) -> float | None:
        return round(sum(pull.seconds for pull in pulls if pull.role in roles), 3) if of_pod else None

    facts: JSON = (node.get("status", {}).get("nodeInfo") or {}) if node else {}
    labels: JSON = (node["metadata"].get("labels") or {}) if node else {}
    return ColdStart(
        controller=between(resumed, created),
        node_provision=between(created, scheduled),
        node_created=between(created, born),
        node_ready=between(born, _condition_time(new_node, "Ready")) if new_node else None,
        driver=_driver(beside) if new_node else None,
        image_pull=pulled(MODEL),
        adapters_pull=pulled(ADAPTER) if images.adapters else None,
        server_image_pull=pulled(SERVER, OTHER),
        unpack=None,
        container_start=between(last_pulled or scheduled, started),
        server_start=between(started, ready),
        process_start=between(started, engine.loading),
        load=engine.load,
        engine_init=engine.engine_init,
        compile=engine.compile,
        graph_capture=engine.graph_capture,
        ready=between(engine.complete, ready),
        endpoint=between(ready, answered),
        total=between(resumed, answered or ready),
        node_is_new=is_new,
        pulls=tuple(pulls),
        machine_type=str(labels.get("node.kubernetes.io/instance-type") or ""),
        kubelet=str(facts.get("kubeletVersion") or ""),
        runtime=str(facts.get("containerRuntimeVersion") or ""),
        server_version=engine.version,
        restarts=int(status.get("restartCount") or 0),
    )


def _roles(pod: JSON, container: str, images: Images) -> Mapping[str, str]:
    """What an image is to the pod, by its repository."""
    servers = (one.get("image") for one in pod["spec"]["containers"] if one["name"] == container)
    roles = {split(str(image))[0]: SERVER for image in servers if image}
    return {**roles, **dict.fromkeys(images.adapters, ADAPTER), images.model: MODEL}


def _pulls(events: Sequence[JSON], roles: Mapping[str, str]) -> tuple[list[Pull], datetime | None]:
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
            rate = round(size / 1e6 / seconds, 1) if size and seconds else None
            role = roles.get(split(match["image"])[0], OTHER)
            pull = Pull(match["image"], seconds, round(max(0.0, waiting), 3), size, role, rate)
            # An image that the pod uses twice (init container and sidecar) is pulled once.
            pulls.setdefault(match["image"], pull)
    return list(pulls.values()), last


def _driver(pods: Iterable[JSON]) -> float | None:
    """Seconds in which a driver was installed: those of the init container that does it."""
    for pod in pods:
        for status in pod.get("status", {}).get("initContainerStatuses") or ():
            ended = (status.get("state") or {}).get("terminated") or {}
            if status["name"] == _DRIVER and ended.get("exitCode") == 0:
                return between(parse_time(ended.get("startedAt")), parse_time(ended.get("finishedAt")))
    return None


def _condition_time(found: JSON, kind: str) -> datetime | None:
    for condition in found.get("status", {}).get("conditions") or []:
        if condition["type"] == kind and condition["status"] == "True":
            return parse_time(condition.get("lastTransitionTime"))
    return None
