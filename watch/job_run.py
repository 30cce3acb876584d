"""One run of a build's Job: it is made, or found under way, waited for while its pods are listened to, and deleted.

What its pods leave is read from their termination messages: of a share that is packed its numbers, of one that failed
the end of its log.
"""

import re
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus

import httpx
from pydantic import BaseModel, Field, ValidationError

from modelimage.progress import Reporter, readable
from modelimage.traits import Traits
from oci_model_serving.errors import OmsError
from oci_model_serving.reference import DIGEST
from watch.causes import NotHeldError, short
from watch.containers import container_statuses
from watch.kube import JSON, ApiError, KubeApi, namespaced
from watch.pack_job import CONTAINER, PackJob
from watch.signs import Look, Signs, is_over, unschedulable
from watch.waiting import POLL_SECONDS, Progress, wait_for

_INDEX = "batch.kubernetes.io/job-completion-index"
_JOB = "batch.kubernetes.io/job-name"
_LISTEN_SECONDS = 4.0
_LOG_BYTES = 64 << 10
_GONE_SECONDS = 60.0
_LET_GO_LOOKS = 10
_LATE_SECONDS = 120.0  # after the Job's own deadline: its controller says more


class PackedImage(BaseModel):
    """The image, of a pod that has found all shares packed."""

    digest: str = Field(pattern=f"^{DIGEST.pattern}$")
    size_bytes: int
    traits: Traits = Traits()


class PodOutput(BaseModel):
    """What a pod leaves as its termination message."""

    share: int
    layers: int
    size_bytes: int
    uploaded_bytes: int
    image: PackedImage | None = None


