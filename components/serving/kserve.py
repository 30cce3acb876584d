"""KServe: the platform that serves models by modelcar or image volume."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.serving import admission, objects, serving_runtime
from components.serving.charts import release
from components.serving.objects import Annotations
from components.settings.pulling import PULL_SECRET
from components.settings.serving import KServeSettings
from components.settings.stack import Settings
from oci_model_serving.delivery import KSERVE

GATEWAY = "kserve-ingress-gateway"
_GKE_CLASSES = {"external": "gke-l7-regional-external-managed", "internal": "gke-l7-rilb"}


class KServe(pulumi.ComponentResource):
    """Installs KServe with modelcar enabled, a gateway, the models' namespace and our vLLM ServingRuntime.

    Deliberately leaves KServe's own runtimes out (chart kserve-runtime-configs) and never removes the CRDs: with them
    would go every InferenceService of the cluster. Their release goes, so that another install can take them on.
    """

    described: dict[str, str]
    """The platform as the stack's outputs show it (`oci_model_serving.outputs.PlatformOutput`)."""

    def __init__(
        self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None, *, listed: Annotations = None
    ) -> None:
        """Install it; `listed` are the annotations of the models' namespace that say what it may run."""
        super().__init__("oci-model-serving:index:KServe", name, None, opts)
        self._kserve = kserve = settings.kserve
        self._hosts = [host for model in settings.models_of(KSERVE) for host in model.settings.hosts]
        admission.advise_digest("platforms.kserve.server.image", kserve.server.image)
        if kserve.gateway == "gke" and kserve.gateway_scheme == "external" and not kserve.certificate:
            pulumi.log.warn(
                "platforms.kserve.gatewayScheme is external without a certificate: anybody on the internet reaches the "
                "models, in clear text; set certificate, and put an API key or Cloud Armor in front",
                resource=self,
            )
        self._mine = pulumi.ResourceOptions(parent=self)
        models = objects.namespace(kserve.model_namespace, _pod_security(settings), self._mine, annotations=listed)
        charts = self._charts() if kserve.install else []
        if not kserve.install:
            self._gke_gateway(self._mine)
        in_models = pulumi.ResourceOptions(parent=self, depends_on=[*charts, models])
        for key, secret in settings.pull_secrets.items():
            objects.pull_secret(f"{kserve.model_namespace}-{key}", key, kserve.model_namespace, [secret], in_models)
        if settings.pull_secrets and any(model.pulls_with_all for model in settings.models_of(KSERVE)):
            every = settings.pull_secrets.values()
            name_of_all = f"{kserve.model_namespace}-{PULL_SECRET}"
            objects.pull_secret(name_of_all, PULL_SECRET, kserve.model_namespace, every, in_models)
        k8s.apiextensions.CustomResource(
            f"{kserve.model_namespace}-{serving_runtime.RUNTIME}",
            api_version="serving.kserve.io/v1alpha1",
            kind="ServingRuntime",
            metadata=objects.metadata(serving_runtime.RUNTIME, kserve.model_namespace),
            spec=serving_runtime.of_engine(kserve.server.image),
            opts=in_models,
        )
        gateway: dict[str, str] = {}
        if kserve.gateway != "none":
            parent = gateway_of(kserve)
            gateway = {"gateway_name": parent["name"], "gateway_namespace": parent["namespace"]}
        self.described = {
            "version": kserve.version,
            "namespace": kserve.namespace,
            "gateway": kserve.gateway or "none",
            "domain": kserve.domain,
            **gateway,
        }
        self.register_outputs(dict(self.described))

    def _charts(self) -> list[pulumi.Resource]:
        """Install in the order in which each part finds what it needs, each waiting for the one before.

        cert-manager comes first (kserve-resources always renders its objects), then the gateway, the CRDs, and the
        controller, which exits when its CRDs are not there yet. The Helm releases wait for their Deployments, so that
        the webhooks answer before the first InferenceService is sent to them.
        """
        kserve = self._kserve
        needed: list[pulumi.Resource] = []
        if kserve.cert_manager.install:
            needed.append(
                release(
                    "cert-manager",
                    repository=kserve.cert_manager.repository or "oci://quay.io/jetstack/charts",
                    version=kserve.cert_manager.version,
                    namespace="cert-manager",
                    values={"crds": {"enabled": True, "keep": True}},
                    opts=self._mine,
                )
            )
        own = objects.namespace(kserve.namespace, "baseline", self._mine)
        needed += [own, *self._gateway(own)]
        crds = release(
            "kserve-crd",
            repository=kserve.chart_repository,
            version=kserve.version,
            namespace=kserve.namespace,
            values={},
            keep_crds=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=needed),
        )
        controller = release(
            "kserve-resources",
            repository=kserve.chart_repository,
            version=kserve.version,
            namespace=kserve.namespace,
            values=_values(kserve),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*needed, crds]),
        )
        return [*needed, crds, controller]

    def _gateway(self, namespace: pulumi.Resource) -> list[pulumi.Resource]:
        kserve = self._kserve
        after = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        if kserve.gateway != "envoy":
            return self._gke_gateway(after)
        made: list[pulumi.Resource] = []
        if kserve.envoy_gateway.install:
            made.append(
                release(
                    "gateway-helm",
                    repository=kserve.envoy_gateway.repository or "oci://docker.io/envoyproxy",
                    version=kserve.envoy_gateway.version,
                    namespace="envoy-gateway-system",
                    values={},
                    opts=self._mine,
                )
            )
            made.append(
                k8s.apiextensions.CustomResource(
                    "envoy",
                    api_version="gateway.networking.k8s.io/v1",
                    kind="GatewayClass",
                    metadata=objects.metadata("envoy"),
                    spec={"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
                    opts=pulumi.ResourceOptions(parent=self, depends_on=list(made)),
                )
            )
        after = pulumi.ResourceOptions(parent=self, depends_on=[namespace, *made])
        # Envoy itself would end a request after 15 s; the Gateway is the one that KServe's chart makes.
        made.append(
            k8s.apiextensions.CustomResource(
                f"{GATEWAY}-timeout",
                api_version="gateway.envoyproxy.io/v1alpha1",
                kind="BackendTrafficPolicy",
                metadata=objects.metadata(GATEWAY, kserve.namespace),
                spec={
                    "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": GATEWAY}],
                    "timeout": {"http": {"requestTimeout": f"{kserve.gateway_timeout}s"}},
                },
                opts=after,
            )
        )
        return made

    def _gke_gateway(self, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        """GKE's own gateway, where it is asked for and ours to make.

        TLS is by a regional certificate (GKE documentation, "Secure a Gateway").
        """
        kserve = self._kserve
        if kserve.gateway != "gke" or not kserve.gateway_install:
            return []
        listener: dict[str, Any] = {"name": "http", "port": 80, "protocol": "HTTP"}
        if kserve.certificate:
            listener = {
                "name": "https",
                "port": 443,
                "protocol": "HTTPS",
                "tls": {"mode": "Terminate", "options": {"networking.gke.io/cert-manager-certs": kserve.certificate}},
            }
        of_ours: dict[str, Any] = {"matchLabels": {"kubernetes.io/metadata.name": kserve.model_namespace}}
        if kserve.gateway_namespaces:
            names = [kserve.model_namespace, *kserve.gateway_namespaces]
            of_ours = {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]}
        routes = {"namespaces": {"from": "Selector", "selector": of_ours}}
        # A listener takes the hosts of one domain; each host of another one has its own.
        others = [host for host in self._hosts if not host.endswith(f".{kserve.domain}")]
        listeners = [{**listener, "hostname": f"*.{kserve.domain}", "allowedRoutes": routes}]
        listeners += [
            {**listener, "name": f"{listener['name']}-{host}", "hostname": host, "allowedRoutes": routes}
            for host in others
        ]
        address = {"addresses": [{"type": "NamedAddress", "value": kserve.gateway_address}]}
        gateway = k8s.apiextensions.CustomResource(
            GATEWAY,
            api_version="gateway.networking.k8s.io/v1",
            kind="Gateway",
            metadata=objects.metadata(
                GATEWAY, kserve.namespace, annotations={"pulumi.com/waitFor": "condition=Programmed"}
            ),
            spec={
                "gatewayClassName": _GKE_CLASSES[kserve.gateway_scheme],
                "listeners": listeners,
                **(address if kserve.gateway_address else {}),
            },
            opts=opts,
        )
        return [gateway]


