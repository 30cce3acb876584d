"""What a stack may declare: types of resources, roles, members, charts. What is not here is refused.

A team that declares more adds it here, by a review of its own: nothing else opens a rule.
"""

from collections.abc import Iterator

from policy.images import Props, is_unknown, kind_of, mapping

PROVIDERS = frozenset({"kubernetes", "gcp", "docker", "command", "pulumi"})  # the last is the engine's own
_KUBERNETES = {
    "core/v1": (
        "ConfigMap LimitRange Namespace NamespacePatch PersistentVolumeClaim Pod ResourceQuota Secret Service "
        "ServiceAccount"
    ),
    "apps/v1": "DaemonSet Deployment StatefulSet",
    "batch/v1": "CronJob Job",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "policy/v1": "PodDisruptionBudget",
    "scheduling.k8s.io/v1": "PriorityClass",
    "networking.k8s.io/v1": "NetworkPolicy",
    "rbac.authorization.k8s.io/v1": "Role RoleBinding",
    "admissionregistration.k8s.io/v1": "ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding",
    "gateway.networking.k8s.io/v1": "Gateway GatewayClass GRPCRoute HTTPRoute",
    "gateway.envoyproxy.io/v1alpha1": "BackendTrafficPolicy",
    "networking.gke.io/v1alpha1": "FQDNNetworkPolicy",
    "networking.gke.io/v1": "GCPBackendPolicy GCPGatewayPolicy HealthCheckPolicy",
    "monitoring.googleapis.com/v1": "PodMonitoring Rules",
    "monitoring.coreos.com/v1": "PodMonitor PrometheusRule ServiceMonitor",
    "serving.kserve.io/v1alpha1": "ServingRuntime",
    "serving.kserve.io/v1beta1": "InferenceService",
    "kubeai.org/v1": "Model",
    "helm.sh/v3": "Release",
}
ROLES = {
    "gcp:projects/iAMMember:IAMMember": frozenset({
        "roles/container.defaultNodeServiceAccount", "roles/serviceusage.serviceUsageConsumer",
        "roles/logging.logWriter", "roles/monitoring.metricWriter", "roles/autoscaling.metricsWriter",
    }),
    "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember": frozenset({
        "roles/artifactregistry.reader", "roles/artifactregistry.writer",
    }),
    "gcp:serviceaccount/iAMMember:IAMMember": frozenset({"roles/iam.workloadIdentityUser"}),
    "gcp:storage/bucketIAMMember:BucketIAMMember": frozenset({
        "roles/storage.objectViewer", "roles/storage.objectCreator",
    }),
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": frozenset({
        "roles/cloudkms.cryptoKeyEncrypterDecrypter", "roles/cloudkms.publicKeyViewer", "roles/cloudkms.signerVerifier",
    }),
    "gcp:secretmanager/secretIamMember:SecretIamMember": frozenset({"roles/secretmanager.secretAccessor"}),
}  # fmt: skip
"""The roles that may be bound, by what they are bound on: each exactly, so that a custom one is none of them."""
_GOOGLE = frozenset({
    *ROLES,
    "gcp:artifactregistry/repository:Repository",
    "gcp:compute/address:Address",
    "gcp:compute/firewall:Firewall",
    "gcp:compute/network:Network",
    "gcp:compute/router:Router",
    "gcp:compute/routerNat:RouterNat",
    "gcp:compute/subnetwork:Subnetwork",
    "gcp:container/cluster:Cluster",
    "gcp:container/nodePool:NodePool",
    "gcp:kms/cryptoKey:CryptoKey",
    "gcp:kms/keyRing:KeyRing",
    "gcp:projects/service:Service",
    "gcp:serviceaccount/account:Account",
    "gcp:storage/bucket:Bucket",
})  # fmt: skip
_OTHERS = frozenset({
    "pulumi:pulumi:Stack",
    "pulumi:pulumi:StackReference",
    "command:local:Command",
    "docker:index/image:Image",
})  # fmt: skip
TYPES = frozenset({
    *_GOOGLE,
    *_OTHERS,
    *(f"pulumi:providers:{name}" for name in PROVIDERS),
    *(f"kubernetes:{group}:{kind}" for group, kinds in _KUBERNETES.items() for kind in kinds.split()),
})  # fmt: skip
_OURS = "oci-model-serving:index:"
_GROUPS_OF_RESOURCES = (
    "kubernetes:yaml",
    "kubernetes:kustomize",
    "kubernetes:helm.sh/v3:Chart",
    "kubernetes:helm.sh/v4",
)
SERVING = frozenset({
    "ClusterServingRuntime", "ClusterStorageContainer", "InferenceGraph", "LLMInferenceService",
    "LLMInferenceServiceConfig", "LocalModelCache", "TrainedModel",
})  # fmt: skip
"""Other kinds of KServe that name weights or containers; Knative's `Service` is another."""
CHARTS = {
    "cert-manager": ("oci://quay.io/jetstack/charts", "https://charts.jetstack.io"),
    "gateway-helm": ("oci://docker.io/envoyproxy",),
    "kserve-crd": ("oci://ghcr.io/kserve/charts",),
    "kserve-resources": ("oci://ghcr.io/kserve/charts",),
    "kubeai": ("https://www.kubeai.org",),
}
"""The charts that may be installed, each with the repositories of who makes it; a mirror is on Artifact Registry, or a
folder of the project."""
LISTED = "allowed.oci-model-serving/"
"""All that a patch may add: annotations of a namespace, one for each image that the cluster accepts there."""


