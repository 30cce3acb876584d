"""Where a stack's images, pods and nodes are: registry, cluster and node pools, each with all that it needs to know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from components.google import accelerators, pool_names
from components.settings.google import ClusterSettings, NodePoolSettings, RegistrySettings

LOCAL = ".local"
"""What the local stack leaves: images, manifests, the tiny model."""


@dataclass(frozen=True)
class StackRegistry:
    """The registry of a stack; `project` and `region` are the stack's, empty on the local target."""

    settings: RegistrySettings
    project: str = ""
    region: str = ""

    @property
    def layouts(self) -> bool:
        """Whether images stay in layout folders, since there is no registry to push to."""
        return not (self.settings.create or self.settings.url)

    @property
    def host(self) -> str:
        """Its host; empty where images stay in layout folders."""
        create = self.settings.create
        return f"{create.location or self.region}-docker.pkg.dev" if create else (self.settings.url or "").split("/")[0]

    @property
    def enable_apis(self) -> bool:
        """Whether the stack enables the APIs that building needs."""
        return self.settings.create is None or self.settings.create.enable_apis


@dataclass(frozen=True)
class StackCluster:
    """The cluster of a stack.

    Attributes:
        settings: create one, adopt one by name, reach one by kubeconfig, or none (manifests are rendered).
        project: Google project of the cluster, empty on the local target.
        location: its region or zone, empty on the local target.
        needs_image_volume: pods mount model images as volumes.
        needs_subpath: they do so by subPath (KServe's native delivery).
        needs_gateway: GKE's gateway controller serves models.
        runs_models: models run on its nodes without GPUs.
        manifests: folder that manifests are rendered to where there is no cluster.
    """

    settings: ClusterSettings
    project: str = ""
    location: str = ""
    needs_image_volume: bool = False
    needs_subpath: bool = False
    needs_gateway: bool = False
    runs_models: bool = False
    manifests: str = f"{LOCAL}/manifests"

    @property
    def name(self) -> str:
        """In GKE, or `local`."""
        return self.settings.create.name if self.settings.create else self.settings.name or "local"

    @property
    def region(self) -> str:
        """The region of a location that may be a zone (`us-central1-a`)."""
        return "-".join(self.location.split("-")[:2])

    @property
    def exists(self) -> bool:
        """Whether there is one, or will be; otherwise manifests are rendered."""
        return bool(self.settings.create or self.settings.name or self.settings.kubeconfig)

    @property
    def alpha(self) -> bool:
        """An alpha cluster, whose nodes are neither upgraded nor repaired."""
        return self.settings.create is not None and self.settings.create.alpha

    @property
    def enable_apis(self) -> bool:
        """Whether the stack enables the APIs of the project; not those of an adopted cluster's."""
        return self.settings.create is not None and self.settings.create.enable_apis


@dataclass(frozen=True)
class StackPool:
    """A pool of GPU nodes of a stack; `image_sizes_gb` has its models and, where known before a build, their sizes."""

    key: str
    settings: NodePoolSettings
    cluster: StackCluster
    image_sizes_gb: Mapping[str, float | None] = field(default_factory=dict)

    @cached_property
    def machine(self) -> accelerators.Machine:
        """What its nodes are.

        Raises:
            AcceleratorError: no machine type fits the settings.
        """
        return accelerators.machine_for(self.settings.accelerator, self.settings.count, self.settings.machine_type)

    @property
    def account_id(self) -> str:
        """Id of its nodes' service account."""
        return pool_names.account_id(self.cluster.name, self.key, self.settings)

    @property
    def streams(self) -> bool:
        """Whether the nodes need the Container File System: to stream images, or to read a secondary disk."""
        return self.settings.image_streaming or bool(self.settings.secondary_boot_disks)

    @property
    def on_request(self) -> bool:
        """Whether nodes come from the Dynamic Workload Scheduler.

        Such nodes are not repaired, take no reservation and start at zero (GKE, "Flex-start" and "Flex-start with
        queued provisioning": --no-enable-autorepair, --reservation-affinity=none, --num-nodes=0,
        --location-policy=ANY).
        """
        return self.settings.flex_start or self.settings.queued_provisioning
