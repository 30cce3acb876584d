"""The keys of what serves: platforms, credentials and models; types, bounds, defaults and what each means."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from components.settings.deliveries import AskedDelivery
from components.settings.image_settings import AdapterSettings, CompileCacheSettings, ImageSettings
from components.settings.pods import (
    Env,
    Ingress,
    ModelServer,
    Monitoring,
    Replicas,
    Resources,
    Scaling,
    SecretEnv,
    TopologySpread,
)
from components.settings.server import Server
from components.settings.streaming import StreamSidecar
from components.settings.types import (
    BaseImage,
    DnsLabel,
    HostName,
    KubernetesLabels,
    KubernetesName,
    Quantity,
    Section,
)
from modelimage.architecture import Task
from oci_model_serving.delivery import SHELL_BASE, Delivery

BUSYBOX = SHELL_BASE
LONGEST_STARTUP = 86400
"""The longest `startupTimeout`, in seconds: a day."""


class Chart(Section):
    """Where a chart comes from: an OCI or HTTP repository, or a local folder for air-gapped teams."""

    repository: Annotated[str | None, Field(description="oci://…, https://… or a folder; default: upstream's")] = None
    version: Annotated[str | None, Field(description="version of the chart")] = None
    install: Annotated[bool, Field(description="false: declared present, nothing is installed")] = True


class Modelcar(Section):
    """KServe's sidecar that holds the weights (kserve-resources v0.19 and v0.20, kserve.storage.*Modelcar)."""

    uid: Annotated[
        int, Field(ge=1, le=2**31 - 1, description="user of modelcar, and forced by KServe on the server")
    ] = 1010
    cpu: Annotated[Quantity, Field(description="request and limit of modelcar's containers")] = "10m"
    memory: Annotated[Quantity, Field(description="request and limit of modelcar's containers")] = "15Mi"


class KServeSettings(Section):
    """The KServe platform."""

    install: Annotated[bool, Field(description="false: declared present, no chart is installed")] = True
    version: Annotated[str, Field(pattern=r"^v\d+\.\d+\.\d+(-rc\d+)?$", description="version of its charts")] = (
        "v0.20.0"
    )
    namespace: Annotated[DnsLabel, Field(description="namespace of the controller")] = "kserve"
    model_namespace: Annotated[DnsLabel, Field(description="namespace of the models")] = "models"
    chart_repository: Annotated[str, Field(description="oci://…, https://… or a folder")] = (
        "oci://ghcr.io/kserve/charts"
    )
    deployment_mode: Annotated[
        Literal["Standard", "Knative"],
        Field(description="Standard: Deployments; Knative: revisions, with a Knative that is there already"),
    ] = "Standard"
    gateway: Annotated[Literal["gke", "envoy", "none"] | None, Field(description="default: gke on GKE, else none")] = (
        None
    )
    gateway_scheme: Annotated[
        Literal["external", "internal"],
        Field(description="of gateway gke: who may reach it; the endpoint itself asks nobody for a key"),
    ] = "internal"
    gateway_install: Annotated[
        bool,
        Field(description="of gateway gke: false where a Gateway is there already, another stack's or your own"),
    ] = True
    gateway_namespaces: Annotated[
        tuple[DnsLabel, ...],
        Field(strict=False, description="of gateway gke: model namespaces of other stacks whose routes it takes too"),
    ] = ()
    gateway_name: Annotated[
        KubernetesName | None,
        Field(description="with gatewayInstall false: the Gateway that is there; default: kserve-ingress-gateway"),
    ] = None
    gateway_namespace: Annotated[
        DnsLabel | None, Field(description="with gatewayInstall false: where it is; default: namespace")
    ] = None
    gateway_section: Annotated[
        KubernetesName | None,
        Field(description="with gatewayInstall false: the listener that routes join; default: all"),
    ] = None
    gateway_address: Annotated[
        KubernetesName | None,
        Field(description="of gateway gke: name of a reserved regional address; default: one that Google chooses"),
    ] = None
    gateway_timeout: Annotated[int, Field(ge=1, le=86400, description="seconds a response may take")] = 3600
    domain: Annotated[
        str,
        Field(
            pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?\.)+[a-z]{2,}$",
            description="hosts of the models are <name>-<namespace>.<domain>",
        ),
    ] = "example.com"
    certificate: Annotated[
        str | None, Field(description="regional Certificate Manager certificate for *.<domain>: TLS on the gateway")
    ] = None
    keda: Annotated[bool, Field(description="KEDA is present: replicas.min may be 0 with scaling.query")] = False
    prometheus: Annotated[str | None, Field(description="address that KEDA queries, http(s)://…")] = None
    modelcar: Modelcar = Modelcar()
    cert_manager: Chart = Chart(version="v1.19.1")
    envoy_gateway: Chart = Chart(version="v1.6.0")
    server: Server = Server()
    stream: StreamSidecar = StreamSidecar()


class KubeAISettings(Section):
    """The KubeAI platform. Its chart's CRD must know `oci://` (later than 0.23.2), so the version has no default."""

    install: Annotated[bool, Field(description="false: declared present, nothing is installed")] = True
    version: Annotated[str, Field(pattern=r"^v?\d+\.\d+\.\d+([-+].+)?$", description="chart version, no default")]
    namespace: Annotated[
        DnsLabel, Field(description="namespace of KubeAI and its models, which it looks for there only")
    ] = "kubeai"
    chart_repository: Annotated[str, Field(description="https://…, oci://… or a folder")] = "https://www.kubeai.org"
    server: Server = Server()


