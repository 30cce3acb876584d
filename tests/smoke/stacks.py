"""Stack outputs and the objects that a cluster would hold for them."""

from typing import Any

from oci_model_serving.outputs import StackOutputs, parse
from smoke.stack import ServedModel, select

DIGEST = "sha256:" + "a" * 64
REPOSITORY = "us-central1-docker.pkg.dev/demo/models/qwen"
IMAGE = f"{REPOSITORY}@{DIGEST}"
KEY = "qwen2.5-0.5b-instruct"
NAME = "qwen2-5-0-5b-instruct"
ACCOUNT = "oci-l4@demo.iam.gserviceaccount.com"
URIS = {
    "modelcar": f"oci://{IMAGE}",
    "native": f"oci+native://{IMAGE}",
    "stream": f"oci+stream://{IMAGE}",
    "kubeai": f"oci://{REPOSITORY}:digest-sha256-{'a' * 64}",
}
JSON = dict[str, Any]
SIDECAR: JSON = {
    "name": "stream",
    "image": "vllm",
    "restartPolicy": "Always",
    "args": [URIS["stream"], "--prefix", f"models/{NAME}"],
}


def raw_outputs(delivery: str = "modelcar", **model: Any) -> JSON:
    """Outputs as the engine prints them, with one model."""
    platform = "kubeai" if delivery == "kubeai" else "kserve"
    namespace = "kubeai" if platform == "kubeai" else "models"
    return {
        "contract_version": 1,
        "registry_url": REPOSITORY.rpartition("/")[0],
        "node_service_accounts": {"l4": ACCOUNT},
        "cluster": {"name": "demo", "location": "us-central1", "version": "1.35.8"},
        "node_pools": {
            "l4": {
                "accelerator": "nvidia-l4",
                "count": 1,
                "machine_type": "g2-standard-8",
                "disk_size_gb": 200,
                "labels": {"oci-model-serving/pool": "l4"},
                "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
                "min_nodes": 0,
                "max_nodes": 2,
                "spot": True,
            }
        },
        "platforms": {
            "kserve": {
                "version": "v0.20.0",
                "namespace": "kserve",
                "gateway": "gke",
                "gateway_name": "kserve-ingress-gateway",
                "gateway_namespace": "kserve",
                "domain": "example.com",
            },
            "kubeai": {"version": "0.24.0", "namespace": "kubeai"},
        },
        "models": {
            KEY: {
                "image": IMAGE,
                "digest": DIGEST,
                "size_bytes": 1_000_000_000,
                "delivery": delivery,
                "platform": platform,
                "name": NAME,
                "namespace": namespace,
                "storage_uri": URIS[delivery],
                "served_name": KEY,
                "url": f"http://{NAME}-{namespace}.example.com",
                "paused": False,
                "node_pool": "l4",
                **model,
            }
        },
    }


def outputs(delivery: str = "modelcar", **model: Any) -> StackOutputs:
    """The same, parsed."""
    return parse(raw_outputs(delivery, **model))


def model(delivery: str = "modelcar", **changed: Any) -> ServedModel:
    """The model of those outputs."""
    return select(outputs(delivery, **changed), [KEY])[0]


