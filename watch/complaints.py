"""What is known of a pod that does not run, and what the cluster says about it, by topic. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from functools import cached_property
from typing import Any

from watch.containers import (
    Whose,
    all_image_volumes,
    container_statuses,
    containers_of,
    named_image,
    whose_container,
    whose_image,
)

JSON = Mapping[str, Any]

# Colours, as servers write them into a log whether or not somebody sees it.
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# A line by which a server says that it goes on: of vLLM and other users of Python's logging (`(EngineCore pid=9)
# WARNING 11-25 10:00:00 [model.py:1] …`, `INFO:     …`), of those that begin with the time (text-generation-inference,
# KServe's), of PyTorch and Triton (`[W1125 10:00:00 socket.cpp:1]`), what vLLM tries again (as an error), and two that
# matplotlib and transformers write without a level. The first one of a status stands behind its exit code.
_GOES_ON = re.compile(
    r"(?m)(^|\(exit code -?\d{1,9}\): )(?:\([^()\n]{1,60}\) ?){0,4}"
    r"(?:\[?\d{4}-\d\d-\d\d[T ][\d:.,Z+]{5,24}\]?[ \t]{1,4}(?:(?:\d{1,7}|-) [\w.]{1,60} (?:- )?)?)?"
    r"(?:\[?(?:INFO|WARN|WARNING|DEBUG|TRACE)\b|\[(?:rank\d{1,4}\]:\[)?W(?:\d{4})? "
    r"|[IW]\d{4} \d\d:\d\d:|.{0,1000} retrying \d{1,3} of \d{1,3}$"
    r"|mkdir -p failed for path |There was a problem when trying to write in your cache folder ).*$\n?"
)
# kubelet 1.35, pkg/kubelet/images/types.go and pkg/kubelet/kuberuntime.
PULL_FAILED = frozenset({"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed"})
NEVER_PULLED = frozenset({"InvalidImageName", "ErrImageNeverPull", "ImageInspectError"})
_PULLING = PULL_FAILED | NEVER_PULLED
_MOST = 16 << 10
"""Characters that are looked through of what is no log: an event has 1 KiB, a refusal may quote a page."""
_SAYS_NOTHING = {"CrashLoopBackOff", "PodInitializing", "ContainerCreating", "Completed"}
_NOT_STARTED = {"StartError", "ContainerCannotRun"}
_SCHEDULING = {"FailedScheduling", "NotTriggerScaleUp", "FailedScaleUp"}
_OF_PROBES = {"Unhealthy", "Killing"}
_OF_THE_POD = {"Evicted", "Preempted", "TaintManagerEviction", "NodeShutdown", "Terminated", "ExceededGracePeriod"}
_ABOUT_OTHERS = {"HorizontalPodAutoscaler", "PodDisruptionBudget"}
"""Objects that have something to say as long as a model has no pod that is ready, and nothing of why."""
_NORMAL_BUT_TOLD = {"NotTriggerScaleUp", "FailedScaleUp", "Preempted", "TaintManagerEviction"}


class Topic(Flag):
    """What a complaint is about."""

    ENGINE = auto()
    """A container that ran and ended: the server's own words, of its status or its log."""
    START = auto()
    """A container or a pod's sandbox that could not be made: its volumes, its network, its user."""
    PROBE = auto()
    PULL = auto()
    SCHEDULING = auto()
    """The scheduler's and the autoscaler's words."""
    POD = auto()
    """The pod as a whole: evicted, preempted, refused by its kubelet."""
    NODE = auto()
    """The pod's node: its conditions and events."""
    ADMISSION = auto()
    """Whoever makes pods, or the API server that takes none: there is no pod."""
    ANY = ENGINE | START | PROBE | PULL | SCHEDULING | POD | NODE | ADMISSION


@dataclass(frozen=True)
class Case:
    """What is known of a pod that does not run.

    Attributes:
        pod: the pod; empty where there is none.
        events: those of the pod, its owner and its node, the oldest first.
        nodes: its node; all nodes while it has none.
        image_bytes: of the model and its adapters, 0 where that is not known: tells how large a disk is needed.
        account: the email of the node pool's service account, "" where that is not known.
        pool: the node pool's key in the settings, "" where that is not known.
        logs: the last lines that a container of the pod has written, by its name.
    """

    pod: JSON
    events: Sequence[JSON] = ()
    nodes: Sequence[JSON] = ()
    image_bytes: int = 0
    account: str = ""
    pool: str = ""
    logs: Mapping[str, str] = field(default_factory=dict)

    @property
    def node_name(self) -> str:
        """Where the pod is; "" where it has no node."""
        return str(self.pod.get("spec", {}).get("nodeName") or "")

    @property
    def node(self) -> JSON | None:
        """The pod's node, where it is known."""
        return next((node for node in self.nodes if node["metadata"]["name"] == self.node_name), None)


@dataclass(frozen=True)
class Complaint:
    """Something that the cluster says.

    Attributes:
        said_by: who says it, for a person.
        topic: what it is about.
        text: `REASON: MESSAGE`, or what a container has written; without colours.
        whose: whose image or container it is about.
        container: the container's name; "" for none.
        image: the image that it names; "" for none.
    """

    said_by: str
    topic: Topic
    text: str
    whose: Whose = Whose.MODEL
    container: str = ""
    image: str = ""

    @cached_property
    def telling(self) -> str:
        """The text without what a server has only warned of, after which it went on: that ended nothing."""
        return _GOES_ON.sub(r"\1", self.text) if self.topic is Topic.ENGINE else self.text[:_MOST]


