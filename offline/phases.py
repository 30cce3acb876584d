"""In which order the objects of a stack are applied: what others need comes first.

`kubectl apply -f FOLDER` and Kustomize take files in the order of their names and lists, and wait for nothing. So what
a model's pods are held to (namespace, policies, accounts) has a lower number than the model. Argo CD has the same order
as sync waves (`offline.gitops`).
"""

NAMESPACES, POLICIES, RIGHTS, DATA, RUNTIMES, NODES, MODELS, ROUTES, MONITORING = range(10, 100, 10)

_KINDS = {
    NAMESPACES: ("Namespace",),
    POLICIES: ("NetworkPolicy", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "FQDNNetworkPolicy"),
    RIGHTS: ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"),
    DATA: ("ConfigMap", "PriorityClass"),
    RUNTIMES: ("ServingRuntime",),
    # What makes nodes ready for a model: its images are pulled there.
    NODES: ("DaemonSet",),
    MODELS: ("InferenceService", "Model"),
    ROUTES: (
        "GatewayClass",
        "Gateway",
        "HTTPRoute",
        "BackendTrafficPolicy",
        "GCPBackendPolicy",
        "HealthCheckPolicy",
        "PodDisruptionBudget",
        # Pods that keep nodes: they wait for room, and nothing waits for them.
        "Deployment",
    ),
    MONITORING: ("PodMonitoring", "PodMonitor", "Rules", "PrometheusRule"),
}
_PHASES = {kind: phase for phase, kinds in _KINDS.items() for kind in kinds}


def phase_of(kind: str) -> int:
    """The number of the phase in which an object of this kind is applied; one that is not known here comes late."""
    return _PHASES.get(kind, ROUTES)