class JobRun:
    """A Job that is made, waited for and deleted: what was seen of it at the last look."""

    def __init__(self, api: KubeApi, job: PackJob, reporter: Reporter) -> None:
        self._api, self._job, self._reporter = api, job, reporter
        self._path = namespaced("batch/v1", job.place.namespace, "jobs", job.name)
        self._state = "is made"
        self._ours = False
        self._joined = False
        self._ended = False
        self._outputs: dict[int, PodOutput] = {}
        self._signs = Signs()
        self._heard: dict[str, str] = {}
        self._listened = -_LISTEN_SECONDS
        self._events: list[JSON] = []

    def run(self) -> dict[int, PodOutput]:
        """Run the build to its end, and leave nothing of what this run has made, or has seen the end of."""
        name = f"{self._job.place.namespace}/{self._job.name}"
        try:
            self._start()
            progress = Progress(self._reporter.note)
            return wait_for(
                self._look,
                timeout=self._job.place.timeout_seconds + _LATE_SECONDS,
                what=f"Job {name}",
                remedy="see what its controller says: `kubectl describe job`",
                tell=lambda line: progress.tell(f"Job {name}: {self._state} ({line.rpartition(' (')[2]}"),
            )
        except KeyboardInterrupt:
            if self._joined:
                become = (
                    f"the Job {name}, which another run has made, goes on: run the same command again to wait for it"
                )
            else:
                become = f"the Job {name} was deleted with its pods; {self._job.words.left}"
            raise KeyboardInterrupt(become) from None
        finally:
            self._remove()

    def _start(self) -> None:
        api, job = self._api, self._job
        found = api.find(self._path)
        # Somebody may be making the same build at this moment, or have gone away in the middle of it.
        for _ in range(_LET_GO_LOOKS):
            if not found or not found["spec"].get("suspend"):
                break
            time.sleep(POLL_SECONDS)
            found = api.find(self._path)
        if found and _is_under_way(found):
            self._joined = True
            self._reporter.note(f"Job {job.name} is under way already: waiting for it")
            return
        if found:
            self._ours = True
            self._remove()
        self._ours = True  # from here on: an answer may be lost
        try:
            created = api.create(self._path.rpartition("/")[0], job.job)
        except ApiError as error:
            self._ours = False
            if error.status != HTTPStatus.CONFLICT:
                raise
            self._start()
            return
        for need in job.needs(created):
            kinds = {"ConfigMap": "configmaps", "Secret": "secrets"}
            api.create(namespaced("v1", job.place.namespace, kinds[need["kind"]]), need)
        api.patch(self._path, {"spec": {"suspend": False}})
        self._reporter.note(f"Job {job.name}: {job.words.begun}")

    def _remove(self) -> None:
        """Delete the Job after its pods and all that it owns; what goes wrong is told, since something else is more.

        One that another run has made and waits for is that run's while it has not ended.
        """
        if not (self._ours or self._ended):
            return
        try:
            self._api.delete(self._path, foreground=True)
            wait_for(lambda: self._api.find(self._path) is None, timeout=_GONE_SECONDS, what="its pods end", remedy="")
        except (OmsError, httpx.HTTPError) as error:
            told = short(str(error))
            self._reporter.note(f"warning: Job {self._job.name} may be left, until an hour after its end: {told}")

    def _look(self) -> dict[int, PodOutput] | None:
        api, job, now = self._api, self._job, time.monotonic()
        found = api.find(self._path)
        if found is None:
            # Whoever else waited for it deletes it at its end: a pod that told the image had found all shares packed.
            if any(output.image for output in self._outputs.values()):
                return self._outputs
            raise NotHeldError(f"Job {job.name} was deleted by somebody else", "run the same again to go on")
        pods = api.items(namespaced("v1", job.place.namespace, "pods"), labelSelector=f"{_JOB}={job.name}")
        for pod in pods:
            self._take(pod)
        if listening := now - self._listened >= _LISTEN_SECONDS or _condition(found, "Complete", "Failed"):
            self._listened = now
            self._listen(pods)
        self._ended = bool(_condition(found, "Complete", "Failed"))
        if _condition(found, "Complete"):
            return self._outputs
        if failed := _condition(found, "Failed"):
            raise self._failure(failed, pods)
        if listening:
            events = api.items(namespaced("v1", job.place.namespace, "events"))
            self._events = [one for one in events if str(one["involvedObject"].get("name", "")).startswith(job.name)]
        self._judge(found, pods, now)
        return None

    def _judge(self, found: JSON, pods: Sequence[JSON], now: float) -> None:
        """Raise where the pods cannot come to anything, and note how far they have come."""
        going = [pod for pod in pods if pod["metadata"].get("deletionTimestamp")]
        live = [pod for pod in pods if not is_over(pod) and pod not in going]
        warnings = [
            str(one.get("message", ""))
            for one in self._events
            if one.get("type") == "Warning" and one["involvedObject"].get("kind") == "Job"
        ]
        complaint = warnings[-1] if warnings and not live else ""
        evidence = self._signs.verdict(Look(live, bool(going), complaint, self._events), now)
        if evidence:
            said = "; ".join(dict.fromkeys(filter(None, map(_waiting, live))))
            raise NotHeldError(
                f"Job {self._job.name}: {evidence}{f': {short(said)}' if said else ''}",
                self._remedy(f"{evidence} {said}"),
            )
        status = found.get("status") or {}
        done = int(status.get("succeeded") or 0)
        running = [pod for pod in live if (pod.get("status") or {}).get("phase") == "Running"]
        homeless = [pod for pod in live if unschedulable(pod)]
        parts = [f"{done} of {self._job.place.completions} {self._job.words.unit}", f"running: {len(running)}"]
        parts += [f"without a node: {len(homeless)}"] if homeless else []
        parts += [f"failed: {status['failed']}"] if status.get("failed") else []
        self._state = ", ".join(parts)

    def _take(self, pod: JSON) -> None:
        """Take what a pod that has ended well says of its share."""
        ended = _ended(pod)
        if ended.get("exitCode") == 0:
            with suppress(ValidationError):
                output = PodOutput.model_validate_json(str(ended.get("message") or ""))
                if output.share not in self._outputs:
                    self._reporter.note(
                        f"share {output.share}/{self._job.place.completions}: {output.layers} layers, "
                        f"{readable(output.size_bytes)}, of which {readable(output.uploaded_bytes)} were sent"
                    )
                known = self._outputs.get(output.share)
                if known is None or (output.image and not known.image):
                    self._outputs[output.share] = output

    def _listen(self, pods: Sequence[JSON]) -> None:
        """Hand on what the pods have written since the last time. It is a courtesy: the build goes on without."""
        for pod, container in ((pod, container) for pod in pods for container in self._job.containers):
            uid, share = f"{pod['metadata']['uid']}/{container}", _share_of(pod)
            last = self._heard.get(uid, "")
            options = {"container": container, "timestamps": "true", "limitBytes": str(_LOG_BYTES)}
            path = namespaced("v1", self._job.place.namespace, "pods", pod["metadata"]["name"])
            try:
                text = self._api.text(f"{path}/log", **options, **({"sinceTime": last} if last else {}))
            except (ApiError, httpx.HTTPError):
                continue
            for line in text.splitlines():
                at, _, said = line.partition(" ")
                if _instant(at) > _instant(last):
                    self._heard[uid] = at
                    self._reporter.note(f"[{share}/{self._job.place.completions}] {said}")

    def _remedy(self, evidence: str) -> str:
        remedies = self._job.words.remedies
        found = (remedy for pattern, remedy in remedies if re.search(pattern, evidence, re.IGNORECASE))
        return next(found, "see `kubectl describe job` and the pods' events")

    def _failure(self, failed: JSON, pods: Sequence[JSON]) -> NotHeldError:
        """Why the Job failed, in the words of its pods."""
        told: dict[int, str] = {}
        for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))):
            ended = next((one for name in self._job.containers if (one := _ended(pod, name)).get("exitCode")), {})
            if ended:
                lines = str(ended.get("message") or "").strip().splitlines()
                errors = [line for line in lines if line.startswith("error: ")] or lines[-3:]
                said = "; ".join(line.removeprefix("error: ") for line in errors) or str(ended.get("reason") or "")
                told[_share_of(pod)] = f"share {_share_of(pod)}, exit code {ended['exitCode']}: {short(said, 600)}"
        reason, said = str(failed.get("reason") or ""), str(failed.get("message") or "")
        remedy = self._job.words.late if reason == "DeadlineExceeded" else self._job.words.again
        words = "; ".join(dict.fromkeys(told.values())) or short(said)
        return NotHeldError(f"Job {self._job.name} failed ({reason}): {words}", remedy)


