"""When a wait for pods is over before its time. Pure: what was seen, and a clock that the caller reads.

A first sign starts a clock, and only what overcomes the sign stops it: a poll in between, in which the kubelet tries
once more or a crashing container runs, says nothing. The rules:

- **A pull that cannot succeed** (by the table: not found, no right, wrong platform; a name that is none) ends after
  `PULL_SECONDS`: the kubelet has tried three times by then (its back-off is 10, 20, 40 s). Any other failure of a pull
  (overload, a broken connection, a name that does not resolve) may pass and ends after `HICCUP_SECONDS`, five tries. A
  pull that is under way (the kubelet's last word is `Pulling`) is never ended: it may be slow.
- **A container that cannot be made** (a secret or a key that is not there): likewise `PULL_SECONDS`, since somebody may
  make what it wants; `LASTING_SECONDS` where nobody can, by the table (an image without a shell). One that a slow disk
  keeps the node from making in time, by the table, comes, and ends nothing.
- **A crash whose words no restart changes** (the table of causes says which: an argument that the server does not know)
  ends after `LASTING_SECONDS`, whether or not it tries again meanwhile.
- **Any other crash** alone ends nothing: a server may start before the link to its weights, or before the driver. The
  third ends the wait, and the second where `CRASH_SECONDS` have passed since the first was seen; both while the
  container is down, so that an attempt that may succeed is not cut off. Pods that fail as a whole (evicted, refused by
  the kubelet) count alike, and end at once where the next will end so too.
- **No pod, and somebody says why** (the serving object, its Deployment): `COMPLAINT_SECONDS`, since a status may be of
  the time before the change. Pods that are still going make this no sign: `Recreate` waits for them.
- **No pod, and nobody says anything**: `SILENCE_SECONDS`, then no controller is at work.
- **No node, and the autoscaler will not make one** (`NotTriggerScaleUp` is its last word, and it has never said
  `TriggeredScaleUp`; or since it last did, a scale-up has failed for what no repetition changes, by the table: no
  addresses, a service account that is gone): `NODE_SECONDS`. Without a word of an autoscaler a node may come, and so it
  may where a quota or the machines ran out: that lasts until the timeout.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from watch.causes import short
from watch.complaints import NEVER_PULLED, PULL_FAILED, Case, Complaint, Topic, complaints, told_at
from watch.containers import container_statuses
from watch.table import is_lasting, passes

JSON = Mapping[str, Any]

PULL_SECONDS = 40.0
HICCUP_SECONDS = 110.0
CRASH_SECONDS = 30.0
LASTING_SECONDS = 5.0
COMPLAINT_SECONDS = 30.0
SILENCE_SECONDS = 120.0
NODE_SECONDS = 120.0
_CRASHES = 3
_TOLD_TO_END = 143
"""What a server ends with that somebody else has ended (SIGTERM): not for what it said before."""

# kubelet 1.35, pkg/kubelet/kuberuntime/kuberuntime_container.go.
_START = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "PreCreateHookError",
        "PreStartHookError",
        "PostStartHookError",
        "RunContainerError",
    }
)
_PULL_EVENTS = ("Pulling", "Failed", "BackOff", "Pulled")


@dataclass(frozen=True)
class Look:
    """What one look at a model saw.

    Attributes:
        pods: those of the revision that are not going.
        going: whether pods are still being taken away.
        complaint: what the serving object or its Deployment says against there being pods; "" for nothing.
        events: of these pods, the oldest first.
    """

    pods: Sequence[JSON] = ()
    going: bool = False
    complaint: str = ""
    events: Sequence[JSON] = field(default=(), repr=False)


@dataclass(frozen=True)
class _Sign:
    key: tuple[str, ...]
    patience: float
    evidence: str


class Signs:
    """Remembers when each sign of a failure was first seen."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, ...], float] = {}
        self._failed_before: set[str] | None = None

    def verdict(self, look: Look, now: float) -> str:
        """Why the wait is over; "" while it is not. `now` is in seconds of any clock that only goes forward."""
        failed = {_uid(pod) for pod in look.pods if is_over(pod)}
        if self._failed_before is None:
            self._failed_before = failed  # they lie there since a node was drained or a disk was full
        signs = list(_signs(look, failed - self._failed_before))
        overcome = set(self._since) - {sign.key for sign in signs} - set(_lasting(look))
        for key in overcome:
            del self._since[key]
        for sign in signs:
            self._since.setdefault(sign.key, now)
        due = (sign.evidence for sign in signs if now - self._since[sign.key] >= sign.patience)
        return next(due, "")


