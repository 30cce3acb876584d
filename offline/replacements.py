"""Inputs whose change makes a provider replace the resource instead of updating it.

Only the types that this project uses. Sources: the `ForceNew` marks in the schemas of
hashicorp/terraform-provider-google v7.45.0 (services/container/node_config.go, resource_container_node_pool.go and
resource_container_cluster.go, services/artifactregistry, services/resourcemanager, services/compute), the provider
that pulumi-gcp bridges; `forceNewProperties` and `DiffConfig` of pulumi-kubernetes (provider/pkg/provider/diff.go and
provider.go); pulumi-command's `triggers`, documented to replace.
"""

import re

_BELOW = r"([.\[].*)?"
_NODE_CONFIG = (
    "advancedMachineFeatures", "bootDiskKmsKey", "enableConfidentialStorage", "ephemeralStorageLocalSsdConfig",
    "flexStart", "guestAccelerators", "hostMaintenancePolicy", "localNvmeSsdBlockConfig", "localSsdCount",
    "localSsdEncryptionMode", "maxRunDuration", "metadata", "minCpuPlatform", "nodeGroup", "oauthScopes",
    "preemptible", "reservationAffinity", "sandboxConfig", "secondaryBootDisks", "serviceAccount",
    "shieldedInstanceConfig", "soleTenantConfig", "spot",
)  # fmt: skip
_NODE_POOL = (
    "cluster", "initialNodeCount", "location", "maxPodsPerNode", "name", "namePrefix", "placementPolicy", "project",
    "queuedProvisioning", r"networkConfig\.(createPodRange|podIpv4CidrBlock|podRange|subnetwork)",
    rf"nodeConfig\.({'|'.join(_NODE_CONFIG)})",
)  # fmt: skip
_CLUSTER = (
    "clusterIpv4Cidr", "confidentialNodes", "datapathProvider", "defaultMaxPodsPerNode", "description",
    "enableAutopilot", "enableKubernetesAlpha", "initialNodeCount", "ipAllocationPolicy", "location", "name",
    "network", "networkingMode", "project", "subnetwork",
    r"privateClusterConfig\.(masterIpv4CidrBlock|privateEndpointSubnetwork)",
)  # fmt: skip
_KUBERNETES = ("apiVersion", "kind", r"metadata\.name", r"metadata\.namespace")
_BY_TYPE: dict[str, tuple[str, ...]] = {
    "gcp:container/cluster:Cluster": _CLUSTER,
    "gcp:container/nodePool:NodePool": _NODE_POOL,
    "gcp:artifactregistry/repository:Repository": (
        "repositoryId", "location", "format", "kmsKeyName", "mode", "project", "remoteRepositoryConfig",
    ),
    "gcp:serviceaccount/account:Account": ("accountId", "project"),
    "gcp:compute/network:Network": ("name", "project", "autoCreateSubnetworks", "description"),
    "gcp:compute/subnetwork:Subnetwork": ("name", "project", "region", "network", "description"),
    "command:local:Command": ("triggers",),
    "kubernetes:helm.sh/v3:Release": ("name", "namespace"),
    "kubernetes:apps/v1:Deployment": (*_KUBERNETES, r"spec\.selector"),
    "kubernetes:apps/v1:DaemonSet": (*_KUBERNETES, r"spec\.selector"),
    "kubernetes:core/v1:ConfigMap": (*_KUBERNETES, "data", "binaryData"),
    "kubernetes:core/v1:Secret": (*_KUBERNETES, "type", "data", "stringData"),
    "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding": (*_KUBERNETES, "roleRef"),
    "kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding": (*_KUBERNETES, "roleRef"),
    "pulumi:providers:kubernetes": ("renderYamlToDirectory", "clusterIdentifier"),
}  # fmt: skip


def replaces(type_: str, path: str) -> bool:
    """Whether a change of the input at `path` (`a.b[0].c`) replaces a resource of this type."""
    patterns = _BY_TYPE.get(type_, ())
    if not patterns and type_.startswith("gcp:") and type_.endswith("Member"):
        return True  # a binding has no field that can be updated
    if not patterns and type_.startswith("kubernetes:"):
        patterns = _KUBERNETES
    return any(re.fullmatch(pattern + _BELOW, path) for pattern in patterns)
