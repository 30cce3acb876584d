"""Why a pod does not run: statuses and events translated into causes with remedies. Pure: no cluster is asked.

The texts are those of kubelet and kube-scheduler 1.35, containerd 2.2 and the cluster autoscaler; the recorded
statuses in tests/watch/statuses say for each where it was seen.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.google import disk, refusals
from oci_model_serving.delivery import ADAPTER_VOLUME
from oci_model_serving.reference import google_repository, split
from watch.causes import Cause, short

JSON = Mapping[str, Any]

SOURCE_ANNOTATION = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""What KServe's controller writes on a predictor's pod and its webhook reads (KServe v0.20, pkg/constants)."""
MODELCAR = "modelcar"
STORAGE_INITIALIZER = "storage-initializer"
IMAGE_VOLUME_CONTAINERD = (2, 1)
"""containerd mounts image volumes from 2.1.0 on (release notes of containerd 2.1)."""


@dataclass(frozen=True)
class Case:
    """What is known of a pod that does not run.

    The events are those of the pod, its owner and its node; `image_bytes` (0: not known) tells how large a disk is
    needed; `account` is the email of the node pool's service account, `pool` its key in the settings ("": not known).
    """

    pod: JSON
    events: Sequence[JSON] = ()
    nodes: Sequence[JSON] = ()
    image_bytes: int = 0
    account: str = ""
    pool: str = ""

    @property
    def pool_setting(self) -> str:
        """The setting of the node pool, as a person would look it up."""
        return f"nodePools.{self.pool or 'NAME'}"


def diagnose(case: Case) -> list[Cause]:
    """Return the causes that the recorded state shows, the most telling first; none when it shows no trouble."""
    causes: dict[str, Cause] = {}
    complaints = list(_complaints(case))
    for code, (pattern, remedy) in _RULES.items():
        for said_by, text in complaints:
            if code not in causes and re.search(pattern, text, re.DOTALL):
                what = remedy if isinstance(remedy, str) else remedy(text, case)
                told = what.replace("{setting}", case.pool_setting).replace("{pool}", case.pool or "of the model")
                causes[code] = Cause(code, f"{said_by}: {short(text)}", told)
    for code in _pull_causes_beside(causes):
        causes.pop(code, None)
    for cause in (*_spec_causes(case), *_node_causes(case)):
        causes.setdefault(cause.code, cause)
    if not causes:
        causes.update({cause.code: cause for cause in _crashes(case)})
    return list(causes.values())


def empty_mount(path: str, node: JSON | None) -> Cause:
    """Return the cause of an empty mount under a running pod: a runtime that ignores image volumes."""
    runtime = _node_info(node).get("containerRuntimeVersion", "an unknown runtime")
    return Cause(
        "empty-mount",
        f"{path} is empty, and nothing reports an error; the node runs {runtime}",
        "the node's runtime does not mount image volumes: containerd must be 2.1 or newer (GKE 1.34.4 and later); "
        "upgrade the node pool, or set `models.NAME.delivery: modelcar`",
    )


def image_volumes(pod: JSON) -> list[dict[str, Any]]:
    """The images that a pod mounts as volumes, as its spec has them, but for those of adapters."""
    return [image for name, image in _image_volumes(pod) if not name.startswith(ADAPTER_VOLUME)]


def adapter_volumes(pod: JSON) -> dict[str, dict[str, Any]]:
    """The images of LoRA adapters that a pod mounts as volumes, by the adapters' names."""
    found = _image_volumes(pod)
    return {name.removeprefix(ADAPTER_VOLUME): image for name, image in found if name.startswith(ADAPTER_VOLUME)}


def _image_volumes(pod: JSON) -> list[tuple[str, dict[str, Any]]]:
    volumes = pod.get("spec", {}).get("volumes") or ()
    return [(volume["name"], volume["image"]) for volume in volumes if "image" in volume]


