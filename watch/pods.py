"""A model's pods as the cluster has them: which are its revision's, what happened to them, what they see.

Read are the pods, their events and those of the objects that made them, their nodes, and the model's ReplicaSets.
"""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from oci_model_serving.delivery import KSERVE, REVISION_ENV, REVISION_LABEL
from oci_model_serving.outputs import ModelOutput
from watch.causes import Cause, NotHeldError, short, unlike
from watch.complaints import Case, told_at
from watch.containers import container_statuses
from watch.diagnosis import diagnose, without_guesses
from watch.kube import JSON, ApiError, KubeApi, namespaced

# -L follows the links of the mount and of the image's root; busybox and coreutils both know these options.
_LIST_FILES = 'cd "$0" && find -L . -type f -exec stat -L -c "%s %n" {} +'
_TAIL = {"tailLines": "200", "limitBytes": str(256 << 10)}
Read = TypeVar("Read")


def object_path(model: ModelOutput) -> str:
    """The API path of the object that serves a model."""
    platform = model.serving.platform
    return namespaced(platform.api_version, model.namespace, platform.plural, model.name)


def pods_of(api: KubeApi, model: ModelOutput, *, going: bool = False) -> list[JSON]:
    """The model's pods; those that are being deleted only with `going`."""
    selector = model.serving.platform.pod_selector(model.name)
    pods = api.items(namespaced("v1", model.namespace, "pods"), labelSelector=selector)
    return [pod for pod in pods if going or not pod["metadata"].get("deletionTimestamp")]


