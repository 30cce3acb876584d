"""Which of a GPU node's disks holds the images, and how much of it. Pure.

Where a node's ephemeral storage is on Local SSDs, GKE mounts `/var/lib/containerd`, `/var/lib/kubelet` and
`/var/log/pods` there, as one striped volume (GKE, "About Local SSD for GKE"): images, volumes of pods and their logs.
The boot disk has the system only. Otherwise all of them are on the boot disk.
"""

from dataclasses import dataclass

from components.google import local_ssd
from components.google.accelerators import Machine
from components.settings.google import BootDisk, NodePoolSettings

LOCAL_SSD = "local-ssd"
_FILE_SYSTEM_PERCENT = 2
"""What the file system takes of Local SSDs, at most: 1.9 % of one, 0.9 % of 16 (measured by Kubernetes' cluster
autoscaler on GKE, `cloudprovider/gce/reserved.go`)."""


@dataclass(frozen=True)
class ImageDisk:
    """The disk that holds a node's images.

    Attributes:
        kind: `local-ssd`, or the type of the boot disk.
        size_gb: its size in GB, of all Local SSDs together.
        count: how many Local SSDs; 0 for a boot disk.
        provisioned_iops: what is provisioned on a hyperdisk; None is its default.
        provisioned_throughput: the same in MiB/s.
    """

    kind: str
    size_gb: int
    count: int = 0
    provisioned_iops: int | None = None
    provisioned_throughput: int | None = None

    @property
    def is_local(self) -> bool:
        """Whether it is Local SSDs, which go with the node."""
        return self.kind == LOCAL_SSD

    @property
    def usable_gb(self) -> int:
        """What can be filled, in GB: a boot disk's system is counted among what is on it (`disk.SYSTEM_GB`)."""
        return self.size_gb * (100 - _FILE_SYSTEM_PERCENT) // 100 if self.is_local else self.size_gb

    @property
    def setting(self) -> str:
        """The key of a pool that it is chosen by."""
        return "localSsd" if self.is_local else "bootDisk"


def of(pool: NodePoolSettings, machine: Machine) -> ImageDisk:
    """The disk that holds the images on a pool's nodes."""
    return on_local_ssd(machine.name, asked(pool)) or of_boot(pool.boot_disk, machine)


def of_boot(boot_disk: BootDisk, machine: Machine) -> ImageDisk:
    """A boot disk of a machine type's nodes."""
    return ImageDisk(
        type_of(boot_disk, machine),
        boot_disk.size_gb,
        provisioned_iops=boot_disk.provisioned_iops,
        provisioned_throughput=boot_disk.provisioned_throughput,
    )


def on_local_ssd(machine_type: str, asked: int | None) -> ImageDisk | None:
    """The Local SSDs that hold the images of a machine type's nodes, or None: the boot disk does.

    Args:
        machine_type: as Compute Engine calls it.
        asked: the number in the pool's `ephemeralStorageLocalSsdConfig`, where it has one.
    """
    count, found = local_ssd.count(machine_type, asked), local_ssd.of(machine_type)
    return ImageDisk(LOCAL_SSD, count * found.size_gb, count) if count and found else None


def asked(pool: NodePoolSettings) -> int | None:
    """The number of Local SSDs that a pool asks for; None: what the machine brings by itself."""
    return pool.local_ssd if isinstance(pool.local_ssd, int) else None


def type_of(boot_disk: BootDisk, machine: Machine) -> str:
    """The type of the boot disk: the one asked for, or the machine family's default."""
    return boot_disk.type or machine.disk_types[0]
