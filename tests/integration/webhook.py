"""KServe's Pod webhook as far as OCI images go, played for one namespace of the test cluster.

It does what was seen of KServe v0.19.0 and v0.20.0: it selects pods by the InferenceService label, reads the internal
annotation, and adds the modelcar, an image volume (v0.20, `oci+native://`) or, with modelcar disabled, a
storage-initializer that cannot read oci.
"""

import base64
import contextlib
import copy
import json
import ssl
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.integration.cluster import client

LABEL = "serving.kserve.io/inferenceservice"
ANNOTATION = "internal.serving.kserve.io/storage-initializer-sourceuri"
WEBHOOK = "inferenceservice.kserve-webhook-server.pod-mutator"
NAMED = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/inferenceservice.serving.kserve.io"
_UID = 1010
_RESOURCES = {"limits": {"cpu": "10m", "memory": "15Mi"}, "requests": {"cpu": "10m", "memory": "15Mi"}}
_CHECK = (
    "echo 'Pre-fetching modelcar {image}: ' && [ -d /models ] && [ \"$$(ls -A /models)\" ] "
    "&& echo 'OK ... Prefetched and valid (/models exists)' "
    "|| (echo 'NOK ... Prefetched but modelcar is invalid (/models does not exist or is empty)' && exit 1)"
)


@contextlib.contextmanager
def pod_webhook(
    kubeconfig: Path, namespace: str, *, enable_modelcar: bool = True, also: dict[str, str] | None = None
) -> Iterator[None]:
    """Serve the webhook on loopback until the context ends, for pods of `namespace`.

    `also`: labels of other namespaces that it serves instead, for a test that does not know their names beforehand.
    """
    pki = kubeconfig.parent / "pki"
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(enable_modelcar))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / "webhook.crt", pki / "webhook.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    name = f"kserve-{namespace}"
    with client(kubeconfig) as api:
        selected = also or {"kubernetes.io/metadata.name": namespace}
        called_as_kserves(api)
        registration = _registration(name, selected, server.server_port, (pki / "ca.crt").read_bytes())
        api.post(path, json=registration).raise_for_status()
        try:
            yield
        finally:
            api.delete(f"{path}/{name}").raise_for_status()
            server.shutdown()
            server.server_close()
            thread.join()


def called_as_kserves(api: httpx.Client) -> None:
    """See that there is a registration of KServe's name, by which checks look for it.

    It calls nothing, and stays: all tests of the machine share the cluster.
    """
    path, metadata = NAMED.rsplit("/", 1)[0], {"name": NAMED.rpartition("/")[2]}
    body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    made = api.post(path, json={**body, "metadata": metadata, "webhooks": []})
    if made.status_code != HTTPStatus.CONFLICT:
        made.raise_for_status()


def mutate(pod: dict[str, Any], *, enable_modelcar: bool = True) -> dict[str, Any]:
    """Return the pod as the webhook leaves it."""
    pod = copy.deepcopy(pod)
    source = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, "")
    spec = pod["spec"]
    server = next(container for container in spec["containers"] if container["name"] == "kserve-container")
    scheme, _, image = source.partition("://")
    if scheme == "oci" and enable_modelcar:
        _add_modelcar(spec, server, image)
    elif scheme == "oci+native" and enable_modelcar:
        spec.setdefault("volumes", []).append(
            {"name": "mnt-models", "image": {"reference": image, "pullPolicy": "IfNotPresent"}}
        )
        mount = {"name": "mnt-models", "mountPath": "/mnt/models", "subPath": "models", "readOnly": True}
        server.setdefault("volumeMounts", []).append(mount)
    elif scheme == "oci":
        spec.setdefault("initContainers", []).append(
            {"name": "storage-initializer", "image": "kserve/storage-initializer:v0.20.0", "args": [source]}
        )
    return pod


def _add_modelcar(spec: dict[str, Any], server: dict[str, Any], image: str) -> None:
    mount = {"name": "kserve-provision-location", "mountPath": "/mnt"}
    server.setdefault("env", []).append({"name": "MODEL_INIT_MODE", "value": "async"})
    server.setdefault("volumeMounts", []).append(mount)
    server.setdefault("securityContext", {})["runAsUser"] = _UID
    spec.setdefault("volumes", []).append({"name": mount["name"], "emptyDir": {}})
    spec["shareProcessNamespace"] = True
    common = {"image": image, "resources": _RESOURCES, "terminationMessagePolicy": "FallbackToLogsOnError"}
    spec.setdefault("initContainers", []).append(
        {"name": "modelcar-init", "args": ["sh", "-c", _CHECK.format(image=image)], **common}
    )
    spec["containers"].append(
        {
            "name": "modelcar",
            "args": ["sh", "-c", "ln -sf /proc/$$$$/root/models /mnt/models && sleep infinity"],
            "volumeMounts": [mount],
            "securityContext": {"runAsUser": _UID},
            **common,
        }
    )


def _registration(name: str, selected: dict[str, str], port: int, ca: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": WEBHOOK,
                "clientConfig": {
                    "url": f"https://127.0.0.1:{port}/mutate-pods",
                    "caBundle": base64.b64encode(ca).decode(),
                },
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "namespaceSelector": {"matchLabels": selected},
                "objectSelector": {"matchExpressions": [{"key": LABEL, "operator": "Exists"}]},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }
        ],
    }


def _handler(enable_modelcar: bool) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            before = review["request"]["object"]
            after = mutate(before, enable_modelcar=enable_modelcar)
            patch = [{"op": "replace", "path": "/spec", "value": after["spec"]}]
            response = {
                "uid": review["request"]["uid"],
                "allowed": True,
                "patchType": "JSONPatch",
                "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
            }
            body = json.dumps({**review, "request": None, "response": response}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