def autoscaler_words(pod: JSON, events: Sequence[JSON]) -> list[JSON]:
    """What the cluster's autoscaler has said about a pod, the oldest first."""
    reasons = {"TriggeredScaleUp", "NotTriggerScaleUp", "FailedScaleUp"}
    return [event for event in _of(pod, events) if event.get("reason") in reasons]


def unschedulable(pod: JSON) -> str:
    """What the scheduler says of a pod that it finds no node for; "" of any other."""
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("message") or condition.get("reason") or "no node")
    return ""


def pulling(pod: JSON, events: Sequence[JSON]) -> str:
    """What the kubelet says of a pull that is under way; "" where its last word about the pod's images is another."""
    said = [event for event in _of(pod, events) if event.get("reason") in _PULL_EVENTS]
    # Within one second the failure comes after the pull.
    last = max(said, key=lambda event: (told_at(event), event["reason"] != "Pulling"), default=None)
    return str(last.get("message") or "Pulling") if last is not None and last["reason"] == "Pulling" else ""


def is_over(pod: JSON) -> bool:
    """Whether a pod has ended as a whole: nothing in it runs again."""
    return pod.get("status", {}).get("phase") in {"Failed", "Succeeded"}


def _signs(look: Look, failed: Collection[str]) -> Iterator[_Sign]:
    live = [pod for pod in look.pods if not is_over(pod)]
    if not live and not look.going:
        if look.complaint:
            yield _Sign(("complaint",), COMPLAINT_SECONDS, f"no pod is made: {short(look.complaint)}")
        else:
            yield _Sign(("silence",), SILENCE_SECONDS, "there is no pod of its revision; no controller made one")
    yield from _crashes(("failed pods",), len(failed), f"{len(failed)} pods ended as a whole")
    for pod in look.pods:
        # Of one that was evicted and whose server ended well only the event says why: it succeeded (kubelet 1.35).
        said = (one for one in complaints(Case(pod, _of(pod, look.events))) if not one.container)
        if _uid(pod) in failed and _lasts(said, Topic.POD):
            yield _Sign((_uid(pod), "over"), LASTING_SECONDS, f"pod {pod['metadata']['name']} ended, as the next will")
    for pod in live:
        yield from _of_pod(pod, look.events)


def _of_pod(pod: JSON, events: Sequence[JSON]) -> Iterator[_Sign]:
    name = str(pod["metadata"]["name"])
    against = _against_a_node(pod, events)
    if against:
        evidence = f"pod {name} has no node, and the autoscaler makes none: {short(str(against.get('message', '')))}"
        yield _Sign((_uid(pod), "node"), NODE_SECONDS, evidence)
    said = list(complaints(Case(pod, _of(pod, events))))
    for status in container_statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason, where = str(waiting.get("reason", "")), f"pod {name}, container {status['name']}"
        key = (_uid(pod), status["name"])
        own = [one for one in said if one.container == status["name"]]
        if reason in _START | NEVER_PULLED and not _start_passes(own):
            yield _Sign((*key, "start"), PULL_SECONDS, f"{where}: it keeps failing ({reason})")
        elif reason in PULL_FAILED and not pulling(pod, events):
            patience = PULL_SECONDS if _pull_lasts(own, said) else HICCUP_SECONDS
            yield _Sign((*key, "start"), patience, f"{where}: its pull keeps failing ({reason})")
        crashes = _crashed(status, pod)
        yield from _crashes((*key, "crash"), crashes, f"{where}: it keeps failing ({crashes} crashes)")
        if not status.get("ready") and not _told_to_end(status) and _lasts(own, Topic.ENGINE | Topic.START):
            yield _Sign((*key, "crash", "lasting"), LASTING_SECONDS, f"{where}: it failed, as it will again")


