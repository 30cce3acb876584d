"""What a provider decides of a resource by itself: outputs, identity, what a change does to it.

The outputs that follow from the inputs are `offline`'s, and so is what replaces a resource. Pure.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offline.computed import computed_outputs
from offline.replacements import replaces
from tests.engine.provider import command
from tests.engine.provider.wire import differences

CLUSTER = "gcp:container/cluster:Cluster"
IMAGE = "docker:index/image:Image"
_DELETED_FIRST = {"gcp:projects/iAMMember:IAMMember", "gcp:serviceaccount/account:Account"}
"""Those of Google's that are deleted first, and have no `name`."""
ACCESS_TOKEN = "ya29.of-the-engine-tests"
"""What `getClientConfig` gives; the program must treat it as the secret that a real one is."""


@dataclass(frozen=True)
class Change:
    """One input that differs. `kind` is `ADD`, `DELETE` or `UPDATE`."""

    path: str
    kind: str
    replaces: bool


def changes(type_: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """How the plain inputs of a resource differ, and which of it replaces the resource."""

    def replaced(path: str, old: Any, new: Any) -> bool:
        # pulumi-command replaces for the whole list only; of its items the SDK tells the engine (`replaceOnChanges`).
        return path == "triggers" if type_ == command.TYPE else replaces(type_, path, old, new)

    return [
        Change(path, "ADD" if old is None else "DELETE" if new is None else "UPDATE", replaced(path, old, new))
        for path, old, new in differences(dict(before), dict(after))
    ]


def deletes_first(type_: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the provider wants a resource that it replaces deleted before its successor is made.

    Sources: `nameRequiresDeleteBeforeReplace` of pulumi-terraform-bridge 3.137 (pkg/tfbridge/schema.go): a name that
    the provider would have chosen and the program did, whether or not it changes; what pulumi-gcp 9.35 answered for
    each type of the committed stacks; `Diff` of pulumi-kubernetes 4.34 (provider.go, helm_release.go): the same name in
    the same namespace.
    """
    if type_.startswith("gcp:"):
        return "name" in after or type_ in _DELETED_FIRST
    if type_ == "kubernetes:helm.sh/v3:Release":
        return _named(before) == _named(after)
    if type_.startswith("kubernetes:"):
        return _named(before.get("metadata")) == _named(after.get("metadata"))
    return False


def made(type_: str, name: str, inputs: Mapping[str, Any], config: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The id and the outputs beyond the inputs (plain) of a resource that was just created."""
    outputs = computed_outputs(type_, inputs, config)
    id_ = str(outputs.pop("id", "") or f"{name}-{_digits(type_, name)}")
    if type_ == CLUSTER:
        outputs |= _cluster(name, inputs)
    elif type_ == IMAGE:
        outputs |= _image(inputs)
    return id_, outputs


def refuses_delete(type_: str, state: Mapping[str, Any]) -> str | None:
    """Why the provider does not delete a resource, or None.

    Source: `resourceContainerClusterDelete` of terraform-provider-google 7.45.0.
    """
    if type_ == CLUSTER and state.get("deletionProtection", True):
        return (
            "Cannot destroy cluster because deletion_protection is set to true. Set it to false to proceed with "
            "cluster deletion"
        )
    return None


COMPUTE_ACCOUNT = "123-compute@developer.gserviceaccount.com"
_ADOPTED_POOL = {
    "name": "gpu",
    "version": "1.35.8-gke.1000000",
    "nodeLocations": ["us-central1-a"],
    "nodeCount": 1,
    "autoscalings": [{"totalMinNodeCount": 0, "totalMaxNodeCount": 2, "minNodeCount": 0, "maxNodeCount": 0}],
    "queuedProvisionings": [],
    "nodeConfigs": [
        {
            "machineType": "g2-standard-8",
            "guestAccelerators": [
                {
                    "type": "nvidia-l4",
                    "count": 1,
                    "gpuPartitionSize": "",
                    "gpuSharingConfigs": [{"gpuSharingStrategy": "TIME_SHARING", "maxSharedClientsPerGpu": 2}],
                }
            ],
            "diskSizeGb": 300,
            "bootDisks": [{"sizeGb": 300, "diskType": "pd-balanced"}],
            "ephemeralStorageLocalSsdConfigs": [],
            "spot": False,
            "sandboxConfigs": [],
            "labels": {"team": "a"},
            "taints": [],
            "effectiveTaints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
            "serviceAccount": "default",
        }
    ],
}
ADOPTED = {
    "id": "cluster",
    "name": "prod",
    "location": "us-central1",
    "masterVersion": "1.35.8-gke.1000000",
    "endpoint": "203.0.113.20",
    "masterAuths": [{"clusterCaCertificate": "bm90IGEgY2VydGlmaWNhdGU="}],
    "workloadIdentityConfigs": [{"workloadPool": "demo.svc.id.goog"}],
    "gatewayApiConfigs": [{"channel": "CHANNEL_STANDARD"}],
    "datapathProvider": "ADVANCED_DATAPATH",
    "networkPolicies": [],
    "controlPlaneEndpointsConfigs": [],
    "clusterAutoscalings": [],
    "nodePools": [_ADOPTED_POOL],
}
"""A cluster that others have made, with a pool of GPUs, as the provider's look-up has it: blocks are lists."""


def invoked(token: str, config: Mapping[str, str]) -> dict[str, Any]:
    """What a look-up gives.

    Raises:
        LookupError: the function is none that the provider has.
    """
    if token == "gcp:container/getCluster:getCluster":
        return ADOPTED
    if token == "gcp:compute/getDefaultServiceAccount:getDefaultServiceAccount":
        return {"id": "account", "email": COMPUTE_ACCOUNT}
    if token != "gcp:organizations/getClientConfig:getClientConfig":
        raise LookupError(f"unknown function {token}")
    return {
        "id": "client",
        "project": config.get("gcp:project"),
        "region": config.get("gcp:region"),
        "zone": config.get("gcp:zone", ""),
        "accessToken": ACCESS_TOKEN,
        "defaultLabels": {},
    }


def _cluster(name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What GKE reports of a new cluster; blocks of the inputs keep what is set in them."""
    digits = _digits(CLUSTER, name)
    endpoints = inputs.get("controlPlaneEndpointsConfig") or {}
    dns = {"endpoint": f"gke-{digits}.us-central1.gke.goog", **(endpoints.get("dnsEndpointConfig") or {})}
    return {
        "endpoint": "203.0.113.10",
        "masterVersion": f"{inputs.get('minMasterVersion') or '1.35'}.0-gke.1",
        "masterAuth": {"clusterCaCertificate": "bm90IGEgY2VydGlmaWNhdGU="},
        "controlPlaneEndpointsConfig": {**endpoints, "dnsEndpointConfig": dns},
    }


def _image(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The digest that a push gives; here it follows from the tag, which names what the image is made of."""
    repository = str(inputs["imageName"]).rpartition(":")[0]
    return {"repoDigest": f"{repository}@sha256:{hashlib.sha256(str(inputs['imageName']).encode()).hexdigest()}"}


def _named(inputs: Any) -> tuple[Any, Any]:
    at = inputs if isinstance(inputs, dict) else {}
    return at.get("name"), at.get("namespace")


def _digits(type_: str, name: str) -> str:
    return hashlib.sha256(f"{type_} {name}".encode()).hexdigest()[:8]
