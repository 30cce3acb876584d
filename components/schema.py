"""The keys of a stack's configuration: types, bounds, defaults and what each means. Pure data, no Pulumi.

YAML spells the fields in camelCase; `Settings` is a stack's whole. What one key says about another is checked in
`checks.py`, and `settings.py` reads them.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic.alias_generators import to_camel

from components import references

NAMESPACE = "oci-model-serving"
NAMESPACE = "oci-model-serving"
"""The project's namespace in a stack's file."""
GB = 1_000_000_000
IMAGE_VOLUME_VERSION = (1, 35)
"""First Kubernetes minor whose ImageVolume gate is on by default, which is what GKE runs (Kubernetes feature gates
page; GKE cannot change gates outside alpha clusters)."""
BUSYBOX = "docker.io/library/busybox@sha256:9db7b59979c38555a39def84a31fb98b5296952f9e3afd4f6f11f05b07adfab0"
"""busybox 1.37.0, the base of images that modelcar can run (it needs `sh`, `ln` and `sleep`)."""
VLLM_IMAGE = "docker.io/vllm/vllm-openai:v0.23.0"
"""The runbook's engine. A tag, for want of a registry to resolve it against: set the digest in your own stack."""
VLLM_CPU_IMAGE = "public.ecr.aws/q9t5s3a7/vllm-cpu-release-repo:v0.23.0"
"""vLLM's pre-built CPU image (vLLM documentation, "CPU", pre-built images), of the same version."""


class Target(str, Enum):
    """Where a stack lives."""

    GKE = "gke"
    LOCAL = "local"


class Delivery(str, Enum):
    """How the weights of an image reach the server's container."""

    MODELCAR = "modelcar"
    NATIVE = "native"
    KUBEAI = "kubeai"

    @property
    def platform(self) -> str:
        """The platform that serves this delivery: `kserve` or `kubeai`."""
        return "kubeai" if self is Delivery.KUBEAI else "kserve"

    @property
    def needs_image_volume(self) -> bool:
        """Whether pods mount the image as a volume."""
        return self is not Delivery.MODELCAR


def _dns_label(value: str) -> str:
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", value):
        raise ValueError(
            f"{value!r} is not a DNS label: write at most 63 lower case letters, digits and '-', beginning with a "
            "letter and not ending with '-'"
        )
    return value


