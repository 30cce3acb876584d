"""A model's pods as the cluster has them: the pods, what happened to them, what they run and what they see."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from oci_model_serving.outputs import ModelOutput
from oci_model_serving.reference import digest_of, split
from watch.causes import Cause, NotHeldError, short
from watch.diagnosis import MODELCAR, Case, container_statuses, diagnose, image_volumes
from watch.image import is_same_content
from watch.kube import JSON, ApiError, KubeApi, namespaced

# -L follows the links of the mount and of the image's root; busybox and coreutils both know these options.
_LIST_FILES = 'cd "$0" && find -L . -type f -exec stat -L -c "%s %n" {} +'
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


def events_of(api: KubeApi, model: ModelOutput, pods: list[JSON]) -> list[JSON]:
    """The events about a model's objects, its pods and their nodes, the oldest first."""
    prefix = model.serving.platform.pod_prefix.format(name=model.name)
    names = {pod["metadata"]["name"] for pod in pods} | {model.name}
    nodes = {pod["spec"].get("nodeName") for pod in pods}
    events = [
        event
        for event in api.items(namespaced("v1", model.namespace, "events"))
        if event["involvedObject"].get("name") in names
        or str(event["involvedObject"].get("name", "")).startswith(prefix)
    ]
    # Events of nodes are in the namespace default.
    path = namespaced("v1", "default", "events")
    of_nodes = _unless_hidden(lambda: api.items(path, fieldSelector="involvedObject.kind=Node"))
    events += [event for event in of_nodes if event["involvedObject"].get("name") in nodes]
    return sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))


def nodes_of(api: KubeApi, pods: list[JSON]) -> list[JSON]:
    """The nodes of these pods, as far as they are there and may be seen."""
    names = sorted({pod["spec"].get("nodeName") for pod in pods} - {None})
    found = _unless_hidden(lambda: [api.find(f"/api/v1/nodes/{name}") for name in names])
    return [node for node in found if node]


def _unless_hidden(read: Callable[[], list[Read]]) -> list[Read]:
    # Whoever sees the namespace need not see the cluster: what is missing then are some figures and causes.
    try:
        return read()
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        return []


def find_causes(api: KubeApi, model: ModelOutput, pods: list[JSON], *, account: str = "") -> tuple[Cause, ...]:
    """The causes that these pods, their events and their nodes show; each cause once.

    Without pods, the events of the model's objects are looked at; `account` is the email of the nodes' service account.
    """
    events, nodes = events_of(api, model, pods), nodes_of(api, pods)
    names = {pod["metadata"]["name"] for pod in pods}
    causes: dict[str, Cause] = {}
    for pod in pods or [{}]:
        others = names - {pod.get("metadata", {}).get("name")}
        own = [event for event in events if event["involvedObject"].get("name") not in others]
        for cause in diagnose(Case(pod, own, nodes, model.size_bytes, account, model.node_pool or "")):
            causes.setdefault(cause.code, cause)
    return tuple(causes.values())


def running_digests(pod: JSON, model: ModelOutput) -> set[str]:
    """The digests of the model's image that a pod runs, as the node or the spec shows them.

    A modelcar is a container: its status has the digest that was pulled. An image volume has no status of its own:
    its reference in the spec is a digest, or the tag that spells one.
    """
    if model.serving.needs_image_volume:
        named = [split(volume["reference"]) for volume in image_volumes(pod)]
        own = [(tag, digest) for name, tag, digest in named if name == model.reference.repository]
        return {digest or digest_of(tag) or tag for tag, digest in own}
    spec = pod["spec"]
    asked = {one["name"]: one["image"] for one in (*spec["containers"], *(spec.get("initContainers") or ()))}
    statuses = [status for status in container_statuses(pod) if status["name"].startswith(MODELCAR)]
    return {_pulled(status["imageID"], asked[status["name"]]) for status in statuses if status.get("imageID")}


def _pulled(image_id: str, asked: str) -> str:
    """The digest of what a container runs: the one asked for, where the status names the same image otherwise.

    Manifests that share their configuration and layers (the same weights packed twice, with other annotations) are
    one image to a node, whose status then has the name that came first (seen on kubelet 1.35, containerd 2.2).
    """
    shown, wanted = split(image_id)[2], split(asked)[2]
    return wanted if shown != wanted and is_same_content(image_id, asked) else shown


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
