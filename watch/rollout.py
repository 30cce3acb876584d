"""Wait until a model's new pods are ready, and say at once why they cannot be: `python -m watch.rollout`.

This is the wait of `pulumi up`, and of `oms resume` and `coldstart`. The serving resource's own readiness says too
little: KServe's stays True while old pods serve, and neither KServe nor KubeAI tells of a failed pull. Here the pods of
the model's revision are asked: as many as the stack wants at least must be ready; on KubeAI the earlier ones must be
gone as well, since it counts a pod that drains as one that serves, so that the next change would take the only one that
does. A paused model must have no pod left, those that are going included; of one that scales to zero nothing is waited
for but its object. What cannot succeed ends in its causes and remedies long before the timeout: `watch.signs` has the
rules.

Read are, beside the pods and their events, the serving object, KServe's Deployment of it, and the controller's own
Deployment (where these may be seen).

The model comes on stdin, as the stack's output `models.<key>`; the kubeconfig's text or path in SMOKE_KUBECONFIG (a
secret, so no argument). Progress goes to stderr: a line when something changes, and one every 30 s. Exit
codes: 0 ready, 1 not, 2 bad input, 130 interrupted.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import httpx
from pydantic import ValidationError

from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.outputs import ModelOutput
from oci_model_serving.reference import split
from watch.causes import NotHeldError, said, short, unlike
from watch.containers import container_statuses, named_image
from watch.controllers import complaint_of, controller_of
from watch.kube import JSON, ApiError, KubeApi
from watch.pods import events_of, find_causes, is_of_revision, is_ready, object_path, pods_of
from watch.pulling import PullProgress
from watch.signs import Look, Signs, autoscaler_words, is_over, pulling, unschedulable
from watch.waiting import LateError, Progress, Tell, wait_for

_EVENTS_SECONDS = 5.0


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m watch.rollout", description=__doc__.partition("\n")[0])
    parser.add_argument("--timeout", type=float, required=True, help="seconds to wait for the pods to be ready")
    options = parser.parse_args()
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True))
    try:
        model = _model(sys.stdin.read())
        with unlike("the API server"), closing(KubeApi(os.environ.get("SMOKE_KUBECONFIG") or None)) as api:
            pods = wait_for_pods(api, model, timeout=options.timeout, tell=progress.tell)
    except OmsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    print(json.dumps({"pods": [pod["metadata"]["name"] for pod in pods]}))
    return 0


def wait_for_ready_pod(
    api: KubeApi, model: ModelOutput, *, timeout: float, tell: Tell = lambda _: None, account: str = ""
) -> JSON:
    """Wait as `wait_for_pods` does, for one pod at least whatever the stack says, and return one that is ready."""
    awaited = model.model_copy(update={"paused": False, "replicas": max(1, model.replicas)})
    return wait_for_pods(api, awaited, timeout=timeout, tell=tell, account=account)[0]


def wait_for_pods(
    api: KubeApi, model: ModelOutput, *, timeout: float, tell: Tell = lambda _: None, account: str = ""
) -> list[JSON]:
    """Return the ready pods of the model's revision, once they are as many as the model has at least.

    Args:
        api: the cluster.
        model: what the stack says.
        timeout: seconds to wait.
        tell: takes a line of progress with each look.
        account: email of the nodes' service account, for the remedies.

    Raises:
        NotHeldError: the pods cannot become ready, or are not in time; with the causes.
        ApiError: the API server refuses to tell of the pods.
    """
    return _Rollout(api, model, account).wait(timeout, tell)


class _Rollout:
    """The wait for one model: what was seen at the last look, and since when."""

    def __init__(self, api: KubeApi, model: ModelOutput, account: str) -> None:
        self._api, self._model, self._account = api, model, account
        self._signs = Signs()
        self._pods: list[JSON] = []
        self._served: list[JSON] = []
        self._events: list[JSON] = []
        self._events_at = -_EVENTS_SECONDS
        self._progress = PullProgress(api)
        self._pulled: dict[str, str] = {}
        self._complaint = ""
        self._state = "asking for its pods"

    def wait(self, timeout: float, tell: Tell) -> list[JSON]:
        model = self._model
        if not model.replicas:
            return self._wait_for_none(timeout, tell)
        number = "a ready pod" if model.replicas == 1 else f"{model.replicas} ready pods"
        what = f"{model.name}: waiting for {number}"
        try:
            return wait_for(lambda: self._look(what), timeout=timeout, what=what, remedy="", tell=self._telling(tell))
        except LateError:
            if self._served:
                return self._served
            missing = "" if self._pods else "; no controller made one of its revision"
            late = f"{what}: it is not ready after {timeout:.0f} s{missing} ({self._state})"
            raise self._failure(late) from None

    def _look(self, what: str) -> list[JSON] | None:
        model, now = self._model, time.monotonic()
        found = pods_of(self._api, model, going=True)
        going = [pod for pod in found if pod["metadata"].get("deletionTimestamp")]
        self._pods = [pod for pod in found if pod not in going and is_of_revision(pod, model)]
        ready = list(filter(is_ready, self._pods))
        self._served = ready if len(ready) >= model.replicas else []
        earlier = len(found) - len(self._pods)
        if self._served:
            self._state = f"ready; {earlier} earlier pods are still going"
            return None if earlier and model.serving.platform.counts_going else ready
        if now - self._events_at >= _EVENTS_SECONDS:
            self._events, self._events_at = events_of(self._api, model, self._pods), now
            self._pulled = dict(self._pulls())
        live = [pod for pod in self._pods if not is_over(pod)]
        self._complaint = "" if live or going else complaint_of(self._api, model, self._events)
        self._state = f"{len(ready)} of {model.replicas}, {self._told(live, len(going))}"
        evidence = self._signs.verdict(Look(self._pods, bool(going), self._complaint, self._events), now)
        if evidence:
            silent = not live and not self._complaint
            raise self._failure(f"{what}: {evidence}{f': {controller_of(self._api, model)}' if silent else ''}")
        return None

    def _told(self, live: Sequence[JSON], going: int) -> str:
        if not live:
            return short(self._complaint) or (f"{going} earlier pods are still going" if going else "no pod yet")
        names = [(pod, pod["metadata"]["name"]) for pod in live if not is_ready(pod)]
        return "; ".join(f"{name} {self._pulled.get(name) or _stage(pod, self._events)}" for pod, name in names)

    def _pulls(self) -> Iterator[tuple[str, str]]:
        """How far the pulls of the model's image have come, by the names of their pods."""
        repository, size = self._model.reference.repository, self._model.size_bytes
        for pod in self._pods:
            image = named_image(pulling(pod, self._events))
            if image and split(image)[0] == repository:
                far = self._progress.told(pod["spec"]["nodeName"], size)
                yield pod["metadata"]["name"], f"is pulling {short(image, 120)}{f': {far}' if far else ''}"

    def _telling(self, tell: Tell) -> Tell:
        def told(line: str) -> None:
            what, _, seconds = line.rpartition(" (")
            tell(f"{what}: {self._state} ({seconds}")

        return told

    def _wait_for_none(self, timeout: float, tell: Tell) -> list[JSON]:
        api, model = self._api, self._model
        if not model.paused:
            # Its scaler makes a pod when a request comes: now there may be some or none.
            what = f"{model.name}: waiting for its object"
            remedy = f"{object_path(model)} is not there: `pulumi up --refresh` makes it"
            wait_for(lambda: api.find(object_path(model)), timeout=min(timeout, 30), what=what, remedy=remedy)
            return []
        wait_for_no_pods(api, model, timeout=timeout, tell=tell)
        return []

    def _failure(self, evidence: str) -> NotHeldError:
        model = self._model
        try:
            causes = find_causes(self._api, model, self._pods, account=self._account, complaint=self._complaint)
        except (ApiError, httpx.TransportError) as error:
            return NotHeldError(evidence, f"its causes cannot be read: {said(error)}")
        return NotHeldError(
            evidence,
            f"the pods show no cause: see `kubectl -n {model.namespace} describe pod` and that the controllers of "
            f"{model.platform} run, or give it more time (--timeout, `models.NAME.startupTimeout`)",
            causes,
        )


