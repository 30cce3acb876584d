"""GivenNodes: GPU nodes that this stack does not make, and what it has to know of them."""

# Annotations stay text: pulumi_gcp loads a service's classes (seconds of import) when one is first named.
from __future__ import annotations

from typing import Any

import pulumi

from components.google import adopted_nodes, node_pool
from components.google import sdk as gcp
from components.google.cluster import Cluster
from components.google.node_pool import GpuNodePool
from components.google.pool_origin import NodeOrigin
from components.settings.places import StackPool


class GivenNodes(pulumi.ComponentResource):
    """A pool that the cluster has already, or nodes that GKE makes for the pods (Autopilot, a ComputeClass).

    Makes nothing of Google's. Its nodes act as an account of others, which becomes a reader of the images and stays
    one.
    """

    service_account: pulumi.Output[str]
    """Email of the nodes' service account."""
    described: dict[str, Any]
    """The pool as the stack's outputs show it (`oci_model_serving.outputs.NodePoolOutput`)."""

    def __init__(
        self, name: str, pool: StackPool, cluster: Cluster, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[cluster]))
        super().__init__("oci-model-serving:index:GivenNodes", name, None, after)
        given, project = pool.settings.service_account, pool.cluster.project
        self.service_account = (
            pulumi.Output.from_input(given)
            if given
            else cluster.node_account(pool.key).apply(lambda account: self._email(account, project))
        )
        self.described = node_pool.described(pool)
        self.register_outputs({"service_account": self.service_account, **self.described})

    def _email(self, account: str, project: str) -> pulumi.Output[str]:
        if account != adopted_nodes.DEFAULT_ACCOUNT:
            return pulumi.Output.from_input(account)
        found = gcp.compute.get_default_service_account_output(
            project=project, opts=pulumi.InvokeOutputOptions(parent=self)
        )
        return found.apply(lambda result: str(result.email))


def nodes(name: str, pool: StackPool, cluster: Cluster) -> GpuNodePool | GivenNodes:
    """The nodes of a pool, made here or not."""
    return (GpuNodePool if pool.origin is NodeOrigin.MADE else GivenNodes)(name, pool, cluster)