def containerd_version(node: JSON) -> tuple[int, int] | None:
    """Return (major, minor) of a node's containerd, None for another runtime."""
    match = re.match(r"containerd://v?(\d+)\.(\d+)", str(_node_info(node).get("containerRuntimeVersion", "")))
    return (int(match[1]), int(match[2])) if match else None


def _node_info(node: JSON | None) -> dict[str, Any]:
    return dict((node or {}).get("status", {}).get("nodeInfo", {}))


def _complaints(case: Case) -> Iterator[tuple[str, str]]:
    """What the cluster says about a pod: which container or event says it, and the text."""
    status = case.pod.get("status", {})
    for container in container_statuses(case.pod):
        for state in (container.get("state", {}), container.get("lastState", {})):
            for phase in ("waiting", "terminated"):
                said = state.get(phase) or {}
                if said.get("reason") != "Completed" and (said.get("message") or said.get("reason")):
                    yield f"container {container['name']}", _said(said)
    if status.get("reason") or status.get("message"):
        yield "pod", _said(status)
    for condition in status.get("conditions") or []:
        if condition.get("status") == "False" and condition.get("type") == "PodScheduled":
            yield "scheduler", condition.get("message", "")
    for event in case.events:
        # The scheduler's older messages are of nodes as they were; its last word is the condition above.
        told = event.get("type") == "Warning" and (event.get("reason") != "FailedScheduling" or not status)
        if told or event.get("reason") in {"NotTriggerScaleUp", "FailedScaleUp"}:
            yield "event", f"{event.get('reason', '')}: {event.get('message', '')}"


def container_statuses(pod: JSON) -> Iterator[dict[str, Any]]:
    """Yield the statuses of a pod's containers, init containers first."""
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def _said(status: JSON) -> str:
    return f"{status.get('reason', '')}: {status.get('message', '')}".strip(": ")


def _repository(text: str) -> str:
    match = re.search(r'image "([^"]+)"', text)
    return split(match[1])[0] if match else ""


def _grant(text: str, case: Case) -> str:
    repository = _repository(text)
    if google_repository(repository) is None:
        return (
            f"the credentials that the node has for {repository or 'the repository'} may not pull it: correct the "
            "entry of `pullSecrets` for that host and `pulumi up`"
        )
    account = f"serviceAccount:{case.account}" if case.account else "the node pool's service account"
    return (
        f"bind roles/artifactregistry.reader on {repository} to {account}: with `registry.create` name it in "
        "`registry.create.extraReaders` and `pulumi up`; in an adopted registry its owner grants it"
    )


def _larger_disk(_text: str, case: Case) -> str:
    needed = disk.needed_gb([case.image_bytes / 1e9])
    return (
        f"the node's disk is too small for its images: set {case.pool_setting}.bootDisk.sizeGb to {needed} or more, or "
        f"{case.pool_setting}.localSsd to a number that holds it (twice the sum of all images that land there, and the "
        "system, below the kubelet's threshold)"
    )


def _run_again(text: str, _case: Case) -> str:
    return (
        f"the digest is not in {_repository(text) or 'the repository'}: see `oms image inspect REF`; build it again "
        "with `pulumi up`, and see whether a cleanup policy without a keep rule for tags digest-… deleted it"
    )


def _tolerate(text: str, case: Case) -> str:
    """Tell which taint it is by the nodes: the scheduler of Kubernetes 1.35 names no key."""
    taints = _untolerated(case.pod, case.nodes)
    keys = {str(taint["key"]) for taint in taints} or set(re.findall(r"untolerated taint \{([^:}]+)", text))
    if not keys:
        return (
            "the pod does not tolerate a taint of the nodes: compare `kubectl describe nodes` with "
            "{setting}.taints, from which, with `models.NAME.nodePool`, the model's tolerations are taken"
        )
    return "; ".join(_TAINTS.get(key) or _taint_remedy(key, taints) for key in sorted(keys))