def pod(delivery: str = "modelcar", name: str = "p-1", **container: Any) -> JSON:
    """A healthy pod of the model as a cluster would show it."""
    server = "server" if delivery == "kubeai" else "kserve-container"
    label = {"model": NAME} if delivery == "kubeai" else {"serving.kserve.io/inferenceservice": NAME}
    env = [{"name": "HF_HUB_OFFLINE", "value": "1"}, {"name": "TRANSFORMERS_OFFLINE", "value": "1"}]
    found: JSON = {
        "metadata": {
            "name": name,
            "namespace": "kubeai" if delivery == "kubeai" else "models",
            "labels": {**label, "app": "vllm"},
            "creationTimestamp": "2026-11-22T10:00:01Z",
        },
        "spec": {"nodeName": "n-1", "containers": [{"name": server, "image": "vllm", "env": env, **container}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T10:04:00Z"}],
            "containerStatuses": [
                {
                    "name": server,
                    "restartCount": 0,
                    "imageID": "docker.io/vllm/vllm-openai@sha256:" + "c" * 64,
                    "state": {"running": {"startedAt": "2026-11-22T10:03:00Z"}},
                }
            ],
        },
    }
    if delivery == "stream":
        found["metadata"]["annotations"] = {"oci-model-serving/stream": URIS[delivery]}
        found["spec"]["initContainers"] = [SIDECAR]
    elif delivery == "modelcar":
        found["spec"]["containers"].append({"name": "modelcar", "image": IMAGE})
        found["status"]["containerStatuses"].append({"name": "modelcar", "restartCount": 0, "imageID": IMAGE})
    else:
        reference = IMAGE if delivery == "native" else URIS["kubeai"].removeprefix("oci://")
        found["spec"]["volumes"] = [{"name": "model", "image": {"reference": reference}}]
        mount = {"name": "model", "mountPath": "/mnt/models", "subPath": "models", "readOnly": True}
        if delivery == "kubeai":
            mount = {"name": "model", "mountPath": "/model", "readOnly": True}
        found["spec"]["containers"][0]["volumeMounts"] = [mount]
    return found


def node(*images: list[str]) -> JSON:
    """The pods' node, which has these images, each by all its names."""
    return {"metadata": {"name": "n-1"}, "status": {"images": [{"names": names} for names in images]}}


def around(delivery: str = "modelcar") -> dict[str, JSON]:
    """All that is there for the model besides its own object and pods, by path: as the program and KServe make it."""
    namespace = "kubeai" if delivery == "kubeai" else "models"
    core, apis = f"/api/v1/namespaces/{namespace}", "/apis/{}/namespaces/" + namespace
    gateway, gke = "gateway.networking.k8s.io/v1", "networking.gke.io/v1"
    paths = [f"{apis.format('networking.k8s.io/v1')}/networkpolicies/{NAME}"]
    if delivery == "kubeai":
        paths.append(f"{core}/services/kubeai")
        controller = "/apis/apps/v1/namespaces/kubeai/deployments/kubeai"
    else:
        hooks = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
        paths += [] if delivery == "stream" else [f"{hooks}/inferenceservice.serving.kserve.io"]
        paths += [
            f"{apis.format('serving.kserve.io/v1alpha1')}/servingruntimes/vllm",
            f"{core}/serviceaccounts/{NAME}",
            f"{core}/services/{NAME}-predictor",
            f"{apis.format('policy/v1')}/poddisruptionbudgets/{NAME}",
            f"{apis.format(gateway)}/httproutes/{NAME}",
            f"{apis.format(gke)}/gcpbackendpolicies/{NAME}",
            f"{apis.format(gke)}/healthcheckpolicies/{NAME}",
        ]
        controller = "/apis/apps/v1/namespaces/kserve/deployments/kserve-controller-manager"
    found: dict[str, JSON] = {path: {"metadata": {"name": path.rpartition("/")[2]}} for path in paths}
    metadata = {"name": controller.rpartition("/")[2], "namespace": controller.split("/")[5]}
    return {**found, controller: {"metadata": metadata, "status": {"availableReplicas": 1}}}


def path_of_pods(delivery: str = "modelcar") -> str:
    return f"/api/v1/namespaces/{'kubeai' if delivery == 'kubeai' else 'models'}/pods"


def served(delivery: str = "modelcar") -> tuple[str, JSON]:
    """The path of the object that serves the model, and the object, ready."""
    if delivery == "kubeai":
        path = f"/apis/kubeai.org/v1/namespaces/kubeai/models/{NAME}"
        body: JSON = {
            "apiVersion": "kubeai.org/v1",
            "kind": "Model",
            "spec": {"minReplicas": 1, "replicas": 1, "url": URIS["kubeai"]},
            "status": {"replicas": {"all": 1, "ready": 1}},
        }
    else:
        path = f"/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices/{NAME}"
        predictor: JSON = {"model": {"storageUri": URIS[delivery]}}
        if delivery == "stream":
            predictor = {"model": {}, "initContainers": [SIDECAR]}
        body = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "spec": {"predictor": predictor},
            "status": {
                "conditions": [{"type": "PredictorReady", "status": "True"}, {"type": "Ready", "status": "True"}]
            },
        }
    return path, {**body, "metadata": {"name": NAME, "annotations": {}, "labels": {}}}
