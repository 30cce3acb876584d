"""The keys of Google's cluster and node pools; types, bounds, defaults and what each means."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from components.settings.allow_list import AllowListSettings
from components.settings.hardening import ConfidentialType, Hardening
from components.settings.maintenance import MaintenanceWindow
from components.settings.mirrors import RegistryMirrors
from components.settings.types import (
    AccountId,
    Cidr,
    GoogleLabels,
    KmsKey,
    KubernetesLabels,
    KubernetesVersion,
    Section,
    Zone,
)

_CLUSTER = r"^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$"


def _local_ssd(value: object) -> object:
    number = value if isinstance(value, int) and not isinstance(value, bool) else 0
    if value in ("auto", "none") or number > 0:
        return value
    raise ValueError(f"is {value!r}: write auto, none or the number of Local SSDs")


class SystemPool(Section):
    """The pool without GPUs that runs the platforms, so that GPU nodes can go to zero."""

    machine_type: Annotated[str, Field(description="machine type of the pool's nodes")] = "e2-standard-4"
    min_nodes: Annotated[int, Field(ge=1, le=100, description="nodes in all zones together")] = 1
    max_nodes: Annotated[int, Field(ge=1, le=100, description="nodes in all zones together")] = 3
    disk_size_gb: Annotated[int, Field(ge=20, le=65536, description="boot disk in GB")] = 50
    kms_key: Annotated[KmsKey | None, Field(description="CMEK key that encrypts the boot disk")] = None
    confidential: Annotated[
        ConfidentialType | None, Field(description="Confidential GKE Nodes: memory that the host cannot read")
    ] = None


class NewNetwork(Section):
    """Address ranges (CIDR) of the network that the stack creates when none is given."""

    nodes_cidr: Annotated[Cidr, Field(description="addresses of the nodes")] = "10.0.0.0/20"
    pods_cidr: Annotated[Cidr, Field(description="addresses of the pods")] = "10.4.0.0/14"
    services_cidr: Annotated[Cidr, Field(description="addresses of the services")] = "10.8.0.0/20"
    proxy_only_cidr: Annotated[Cidr, Field(description="for GKE's regional gateways")] = "10.9.0.0/23"
    nat: Annotated[bool, Field(description="Cloud NAT, for images outside of Google's registries")] = True
    flow_logs: Annotated[
        float | None,
        Field(
            gt=0, le=1, description="share of the flows that VPC flow logs keep, 1 for all; Cloud Logging bills them"
        ),
    ] = None


class ClusterCreate(Section):
    """A GKE cluster that this stack creates."""

    name: Annotated[str, Field(pattern=_CLUSTER, description="name of the cluster in GKE")]
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
    ] = {}  # noqa: RUF012 - pydantic copies it
    maintenance: MaintenanceWindow = MaintenanceWindow()
    deletion_protection: Annotated[bool, Field(description="refuse to delete the cluster")] = True
    system_pool: SystemPool = SystemPool()
    labels: Annotated[GoogleLabels, Field(description="Google labels of the cluster")] = {}  # noqa: RUF012 - pydantic copies it
    alpha: Annotated[
        bool, Field(description="alpha cluster with all gates on: deleted by Google after 30 days, never upgraded")
    ] = False
    gateway_api: Annotated[bool, Field(description="install the Gateway API's CRDs, which gateway gke needs")] = True
    database_encryption_key: Annotated[
        KmsKey | None, Field(description="CMEK key with which the cluster's database encrypts Secrets")
    ] = None
    hardening: Hardening = Hardening()
    enable_apis: Annotated[bool, Field(description="enable the Google APIs that the stack needs")] = True


class ClusterSettings(Section):
    """The cluster: `create` one, adopt one by `name` and `location` (GKE), or by `kubeconfig` (local target)."""

    create: ClusterCreate | None = None
    name: Annotated[str | None, Field(pattern=_CLUSTER, description="name of an existing GKE cluster")] = None
    location: Annotated[str | None, Field(description="its region or zone")] = None
    project: Annotated[str | None, Field(description="its project; default: gcp:project")] = None
    autopilot: Annotated[
        bool, Field(description="it is an Autopilot cluster: node pools are not made, GKE makes the nodes for the pods")
    ] = False
    kubeconfig: Annotated[str | None, Field(description="path of a kubeconfig file (local target)")] = None
    context: Annotated[str | None, Field(description="context of that kubeconfig")] = None
    allow_list: AllowListSettings = AllowListSettings()

    @model_validator(mode="after")
    def _one(self) -> "ClusterSettings":
        given = [key for key in ("create", "name", "kubeconfig") if getattr(self, key)]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}: keep one")
        return self


class BootDisk(Section):
    """A node's boot disk, which holds the images where no Local SSD does."""

    size_gb: Annotated[int, Field(ge=200, le=65536, description="GB; at least 200 and what the images need")] = 200
    type: Annotated[str | None, Field(description="default: the first that the machine family allows")] = None
    provisioned_iops: Annotated[int | None, Field(ge=100, description="hyperdisk only")] = None
    provisioned_throughput: Annotated[int | None, Field(ge=100, description="MiB/s, hyperdisk only")] = None
    kms_key: Annotated[KmsKey | None, Field(description="CMEK key that encrypts it")] = None