def _against_a_node(pod: JSON, events: Sequence[JSON]) -> JSON | None:
    """The word of the autoscaler by which it makes no node for a pod that has none; None where one may come."""
    words = autoscaler_words(pod, events)
    reasons = [word["reason"] for word in words]
    if not unschedulable(pod) or not words:
        return None
    if "TriggeredScaleUp" not in reasons and reasons[-1] == "NotTriggerScaleUp":
        return words[-1]
    since = len(reasons) - reasons[::-1].index("TriggeredScaleUp") if "TriggeredScaleUp" in reasons else 0
    return next((word for word in reversed(words[since:]) if _scale_up_lasts(pod, word)), None)


def _scale_up_lasts(pod: JSON, word: JSON) -> bool:
    said = complaints(Case(pod, [word]))
    return word["reason"] == "FailedScaleUp" and any(is_lasting(one) for one in said if one.said_by == "event")


def _crashes(key: tuple[str, ...], number: int, evidence: str) -> Iterator[_Sign]:
    if number:
        patience = 0.0 if number >= _CRASHES else CRASH_SECONDS if number > 1 else float("inf")
        yield _Sign(key, patience, evidence)


def _crashed(status: JSON, pod: JSON) -> int:
    """How often a container that is down has ended by itself; 0 while it runs."""
    state = status.get("state") or {}
    ended = state.get("terminated")
    inits = {one["name"] for one in pod["spec"].get("initContainers") or ()}
    done = ended and ended.get("exitCode") == 0 and status["name"] in inits
    down = (ended and not done) or (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff"
    return int(status.get("restartCount") or 0) + 1 if down and _has_ended(status) else 0


def _has_ended(status: JSON) -> bool:
    # A container in back-off has its last end in `lastState`; one whose status says neither was never started.
    return bool((status.get("state") or {}).get("terminated") or status.get("restartCount") or status.get("lastState"))


def _pull_lasts(own: Iterable[Complaint], said: Iterable[Complaint]) -> bool:
    """Whether the last words about a container's failing pull are ones that no repetition changes."""
    told = [one for one in said if one.said_by == "event" and one.topic is Topic.PULL]
    return _lasts([*own, *told[-1:]], Topic.PULL)


def _start_passes(own: Iterable[Complaint]) -> bool:
    return any(passes(one) for one in own if one.topic is Topic.START and one.said_by != "event")


def _told_to_end(status: JSON) -> bool:
    ends = [(status.get(when) or {}).get("terminated") or {} for when in ("state", "lastState")]
    return any(end.get("exitCode") == _TOLD_TO_END for end in ends)


def _lasts(said: Iterable[Complaint], topic: Topic) -> bool:
    """Whether any of what is said on a topic is what no repetition changes."""
    return any(is_lasting(one) for one in said if one.topic in topic)


def _lasting(look: Look) -> Iterator[tuple[str, ...]]:
    """The keys of signs that this look does not overcome, though it need not show them."""
    for pod in look.pods:
        for status in container_statuses(pod):
            key, state = (_uid(pod), str(status["name"])), status.get("state") or {}
            if not ({"running", "terminated"} & state.keys() or status.get("restartCount")):
                yield (*key, "start")
            if not status.get("ready"):
                yield (*key, "crash")
                yield (*key, "crash", "lasting")


def _of(pod: JSON, events: Sequence[JSON]) -> list[JSON]:
    """The events about this very pod: an earlier one may have had its name."""
    metadata = pod["metadata"]
    return [
        event
        for event in events
        if event.get("involvedObject", {}).get("name") == metadata["name"]
        and event["involvedObject"].get("uid") in {None, metadata.get("uid")}
    ]


def _uid(pod: JSON) -> str:
    return str(pod["metadata"].get("uid") or pod["metadata"]["name"])
