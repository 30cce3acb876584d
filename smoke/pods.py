"""A model's pods as the cluster has them: the pods, what happened to them, what they run and what they see."""

from components.outputs import ModelOutput, StackOutputs
from smoke import manifests
from smoke.checks import Cause, NotHeldError
from smoke.diagnosis import Case, container_statuses, diagnose
from smoke.image import is_same_content
from smoke.kube import JSON, ApiError, KubeApi, namespaced

# -L follows the links of the mount and of the image's root; busybox and coreutils both know these options.
_LIST_FILES = 'cd "$0" && find -L . -type f -exec stat -L -c "%s %n" {} +'


def pods_of(api: KubeApi, model: ModelOutput) -> list[JSON]:
    """Return the model's pods, without those that are being deleted."""
    pods = api.items(namespaced("v1", model.namespace, "pods"), labelSelector=manifests.pod_selector(model))
    return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]


def events_of(api: KubeApi, model: ModelOutput, pods: list[JSON]) -> list[JSON]:
    """Return the events about a model's objects, its pods and their nodes, the oldest first."""
    prefix = f"model-{model.name}-" if model.platform == "kubeai" else f"{model.name}-predictor"
    names = {pod["metadata"]["name"] for pod in pods} | {model.name}
    nodes = {pod["spec"].get("nodeName") for pod in pods}
    events = api.items(namespaced("v1", model.namespace, "events"))
    kept = [
        event
        for event in events
        if event["involvedObject"].get("name") in names
        or str(event["involvedObject"].get("name", "")).startswith(prefix)
    ]
    try:
        # Events of nodes are in the namespace default.
        kept += [
            event
            for event in api.items(namespaced("v1", "default", "events"), fieldSelector="involvedObject.kind=Node")
            if event["involvedObject"].get("name") in nodes
        ]
    except ApiError as error:
        if error.status != 403:
            raise
    return sorted(kept, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))


def _nodes_of(api: KubeApi, pods: list[JSON]) -> list[JSON]:
    names = {pod["spec"].get("nodeName") for pod in pods} - {None}
    try:
        found = [api.find(f"/api/v1/nodes/{name}") for name in sorted(names)]
    except ApiError as error:
        if error.status != 403:
            raise
        return []
    return [node for node in found if node]


def find_cause(api: KubeApi, outputs: StackOutputs, model: ModelOutput) -> tuple[Cause, ...]:
    """Return the causes that the pods of a model of the stack show."""
    account = outputs.node_service_accounts.get(model.node_pool or "", "")
    return find_in(api, model, pods_of(api, model), account=account)


def find_in(api: KubeApi, model: ModelOutput, pods: list[JSON], *, account: str = "") -> tuple[Cause, ...]:
    """Return the causes that these pods, their events and their nodes show; each cause once."""
    events = events_of(api, model, pods)
    nodes = _nodes_of(api, pods)
    causes: dict[str, Cause] = {}
    for pod in pods or [{}]:
        names = {pod.get("metadata", {}).get("name")}
        own = [event for event in events if not _of_another_pod(event, pods, names)]
        for cause in diagnose(Case(pod, own, nodes, model.size_bytes, account, model.node_pool or "")):
            causes.setdefault(cause.code, cause)
    return tuple(causes.values())


def _of_another_pod(event: JSON, pods: list[JSON], names: set[str | None]) -> bool:
    others = {pod["metadata"]["name"] for pod in pods} - names
    return event["involvedObject"].get("name") in others


def running_digests(pod: JSON, model: ModelOutput) -> set[str]:
    """Return the digests of the model's image that a pod runs, as the node or the spec shows them.

    A modelcar is a container: its status has the digest that was pulled. An image volume has no status of its own:
    its reference in the spec is a digest, or the tag that spells one.
    """
    repository = model.reference.repository
    if model.delivery == "modelcar":
        spec = pod["spec"]
        asked = {one["name"]: one["image"] for one in (*spec["containers"], *(spec.get("initContainers") or ()))}
        statuses = [status for status in container_statuses(pod) if status["name"].startswith("modelcar")]
        return {_pulled(status["imageID"], asked[status["name"]]) for status in statuses if status.get("imageID")}
    references = [volume["image"]["reference"] for volume in pod["spec"].get("volumes") or () if "image" in volume]
    own = [reference for reference in references if reference.startswith((f"{repository}@", f"{repository}:"))]
    return {reference.removeprefix(repository)[1:].replace("sha256-", "sha256:") for reference in own}


def _pulled(image_id: str, asked: str) -> str:
    """Return the digest of what a container runs: the one asked for, where the status names the same image otherwise.

    Manifests that share their configuration and layers (the same weights packed twice, with other annotations) are
    one image to a node, whose status then has the name that came first (seen on kubelet 1.35, containerd 2.2).
    """
    shown, wanted = image_id.rpartition("@")[2], asked.rpartition("@")[2]
    return wanted if shown != wanted and is_same_content(image_id, asked) else shown


def list_files(api: KubeApi, pod: JSON, model: ModelOutput) -> dict[str, int]:
    """Return the files that the server's container sees below its mount, with their sizes in bytes.

    Raises:
        NotHeldError: the command could not be run.
    """
    path = manifests.mount_path(model)
    done = api.execute(
        model.namespace,
        pod["metadata"]["name"],
        manifests.server_container(model),
        ["sh", "-c", _LIST_FILES, path],
    )
    if done.code and not done.stdout:
        raise NotHeldError(
            f"{path} cannot be listed: {done.stderr.strip()[:300] or f'exit code {done.code}'}",
            "the server's image needs sh, find and stat for this check",
        )
    files = {}
    for line in done.stdout.splitlines():
        size, _, name = line.partition(" ")
        files[name.removeprefix("./")] = int(size)
    return files