class Taint(Section):
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


class Sharing(Section):
    """Several pods on one GPU, or on one partition of it."""

    strategy: Annotated[
        Literal["TIME_SHARING", "MPS"], Field(description="TIME_SHARING; MPS needs pods that models may not be")
    ] = "TIME_SHARING"
    max_clients: Annotated[int, Field(ge=2, le=48, description="pods that share a GPU (GKE: 2 to 48)")]


class NodePoolSettings(Section):
    """A pool of GPU nodes that this stack makes, or that is there (`existing`), or that GKE makes (`computeClass`)."""

    accelerator: Annotated[str, Field(description="accelerator type, as nvidia-l4")]
    count: Annotated[int, Field(ge=1, le=16, description="GPUs a node")] = 1
    machine_type: Annotated[
        str | None, Field(description="default: the first with those GPUs whose memory holds theirs")
    ] = None
    zones: Annotated[tuple[Zone, ...], Field(strict=False, description="zones with that accelerator")] = ()
    boot_disk: BootDisk = BootDisk()
    local_ssd: Annotated[
        Literal["auto", "none"] | int,
        BeforeValidator(_local_ssd),
        Field(description="Local SSDs that hold the images; auto: those that the machine type always comes with"),
    ] = "auto"
    min_nodes: Annotated[int, Field(ge=0, le=1000, description="nodes in all zones together")] = 0
    max_nodes: Annotated[int, Field(ge=1, le=1000, description="nodes in all zones together")] = 1
    warm_nodes: Annotated[
        int, Field(ge=0, le=100, description="nodes kept beside those in use: a model's next pod need not wait for one")
    ] = 0
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
    labels: Annotated[KubernetesLabels, Field(description="further labels of the nodes")] = {}  # noqa: RUF012 - pydantic copies it
    driver_version: Annotated[
        Literal["DEFAULT", "LATEST", "INSTALLATION_DISABLED"], Field(description="GPU driver that GKE installs")
    ] = "DEFAULT"
    max_parallel_image_pulls: Annotated[int, Field(ge=2, le=5, description="GKE allows 2 to 5")] = 3
    registry_mirrors: Annotated[
        RegistryMirrors, Field(description="host of a registry -> mirrors that the nodes ask first")
    ] = {}  # noqa: RUF012 - pydantic copies it
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
    existing: Annotated[
        bool | str | None,
        Field(description="name of a pool that the adopted cluster has; true: the key is its name. Nothing is made"),
    ] = None
    compute_class: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9]([-.A-Za-z0-9]{0,61}[A-Za-z0-9])?$",
            description="ComputeClass whose nodes GKE makes for the pods, as Accelerator or one of your own",
        ),
    ] = None
    service_account: Annotated[
        str | None,
        Field(
            pattern=r"^[^@\s:]+@[^@\s]+\.gserviceaccount\.com$",
            description="account of nodes that this stack does not make, which becomes reader; default: what GKE says",
        ),
    ] = None
    sharing: Annotated[Sharing | None, Field(description="several pods on one GPU")] = None
    gpu_partition_size: Annotated[
        str | None,
        Field(
            pattern=r"^[1-7]g\.[1-9][0-9]{0,2}gb$", description="MIG: every GPU in partitions of this size, as 1g.10gb"
        ),
    ] = None
    confidential: Annotated[
        Literal["TDX"] | None, Field(description="Confidential GKE Nodes, and the GPU in confidential mode")
    ] = None
    resource_labels: Annotated[
        GoogleLabels, Field(description="further Google labels of the nodes, as for billing")
    ] = {}  # noqa: RUF012 - pydantic copies it
