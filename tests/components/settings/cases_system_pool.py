"""Models without GPUs on the pool that a created cluster has for the platforms: its nodes and their disk."""

from __future__ import annotations

from typing import Any

from tests.components.settings.stacks import Bad, Good
from tests.serving import IMAGE

POOL = "cluster.create.systemPool"


def on_cpu(number: int = 1, size_gb: float = 1, **fields: Any) -> dict[str, Any]:
    """So many models without a pool, in place of the one on GPUs."""
    models = {f"m{one}": {"digest": IMAGE, "sizeGb": size_gb, **fields} for one in range(number)}
    return {"models": models, "nodePools": None}


_THREE = {"cpu": "3", "memory": "8Gi"}
_LARGE = {"cpu": "2", "memory": "48Gi"}
_HIGHMEM = {"machineType": "e2-highmem-8"}

BAD = [
    Bad("twenty models on three nodes", on_cpu(20), None, f"{POOL}.maxNodes", ("is 3", "need at least 20")),
    Bad(
        "ten replicas of three CPUs",
        on_cpu(replicas={"min": 10}, resources=_THREE),
        None,
        f"{POOL}.maxNodes",
        ("m0 10", "need at least 10", "write 10, larger machines"),
    ),
    Bad(
        "the default CPUs on a node of two",
        {**on_cpu(), POOL: {"machineType": "e2-standard-2"}},
        None,
        "models.m0.resources.cpu",
        ("e2-standard-2", "write at most 1"),
    ),
    Bad(
        "30 GB on a disk of 50",
        {**on_cpu(size_gb=30, resources=_LARGE), POOL: _HIGHMEM},
        None,
        f"{POOL}.diskSizeGb",
        ("is 50", "30 GB", "write 95 or more"),
    ),
    Bad(
        "15 GB on a disk of 50",
        {**on_cpu(size_gb=15, resources=_LARGE), POOL: _HIGHMEM},
        path=f"{POOL}.diskSizeGb",
        words=("write 59 or more",),
        warned=True,
    ),
    Bad(
        "four pods of which two fit a node beside nothing else",
        on_cpu(4, resources={"cpu": "1800m"}),
        path=f"{POOL}.maxNodes",
        words=("may need 4 nodes", "write 4"),
        warned=True,
    ),
]
GOOD = [
    Good("three small models", on_cpu(3)),
    Good(
        "ten replicas, and nodes for them", {**on_cpu(replicas={"min": 10}, resources=_THREE), f"{POOL}.maxNodes": 10}
    ),
    Good("30 GB and a disk for it", {**on_cpu(size_gb=30, resources=_LARGE), POOL: {**_HIGHMEM, "diskSizeGb": 95}}),
    Good("one CPU on a node of two", {**on_cpu(resources={"cpu": "1"}), POOL: {"machineType": "e2-standard-2"}}),
    Good("twenty on a cluster of others", {**on_cpu(20), "cluster": {"name": "prod", "location": "us-central1"}}),
]