def _taint_remedy(key: str, taints: Sequence[JSON]) -> str:
    if key.startswith(("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")):
        return f"a node is out of use ({key}): `kubectl describe nodes` says why; wait for it, or for another"
    known = next((taint for taint in taints if taint["key"] == key), {})
    effect = {key: known[key] for key in ("value", "effect") if known.get(key)}
    told = ", ".join(f"{name}: {value}" for name, value in {"key": key, **effect}.items())
    return (
        f"the nodes have a taint that the model does not tolerate: add {{{told}}} to {{setting}}.taints if it is "
        f"meant for this model, or take it from the nodes (`kubectl taint nodes NODE {key}-`)"
    )


def _untolerated(pod: JSON, nodes: Sequence[JSON]) -> list[dict[str, Any]]:
    """The taints that keep a pod from nodes that it selects; from all nodes where it selects none of them."""
    spec = pod.get("spec", {})
    wanted = (spec.get("nodeSelector") or {}).items()
    own = [node for node in nodes if wanted <= (node["metadata"].get("labels") or {}).items()]
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for node in own or nodes:
        for taint in node.get("spec", {}).get("taints") or ():
            blocks = taint.get("effect") in {"NoSchedule", "NoExecute"}
            if blocks and not any(_tolerates(one, taint) for one in spec.get("tolerations") or ()):
                found[taint["key"], taint.get("value", ""), taint["effect"]] = taint
    return list(found.values())


def _tolerates(toleration: JSON, taint: JSON) -> bool:
    """As k8s.io/api/core/v1 Toleration.ToleratesTaint has it."""
    if toleration.get("effect") not in {None, "", taint.get("effect")}:
        return False
    if toleration.get("key") not in {None, "", taint["key"]}:
        return False
    exists = toleration.get("operator") == "Exists"
    return exists or toleration.get("value", "") == taint.get("value", "")


_TAINTS = {
    "nvidia.com/gpu": "GPU nodes have the taint nvidia.com/gpu=present:NoSchedule: give the model its "
    "`models.NAME.nodePool`, from which the toleration is taken",
    "node.kubernetes.io/unschedulable": "the node is cordoned: `kubectl uncordon NODE`, or wait for another",
}
_PULL_FAILED = r"(?:Failed to pull|pull and unpack|failed to resolve|ErrImagePull|ImagePullBackOff).*"

