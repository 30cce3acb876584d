"""What must exist for a model to be served as its stack says: one table. Only whether it is there is asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from oci_model_serving.delivery import KSERVE
from oci_model_serving.outputs import ModelOutput, StackOutputs
from smoke.checks import NotRunError
from smoke.manifests import RUNTIME_API, RUNTIME_NAME
from watch.causes import Cause, NotHeldError
from watch.controllers import controllers, is_available
from watch.kube import JSON, ApiError, KubeApi, namespaced
from watch.pods import object_path

_AGAIN = "`pulumi up --refresh` makes it again"
_GATEWAY_API = "gateway.networking.k8s.io/v1"
_GKE_API = "networking.gke.io/v1"


@dataclass(frozen=True)
class _Row:
    kind: str
    path: str
    without: str  # what does not work then
    remedy: str = _AGAIN


def check_objects(api: KubeApi, outputs: StackOutputs, model: ModelOutput) -> str:
    """See that all objects of a model are there.

    Raises:
        NotHeldError: some are not; each with what to do.
        NotRunError: none of them may be read.
    """
    found = api.find(object_path(model)) or {}
    there, hidden, causes = [], [], []
    for row in _rows(outputs, model, found):
        name = f"{row.kind} {row.path.rpartition('/')[2]}"
        try:
            if api.find(row.path) is None:
                told = f"there is no {name} in {model.namespace}: {row.without}"
                causes.append(Cause(f"missing-{row.kind.lower()}", told, row.remedy))
            else:
                there.append(row.kind)
        except ApiError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            hidden.append(name)
    if causes:
        raise NotHeldError("; ".join(cause.evidence for cause in causes), "", causes)
    unseen = f"; not to be read: {', '.join(hidden)}" if hidden else ""
    if not there:
        raise NotRunError(f"none of the model's objects may be read{unseen}")
    return f"{', '.join(there)}{unseen}"


def check_controller(api: KubeApi, outputs: StackOutputs, model: ModelOutput) -> str:
    """See that the platform's controller runs: without it, statuses stay what they were and say nothing.

    It is looked for in the platform's namespace of the outputs, and then everywhere: an adopted one may be elsewhere.

    Raises:
        NotHeldError: it is not there, or has no pod that is available.
        NotRunError: Deployments may not be read.
    """
    platform = outputs.platforms.get(model.platform)
    namespace = platform.namespace if platform else ""
    try:
        found = controllers(api, model.platform, namespace) or controllers(api, model.platform)
    except ApiError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
        raise NotRunError(f"the Deployments of {namespace or 'the cluster'} may not be read") from None
    if not found:
        raise NotHeldError(
            f"the controller of {model.platform} is not in the cluster",
            "`pulumi up --refresh` installs it again; what the model's status says is of before",
        )
    running = next(filter(is_available, found), None)
    if running is None:
        metadata = found[0]["metadata"]
        raise NotHeldError(
            f"Deployment {metadata['namespace']}/{metadata['name']} has no available pod: nobody acts on changes or "
            "failures of the model",
            f"see why: `kubectl -n {metadata['namespace']} describe deploy {metadata['name']}` and its pods; what the "
            "model's status says is of before",
        )
    return f"Deployment {running['metadata']['namespace']}/{running['metadata']['name']} is available"


def _rows(outputs: StackOutputs, model: ModelOutput, found: JSON) -> Iterator[_Row]:
    name, namespace = model.name, model.namespace
    policy = namespaced("networking.k8s.io/v1", namespace, "networkpolicies", name)
    yield _Row("NetworkPolicy", policy, "nothing but the server's own settings keeps its pods from the internet")
    if model.serving.platform is not KSERVE:
        service = namespaced("v1", namespace, "services", "kubeai")
        yield _Row("Service", service, "nothing answers at the model's URL")
        return
    predictor = (found.get("spec") or {}).get("predictor") or {}
    runtime = (predictor.get("model") or {}).get("runtime") or RUNTIME_NAME
    path = namespaced(RUNTIME_API, namespace, "servingruntimes", runtime)
    yield _Row("ServingRuntime", path, "no new pod can be made")
    account = predictor.get("serviceAccountName") or name
    path = namespaced("v1", namespace, "serviceaccounts", account)
    yield _Row("ServiceAccount", path, "no new pod can be made")
    path = namespaced("v1", namespace, "services", f"{name}-predictor")
    repaired = "KServe makes it: see that its controller runs (the check `controller`)"
    yield _Row("Service", path, "nothing answers at the model's URL", repaired)
    path = namespaced("policy/v1", namespace, "poddisruptionbudgets", name)
    yield _Row("PodDisruptionBudget", path, "a node's drain may take all pods at once")
    platform = outputs.platforms.get(model.platform)
    gateway = platform.gateway if platform else "none"
    if gateway == "none":
        return
    path = namespaced(_GATEWAY_API, namespace, "httproutes", name)
    yield _Row("HTTPRoute", path, "the gateway does not know the model", _AGAIN if gateway == "gke" else repaired)
    if gateway == "gke":
        path = namespaced(_GKE_API, namespace, "gcpbackendpolicies", name)
        yield _Row("GCPBackendPolicy", path, "the load balancer cuts generations after 30 s")
        path = namespaced(_GKE_API, namespace, "healthcheckpolicies", name)
        yield _Row("HealthCheckPolicy", path, "the load balancer asks / for health, and sends no requests")
