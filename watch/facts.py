"""What the remedies of the table of causes are filled in with: what each name in braces says of a case. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.google import disk
from oci_model_serving.delivery import KUBEAI
from oci_model_serving.reference import google_repository, split
from watch.complaints import Case, Complaint
from watch.containers import Whose, containers_of, whose_container

JSON = Mapping[str, Any]

_LOCAL_SSD_LABEL = "cloud.google.com/gke-ephemeral-storage-local-ssd"
"""GKE documentation, "Provision ephemeral storage with local SSDs"."""
_TAINTS = {
    "nvidia.com/gpu": "GPU nodes have the taint nvidia.com/gpu=present:NoSchedule: give the model its "
    "`models.NAME.nodePool`, from which the toleration is taken",
    "node.kubernetes.io/unschedulable": "the node is cordoned: `kubectl uncordon NODE`, or wait for another",
}


def fill(remedy: str, found: Mapping[str, str | None], case: Case, complaint: Complaint) -> str:
    """A remedy with its names in braces filled in: by groups of the row's pattern, else by facts of the case."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if found.get(name):
            return str(found[name])
        return _FACTS[name](case, complaint) if name in _FACTS else match[0]

    # A fact may hold another one.
    return re.sub(r"\{(\w+)\}", value, re.sub(r"\{(\w+)\}", value, remedy))


def names() -> set[str]:
    """The names that a remedy may hold without a group of its pattern."""
    return set(_FACTS)


def _setting(case: Case, _: Complaint) -> str:
    return f"nodePools.{case.pool or 'NAME'}"


def _container(case: Case, complaint: Complaint) -> str:
    if complaint.container:
        return complaint.container
    of_server = (name for name in containers_of(case.pod) if whose_container(case.pod, name) is Whose.SERVER)
    return next(of_server, "NAME")


def _memory(case: Case, complaint: Complaint) -> str:
    container = containers_of(case.pod).get(_container(case, complaint), {})
    return str(((container.get("resources") or {}).get("limits") or {}).get("memory") or "as much as its limit says")


def _server(case: Case, _: Complaint) -> str:
    """The setting of the server's image."""
    servers = {
        name: one for name, one in containers_of(case.pod).items() if whose_container(case.pod, name) is Whose.SERVER
    }
    platform = "kubeai" if KUBEAI.container in servers else "kserve"
    limits = [(one.get("resources") or {}).get("limits") or {} for one in servers.values()]
    on_cpu = bool(limits and limits[0]) and not any(name.endswith("/gpu") for name in limits[0])
    return f"platforms.{platform}.server.{'cpuImage' if on_cpu else 'image'}"


def _account(case: Case, _: Complaint) -> str:
    return f"serviceAccount:{case.account}" if case.account else "the node pool's service account"


def _repository(_: Case, complaint: Complaint) -> str:
    return split(complaint.image)[0] or "the repository"


def _host(_: Case, complaint: Complaint) -> str:
    return split(complaint.image)[0].partition("/")[0] or "the registry"


def _grant(case: Case, complaint: Complaint) -> str:
    repository = split(complaint.image)[0]
    if google_repository(repository) is None:
        return (
            f"the credentials that the node has for {repository or 'the repository'} may not pull it: correct the "
            "entry of `pullSecrets` for that host and `pulumi up`"
        )
    return (
        f"bind roles/artifactregistry.reader on {repository} to {_account(case, complaint)}: with `registry.create` "
        "name it in `registry.create.extraReaders` and `pulumi up`; in an adopted registry its owner grants it"
    )


def _tolerate(case: Case, complaint: Complaint) -> str:
    """Tell which taint it is by the nodes: the scheduler of Kubernetes 1.35 names no key."""
    taints = _untolerated(case.pod, case.nodes)
    keys = {str(taint["key"]) for taint in taints} or set(re.findall(r"untolerated taint \{([^:}]+)", complaint.text))
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


def _disk_setting(case: Case, complaint: Complaint) -> str:
    """Where a pool's images lie, as a setting and its value: on Local SSD the boot disk's size changes nothing."""
    boot = f"`{_setting(case, complaint)}.bootDisk.sizeGb: {disk.needed_gb([case.image_bytes / 1e9])}` or more"
    ssd = f"`{_setting(case, complaint)}.localSsd` to a number that holds it"
    labels = ((case.node or {}).get("metadata") or {}).get("labels")
    if labels is None:
        return f"{boot}, or where its images are on Local SSD {ssd}"
    return ssd if str(labels.get(_LOCAL_SSD_LABEL)) == "true" else boot


_FACTS: dict[str, Callable[[Case, Complaint], str]] = {
    "setting": _setting,
    "pool": lambda case, _: case.pool or "of the model",
    "namespace": lambda case, _: str(case.pod.get("metadata", {}).get("namespace") or "NAMESPACE"),
    "pod": lambda case, _: str(case.pod.get("metadata", {}).get("name") or "POD"),
    "node": lambda case, _: case.node_name or "NODE",
    "container": _container,
    "memory": _memory,
    "server": _server,
    "account": _account,
    "image": lambda _, complaint: complaint.image or "the image",
    "repository": _repository,
    "host": _host,
    "grant": _grant,
    "disk": _disk_setting,
    "tolerate": _tolerate,
}