_RULES: dict[str, tuple[str, str | Callable[[str, Case], str]]] = {
    "pull-forbidden": (_PULL_FAILED + r"(?:403 Forbidden|PERMISSION_DENIED|denied: Permission)", _grant),
    "pull-unauthorized": (
        _PULL_FAILED + r"(?:401 Unauthorized|authorization failed|no basic auth credentials|pull access denied)",
        "the registry wants credentials that the node does not have: add the host to `pullSecrets` "
        "(`pulumi config set --secret`) and `pulumi up`; with KubeAI then delete the failed pods",
    ),
    "wrong-platform": (
        r"no match for platform in manifest|exec format error",
        "the image was built for another architecture than the node's: build it for that of the node "
        "(`models.NAME.platform`: linux/amd64 if nothing is said, linux/arm64 for Arm)",
    ),
    "digest-not-found": (_PULL_FAILED + r"(?:: not found|manifest unknown|404 Not Found)", _run_again),
    "registry-unreachable": (
        _PULL_FAILED + r"(?:dial tcp|no such host|i/o timeout|TLS handshake timeout|connection refused|x509:)",
        "the node cannot reach the registry: private nodes need Private Google Access (for pkg.dev) or Cloud NAT; "
        "check the host's name in the image's reference",
    ),
    "disk-too-small": (
        r"ImageGCFailed|FreeDiskSpaceFailed|no space left on device|disk pressure|DiskPressure"
        r"|low on resource: ephemeral-storage|InvalidDiskCapacity",
        _larger_disk,
    ),
    "ephemeral-limit": (  # kubelet 1.35, pkg/kubelet/eviction/helpers.go: by pod, by container, by volume.
        r"ephemeral local storage usage exceeds|exceeded its local ephemeral storage limit|Usage of EmptyDir volume",
        "a container wrote more to the node's disk, or to an emptyDir, than its limit allows: raise the limit, or "
        "have the server write less (its caches)",
    ),
    "no-shell": (
        r'exec: "(?:sh|/bin/sh)": (?:executable file not found|stat /bin/sh: no such file)',
        "the image has no shell, which the modelcar sidecar needs: build it on a base with one "
        "(`models.NAME.base: docker.io/library/busybox@sha256:…`, the default), or set `models.NAME.delivery: native`",
    ),
    "no-models-folder": (
        r"modelcar is invalid|failed to ensure image subpath \"models\"",
        "the image holds no /models folder: it was not packed by this project; build it with "
        "`oms image pack` or from `models.NAME.source`",
    ),
    "not-allowed": (  # kube-apiserver 1.35; the policies are those of components/serving/admission_rules.py.
        r"ValidatingAdmissionPolicy 'oci-model-serving-[^']*' with binding .* denied request",
        "the cluster takes only what the stack has verified: change the model in the stack's settings and run "
        "`pulumi up`; an image that something else puts into pods is named in `cluster.allowList.images`",
    ),
    "image-volume-refused": (
        r"ImageVolumeMountFailed|failed to mount image volume|image volumes? (?:is|are) not supported",
        "the node's runtime cannot mount the image as a volume: containerd 2.1 or newer, and no GKE Sandbox (gVisor); "
        "upgrade the node pool, or set `models.NAME.delivery: modelcar`",
    ),
    "paused": (
        r"\bis paused\b",
        "bring it back with `oms resume`, or with `models.NAME.paused: false` and `pulumi up`",
    ),
    "runtime-missing": (
        r"RuntimeNotRecognized|RuntimeDisabled|NoSupportingRuntime|InvalidPredictorSpec",
        "KServe cannot use the model's ServingRuntime, which this project makes: `pulumi up --refresh` brings it back "
        "as it must be",
    ),
    "resource-quota": (
        r"exceeded quota:",
        "the namespace's ResourceQuota leaves no room for the pod: raise it (`kubectl describe resourcequota`), or "
        "lower `models.NAME.resources` or `models.NAME.replicas`",
    ),
    "limit-range": (
        r"(?:maximum|minimum) \S+ usage per (?:Container|Pod) is",
        "the namespace's LimitRange refuses the pod: change it (`kubectl describe limitrange`), or "
        "`models.NAME.resources`",
    ),
    "service-account-missing": (
        r"error looking up service account",
        "the model's service account is gone: `pulumi up --refresh` brings it back",
    ),
    "object-missing": (r"there is no (?:inferenceservices|models)/", "`pulumi up --refresh` makes it again"),
    "quota": refusals.QUOTA,
    "stockout": refusals.STOCKOUT,
    "pool-at-maximum": (
        r"max node group size reached|max cluster (?:cpu|memory) limit reached",
        "the pool has all its nodes already: raise {setting}.maxNodes",
    ),
    "no-accelerator": (
        r"Insufficient nvidia\.com/gpu",
        "no node has that many free GPUs: compare `models.NAME.gpus` with {setting}.count; on a fresh node wait for "
        "the driver's installation (its pods run in kube-system), or raise {setting}.maxNodes",
    ),
    "untolerated-taint": (r"untolerated taint", _tolerate),
    "no-matching-node": (
        r"didn't match Pod's node affinity/selector",
        "no node has the labels that the pod asks for: the pool {pool} has no node yet or "
        "other labels; compare `pulumi stack output node_pools` with the nodes, and {setting}.maxNodes",
    ),
    "insufficient-resources": (
        r"Insufficient (?:cpu|memory|ephemeral-storage)",
        "the pod asks for more than a node has: lower `models.NAME.resources`, or take a larger "
        "`nodePools.NAME.machineType`",
    ),
    "webhook-unreachable": (
        r"failed calling webhook",
        "a webhook that must answer does not: see that KServe's controller and cert-manager run, and run `pulumi up` "
        "again once they are Ready",
    ),
    "pod-security": (
        r"violates PodSecurity",
        "the namespace's Pod Security level refuses the pod: modelcar passes `baseline` but not `restricted`; relax "
        "the namespace's label pod-security.kubernetes.io/enforce, or set `models.NAME.delivery: native`",
    ),
    "out-of-memory": (
        r"OOMKilled",
        "the server was killed for memory: raise `models.NAME.resources.memory`, or lower --max-model-len "
        "in `models.NAME.args`",
    ),
    "unreadable-files": (
        r"(?:Permission denied|PermissionError).*(?:/mnt/models|/model\b|/proc/)",
        "the server's user may not read the files (modelcar forces uid 1010): build the image with "
        "`oms image pack`, which makes them readable for all",
    ),
}