def complaints(case: Case) -> Iterator[Complaint]:
    """What the cluster says about a pod, its statuses first."""
    pod, status = case.pod, case.pod.get("status", {})
    for container in container_statuses(pod):
        yield from _of_container(pod, container)
    for name, log in case.logs.items():
        yield Complaint(f"log of {name}", Topic.ENGINE, _plain(log), whose_container(pod, name), name)
    if status.get("reason") or status.get("message"):
        yield Complaint("pod", Topic.POD, _plain(_said(status)))
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield Complaint("scheduler", Topic.SCHEDULING, _plain(str(condition.get("message", ""))))
        elif condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            yield Complaint("pod", Topic.POD, _plain(_said(condition)))
    for event in case.events:
        if event.get("involvedObject", {}).get("kind") in _ABOUT_OTHERS:
            continue
        if _is_of_another(pod, event):
            continue
        # The scheduler's older messages are of nodes as they were; its last word is the condition above.
        told = event.get("type") == "Warning" and (event.get("reason") != "FailedScheduling" or not status)
        probed = event.get("reason") == "Killing" and " probe" in str(event.get("message"))
        if told or probed or event.get("reason") in _NORMAL_BUT_TOLD:
            yield _of_event(pod, event)
    yield from _of_node(case)


def told_at(event: JSON) -> str:
    """When an event was last told, as the API server writes times, which sort as texts; "" where it does not say."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")


def _of_container(pod: JSON, container: JSON) -> Iterator[Complaint]:
    name = str(container["name"])
    for state in (container.get("state") or {}, container.get("lastState") or {}):
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        reason = str(waiting.get("reason", ""))
        if (reason or waiting.get("message")) and reason not in _SAYS_NOTHING:
            topic = Topic.PULL if reason in _PULLING else Topic.START
            yield _about(pod, f"container {name}", topic, _said(waiting), name)
        if ended and (ended.get("exitCode") or ended.get("reason") not in {None, "Completed"}):
            topic = Topic.START if ended.get("reason") in _NOT_STARTED else Topic.ENGINE
            said = f"{ended.get('reason', '')} (exit code {ended.get('exitCode')}): {ended.get('message') or ''}"
            yield Complaint(f"container {name}", topic, _plain(said), whose_container(pod, name), name)


def _of_event(pod: JSON, event: JSON) -> Complaint:
    reason, message = str(event.get("reason", "")), str(event.get("message", ""))
    involved = str(event.get("involvedObject", {}).get("kind") or "Pod")
    if reason in _SCHEDULING:
        topic = Topic.SCHEDULING
    elif involved == "Node":
        topic = Topic.NODE
    elif involved != "Pod" or reason in {"FailedCreate", "Refused"}:
        topic = Topic.ADMISSION
    elif reason in _OF_PROBES:
        topic = Topic.PROBE
    elif reason in _OF_THE_POD:
        topic = Topic.POD
    elif re.search(r"[Ff]ailed to pull|[Pp]ulling image|ErrImage|ImagePull", message) or reason in _PULLING:
        topic = Topic.PULL
    else:
        topic = Topic.START
    path = re.search(r"\{([\w.-]+)\}$", str(event.get("involvedObject", {}).get("fieldPath", "")))
    return _about(pod, "event", topic, f"{reason}: {message}", path[1] if path else "")


def _is_of_another(pod: JSON, event: JSON) -> bool:
    """Whether an event is about an earlier pod of the same name: kept for an hour, told before this one was made."""
    involved, metadata = event.get("involvedObject") or {}, pod.get("metadata") or {}
    told, made = told_at(event), str(metadata.get("creationTimestamp") or "")
    if involved.get("kind") != "Pod" or involved.get("name") != metadata.get("name"):
        return False
    # Both are of the same zone, to the second at least.
    return bool(told and made and told[:19] < made[:19])


def _of_node(case: Case) -> Iterator[Complaint]:
    for condition in (case.node or {}).get("status", {}).get("conditions") or ():
        name, status = str(condition.get("type", "")), condition.get("status")
        wanted = "True" if name == "Ready" else "False"
        # What is not known of the others is the node's that has gone, which Ready says.
        if status != wanted and (name == "Ready" or status == "True"):
            said = f"{name}={status}: {_said(condition)}"
            yield Complaint(f"node {case.node_name}", Topic.NODE, _plain(said), Whose.OTHER)


def _about(pod: JSON, said_by: str, topic: Topic, text: str, container: str) -> Complaint:
    image = named_image(text)
    whose = whose_image(pod, image) if image else None
    if whose is None:
        # Without its spec nobody else's image is known; with it, one that it does not name is the sandbox's.
        unknown = Whose.OTHER if image and pod.get("spec") else Whose.MODEL
        whose = whose_container(pod, container) if container and pod.get("spec") else unknown
    if not image and topic is Topic.PULL and not all_image_volumes(pod):
        image = str(containers_of(pod).get(container, {}).get("image", ""))
    return Complaint(said_by, topic, _plain(text), whose, container, image)


def _said(status: JSON) -> str:
    return f"{status.get('reason', '')}: {status.get('message', '')}".strip(": ")


def _plain(text: str) -> str:
    return _COLOUR.sub("", text)
