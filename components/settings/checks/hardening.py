"""What the hardening of a created cluster and of its pools needs beside it."""

from collections.abc import Iterator

from components.settings.checks.unread import Problem
from components.settings.google import ClusterCreate, NodePoolSettings

_FAMILIES = {"SEV": ("n2d", "c2d", "c3d"), "SEV_SNP": ("n2d",), "TDX": ("c3",)}
"""Compute Engine, "Supported configurations" of Confidential VM: machine families that also take the system pool's
pd-balanced disk."""
_WITH_GPU = "a3-highgpu-1g"
"""GKE, "Encrypt GPU workload data in-use with Confidential GKE Nodes": the machine type, by Spot or flex-start."""


def cluster_problems(create: ClusterCreate) -> Iterator[Problem]:
    """What Google would refuse of a cluster, or what would have no effect."""
    kind, machine = create.system_pool.confidential, create.system_pool.machine_type
    if kind and machine.partition("-")[0] not in _FAMILIES[kind]:
        yield (
            "cluster.create.systemPool.confidential",
            f"is {kind}, which machine type {machine} does not have: write a systemPool.machineType of "
            f"{' or '.join(_FAMILIES[kind])}, as {_FAMILIES[kind][0]}-standard-4",
        )
    if create.network and create.new_network.flow_logs is not None:
        yield (
            "cluster.create.newNetwork.flowLogs",
            f"is of a network that the stack creates, and network {create.network!r} is given: remove it, and turn the "
            "logs on where that subnetwork is made",
        )


def pool_problems(pool: NodePoolSettings, machine: str) -> Iterator[Problem]:
    """What Google would refuse of a GPU pool, by paths relative to it."""
    if not pool.confidential:
        return
    if machine != _WITH_GPU:
        yield (
            ".confidential",
            f"is {pool.confidential}, which machine type {machine} does not have: write accelerator: nvidia-h100-80gb, "
            f"count: 1 and machineType: {_WITH_GPU}, or remove it",
        )
    elif not (pool.spot or pool.flex_start):
        yield ".confidential", "needs Spot VMs or flex-start: write spot: true or flexStart: true"
