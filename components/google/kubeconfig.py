"""The kubeconfig of a GKE cluster. Pure."""

import json

_PLUGIN = "gke-gcloud-auth-plugin"
NONE = json.dumps({"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": []})
"""The kubeconfig of a stack without a cluster."""


def for_gke(name: str, *, dns_endpoint: str | None, address: str | None, ca_certificate: str | None) -> str:
    """A kubeconfig whose credentials come from `gke-gcloud-auth-plugin`: it holds none itself.

    Args:
        name: of cluster, user and context.
        dns_endpoint: DNS name of the API server; its certificate is one that every machine trusts.
        address: IP address of the API server, used where there is no DNS endpoint.
        ca_certificate: the cluster's CA (base64 PEM), which signs the address's certificate.

    Source: what `gcloud container clusters get-credentials` writes, with and without `--dns-endpoint`.
    """
    if dns_endpoint:
        cluster = {"server": f"https://{dns_endpoint}"}
    else:
        cluster = {"server": f"https://{address}", "certificate-authority-data": ca_certificate or ""}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [
                {
                    "name": name,
                    "user": {
                        "exec": {
                            "apiVersion": "client.authentication.k8s.io/v1beta1",
                            "command": _PLUGIN,
                            "installHint": f"install {_PLUGIN}: gcloud components install {_PLUGIN}",
                            "provideClusterInfo": True,
                        }
                    },
                }
            ],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )
