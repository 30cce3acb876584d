"""Outputs that a provider computes from the inputs alone: what a plan can know without a provider.

One function a type. What is not here is known only after a real run. Sources: the attribute references of the
Google provider (`google_service_account`, `google_artifact_registry_repository`, `google_container_cluster`,
`google_container_node_pool`, `google_compute_network`, `google_compute_subnetwork`), which pulumi-gcp 10.2 bridges,
and pulumi-kubernetes 4.34 (an object's id is `namespace/name`).
"""

from collections.abc import Callable, Mapping
from typing import Any

Inputs = Mapping[str, Any]
Config = Mapping[str, str]
"""The stack's configuration: `gcp:project` and `gcp:region` stand in where a resource names none."""


def computed_outputs(type_: str, inputs: Inputs, config: Config) -> dict[str, Any]:
    """The outputs of a resource beyond its inputs, with `id` where it is determined; empty if the type has none.

    Only inputs that are plain text count: one that is known later makes what depends on it known later.
    """
    rule = _RULES.get(type_)
    if rule is None:
        return _kubernetes(inputs) if type_.startswith("kubernetes:") else {}
    known = {key: value for key, value in inputs.items() if isinstance(value, str)}
    known.setdefault("project", config.get("gcp:project", ""))
    known.setdefault("location", config.get("gcp:region", ""))
    known.setdefault("region", config.get("gcp:region", ""))
    return {key: value for key, value in rule(known).items() if value}


def is_settled(type_: str) -> bool:
    """Whether the outputs of this type that others read are known in a plan."""
    return type_ in _SETTLED


def _joined(template: str, known: Mapping[str, str], *names: str) -> str:
    values = {name: known.get(name, "") for name in names}
    return template.format(**values) if all(values.values()) else ""


def _account(known: Mapping[str, str]) -> dict[str, str]:
    email = _joined("{accountId}@{project}.iam.gserviceaccount.com", known, "accountId", "project")
    if not email:
        return {}
    name = f"projects/{known['project']}/serviceAccounts/{email}"
    return {
        "email": email,
        "member": f"serviceAccount:{email}",
        "name": name,
        "project": known["project"],
        "id": name,
    }


def _repository(known: Mapping[str, str]) -> dict[str, str]:
    parts = ("project", "location", "repositoryId")
    return {
        "id": _joined("projects/{project}/locations/{location}/repositories/{repositoryId}", known, *parts),
        "name": known.get("repositoryId", ""),
        "registryUri": _joined("{location}-docker.pkg.dev/{project}/{repositoryId}", known, *parts),
        "project": known["project"],
        "location": known["location"],
    }


def _cluster(known: Mapping[str, str]) -> dict[str, str]:
    name = _joined("projects/{project}/locations/{location}/clusters/{name}", known, "project", "location", "name")
    return {"id": name, "project": known["project"], "location": known["location"]}


def _node_pool(known: Mapping[str, str]) -> dict[str, str]:
    parts = ("project", "location", "cluster", "name")
    name = _joined("projects/{project}/locations/{location}/clusters/{cluster}/nodePools/{name}", known, *parts)
    return {"id": name, "project": known["project"]}


def _network(known: Mapping[str, str]) -> dict[str, str]:
    return _compute("projects/{project}/global/networks/{name}", known, "project", "name")


def _subnetwork(known: Mapping[str, str]) -> dict[str, str]:
    path = "projects/{project}/regions/{region}/subnetworks/{name}"
    return {**_compute(path, known, "project", "region", "name"), "region": known["region"]}


def _compute(template: str, known: Mapping[str, str], *names: str) -> dict[str, str]:
    path = _joined(template, known, *names)
    link = f"https://www.googleapis.com/compute/v1/{path}" if path else ""
    return {"id": path, "selfLink": link, "project": known["project"]}


def _kubernetes(inputs: Inputs) -> dict[str, Any]:
    metadata = inputs.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return {}
    namespace = metadata.get("namespace")
    if namespace is None:
        return {"id": metadata["name"]}
    return {"id": f"{namespace}/{metadata['name']}"} if isinstance(namespace, str) else {}


_RULES: dict[str, Callable[[Mapping[str, str]], dict[str, str]]] = {
    "gcp:serviceaccount/account:Account": _account,
    "gcp:artifactregistry/repository:Repository": _repository,
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:container/nodePool:NodePool": _node_pool,
    "gcp:compute/network:Network": _network,
    "gcp:compute/subnetwork:Subnetwork": _subnetwork,
}
_SETTLED = {
    "gcp:serviceaccount/account:Account",
    "gcp:artifactregistry/repository:Repository",
    "gcp:compute/network:Network",
    "gcp:compute/subnetwork:Subnetwork",
}
