"""What must exist for a model to be served as its stack says: one table. Only whether it is there is asked."""

from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

from oci_model_serving.delivery import KSERVE, KUBEAI
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
_WEBHOOK = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/inferenceservice.serving.kserve.io"
"""Where KServe puts the weights into pods: fixed in its chart (v0.19 and v0.20)."""
_CHARTS = {KSERVE.name: "kserve-resources", KUBEAI.name: "kubeai"}
"""The release that holds each platform's controller: called as its chart (`components/serving/charts.py`)."""
_PRIORITY = "/apis/scheduling.k8s.io/v1/priorityclasses"


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
                where = model.namespace if "/namespaces/" in row.path else "the cluster"
                told = f"there is no {name} in {where}: {row.without}"
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
            f"{_by_chart(model, namespace)}; what the model's status says is of before",
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


def _by_chart(model: ModelOutput, namespace: str) -> str:
    """How what a chart has made comes back: the engine keeps the release, and does not look at what is in it."""
    chart, where = _CHARTS[model.platform], namespace or "NAMESPACE"
    return (
        f"`helm get manifest {chart} -n {where} | kubectl apply -n {where} --server-side --force-conflicts -f -` "
        "brings back what the chart makes; a release that is gone as a whole `pulumi up --refresh` installs again"
    )


def _rows(outputs: StackOutputs, model: ModelOutput, found: JSON) -> Iterator[_Row]:
    name, namespace, spec = model.name, model.namespace, found.get("spec") or {}
    platform = outputs.platforms.get(model.platform)
    chart = _by_chart(model, platform.namespace if platform else "")
    policy = namespaced("networking.k8s.io/v1", namespace, "networkpolicies", name)
    yield _Row("NetworkPolicy", policy, "nothing but the server's own settings keeps its pods from the internet")
    if model.serving.platform is not KSERVE:
        service = namespaced("v1", namespace, "services", "kubeai")
        yield _Row("Service", service, "nothing answers at the model's URL", chart)
        for secret in sorted({one["secretRef"]["name"] for one in spec.get("envFrom") or () if "secretRef" in one}):
            yield _secret(namespace, secret)
        yield from _of_priority(spec)
        return
    if not model.serving.streamed:
        yield _Row("MutatingWebhookConfiguration", _WEBHOOK, "new pods come without the weights", chart)
    predictor = spec.get("predictor") or {}
    yield from _of_priority(predictor)
    env = (one.get("valueFrom") or {} for one in (predictor.get("model") or {}).get("env") or ())
    references = [one["secretKeyRef"] for one in env if "secretKeyRef" in one]
    for secret in sorted({one["name"] for one in references if not one.get("optional")}):
        yield _secret(namespace, secret)
    for volume in predictor.get("volumes") or ():
        if "configMap" in volume:
            path = namespaced("v1", namespace, "configmaps", volume["configMap"]["name"])
            yield _Row("ConfigMap", path, "no new pod can start")
        elif "secret" in volume:
            path = namespaced("v1", namespace, "secrets", volume["secret"]["secretName"])
            yield _Row("Secret", path, "no new pod can start")
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


def _secret(namespace: str, name: str) -> _Row:
    path = namespaced("v1", namespace, "secrets", name)
    remedy = (
        "`pulumi up --refresh` makes that of `models.NAME.secretEnv` again; one that `models.NAME.env` names is yours"
    )
    return _Row("Secret", path, "no new pod can start", remedy)


def _of_priority(spec: JSON) -> Iterator[_Row]:
    name = spec.get("priorityClassName")
    if name:
        remedy = "make it (`kubectl create priorityclass`), or change `models.NAME.priorityClass`"
        yield _Row("PriorityClass", f"{_PRIORITY}/{name}", "no new pod can be made", remedy)
