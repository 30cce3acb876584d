"""Which inputs of a resource tell a reader of the plan the most, by type."""

import re
from typing import Any

from offline.recording import Resource
from offline.values import plain

_SPEC = "spec.predictor"
_PATHS: dict[str, dict[str, str]] = {
    "gcp:artifactregistry/repository:Repository": {
        "repository": "repositoryId",
        "location": "location",
        "immutable tags": "dockerConfig.immutableTags",
    },
    "gcp:container/cluster:Cluster": {
        "location": "location",
        "version": "minMasterVersion",
        "channel": "releaseChannel.channel",
        "zones": "nodeLocations",
    },
    "gcp:container/nodePool:NodePool": {
        "machine": "nodeConfig.machineType",
        "accelerator": "nodeConfig.guestAccelerators.0.type",
        "count": "nodeConfig.guestAccelerators.0.count",
        "zones": "nodeLocations",
        "disk GB": "nodeConfig.bootDisk.sizeGb",
        "disk size GB": "nodeConfig.diskSizeGb",
        "disk type": "nodeConfig.bootDisk.diskType",
        "min": "autoscaling.minNodeCount",
        "max": "autoscaling.maxNodeCount",
        "total min": "autoscaling.totalMinNodeCount",
        "total max": "autoscaling.totalMaxNodeCount",
        "spot": "nodeConfig.spot",
        "account": "nodeConfig.serviceAccount",
    },
    "gcp:serviceaccount/account:Account": {"account": "accountId"},
    "command:local:Command": {"runs": "create"},
    "docker:index/image:Image": {"image": "imageName", "context": "build.context", "platform": "build.platform"},
    "kubernetes:helm.sh/v3:Release": {
        "chart": "chart",
        "version": "version",
        "namespace": "namespace",
        "modelcar": "values.kserve.storage.enableModelcar",
    },
    "pulumi:pulumi:StackReference": {"stack": "name"},
}
_BY_KIND: dict[str, dict[str, str]] = {
    "InferenceService": {
        "storageUri": f"{_SPEC}.model.storageUri",
        "min": f"{_SPEC}.minReplicas",
        "max": f"{_SPEC}.maxReplicas",
    },
    "Model": {
        "url": "spec.url",
        "profile": "spec.resourceProfile",
        "min": "spec.minReplicas",
        "max": "spec.maxReplicas",
    },
    "ServingRuntime": {"image": "spec.containers.0.image"},
    "DaemonSet": {"image": "spec.template.spec.containers.0.image"},
    "Deployment": {"image": "spec.template.spec.containers.0.image", "replicas": "spec.replicas"},
}


def telling_inputs(resource: Resource) -> dict[str, Any]:
    """The inputs that matter, by a short label, secrets masked; what is not set is left out."""
    if resource.type.startswith("gcp:") and {"role", "member"} <= resource.inputs.keys():
        paths = {"role": "role", "member": "member"}
    elif resource.type in _PATHS:
        paths = _PATHS[resource.type]
    elif resource.type.startswith("kubernetes:"):
        kind = resource.type.rsplit(":", 1)[-1]
        paths = {"namespace": "metadata.namespace", "object": "metadata.name", **_BY_KIND.get(kind, {})}
    else:
        paths = {"name": "name"}
    found = {label: at(resource.inputs, path) for label, path in paths.items()}
    return {label: plain(value) for label, value in found.items() if value is not None}


def at(value: Any, path: str) -> Any:
    """The value at a dotted path of keys and list indexes, or none."""
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def label_of(type_: str, path: str) -> str:
    """The short label of an input that tells much, by its path (`a.b[0].c`); "" of any other."""
    dotted = re.sub(r"\[(\d+)\]", r".\1", path)
    return next((label for label, one in _PATHS.get(type_, {}).items() if one == dotted), "")
