"""Where a pod is, or finds no place: scheduler, autoscaler, nodes and evictions."""

from components.google import refusals
from watch.complaints import Topic
from watch.table.row import Row

_WAIT_FOR_A_NODE = ("no-matching-node", "untolerated-taint", "no-accelerator", "insufficient-resources")

ROWS = (
    Row(
        "disk-too-small",
        r"ImageGCFailed|FreeDiskSpaceFailed|no space left on device|disk pressure|DiskPressure"
        r"|low on resource: ephemeral-storage|InvalidDiskCapacity",
        "the node's disk is too small for its images: set {disk} (twice the sum of all images that land there, and the "
        "system, below the kubelet's threshold)",
        "tests/watch/statuses/disk-pressure.json",
    ),
    Row(
        "ephemeral-limit",
        r"ephemeral local storage usage exceeds|exceeded its local ephemeral storage limit|Usage of EmptyDir volume",
        "a container wrote more to the node's disk, or to an emptyDir, than its limit allows: raise the limit, or "
        "have the server write less (its caches)",
        "kubelet 1.35, pkg/kubelet/eviction/helpers.go: by pod, by container, by volume",
    ),
    Row("quota", *refusals.QUOTA, "tests/components/google/test_refusals.py", hides=_WAIT_FOR_A_NODE),
    Row("stockout", *refusals.STOCKOUT, "tests/components/google/test_refusals.py", hides=_WAIT_FOR_A_NODE),
    Row(
        "pool-at-maximum",
        r"max node group size reached|max cluster (?:cpu|memory) limit reached",
        "the pool has all its nodes already: raise {setting}.maxNodes",
        "tests/watch/statuses/pool-at-maximum.json",
        Topic.SCHEDULING,
        hides=_WAIT_FOR_A_NODE,
    ),
    Row(
        "no-accelerator",
        r"Insufficient nvidia\.com/gpu",
        "no node has that many free GPUs: compare `models.NAME.gpus` with {setting}.count; on a fresh node wait for "
        "the driver's installation (its pods run in kube-system), or raise {setting}.maxNodes",
        "tests/watch/statuses/no-accelerator.json",
        Topic.SCHEDULING,
        hides=("untolerated-taint",),
    ),
    Row(
        "untolerated-taint",
        r"untolerated taint",
        "{tolerate}",
        "tests/watch/statuses/untolerated-taint.json",
        Topic.SCHEDULING,
    ),
    Row(
        "no-matching-node",
        r"didn't match Pod's node affinity/selector",
        "no node has the labels that the pod asks for: the pool {pool} has no node yet or "
        "other labels; compare `pulumi stack output node_pools` with the nodes, and {setting}.maxNodes",
        "tests/watch/statuses/no-matching-node.json",
        Topic.SCHEDULING,
    ),
    Row(
        "insufficient-resources",
        r"Insufficient (?:cpu|memory|ephemeral-storage)",
        "the pod asks for more than a node has: lower `models.NAME.resources`, or take a larger "
        "`{setting}.machineType`",
        "tests/watch/statuses/insufficient-memory.json",
        Topic.SCHEDULING,
    ),
)