def only_allowed_types(type_: str, _name: str, props: Props) -> Iterator[str]:
    """A stack declares nothing but what is known here."""
    kind = kind_of(type_)
    if type_ not in TYPES and not type_.startswith(_OURS):
        yield f"{type_} is no type that a stack of this project declares: {_remedy(type_, kind)}"
    elif kind and not type_.startswith("kubernetes:helm.sh/"):
        yield from _another_kind(type_, kind, props)


def _remedy(type_: str, kind: str) -> str:
    if kind.endswith("Patch"):
        return "a patch changes what others own, unseen by rules on whole objects: write the object itself"
    if type_.startswith(_GROUPS_OF_RESOURCES):
        return "rules do not see what it holds: write each object as a resource of its own"
    if kind in SERVING or type_.startswith("kubernetes:serving.knative.dev/"):
        return "write an InferenceService with a ServingRuntime, or KubeAI's Model"
    if "iam" in type_.lower() or "acl" in type_.lower() or "AccessControl" in type_:
        return "use an …IAMMember of a role in policy/allowed.py"
    if type_ == "gcp:serviceaccount/key:Key":
        return "a key of a service account is a secret for ever: use Workload Identity"
    return "leave it out, or add it to policy/allowed.py by a review of its own"


def _another_kind(type_: str, kind: str, props: Props) -> Iterator[str]:
    """What is sent is the object's own kind, whatever the resource is called."""
    group = type_.split(":")[1]
    wanted = {"apiVersion": group.removeprefix("core/"), "kind": kind.removesuffix("Patch")}
    for key, value in wanted.items():
        said = props.get(key)
        if said is not None and said != value and not is_unknown(said):
            yield f"{key} is {said!r} in a resource of type {type_}: write {value}"


def only_our_patch(type_: str, _name: str, props: Props) -> Iterator[str]:
    """The one patch adds images to those that the cluster accepts in a namespace, each by the key that is its own."""
    if type_ != "kubernetes:core/v1:NamespacePatch":
        return
    metadata = mapping(props.get("metadata"))
    for key in mapping(metadata.get("annotations")):
        if not str(key).startswith(LISTED):
            yield f"metadata.annotations has {key}: a patch adds {LISTED}… only; write the Namespace itself"
    if set(props) - {"apiVersion", "kind", "metadata"} or set(metadata) - {"name", "annotations"}:
        yield "it has more than metadata.annotations: leave it out"
