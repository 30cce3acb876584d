"""Outputs that a provider computes from the inputs alone: what a plan can know without a provider.

One row a type: each output is a template over the inputs that are plain text, and is left out where one of its names
has none. What is not here is known only after a real run. Sources: the attribute references of the Google provider
(`google_service_account`, `google_artifact_registry_repository`, `google_container_cluster`,
`google_container_node_pool`, `google_compute_network`, `google_compute_subnetwork`), which pulumi-gcp 10.2 bridges,
and pulumi-kubernetes 4.34 (an object's id is `namespace/name`).
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_ACCOUNT_TYPE = "gcp:serviceaccount/account:Account"
_EMAIL = "{accountId}@{project}.iam.gserviceaccount.com"
_ACCOUNT = f"projects/{{project}}/serviceAccounts/{_EMAIL}"
_LOCATION = "projects/{project}/locations/{location}"
_NETWORK = "projects/{project}/global/networks/{name}"
_SUBNETWORK = "projects/{project}/regions/{region}/subnetworks/{name}"
_LINK = "https://www.googleapis.com/compute/v1/"
_OUTPUTS = {
    _ACCOUNT_TYPE: {
        "id": _ACCOUNT,
        "name": _ACCOUNT,
        "email": _EMAIL,
        "member": f"serviceAccount:{_EMAIL}",
    },
    "gcp:artifactregistry/repository:Repository": {
        "id": f"{_LOCATION}/repositories/{{repositoryId}}",
        "name": "{repositoryId}",
        "registryUri": "{location}-docker.pkg.dev/{project}/{repositoryId}",
        "location": "{location}",
    },
    "gcp:container/cluster:Cluster": {"id": f"{_LOCATION}/clusters/{{name}}", "location": "{location}"},
    "gcp:container/nodePool:NodePool": {"id": f"{_LOCATION}/clusters/{{cluster}}/nodePools/{{name}}"},
    "gcp:compute/network:Network": {"id": _NETWORK, "selfLink": _LINK + _NETWORK},
    "gcp:compute/subnetwork:Subnetwork": {"id": _SUBNETWORK, "selfLink": _LINK + _SUBNETWORK, "region": "{region}"},
}


def computed_outputs(type_: str, inputs: Mapping[str, Any], config: Mapping[str, str]) -> dict[str, Any]:
    """The outputs of a resource beyond its inputs, with `id` where it is determined; empty if the type has none.

    The configuration's `gcp:project` and `gcp:region` stand in where a resource names none.
    """
    if type_ not in _OUTPUTS:
        return _kubernetes(inputs) if type_.startswith("kubernetes:") else {}
    region = config.get("gcp:region", "")
    given = {"project": config.get("gcp:project", ""), "location": region, "region": region}
    texts = {name: value for name, value in inputs.items() if isinstance(value, str)}
    known = {name: value for name, value in {**given, **texts}.items() if value}
    if type_ == _ACCOUNT_TYPE and "accountId" not in known:
        return {}
    found = {}
    for output, template in {**_OUTPUTS[type_], "project": "{project}"}.items():
        with suppress(KeyError):
            found[output] = template.format_map(known)
    return found


def is_settled(type_: str) -> bool:
    """Whether the outputs of this type that others read are known in a plan."""
    return type_ in _OUTPUTS and not type_.startswith("gcp:container/")


def _kubernetes(inputs: Mapping[str, Any]) -> dict[str, Any]:
    metadata = inputs.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return {}
    namespace = metadata.get("namespace")
    if namespace is None:
        return {"id": metadata["name"]}
    return {"id": f"{namespace}/{metadata['name']}"} if isinstance(namespace, str) else {}
