"""The identity of a node pool: a service account that may do what a GKE node does, and nothing else."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

import pulumi

from components.google import replacement
from components.google import sdk as gcp

NODE_ROLE = "roles/container.defaultNodeServiceAccount"
"""Logs, metrics and autoscaling metadata (GKE, "Use least privilege IAM service accounts"). It cannot read images."""
STREAMING_ROLE = "roles/serviceusage.serviceUsageConsumer"
"""Image streaming by a node account that is not Compute Engine's (GKE, "Image streaming", "Requirements")."""


def node_account(
    name: str, account_id: str, *, project: str, pool: str, streaming: bool, opts: pulumi.ResourceOptions
) -> tuple[gcp.serviceaccount.Account, list[pulumi.Resource]]:
    """Create the service account of a pool's nodes, and return it with the bindings that the nodes need.

    Args:
        name: with which the resources' names begin.
        account_id: id of the service account.
        project: Google project of the cluster.
        pool: the pool's key, for people.
        streaming: whether the nodes stream images or have them preloaded.
        opts: parent and what comes before.
    """
    account = gcp.serviceaccount.Account(
        name,
        account_id=account_id,
        display_name=f"GKE nodes of pool {pool}",
        project=project,
        opts=pulumi.ResourceOptions.merge(opts, replacement.SUCCESSOR_FIRST),
    )
    roles = {"node": NODE_ROLE, **({"streaming": STREAMING_ROLE} if streaming else {})}
    bindings: list[pulumi.Resource] = [
        gcp.projects.IAMMember(f"{name}-{short}", project=project, role=role, member=account.member, opts=opts)
        for short, role in roles.items()
    ]
    return account, bindings
