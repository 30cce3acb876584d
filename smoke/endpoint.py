"""How a model's OpenAI API is reached from here: through its gateway, or through the API server."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from modelimage.answers import BoundedClient
from oci_model_serving.outputs import StackOutputs
from smoke.stack import ServedModel
from watch.causes import NotHeldError
from watch.kube import KubeApi, namespaced

_GATEWAY_API = "gateway.networking.k8s.io/v1"
_ANSWER_LIMIT_BYTES = 16 << 20
"""Of one answer: the largest question that is asked has an embedding as its answer."""
_CLUSTER_HOST = re.compile(r"(?P<service>[a-z0-9-]+)\.(?P<namespace>[a-z0-9-]+)\.svc(?:\.cluster\.local)?")


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI API: requests go to `client`, whose base address ends where `/v1` begins."""

    client: httpx.Client
    route: str
    extensions: dict[str, Any]


@contextmanager
def open_endpoint(
    api: KubeApi, outputs: StackOutputs, model: ServedModel, *, address: str | None, timeout: float
) -> Iterator[Endpoint]:
    """Open the way to a model.

    A host of the cluster's own domain is reached through the API server's Service proxy. Any other host is a
    gateway's: the gateway's address is asked of the cluster and the host goes into the Host header, as DNS need not
    know it yet; `address` (HOST:PORT) stands in for the gateway's own (a tunnel, a test).

    Raises:
        NotHeldError: the gateway has no address.
    """
    url = httpx.URL(model.output.url)
    inside = _CLUSTER_HOST.fullmatch(url.host)
    extensions: dict[str, Any] = {}
    if inside and not address:
        client = api.service_client(inside["namespace"], inside["service"], url.port or 80, timeout=timeout)
        client.base_url = client.base_url.join(client.base_url.path.rstrip("/") + url.path)
        route = f"Service {inside['namespace']}/{inside['service']} through the API server"
    else:
        reached = address or gateway_address(api, outputs, url.scheme)
        if url.scheme == "https":
            extensions["sni_hostname"] = url.host
        client = BoundedClient(
            _ANSWER_LIMIT_BYTES,
            base_url=url.copy_with(host=None, netloc=reached.encode()),
            headers={"Host": url.host},
            timeout=timeout,
            trust_env=False,
        )
        route = f"{reached} with Host {url.host}"
    with client:
        yield Endpoint(client, route, extensions)


def gateway_address(api: KubeApi, outputs: StackOutputs, scheme: str) -> str:
    """Return HOST:PORT of the stack's gateway.

    Raises:
        NotHeldError: there is no Gateway, or its controller has given it no address.
    """
    platform = outputs.platforms.get("kserve")
    if platform is None or not platform.gateway_name:
        raise NotHeldError(
            "the stack has no gateway, and the model's URL is outside of the cluster",
            "give the address with --address HOST:PORT, or set `platforms.kserve.gateway`",
        )
    name = f"{platform.gateway_namespace}/{platform.gateway_name}"
    gateway = api.find(namespaced(_GATEWAY_API, platform.gateway_namespace, "gateways", platform.gateway_name))
    if gateway is None:
        raise NotHeldError(f"there is no Gateway {name}", "deploy it with `pulumi up`, or give --address HOST:PORT")
    status = gateway.get("status") or {}
    addresses = status.get("addresses") or []
    if not addresses:
        said = "; ".join(
            f"{condition['type']}={condition['status']} {condition.get('message', '')}".strip()
            for condition in status.get("conditions") or []
        )
        raise NotHeldError(
            f"Gateway {name} has no address: {said or 'its controller has said nothing yet'}",
            "GKE takes some minutes to give one; a class that nobody serves never gets one "
            "(`kubectl get gatewayclass`)",
        )
    listeners = gateway["spec"]["listeners"]
    ports = [listener["port"] for listener in listeners if listener.get("protocol") == scheme.upper()]
    host = str(addresses[0]["value"])
    return f"{f'[{host}]' if ':' in host else host}:{ports[0] if ports else (443 if scheme == 'https' else 80)}"
