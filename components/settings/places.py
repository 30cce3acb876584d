"""Where a stack's images, pods and nodes are: registry, cluster and node pools, each with all that it needs to know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from components.google import accelerators, gpu_sharing, image_disk, node_room, pool_names, pool_origin
from components.google.node_room import NodeRoom
from components.google.pool_origin import NodeOrigin
from components.settings.google import ClusterSettings, NodePoolSettings
from components.settings.registry import RegistrySettings
from oci_model_serving.reference import ImageReference

LOCAL = ".local"
"""What the local stack leaves: images, manifests, the tiny model."""
ZONES_OF_A_REGION = 3
"""What most regions have, and a pool that counts by zones and names none is spread over."""
_PODS = 110  # GKE's default of pods on a node, which the system pool has


@dataclass(frozen=True)
class StackRegistry:
    """The registry of a stack; `project` and `region` are the stack's, empty on the local target.

    `shared` says that pods pack images together, who leave records of their shares there.
    """

    settings: RegistrySettings
    project: str = ""
    region: str = ""
    shared: bool = False
    borrowed: frozenset[str] = frozenset()
    """The pools among its readers whose nodes' account is not of this stack."""

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
    def own(self) -> str:
        """Its name, `host/path`; empty where images stay in layout folders."""
        create = self.settings.create
        if create is None:
            return self.settings.url or ""
        # A domain's project is `example.com:name`, and `example.com/name` in names of images.
        return f"{self.host}/{(create.project or self.project).replace(':', '/')}/{create.repository}"

    def refusal(self, image: ImageReference) -> str:
        """Why an image that exists is not taken, whoever names it (`registry.allow`, if written); empty where it is."""
        allowed = self.settings.allow
        places = [*(allowed or ()), self.own]
        if allowed is None or any(place and f"{image.repository}/".startswith(f"{place}/") for place in places):
            return ""
        return (
            f"{image} is in none of the registries that registry.allow names: copy it into one of them, or, if it is "
            f"to be trusted, add {image.repository.rpartition('/')[0]} to registry.allow"
        )

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
        needs_gateway: GKE's gateway controller serves models; `needs_names`: policies name hosts, not addresses alone.
        runs_models: models run on its nodes without GPUs.
        serves: models are served; without a cluster of Google's, their images are made and nothing else.
        tells_of_pods: managed Prometheus is told of pods, which alerts are about.
        given: the pools of nodes that this stack does not make, by their keys.
        mounting: those of them whose models mount images as volumes.
        manifests: folder that manifests are rendered to where there is no cluster.
    """

    settings: ClusterSettings
    project: str = ""
    location: str = ""
    needs_image_volume: bool = False
    needs_subpath: bool = False
    needs_gateway: bool = False
    needs_names: bool = False
    runs_models: bool = False
    serves: bool = True
    tells_of_pods: bool = False
    given: Mapping[str, NodePoolSettings] = field(default_factory=dict)
    mounting: frozenset[str] = frozenset()
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
    def system_room(self) -> NodeRoom | None:
        """What a node of the pool offers that models without GPUs run on; None where it is not known."""
        pool = self.settings.create.system_pool if self.settings.create else None
        machine = node_room.general_purpose(pool.machine_type) if pool else None
        return node_room.room(*machine, _PODS) if machine else None

    @property
    def exists(self) -> bool:
        """Whether there is one, or will be; otherwise manifests are rendered."""
        return bool(self.settings.create or self.settings.name or self.settings.kubeconfig)

    @property
    def allows_by_patch(self) -> bool:
        """Whether each model adds its images to the list of what the cluster accepts; a rendered one is whole."""
        return self.exists and self.settings.allow_list.enforce

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
    def image_disk(self) -> image_disk.ImageDisk:
        """The disk that holds the images on its nodes.

        Raises:
            AcceleratorError: no machine type fits the settings.
        """
        return image_disk.of(self.settings, self.machine)

    @property
    def origin(self) -> NodeOrigin:
        """Where its nodes come from."""
        return pool_origin.of(self.settings, autopilot=self.cluster.settings.autopilot)

    @property
    def selector(self) -> dict[str, str]:
        """The labels by which pods find its nodes."""
        return pool_origin.selector(self.key, self.settings, self.origin)

    @property
    def disk_known(self) -> bool:
        """Whether it is known how large the boot disk of its nodes is."""
        return self.origin is not NodeOrigin.ON_DEMAND or "boot_disk" in self.settings.model_fields_set

    @property
    def gpu_slots(self) -> int:
        """How many GPUs, or parts of GPUs, pods can have on one of its nodes."""
        return gpu_sharing.slots(self.settings)

    @property
    def gpu_memory_gb(self) -> float:
        """Memory in GB of what a pod sees as one GPU.

        Raises:
            AcceleratorError: no machine type fits the settings.
        """
        return gpu_sharing.memory_gb(self.settings, self.machine)

    @property
    def gpu_utilization(self) -> float:
        """The part of that memory which a server takes where its arguments do not say."""
        return gpu_sharing.utilization(self.settings)

    @property
    def most_nodes(self) -> int | None:
        """How many nodes it has at most, in all zones together; None where nothing tells."""
        unsaid = self.origin is NodeOrigin.EXISTING and "max_nodes" not in self.settings.model_fields_set
        if unsaid or self.origin is NodeOrigin.ON_DEMAND or self.zone_count is None:
            return None
        return self.settings.max_nodes * self.zone_count

    @property
    def zone_count(self) -> int | None:
        """How many zones each have the pool's number of nodes, 1 where it counts them together; None if unknown."""
        if not self.settings.per_zone:
            return 1
        create = self.cluster.settings.create
        zones = self.settings.zones or (create.zones if create else ())
        in_one = self.cluster.location != self.cluster.region
        return len(zones) or (1 if in_one else None)

    @cached_property
    def room(self) -> NodeRoom:
        """What one of its nodes offers to pods.

        Raises:
            AcceleratorError: no machine type fits the settings.
        """
        return node_room.room(self.machine.vcpus, self.machine.memory_gib, self.settings.max_pods_per_node)

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