def _pull_causes_beside(causes: Mapping[str, Cause]) -> Iterator[str]:
    """Name the causes that follow from another one found, and would only distract from it."""
    if "no-models-folder" in causes:
        yield "image-volume-refused"
    if "wrong-platform" in causes:
        yield "digest-not-found"
    if {"quota", "stockout", "pool-at-maximum"} & causes.keys():
        yield from ("no-matching-node", "untolerated-taint", "no-accelerator", "insufficient-resources")
    elif "no-accelerator" in causes:
        yield "untolerated-taint"


def _spec_causes(case: Case) -> Iterator[Cause]:
    """Find what the pod's own spec shows: that KServe's webhook did not do its part."""
    source = (case.pod.get("metadata", {}).get("annotations") or {}).get(SOURCE_ANNOTATION, "")
    spec = case.pod.get("spec", {})
    if not source.startswith(("oci://", "oci+native://")):
        return
    names = {container["name"] for container in (*spec.get("containers", ()), *(spec.get("initContainers") or ()))}
    if STORAGE_INITIALIZER in names:
        yield Cause(
            "modelcar-disabled",
            f"the pod has a {STORAGE_INITIALIZER} instead of a modelcar; it cannot read {source.split('://')[0]}://",
            "modelcar is switched off in KServe: set `kserve.storage.enableModelcar: true` in the chart's values "
            "(this project's KServe component does) and delete the pod",
        )
    elif MODELCAR not in names and not image_volumes(case.pod):
        yield Cause(
            "webhook-missing",
            f"the pod asks for {source.split('@')[0]}, but has neither a modelcar nor an image volume",
            "KServe's Pod webhook did not see the pod, or modelcar is switched off: check enableModelcar, the "
            "MutatingWebhookConfiguration inferenceservice.serving.kserve.io, and that the namespace has no label "
            "`control-plane`; then delete the pod",
        )


def _node_causes(case: Case) -> Iterator[Cause]:
    node_name = case.pod.get("spec", {}).get("nodeName")
    for node in case.nodes:
        if node["metadata"]["name"] != node_name:
            continue
        for condition in node.get("status", {}).get("conditions") or ():
            if condition.get("type") == "DiskPressure" and condition.get("status") == "True":
                evidence = f"node {node_name} has disk pressure"
                yield Cause("disk-too-small", evidence, _larger_disk(evidence, case))
        version = containerd_version(node)
        if _image_volumes(case.pod) and version and version < IMAGE_VOLUME_CONTAINERD:
            yield empty_mount("the image volume", node)


def _crashes(case: Case) -> Iterator[Cause]:
    """Find containers that end by themselves, for want of a more telling cause."""
    for container in container_statuses(case.pod):
        ended = (container.get("state", {}).get("terminated")) or (container.get("lastState", {}).get("terminated"))
        if ended and ended.get("exitCode"):
            said = short(str(ended.get("message") or "it left no message"))
            yield Cause(
                f"crash-{container['name']}",
                f"container {container['name']} ended with exit code {ended['exitCode']} "
                f"({container.get('restartCount', 0)} restarts): {said}",
                f"read its log: `kubectl -n {case.pod['metadata'].get('namespace', 'default')} logs "
                f"{case.pod['metadata']['name']} -c {container['name']} --previous`",
            )