def _labels(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", key) or not re.fullmatch(r"[a-z0-9_-]{0,63}", text):
            raise ValueError(
                f"label {key}={text} is refused by Google: at most 63 lower case letters, digits, '_' and '-', "
                "keys beginning with a letter"
            )
    return value


def _kubernetes_labels(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        name = key.rpartition("/")[2]
        pattern = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
        if not re.fullmatch(pattern, name) or not re.fullmatch(pattern + "?", text):
            raise ValueError(
                f"label {key}={text} is refused by Kubernetes: at most 63 letters, digits, '-', '_' and '.', "
                "beginning and ending with a letter or digit"
            )
    return value


def _image_by_digest(value: str) -> str:
    references.ImageReference.parse(value)
    return value


def _base(value: str) -> str:
    if value != "scratch" and not value.startswith("oci:"):
        references.ImageReference.parse(value)
    return value


def _cidr(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an address range: write CIDR, for example 10.0.0.0/20") from None
    return value


def _variables(value: dict[str, str]) -> dict[str, str]:
    for name in value:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is no environment variable: write letters, digits and '_', no digit first")
    return value


def _quantity(value: str) -> str:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?", value):
        raise ValueError(f"{value!r} is not a Kubernetes quantity: write for example 500m, 4, 512Mi or 16Gi")
    return value


def _version(value: str) -> str:
    if not re.fullmatch(r"1\.[0-9]{1,2}(\.[0-9]+(-gke\.[0-9]+)?)?", value):
        raise ValueError(f"{value!r} is not a Kubernetes version: write for example '1.35' or '1.35.8-gke.1000000'")
    return value


def _member(value: str) -> str:
    if value in {"allUsers", "allAuthenticatedUsers"}:
        raise ValueError(f"{value} would make the weights public: name a serviceAccount:, group:, user: or domain:")
    if not re.fullmatch(r"(serviceAccount|group|user|domain|principal|principalSet):\S+", value):
        raise ValueError(
            f"{value!r} is not an IAM member: write for example serviceAccount:name@project.iam.gserviceaccount.com"
        )
    return value


def _registry_url(value: str) -> str:
    if "://" in value:
        raise ValueError(f"{value!r} has a scheme: write {value.partition('://')[2]!r}")
    if "@" in value or ":" in value.rpartition("/")[2]:
        raise ValueError(f"{value!r} names an image: write only host[:port]/path, the images' names are appended")
    if not references.is_repository(f"{value}/name"):
        raise ValueError(f"{value!r} is not host[:port]/path in lower case, as us-docker.pkg.dev/project/repository")
    return value


DnsLabel = Annotated[str, AfterValidator(_dns_label)]
GoogleLabels = Annotated[dict[str, str], AfterValidator(_labels)]
KubernetesLabels = Annotated[dict[str, str], AfterValidator(_kubernetes_labels)]
DigestReference = Annotated[str, AfterValidator(_image_by_digest)]
BaseImage = Annotated[str, AfterValidator(_base)]
Cidr = Annotated[str, AfterValidator(_cidr)]
Variables = Annotated[dict[str, str], AfterValidator(_variables)]
Quantity = Annotated[str, AfterValidator(_quantity)]
KubernetesVersion = Annotated[str, AfterValidator(_version)]
Member = Annotated[str, AfterValidator(_member)]
RegistryUrl = Annotated[str, AfterValidator(_registry_url)]
Zone = Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+-[a-z]$")]
AccountId = Annotated[str, Field(pattern=r"^[a-z][-a-z0-9]{4,28}[a-z0-9]$")]
Days = Annotated[int, Field(ge=1, le=3650)]


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        strict=True,
    )


class RegistryCleanup(_Model):
    """What Artifact Registry may delete by itself. Tags `sha256-*` (images in use) are always kept."""

    keep_newest: Annotated[int, Field(ge=1, le=100, description="newest versions of each image to keep")] = 5
    delete_untagged_after_days: Annotated[Days, Field(description="age in days at which untagged versions go")] = 30
    dry_run: Annotated[bool, Field(description="only log what would be deleted")] = False


class RegistryCreate(_Model):
    """An Artifact Registry Docker repository that this stack creates."""

    repository: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$", description="repository id")]
    location: Annotated[str | None, Field(description="region or multi-region; default: gcp:region")] = None
    project: Annotated[str | None, Field(description="default: gcp:project")] = None
    immutable_tags: Annotated[bool, Field(description="a tag, once pushed, never moves")] = True
    cleanup: RegistryCleanup = RegistryCleanup()
    scanning: Annotated[bool, Field(description="vulnerability scanning, billed per image: off for weights")] = False
    labels: Annotated[GoogleLabels, Field(description="Google labels of the repository")] = {}
    kms_key: Annotated[str | None, Field(pattern=r"^projects/.+/cryptoKeys/[^/]+$", description="CMEK key")] = None
    extra_readers: Annotated[tuple[Member, ...], Field(strict=False, description="further IAM members that pull")] = ()
    writers: Annotated[tuple[Member, ...], Field(strict=False, description="IAM members that push")] = ()
    protect: Annotated[bool, Field(description="refuse to delete the repository, and keep it on destroy")] = False
    enable_apis: Annotated[bool, Field(description="enable the Google APIs that the repository needs")] = True


class Registry(_Model):
    """Where the images live: `create` a repository, or adopt one by `url`. Neither: a layout folder (local target)."""

    create: RegistryCreate | None = None
    url: Annotated[RegistryUrl | None, Field(description="host[:port]/path of an existing registry")] = None
    grant_readers: Annotated[
        bool, Field(description="bind the reader role for the nodes on an adopted Artifact Registry repository")
    ] = True

    @model_validator(mode="after")
    def _one(self) -> "Registry":
        if self.create and self.url:
            raise ValueError("has both create and url: keep one")
        return self


class SystemPool(_Model):
    """The pool without GPUs that runs the platforms, so that GPU nodes can go to zero."""

    machine_type: Annotated[str, Field(description="machine type of the pool's nodes")] = "e2-standard-4"
    min_nodes: Annotated[int, Field(ge=1, le=100, description="nodes in all zones together")] = 1
    max_nodes: Annotated[int, Field(ge=1, le=100, description="nodes in all zones together")] = 3
    disk_size_gb: Annotated[int, Field(ge=20, le=65536, description="boot disk in GB")] = 50


class MaintenanceWindow(_Model):
    """When GKE may upgrade: RFC 3339 times and an RFC 5545 recurrence."""

    start_time: Annotated[
        str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$", description="begin of the first window, UTC")
    ] = "2026-01-03T02:00:00Z"
    end_time: Annotated[
        str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$", description="end of the first window, UTC")
    ] = "2026-01-03T10:00:00Z"
    recurrence: Annotated[str, Field(pattern=r"^FREQ=\S+$", description="when the window comes again")] = (
        "FREQ=WEEKLY;BYDAY=SA,SU"
    )


class NewNetwork(_Model):
    """Address ranges (CIDR) of the network that the stack creates when none is given."""

    nodes_cidr: Annotated[Cidr, Field(description="addresses of the nodes")] = "10.0.0.0/20"
    pods_cidr: Annotated[Cidr, Field(description="addresses of the pods")] = "10.4.0.0/14"
    services_cidr: Annotated[Cidr, Field(description="addresses of the services")] = "10.8.0.0/20"
    proxy_only_cidr: Annotated[Cidr, Field(description="for GKE's regional gateways")] = "10.9.0.0/23"
    nat: Annotated[bool, Field(description="Cloud NAT, for images outside of Google's registries")] = True


class ClusterCreate(_Model):
    """A GKE cluster that this stack creates."""

    name: Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$", description="name of the cluster in GKE")]
    location: Annotated[str | None, Field(description="region or zone; default: gcp:region")] = None
    channel: Annotated[
        Literal["RAPID", "REGULAR", "STABLE", "EXTENDED"],
        Field(description="release channel, which upgrades the cluster"),
    ] = "REGULAR"
    version: Annotated[KubernetesVersion, Field(description="minimum Kubernetes version")] = "1.35"
    network: Annotated[str | None, Field(description="existing network; none: a new one")] = None
    subnetwork: Annotated[str | None, Field(description="existing subnetwork of that network")] = None
    pods_range: Annotated[str | None, Field(description="secondary range of the subnetwork for pods")] = None
    services_range: Annotated[str | None, Field(description="secondary range of the subnetwork for services")] = None
    new_network: NewNetwork = NewNetwork()
    zones: Annotated[tuple[Zone, ...], Field(strict=False, description="node locations; none: the region's")] = ()
    master_cidr: Annotated[
        str | None, Field(description="/28 of the API server's private address; none: one of the nodes' subnetwork")
    ] = None
    dns_endpoint: Annotated[
        bool, Field(description="reach the API server by its DNS name, guarded by IAM instead of by address")
    ] = True
    private_endpoint: Annotated[bool, Field(description="no public address for the API server")] = False
    authorized_networks: Annotated[
        dict[str, Cidr], Field(description="name -> CIDR that may reach the API server's public address")
    ] = {}
    maintenance: MaintenanceWindow = MaintenanceWindow()
    deletion_protection: Annotated[bool, Field(description="refuse to delete the cluster")] = True
    system_pool: SystemPool = SystemPool()
    labels: Annotated[GoogleLabels, Field(description="Google labels of the cluster")] = {}
    alpha: Annotated[
        bool, Field(description="alpha cluster with all gates on: deleted by Google after 30 days, never upgraded")
    ] = False
    gateway_api: Annotated[bool, Field(description="install the Gateway API's CRDs, which gateway gke needs")] = True
    enable_apis: Annotated[bool, Field(description="enable the Google APIs that the stack needs")] = True


class Cluster(_Model):
    """The cluster: `create` one, adopt one by `name` and `location` (GKE), or by `kubeconfig` (local target)."""

    create: ClusterCreate | None = None
    name: Annotated[str | None, Field(description="name of an existing GKE cluster")] = None
    location: Annotated[str | None, Field(description="its region or zone")] = None
    project: Annotated[str | None, Field(description="its project; default: gcp:project")] = None
    kubeconfig: Annotated[str | None, Field(description="path of a kubeconfig file (local target)")] = None
    context: Annotated[str | None, Field(description="context of that kubeconfig")] = None

    @model_validator(mode="after")
    def _one(self) -> "Cluster":
        given = [key for key in ("create", "name", "kubeconfig") if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}: keep one")
        return self


class BootDisk(_Model):
    """A node's boot disk, which holds the images."""

    size_gb: Annotated[int, Field(ge=200, le=65536, description="GB; at least 200 and what the images need")] = 200
    type: Annotated[str | None, Field(description="default: the first that the machine family allows")] = None
    provisioned_iops: Annotated[int | None, Field(ge=100, description="hyperdisk only")] = None
    provisioned_throughput: Annotated[int | None, Field(ge=100, description="MiB/s, hyperdisk only")] = None


class Taint(_Model):
    """A further taint of a pool's nodes (GKE adds nvidia.com/gpu by itself)."""

    key: Annotated[
        str,
        Field(
            pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$", description="key of the taint"
        ),
    ]
    value: Annotated[
        str,
        Field(
            pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$",
            description="value of the taint; none: pods tolerate the key with any",
        ),
    ] = ""
    effect: Annotated[
        Literal["NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE"],
        Field(description="what befalls pods that do not tolerate it"),
    ] = "NO_SCHEDULE"


class NodePool(_Model):
    """A pool of GPU nodes."""

    accelerator: Annotated[str, Field(description="accelerator type, as nvidia-l4")]
    count: Annotated[int, Field(ge=1, le=16, description="GPUs a node")] = 1
    machine_type: Annotated[
        str | None, Field(description="default: the first with those GPUs whose memory holds theirs")
    ] = None
    zones: Annotated[tuple[Zone, ...], Field(strict=False, description="zones with that accelerator")] = ()
    boot_disk: BootDisk = BootDisk()
    min_nodes: Annotated[int, Field(ge=0, le=1000, description="nodes in all zones together")] = 0
    max_nodes: Annotated[int, Field(ge=1, le=1000, description="nodes in all zones together")] = 1
    per_zone: Annotated[bool, Field(description="min and max nodes count for each zone")] = False
    spot: Annotated[bool, Field(description="Spot VMs: cheaper, and taken back at any time")] = False
    flex_start: Annotated[bool, Field(description="Dynamic Workload Scheduler, flex-start")] = False
    queued_provisioning: Annotated[bool, Field(description="nodes only by ProvisioningRequest")] = False
    max_run_duration: Annotated[int | None, Field(ge=600, le=604800, description="seconds, flex-start only")] = None
    reservation: Annotated[str | None, Field(description="name of a specific reservation to consume")] = None
    secondary_boot_disks: Annotated[
        tuple[str, ...], Field(strict=False, description="disk images with preloaded container images")
    ] = ()
    image_streaming: Annotated[
        bool, Field(description="stream images while they are pulled; on by itself with secondary boot disks")
    ] = False
    taints: Annotated[tuple[Taint, ...], Field(strict=False, description="further taints of the nodes")] = ()
    labels: Annotated[KubernetesLabels, Field(description="further labels of the nodes")] = {}
    driver_version: Annotated[
        Literal["DEFAULT", "LATEST", "INSTALLATION_DISABLED"], Field(description="GPU driver that GKE installs")
    ] = "DEFAULT"
    max_parallel_image_pulls: Annotated[int, Field(ge=2, le=5, description="GKE allows 2 to 5")] = 3
    image_gc_high_threshold_percent: Annotated[
        int, Field(ge=10, le=85, description="disk usage at which unused images go")
    ] = 85
    image_gc_low_threshold_percent: Annotated[
        int, Field(ge=10, le=85, description="disk usage down to which they go")
    ] = 80
    sandbox: Annotated[Literal["gvisor"] | None, Field(description="GKE Sandbox: no image volumes there")] = None
    service_account_id: Annotated[
        AccountId | None, Field(description="6 to 30 characters; default: <cluster>-<pool>")
    ] = None
    max_pods_per_node: Annotated[
        int, Field(ge=8, le=256, description="pods on one node, which decides its share of the pods' addresses")
    ] = 32


class Chart(_Model):
    """Where a chart comes from: an OCI or HTTP repository, or a local folder for air-gapped teams."""

    repository: Annotated[str | None, Field(description="oci://…, https://… or a folder; default: upstream's")] = None
    version: Annotated[str | None, Field(description="version of the chart")] = None
    install: Annotated[bool, Field(description="false: declared present, nothing is installed")] = True


class Modelcar(_Model):
    """KServe's sidecar that holds the weights (kserve-resources v0.19 and v0.20, kserve.storage.*Modelcar)."""

    uid: Annotated[
        int, Field(ge=1, le=2**31 - 1, description="user of modelcar, and forced by KServe on the server")
    ] = 1010
    cpu: Annotated[Quantity, Field(description="request and limit of modelcar's containers")] = "10m"
    memory: Annotated[Quantity, Field(description="request and limit of modelcar's containers")] = "15Mi"


class Server(_Model):
    """The inference server that our ServingRuntime starts."""

    image: Annotated[
        str, Field(description="for models on a node pool; a digest is best, a version's tag is warned of")
    ] = VLLM_IMAGE
    cpu_image: Annotated[str, Field(description="for models without a node pool")] = VLLM_CPU_IMAGE


class KServe(_Model):
    """The KServe platform."""

    install: Annotated[bool, Field(description="false: declared present, nothing is installed")] = True
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


class KubeAI(_Model):
    """The KubeAI platform. Its chart's CRD must know `oci://` (later than 0.23.2), so the version has no default."""

    install: Annotated[bool, Field(description="false: declared present, nothing is installed")] = True
    version: Annotated[str, Field(pattern=r"^v?\d+\.\d+\.\d+([-+].+)?$", description="chart version, no default")]
    namespace: Annotated[
        DnsLabel, Field(description="namespace of KubeAI and its models, which it looks for there only")
    ] = "kubeai"
    chart_repository: Annotated[str, Field(description="https://…, oci://… or a folder")] = "https://www.kubeai.org"
    server: Server = Server()


class Platforms(_Model):
    """What serves the models. A platform that no model uses is not installed."""

    kserve: KServe = KServe()
    kubeai: KubeAI | None = None


class PullSecret(_Model):
    """Credentials for a registry that the nodes cannot read by themselves."""

    server: Annotated[str, Field(description="registry host, with its port when there is one")]
    username: Annotated[str, Field(description="user who may pull")]
    password: Annotated[SecretStr, Field(description="password or token; only ever as a Pulumi secret")]


class Replicas(_Model):
    """How many pods serve a model."""

    min: Annotated[int, Field(ge=0, le=1000, description="0 only with KEDA, Knative or KubeAI (docs/serving.md)")] = 1
    max: Annotated[int | None, Field(ge=1, le=1000, description="default: min, at least 1")] = None


class Resources(_Model):
    """Requests and limits of the server's container (KServe would otherwise cap it at 1 CPU and 2 GiB)."""

    cpu: Annotated[Quantity | None, Field(description="default: the GPUs' share of the node")] = None
    memory: Annotated[Quantity | None, Field(description="default: the GPUs' share of the node")] = None
    shm: Annotated[Quantity, Field(description="size of /dev/shm")] = "2Gi"


class Scaling(_Model):
    """When to add pods: KEDA's external metric, or the HPA's CPU utilization."""

    query: Annotated[str | None, Field(description="PromQL that KEDA scales on")] = None
    target: Annotated[int, Field(ge=1, description="KEDA: value a pod; HPA: CPU utilization in percent")] = 80


class Model(_Model):
    """A model to serve. Its image comes from exactly one of `source`, `digest` and `fromStack`."""

    source: Annotated[str | None, Field(description="folder, hf://org/name@<commit> or gs://bucket/prefix")] = None
    digest: Annotated[DigestReference | None, Field(description="an image that exists: host/path@sha256:…")] = None
    from_stack: Annotated[str | None, Field(description="organization/project/stack whose image is taken")] = None
    model: Annotated[str | None, Field(description="the model's key in that stack; default: the same key")] = None
    copy_image: Annotated[
        bool, Field(alias="copy", description="copy the image into this stack's registry, digest unchanged")
    ] = False
    size_gb: Annotated[float | None, Field(gt=0, le=10000, description="size of the image in GB, where not known")] = (
        None
    )
    builder: Annotated[Literal["docker", "direct", "cloudbuild"], Field(description="of source")] = "direct"
    base: Annotated[
        BaseImage | None, Field(description="image by digest, oci:FOLDER or scratch; default: busybox, local: scratch")
    ] = None
    delivery: Annotated[
        Delivery, Field(strict=False, description="how the weights reach the server (docs/serving.md)")
    ] = Delivery.MODELCAR
    node_pool: Annotated[str | None, Field(description="a key of nodePools; none: runs on CPU")] = None
    gpus: Annotated[int | None, Field(ge=0, le=16, description="GPUs a pod; default: the node's")] = None
    replicas: Replicas = Replicas()
    paused: Annotated[bool, Field(description="no pods, until it is false again")] = False
    served_name: Annotated[str | None, Field(min_length=1, max_length=253, description="default: the key")] = None
    args: Annotated[tuple[str, ...], Field(strict=False, description="further arguments of the server")] = ()
    env: Annotated[Variables, Field(description="further environment of the server")] = {}
    resources: Resources = Resources()
    scaling: Scaling = Scaling()
    warm: Annotated[Literal["none", "prepull", "disk"], Field(description="how nodes get the image before the pod")] = (
        "none"
    )
    startup_timeout: Annotated[
        int, Field(ge=60, le=86400, description="seconds from scheduling to ready, pull included")
    ] = 3600
    await_ready: Annotated[
        bool | None, Field(description="`pulumi up` waits until the model is ready; default: on GKE only")
    ] = None


@dataclass(frozen=True)
class Settings:
    """Everything a stack says, checked.

    `project` and `region` are Google's (empty for the local target); `image_sizes_gb` holds the sizes of the models'
    images in GB where they are known before a build.
    """

    stack: str
    target: Target
    project: str
    region: str
    registry: Registry
    cluster: Cluster
    platforms: Platforms
    node_pools: Mapping[str, NodePool] = field(default_factory=dict)
    pull_secrets: Mapping[str, PullSecret] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    image_sizes_gb: Mapping[str, float] = field(default_factory=dict)

    @property
    def kserve(self) -> KServe:
        """KServe's settings, with the gateway's default of the target filled in."""
        kserve = self.platforms.kserve
        if kserve.gateway is None:
            return kserve.model_copy(update={"gateway": "gke" if self.target is Target.GKE else "none"})
        return kserve

    def models_of(self, platform: str) -> dict[str, Model]:
        """The models that a platform (`kserve` or `kubeai`) serves."""
        return {key: model for key, model in self.models.items() if model.delivery.platform == platform}

    def models_on(self, pool: str) -> dict[str, Model]:
        """The models whose pods run on a pool."""
        return {key: model for key, model in self.models.items() if model.node_pool == pool}

    @property
    def needs_image_volume(self) -> bool:
        """Whether a model's pods mount the image as a volume."""
        return any(model.delivery.needs_image_volume for model in self.models.values())

    @property
    def needs_subpath(self) -> bool:
        """Whether an image volume is mounted by subPath (KServe native: `models`)."""
        return any(model.delivery is Delivery.NATIVE for model in self.models.values())

    def base_of(self, model: Model) -> str:
        """The base image of a model that is built here: `scratch`, `oci:FOLDER` or a reference by digest."""
        return model.base or (BUSYBOX if self.target is Target.GKE else "scratch")

    def awaits(self, model: Model) -> bool:
        """Whether `pulumi up` waits until the model is ready."""
        return self.target is Target.GKE if model.await_ready is None else model.await_ready

    def gpus_of(self, model: Model) -> int:
        """GPUs of one pod of a model: none without a node pool."""
        if model.node_pool is None:
            return 0
        return self.node_pools[model.node_pool].count if model.gpus is None else model.gpus


def kubernetes_name(key: str) -> str:
    """The Kubernetes name of a model's key: lower case, with '-' for every other character."""
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
