"""An app that calls a model of another stack: its Deployment, a ConfigMap, and a route with a name of its own.

The app reads its address and model from the ConfigMap. With a hostname, that address stays when the stack is pointed
at another model; only what else the ConfigMap says moves, and with it the app's pods.
"""

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as k8s

from oci_model_serving import outputs

APP = "model-client"

config = pulumi.Config()
key, hostname, manifests = config.require("model"), config.get("hostname"), config.get("manifests")
producer = pulumi.StackReference(config.require("producer"))
served = outputs.read(producer)
model = served.apply(lambda stack: stack.model(key, stack=config.require("producer")))
cluster = (
    k8s.Provider("cluster", render_yaml_to_directory=manifests)
    if manifests
    else k8s.Provider("cluster", kubeconfig=producer.require_output("kubeconfig"))
)
in_cluster = pulumi.ResourceOptions(provider=cluster)


def route(stack: outputs.StackOutputs) -> dict[str, Any]:
    """The route from the app's hostname to the model's Service; KServe's predictor Services listen on port 80."""
    taken, kserve = stack.model(key), stack.platforms.get("kserve")
    if taken.platform != "kserve" or kserve is None or kserve.gateway == "none":
        raise pulumi.RunError(f"hostname: model {key!r} is not behind a KServe gateway: leave hostname empty")
    if not str(hostname).endswith(f".{kserve.domain}"):
        raise pulumi.RunError(f"hostname: {hostname!r} is not below the gateway's domain: write NAME.{kserve.domain}")
    return {
        "parentRefs": [{"name": kserve.gateway_name, "namespace": kserve.gateway_namespace}],
        "hostnames": [hostname],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}],
                "backendRefs": [{"name": f"{taken.name}-predictor", "port": 80}],
            }
        ],
    }


address = model.url
if hostname:
    address = model.url.apply(lambda url: f"{urlsplit(url).scheme}://{hostname}")
    k8s.apiextensions.CustomResource(
        "route",
        api_version="gateway.networking.k8s.io/v1",
        kind="HTTPRoute",
        # The producer's gateway admits routes of the models' namespace only.
        metadata={"name": APP, "namespace": model.namespace},
        spec=served.apply(route),
        opts=in_cluster,
    )

code = Path(__file__).with_name("app.py").read_text(encoding="utf-8")
data = {
    "OPENAI_BASE_URL": pulumi.Output.concat(address, "/v1"),
    "OPENAI_MODEL": model.served_name,
    # Not needed for a call: it says which weights answered, in the app's own logs.
    "MODEL_DIGEST": model.digest,
}
settings = k8s.core.v1.ConfigMap(
    "settings",
    metadata={"name": APP, "namespace": config.require("namespace")},
    data={**data, "app.py": code},
    opts=in_cluster,
)
# Pods do not see that variables from a ConfigMap have changed: what is written on them replaces them.
version = pulumi.Output.json_dumps({**data, "code": code}).apply(lambda text: hashlib.sha256(text.encode()).hexdigest())
k8s.apps.v1.Deployment(
    "app",
    metadata={"name": APP, "namespace": config.require("namespace"), "labels": {"app": APP}},
    spec={
        "replicas": 1,
        "selector": {"matchLabels": {"app": APP}},
        "template": {
            "metadata": {"labels": {"app": APP}, "annotations": {"settings": version}},
            "spec": {
                "automountServiceAccountToken": False,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "app",
                        "image": config.require("image"),
                        "command": ["python3", "-u", "/app/app.py"],
                        "env": [
                            {"name": name, "valueFrom": {"configMapKeyRef": {"name": APP, "key": name}}}
                            for name in data
                        ],
                        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                            "readOnlyRootFilesystem": True,
                        },
                        "volumeMounts": [{"name": "app", "mountPath": "/app", "readOnly": True}],
                    }
                ],
                "volumes": [
                    {"name": "app", "configMap": {"name": APP, "items": [{"key": "app.py", "path": "app.py"}]}}
                ],
            },
        },
    },
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[settings]),
)
pulumi.export("base_url", pulumi.Output.concat(address, "/v1"))
pulumi.export("digest", model.digest)