def wait_for_no_pods(api: KubeApi, model: ModelOutput, *, timeout: float, tell: Tell) -> None:
    """Wait until a paused model's pods are gone, those that are terminating included.

    Raises:
        NotHeldError: some are still there after `timeout` seconds.
    """
    wait_for(
        lambda: not pods_of(api, model, going=True),
        timeout=timeout,
        tell=tell,
        what=f"{model.name}: waiting for zero pods",
        remedy="see what keeps them (`kubectl describe pod`): a finalizer, a long generation that is being finished "
        "(`models.NAME.drainTimeout`), or a controller that does not run",
    )


def _stage(pod: JSON, events: Sequence[JSON]) -> str:
    """How far a pod that is not ready has come, in a few words."""
    refused = unschedulable(pod)
    if refused:
        words = autoscaler_words(pod, events)
        heard = short(str(words[-1].get("message", "")), 120) if words else "no autoscaler has said anything yet"
        return f"has no node: {short(refused, 120)} [{heard}]"
    pull = pulling(pod, events)
    if pull:
        return f"is pulling: {short(pull, 120)}"
    for status in container_statuses(pod):
        state = status.get("state") or {}
        waiting = state.get("waiting") or {}
        if waiting.get("reason") not in {None, "PodInitializing", "ContainerCreating"}:
            return f"container {status['name']}: {waiting['reason']}"
        if "running" in state and not status.get("ready"):
            restarts = f", {status['restartCount']} restarts" if status.get("restartCount") else ""
            return f"container {status['name']} is starting{restarts}"
    return str(pod.get("status", {}).get("phase", "Pending"))


def _model(text: str) -> ModelOutput:
    try:
        return ModelOutput.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in error.errors())
        raise InputError(f"stdin is not a model of the stack's outputs: {problems}") from None


if __name__ == "__main__":
    sys.exit(main())