def _condition(job: JSON, *kinds: str) -> JSON:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] in kinds and one["status"] == "True"), {})


def _is_under_way(job: JSON) -> bool:
    ended = _condition(job, "Complete", "Failed", "FailureTarget")
    return not (ended or job["spec"].get("suspend") or job["metadata"].get("deletionTimestamp"))


def _share_of(pod: JSON) -> int:
    """The number of a pod's share, from 1."""
    return int((pod["metadata"].get("annotations") or {}).get(_INDEX, -1)) + 1


def _ended(pod: JSON, container: str = CONTAINER) -> JSON:
    """How a pod's container has ended; empty while it has not."""
    own: JSON = next((one for one in container_statuses(pod) if one["name"] == container), {})
    return dict((own.get("state") or {}).get("terminated") or {})


def _waiting(pod: JSON) -> str:
    """What a pod's container waits for, in the kubelet's words."""
    waiting = [(one.get("state") or {}).get("waiting") or {} for one in container_statuses(pod)]
    return "; ".join(str(one["message"]) for one in waiting if one.get("message"))


def _instant(stamp: str) -> tuple[str, str]:
    """A time stamp of a log in a form that sorts: runtimes leave out a fraction's last zeros."""
    seconds, _, fraction = stamp.rstrip("Z").partition(".")
    return seconds, fraction.ljust(9, "0")