def gateway_of(kserve: KServeSettings) -> dict[str, str]:
    """The Gateway that routes join, as their `parentRefs` name it."""
    parent = {"name": kserve.gateway_name or GATEWAY, "namespace": kserve.gateway_namespace or kserve.namespace}
    return {**parent, "sectionName": kserve.gateway_section} if kserve.gateway_section else parent


def _pod_security(settings: Settings) -> str:
    """The Pod Security level of the models' namespace.

    KServe's modelcar containers keep their capabilities, which `restricted` refuses; without them it holds.
    """
    deliveries = [model.delivery for model in settings.models_of(KSERVE)]
    held = all(delivery.needs_image_volume or delivery.streamed for delivery in deliveries)
    return "restricted" if held else "baseline"


def _values(kserve: KServeSettings) -> dict[str, Any]:
    """Values of chart kserve-resources (v0.19.0 and v0.20.0 alike)."""
    envoy = kserve.gateway == "envoy"
    gateway = {
        "domain": kserve.domain,
        # GKE's gateway classes refuse the routes that KServe makes, and without a gateway there is nothing to route.
        "disableIngressCreation": not envoy,
        "disableIstioVirtualHost": True,
        # The 60 s of KServe's routes would cut long generations.
        "disableHTTPRouteTimeout": True,
        "ingressGateway": {
            "enableGatewayApi": envoy,
            "createGateway": envoy,
            "kserveGateway": f"{kserve.namespace}/{GATEWAY}",
        },
    }
    return {
        "kserve": {
            "storage": {
                "enableModelcar": True,
                "uidModelcar": kserve.modelcar.uid,
                "cpuModelcar": kserve.modelcar.cpu,
                "memoryModelcar": kserve.modelcar.memory,
            },
            "controller": {"deploymentMode": kserve.deployment_mode, "gateway": gateway},
        }
    }
