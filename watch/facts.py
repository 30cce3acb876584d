"""What the remedies of the table of causes are filled in with: what each name in braces says of a case. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from components.google import disk, image_disk
from components.settings.types import amount
from oci_model_serving.delivery import KUBEAI
from oci_model_serving.reference import google_repository, split
from watch.complaints import Case, Complaint
from watch.containers import Whose, adapter_volumes, containers_of, repository_of, whose_container

JSON = Mapping[str, Any]

_LOCAL_SSD_LABEL = "cloud.google.com/gke-ephemeral-storage-local-ssd"
"""GKE documentation, "Provision ephemeral storage with local SSDs"."""
_TAINTS = {
    "nvidia.com/gpu": "GPU nodes have the taint nvidia.com/gpu=present:NoSchedule: give the model its "
    "`models.NAME.nodePool`, from which the toleration is taken",
    "node.kubernetes.io/unschedulable": "the node is cordoned: `kubectl uncordon NODE`, or wait for another",
    "cloud.google.com/gke-queued": "the pool takes ProvisioningRequests only, and the pod has none: set "
    "`{setting}.queuedProvisioning: false` (the pool is made anew), or take another `models.NAME.nodePool`",
    "kubernetes.io/arch": "the nodes are of another architecture (Arm, for which GKE sets this taint): take a pool of "
    "x86-64 by `models.NAME.nodePool`, or build for Arm as well, `models.NAME.platform: linux/arm64`",
    "sandbox.gke.io/runtime": "the nodes run GKE Sandbox, which the model does not ask for: remove "
    "`{setting}.sandbox`, or take another `models.NAME.nodePool`",
}
_GPU = "nvidia.com/gpu"
_EVICTION_PERCENT = 10
"""Of the disk's size, what GKE's kubelet keeps free before it evicts (`nodefs.available<10%`; kubernetes-engine-samples
#1581 shows 10.1 GB of 101)."""


_UNTOLD = {
    "violation": "ID",
    "api": "artifactregistry.googleapis.com",
    "project": "PROJECT",
    "constraint": "it names",
    "looked_up": "its host",
    "valid_for": "another host",
    "pull_secrets": "it names",
}
"""What stands in a remedy for a group of its pattern that the message does not fill."""


def fill(remedy: str, found: Mapping[str, str | None], case: Case, complaint: Complaint) -> str:
    """A remedy with its names in braces filled in: by groups of the row's pattern, else by facts of the case.

    A group of words that were not there is filled in with nothing.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if found.get(name):
            return str(found[name])
        if name in _FIGURES:
            return _FIGURES[name](found)
        if name in _FACTS:
            return _FACTS[name](case, complaint)
        return "" if name in found else match[0]

    # A fact may hold another one, and that a third.
    for _ in range(3):
        remedy = re.sub(r"\{(\w+)\}", value, remedy)
    return remedy


def names() -> set[str]:
    """The names that a remedy may hold without a group of its pattern."""
    return {*_FACTS, *_FIGURES}


def _untold(word: str, _: Case, __: Complaint) -> str:
    return word


def _setting(case: Case, _: Complaint) -> str:
    return f"nodePools.{case.pool or 'NAME'}"


def _container(case: Case, complaint: Complaint) -> str:
    if complaint.container:
        return complaint.container
    return next(iter(_servers(case)), "NAME")


def _servers(case: Case) -> dict[str, JSON]:
    return {
        name: one for name, one in containers_of(case.pod).items() if whose_container(case.pod, name) is Whose.SERVER
    }


def _limits(container: JSON) -> JSON:
    limits: JSON = (container.get("resources") or {}).get("limits") or {}
    return limits


def _limit(case: Case, complaint: Complaint) -> str:
    """The memory that the container of a complaint may have; "" where nothing says it."""
    return str(_limits(containers_of(case.pod).get(_container(case, complaint), {})).get("memory") or "")


def _memory(case: Case, complaint: Complaint) -> str:
    return _limit(case, complaint) or "as much as its limit says"


def _modelcar_memory(case: Case, complaint: Complaint) -> str:
    """Memory that is enough for a modelcar, and more than it has."""
    return _more(_limit(case, complaint) or "0", 64, "Mi")


def _shm(case: Case, _: Complaint) -> str:
    """Room in /dev/shm that is enough for NCCL, and more than there is."""
    volumes = {volume["name"]: volume for volume in case.pod.get("spec", {}).get("volumes") or ()}
    return _more(str((volumes.get("shm", {}).get("emptyDir") or {}).get("sizeLimit") or "0"), 16, "Gi")


def _more(present: str, enough: int, unit: str) -> str:
    """So much in this unit as is enough; where that is there already, the next power of two."""
    there = amount(present) / amount(f"1{unit}")
    while enough <= there:
        enough *= 2
    return f"{enough}{unit}"


def _server(case: Case, _: Complaint) -> str:
    """The setting of the server's image."""
    servers = _servers(case)
    platform = "kubeai" if KUBEAI.container in servers else "kserve"
    limits = [_limits(one) for one in servers.values()]
    on_cpu = bool(limits and limits[0]) and not any(name.endswith("/gpu") for name in limits[0])
    return f"platforms.{platform}.server.{'cpuImage' if on_cpu else 'image'}"


def _account(case: Case, _: Complaint) -> str:
    return f"serviceAccount:{case.account}" if case.account else "the node pool's service account"


def _repository(_: Case, complaint: Complaint) -> str:
    return split(complaint.image)[0] or "the repository"


def _host(_: Case, complaint: Complaint) -> str:
    return repository_of(complaint.image).partition("/")[0] or "the registry"


def _named(case: Case, complaint: Complaint) -> str:
    """Where the settings name the image that a complaint is about."""
    if complaint.whose is Whose.SERVER:
        return f"`{_server(case, complaint)}` (or `models.NAME.server.image`, if the model has a server of its own)"
    if complaint.whose is Whose.ADAPTER:
        return f"`models.NAME.adapters.{_adapter(case, complaint)}`"
    if complaint.whose is Whose.MODEL:
        return "`models.NAME.digest` or `.source`"
    return "what puts that container into the pods, which is no part of this stack"


def _adapter(case: Case, complaint: Complaint) -> str:
    found = adapter_volumes(case.pod).items()
    asked = repository_of(complaint.image)
    return next((name for name, image in found if repository_of(str(image.get("reference", ""))) == asked), "NAME")


def _elsewhere(_: Case, complaint: Complaint) -> str:
    """How an image is taken from a registry of one's own instead."""
    if complaint.whose is Whose.MODEL or complaint.whose is Whose.ADAPTER:
        return "`oms image copy {image} HOST/REPO` brings it into another registry, to be named in {named}"
    return "`crane copy {image} HOST/REPO:TAG` brings it into a registry of your own, to be named in {named}"


def _again(_: Case, complaint: Complaint) -> str:
    """How an image that its registry has lost or spoilt is brought there anew."""
    if complaint.whose is Whose.MODEL or complaint.whose is Whose.ADAPTER:
        return (
            "push it again: `pulumi up --replace URN` of its ModelImage builds it anew, `oms image copy` brings it "
            "from where it is whole"
        )
    return "take another version of it, or a copy from where it is whole: {named}"


def _grant(case: Case, complaint: Complaint) -> str:
    repository = split(complaint.image)[0]
    google = google_repository(repository)
    if google is None:
        return (
            f"the credentials that the node has for {repository or 'the repository'} may not pull it: correct the "
            f"entry of `pullSecrets` for {_host(case, complaint)} and `pulumi up`, or the name in {{named}}"
        )
    account = _account(case, complaint)
    own = case.account.partition("@")[2].removesuffix(".iam.gserviceaccount.com")
    other = f", which is another project than the account's ({own})" if own and own != google.project else ""
    return (
        "Google says the same of a repository that is not there: compare the name in {named}. Where it is right, "
        f"bind roles/artifactregistry.reader on {repository} to {account}: with `registry.create` "
        "name it in `registry.create.extraReaders` and `pulumi up`; in an adopted registry its owner grants it: "
        f"`gcloud artifacts repositories add-iam-policy-binding {google.repository} --location {google.location} "
        f"--project {google.project} --member {account if case.account else 'serviceAccount:EMAIL'} --role "
        f"roles/artifactregistry.reader` in the project {google.project}{other}"
    )


def _tolerate(case: Case, complaint: Complaint) -> str:
    """Tell which taint it is by the nodes: the scheduler of Kubernetes 1.35 names no key."""
    taints = _untolerated(case.pod, case.nodes)
    keys = {str(taint["key"]) for taint in taints} or set(re.findall(r"taint \{([^:}]+)", complaint.text))
    if not keys:
        return (
            "the pod does not tolerate a taint of the nodes: compare `kubectl describe nodes` with {setting}.taints, "
            "from which, with `models.NAME.nodePool`, the model's tolerations are taken"
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


def _accelerators(case: Case, complaint: Complaint) -> str:
    """Why there are not enough GPUs: a node that offers none yet is told from one whose GPUs are taken."""
    setting = _setting(case, complaint)
    without = [node["metadata"]["name"] for node in _selected(case.pod, case.nodes) if _offers_none(node)]
    if without and (case.pod.get("spec", {}).get("nodeSelector") or {}):
        return (
            f"{', '.join(sorted(without)[:3])} offers no GPU: its driver is still being installed (a few minutes on a "
            "new node; `kubectl -n kube-system get pods -o wide` shows nvidia-gpu-device-plugin), or nobody installs "
            f"one (`{setting}.driverVersion: DEFAULT`); a node that stays so has lost its GPU: `kubectl drain` it and "
            "delete it"
        )
    return (
        f"no node has that many free GPUs: compare `models.NAME.gpus` with {setting}.count; on a fresh node wait for "
        f"the driver's installation (its pods run in kube-system), or raise {setting}.maxNodes"
    )


def _offers_none(node: JSON) -> bool:
    offered = (node.get("status") or {}).get("allocatable")
    return offered is not None and str(offered.get(_GPU) or "0") == "0"


def _selected(pod: JSON, nodes: Sequence[JSON]) -> list[JSON]:
    """The nodes that a pod selects."""
    wanted = (pod.get("spec", {}).get("nodeSelector") or {}).items()
    return [node for node in nodes if wanted <= (node["metadata"].get("labels") or {}).items()]


def _untolerated(pod: JSON, nodes: Sequence[JSON]) -> list[dict[str, Any]]:
    """The taints that keep a pod from nodes that it selects; from all nodes where it selects none of them."""
    spec = pod.get("spec", {})
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for node in _selected(pod, nodes) or nodes:
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


def _disk_setting(case: Case, complaint: Complaint) -> str:
    """Where a pool's images lie, as a setting and its value: on Local SSD the boot disk's size changes nothing."""
    setting, needed, size = (
        _setting(case, complaint),
        disk.needed_gb([case.image_bytes / 1e9]),
        _disk_gb(complaint.text),
    )
    enough = size > needed
    boot = f"`{setting}.bootDisk.sizeGb: {needed}` or more"
    if enough:
        boot = f"`{setting}.bootDisk.sizeGb` above the {size} GB that it has"
    ssd = f"`{setting}.localSsd` to a number that holds it"
    labels = ((case.node or {}).get("metadata") or {}).get("labels")
    if labels is not None:
        return ssd if _has_local_ssd(labels) else boot
    if enough:
        # Pools are refused whose boot disk is too small for their images.
        return (
            f"{ssd} where its images are on Local SSD, as a disk of about {size} GB suggests: the boot disk's size "
            f"changes nothing there; else {boot}"
        )
    return f"{boot}, or where its images are on Local SSD, for which the boot disk's size changes nothing, {ssd}"


def _has_local_ssd(labels: JSON) -> bool:
    """Whether a node's images are on Local SSD: asked for, or brought by its machine type."""
    machine = str(labels.get("node.kubernetes.io/instance-type", ""))
    return str(labels.get(_LOCAL_SSD_LABEL)) == "true" or image_disk.on_local_ssd(machine, None) is not None


def _disk_gb(text: str) -> int:
    """How large a disk is, by the threshold at which its kubelet evicts; 0 where the text has none."""
    found = re.search(r"ephemeral-storage\. Threshold quantity: (\d+(?:\.\d+)?(?:[kMGT]|[KMGT]i)?),", text)
    return round(amount(found[1]) * 100 / _EVICTION_PERCENT / 1e9) if found else 0


_FACTS: dict[str, Callable[[Case, Complaint], str]] = {
    **{name: partial(_untold, word) for name, word in _UNTOLD.items()},
    "setting": _setting,
    "pool": lambda case, _: case.pool or "of the model",
    "namespace": lambda case, _: str(case.pod.get("metadata", {}).get("namespace") or "NAMESPACE"),
    "pod": lambda case, _: str(case.pod.get("metadata", {}).get("name") or "POD"),
    "node": lambda case, _: case.node_name or "NODE",
    "container": _container,
    "memory": _memory,
    "modelcar_memory": _modelcar_memory,
    "shm": _shm,
    "server": _server,
    "account": _account,
    "image": lambda _, complaint: complaint.image or "the image",
    "repository": _repository,
    "host": _host,
    "named": _named,
    "elsewhere": _elsewhere,
    "again": _again,
    "grant": _grant,
    "disk": _disk_setting,
    "tolerate": _tolerate,
    "accelerators": _accelerators,
}


def _length_that_fits(found: Mapping[str, str | None]) -> str:
    """As many tokens as the cache has room for, in whole blocks of 16; more fit where layers have a window."""
    share = float(found["available"] or 0) / float(found["needed"] or 1)
    return str(max(int(float(found["asked"] or 0) * share) // 16, 1) * 16)


def _free_share(found: Mapping[str, str | None]) -> str:
    """The share of a GPU's memory that is free, in whole percent."""
    return f"{int(100 * float(found['free'] or 0) / float(found['total'] or 1)) / 100:.2f}"


def _half_the_sequences(found: Mapping[str, str | None]) -> str:
    return str(max(int(found["sequences"] or 0) // 2, 1))


def _dividing_gpus(found: Mapping[str, str | None]) -> str:
    """The most GPUs, of the numbers that machines have, that divide the heads and are fewer than were asked for."""
    heads, asked = int(found["heads"] or 1), int(found["gpus"] or 1)
    return str(next((count for count in (16, 8, 4, 2) if count < asked and heads % count == 0), 1))


def _place(found: Mapping[str, str | None]) -> str:
    """What the words name, where they name anything."""
    return next((name for name in found.values() if name), "another place")


_FIGURES: dict[str, Callable[[Mapping[str, str | None]], str]] = {
    "place": _place,
    "length_that_fits": _length_that_fits,
    "free_share": _free_share,
    "half_the_sequences": _half_the_sequences,
    "dividing_gpus": _dividing_gpus,
}
"""What follows from the words and numbers that a row's pattern has found."""