def is_ready(found: JSON) -> bool:
    """Whether a pod, or another object with conditions, is Ready."""
    conditions = found.get("status", {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def is_paused(found: JSON, model: ModelOutput) -> bool:
    """Whether an object of the cluster says that its model is paused."""
    return _holds(found, model.serving.platform.stopped)


def is_of_revision(pod: JSON, model: ModelOutput) -> bool:
    """Whether a pod, or a template of one, is what the stack says now.

    KServe's pods have the revision as a label, KubeAI's in the server's environment. A stack that an older version
    deployed has no revision: there a pod is known by the image's digest, or by the tag that spells it.
    """
    if not model.revision:
        return model.digest.partition(":")[2] in json.dumps(pod["spec"])
    platform = model.serving.platform
    if platform is KSERVE:
        return bool((pod["metadata"].get("labels") or {}).get(REVISION_LABEL) == model.revision)
    servers = (one for one in pod["spec"]["containers"] if one["name"] == platform.container)
    env = {one["name"]: one.get("value") for server in servers for one in server.get("env") or ()}
    return env.get(REVISION_ENV) == model.revision


def events_of(api: KubeApi, model: ModelOutput, pods: list[JSON]) -> list[JSON]:
    """The events about these pods, their nodes and what makes pods of the model's revision, the oldest first.

    What was said of other pods and of the ReplicaSets of earlier revisions is left out.
    """
    prefix = model.serving.platform.pod_prefix.format(name=model.name)
    others = _earlier_sets(api, model)
    names = {pod["metadata"]["name"]: pod["metadata"].get("uid") for pod in pods}
    nodes = {pod["spec"].get("nodeName") for pod in pods}

    def is_told(event: JSON) -> bool:
        of = event["involvedObject"]
        name = str(of.get("name", ""))
        if name in names:
            return of.get("uid") in {None, names[name]} or names[name] is None
        return of.get("kind") != "Pod" and name not in others and (name == model.name or name.startswith(prefix))

    events = list(filter(is_told, api.items(namespaced("v1", model.namespace, "events"))))
    # Events of nodes are in the namespace default.
    path = namespaced("v1", "default", "events")
    of_nodes = _unless_hidden(lambda: api.items(path, fieldSelector="involvedObject.kind=Node"))
    events += [event for event in of_nodes if event["involvedObject"].get("name") in nodes - {None}]
    return sorted(events, key=told_at)


def _earlier_sets(api: KubeApi, model: ModelOutput) -> set[str]:
    selector = model.serving.platform.pod_selector(model.name)
    path = namespaced("apps/v1", model.namespace, "replicasets")
    found = _unless_hidden(lambda: api.items(path, labelSelector=selector))
    return {one["metadata"]["name"] for one in found if not is_of_revision(one["spec"]["template"], model)}


def nodes_of(api: KubeApi, pods: list[JSON]) -> list[JSON]:
    """The nodes of these pods, as far as they are there and may be seen; all nodes while one of them has none."""
    names = {pod["spec"].get("nodeName") for pod in pods}
    if None in names:
        return _unless_hidden(lambda: api.items("/api/v1/nodes"))
    found = _unless_hidden(lambda: [api.find(f"/api/v1/nodes/{name}") for name in sorted(names)])
    return [node for node in found if node]


def _holds(found: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    return all(
        _holds(found.get(key) or {}, value) if isinstance(value, Mapping) else found.get(key) == value
        for key, value in fields.items()
    )


def _unless_hidden(read: Callable[[], list[Read]]) -> list[Read]:
    # Whoever sees the namespace need not see the cluster: what is missing then are some figures and causes.
    try:
        return read()
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return []


def find_causes(
    api: KubeApi, model: ModelOutput, pods: list[JSON], *, account: str = "", complaint: str = ""
) -> tuple[Cause, ...]:
    """The causes that these pods, their events and their nodes show; each cause once.

    Without pods, the events of the model's objects are looked at, and `complaint`, what those objects say; `account` is
    the email of the nodes' service account.
    """
    events, nodes = events_of(api, model, pods), nodes_of(api, pods)
    if complaint:
        told = {"type": "Warning", "reason": "Refused", "message": complaint, "involvedObject": {"name": model.name}}
        events.append(told)
    names = {pod["metadata"]["name"] for pod in pods}
    size = model.size_bytes + sum(adapter.size_bytes for adapter in model.adapters.values())
    causes: dict[str, Cause] = {}
    for pod in pods or [{}]:
        others = names - {pod.get("metadata", {}).get("name")}
        own = [event for event in events if event["involvedObject"].get("name") not in others]
        with unlike("the API server"):
            case = Case(pod, own, nodes, size, account, model.node_pool or "", logs_of(api, pod))
            for cause in diagnose(case):
                causes.setdefault(cause.code, cause)
    return tuple(without_guesses(causes.values()))


def logs_of(api: KubeApi, pod: JSON) -> dict[str, str]:
    """The last lines that the containers of a pod have written that have ended or are not ready, as far as one may.

    A status has the last 2 KiB of them only, where the cause often stands above: a server of several processes says
    last that one of them has failed.
    """
    logs = {}
    for status in container_statuses(pod):
        state, restarts = status.get("state") or {}, status.get("restartCount")
        ended = (state.get("terminated") or {}).get("exitCode")
        if status.get("ready") or not (restarts or ended or "running" in state):
            continue
        path = namespaced("v1", pod["metadata"]["namespace"], "pods", pod["metadata"]["name"])
        before = {"previous": "true"} if restarts and "running" in state else {}
        try:
            said = api.text(f"{path}/log", container=status["name"], **_TAIL, **before)
        except ApiError:
            continue  # no right to, the container is gone, or its node does not answer
        if said.strip():
            logs[status["name"]] = said
    return logs


def list_files(api: KubeApi, pod: JSON, model: ModelOutput) -> dict[str, int]:
    """The files that the server's container sees below its mount, with their sizes in bytes.

    Raises:
        NotHeldError: the command could not be run.
    """
    platform = model.serving.platform
    command = ["sh", "-c", _LIST_FILES, platform.mount]
    done = api.execute(model.namespace, pod["metadata"]["name"], platform.container, command)
    if done.code and not done.stdout:
        raise NotHeldError(
            f"{platform.mount} cannot be listed: {short(done.stderr) or f'exit code {done.code}'}",
            "the server's image needs sh, find and stat for this check",
        )
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    return {name.removeprefix("./"): int(size) for size, _, name in lines}