class Platforms(Section):
    """What serves the models. A platform that no model uses is not installed."""

    kserve: KServeSettings = KServeSettings()
    kubeai: KubeAISettings | None = None
    ingress: Ingress = Ingress()
    monitoring: Monitoring = Monitoring()


class PullSecret(Section):
    """Credentials for a registry that the nodes cannot read by themselves."""

    server: Annotated[str, Field(description="registry host, with its port when there is one")]
    username: Annotated[str, Field(description="user who may pull")]
    password: Annotated[SecretStr, Field(description="password or token; only ever as a Pulumi secret")]


class ModelSettings(ImageSettings):
    """A model to serve. Its image comes from exactly one of `source`, `digest` and `fromStack`."""

    base: Annotated[
        BaseImage | None, Field(description="image by digest, oci:FOLDER or scratch; default: busybox, local: scratch")
    ] = None
    asked: Annotated[
        AskedDelivery,
        Field(
            alias="delivery",
            strict=False,
            description="how the weights reach the server; auto: by how its nodes come (docs/serving.md)",
        ),
    ] = AskedDelivery.MODELCAR
    node_pool: Annotated[str | None, Field(description="a key of nodePools; none: runs on CPU")] = None
    gpus: Annotated[int | None, Field(ge=0, le=16, description="GPUs a pod; default: the node's")] = None
    replicas: Replicas = Replicas()
    paused: Annotated[bool, Field(description="no pods, until it is false again")] = False
    served_name: Annotated[str | None, Field(min_length=1, max_length=253, description="default: the key")] = None
    task: Annotated[
        Task | None, Field(strict=False, description="what it is asked for; default: what its config.json says")
    ] = None
    adapters: Annotated[
        dict[str, AdapterSettings], Field(description="LoRA adapters by the name that requests call them")
    ] = {}  # noqa: RUF012 - pydantic copies it
    args: Annotated[tuple[str, ...], Field(strict=False, description="further arguments of the server")] = ()
    env: Annotated[
        Env, Field(description="further environment of the server: text, or {secretKeyRef: {name, key}}")
    ] = {}  # noqa: RUF012 - pydantic copies it
    secret_env: Annotated[
        SecretEnv, Field(description="variables of the server whose values are only ever set with --secret")
    ] = {}  # noqa: RUF012 - pydantic copies it
    server: Annotated[ModelServer | None, Field(description="another server than vLLM, on KServe")] = None
    labels: Annotated[KubernetesLabels, Field(description="further labels of its pods, on KServe")] = {}  # noqa: RUF012 - pydantic copies it
    priority_class: Annotated[KubernetesName | None, Field(description="PriorityClass of its pods")] = None
    topology_spread: Annotated[
        tuple[TopologySpread, ...],
        Field(strict=False, description="how its pods spread over zones or nodes, on KServe"),
    ] = ()
    fallback_pools: Annotated[
        tuple[str, ...],
        Field(
            strict=False, description="keys of nodePools with the same GPUs, taken in this order where nodePool is full"
        ),
    ] = ()
    hosts: Annotated[
        tuple[HostName, ...], Field(strict=False, description="of gateway gke: further hosts that reach the model")
    ] = ()
    pull_secrets: Annotated[
        tuple[str, ...] | None,
        Field(strict=False, description="keys of pullSecrets; default: those of its pods' registries, on KServe"),
    ] = None
    resources: Resources = Resources()
    scaling: Scaling = Scaling()
    warm: Annotated[Literal["none", "prepull", "disk"], Field(description="how nodes get the image before the pod")] = (
        "none"
    )
    compile_cache: Annotated[
        CompileCacheSettings | None,
        Field(
            description="what vLLM has compiled for this model before, on KServe; used where all that it hangs on fits"
        ),
    ] = None
    startup_timeout: Annotated[
        int, Field(ge=60, le=LONGEST_STARTUP, description="seconds from scheduling to ready, pull included")
    ] = 3600
    drain_timeout: Annotated[
        int, Field(ge=0, le=3600, description="seconds that a pod which has to go may take to finish its answers")
    ] = 600
    await_ready: Annotated[
        bool | None, Field(description="`pulumi up` waits until the model is ready; default: on GKE only")
    ] = None

    @property
    def delivery(self) -> Delivery:
        """How the weights reach the server; before `auto` is chosen (`choosing`), what it is where nobody says."""
        return Delivery.MODELCAR if self.asked is AskedDelivery.AUTO else Delivery(self.asked.value)

    @property
    def needs_image_volume(self) -> bool:
        """Whether its pods mount an image as a volume: the model's own, an adapter's or a compile cache."""
        return self.delivery.needs_image_volume or bool(self.adapters or self.compile_cache)

    @property
    def needs_subpath(self) -> bool:
        """Whether such a volume is mounted by subPath: the files of all of our images are in the folder `models`."""
        return self.delivery.needs_subpath or bool(self.adapters or self.compile_cache)
