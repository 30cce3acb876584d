"""SpareNodes: nodes of a pool that wait for a model's next pod, held by pods that give way to it."""

# Annotations stay text: pulumi_kubernetes loads a group's classes when one is first named.
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.google.cluster import Cluster
from components.serving import objects, warm
from components.serving.scheduling import schedule
from components.settings import spare
from components.settings.models import StackModel
from components.settings.places import StackPool
from components.settings.serving import ModelSettings
from components.settings.stack import Settings
from components.settings.types import kubernetes_name

PRIORITY = -10
"""Below every pod without a class of its own, and the lowest for which the cluster's autoscaler still makes nodes
(cluster-autoscaler, `--expendable-pods-priority-cutoff`; GKE, "Provision extra compute capacity")."""


class SpareNodes(pulumi.ComponentResource):
    """Keeps nodes of a pool empty: a pod on each takes all of its GPUs, and is preempted by a model's pod at once.

    A model's new pod then finds a node with its driver installed, and with the images where `warm` is prepull; the pod
    that had to go asks for the next node. Runs the server's image, which such a node is to have in any case and which
    the cluster accepts already.
    """

    def __init__(
        self, name: str, pool: StackPool, model: StackModel, nodes: int, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Keep as many `nodes` of the pool, in the namespace of `model`."""
        super().__init__("oci-model-serving:index:SpareNodes", name, None, opts)
        mine = pulumi.ResourceOptions(parent=self)
        own, namespace = f"{kubernetes_name(pool.key)}-spare-nodes", model.namespace
        # It belongs to the whole cluster, where another stack may have a pool of that name.
        below = f"oci-model-serving-{namespace}-{own}"
        priority = k8s.scheduling.v1.PriorityClass(
            own,
            metadata=objects.metadata(below),
            value=PRIORITY,
            preemption_policy="Never",
            description="holds nodes for the models' next pods, which preempt these",
            opts=mine,
        )
        labels = {"app.kubernetes.io/name": own}
        closed = objects.network_policy(own, model.name, namespace, labels, mine, ingress=[], egress=[])
        placed = schedule(ModelSettings(), pool.settings, pool.selector)
        held = {"nvidia.com/gpu": str(pool.gpu_slots), "cpu": "10m", "memory": "64Mi"}
        container = {
            **warm.hold(),
            "name": "holds-the-node",
            "image": model.server_image,
            "resources": {"requests": held, "limits": held},
        }
        # Plain Kubernetes keys, as in the custom resources; the SDK types only its own spelling.
        spec: Any = {
            "replicas": nodes,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": {**objects.MANAGED_BY, **labels}},
                "spec": {
                    "automountServiceAccountToken": False,
                    "priorityClassName": below,
                    "terminationGracePeriodSeconds": 0,
                    "imagePullSecrets": [{"name": secret} for secret in model.pull_secrets],
                    **placed.on(),
                    "containers": [container],
                },
            },
        }
        k8s.apps.v1.Deployment(
            own,
            # Its pods wait for nodes, and for the next ones whenever a model's pod has taken theirs.
            metadata=objects.metadata(own, namespace, annotations={"pulumi.com/skipAwait": "true"}),
            spec=spec,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[priority, closed]),
        )
        self.register_outputs({})


def keep_nodes(settings: Settings, models: Mapping[str, Any], cluster: Cluster) -> list[SpareNodes]:
    """Keep the nodes of each pool that asks for some, once a model that is on it has brought its images."""
    kept = []
    for key, pool in settings.node_pools.items():
        model = spare.keeper(settings, pool)
        if pool.settings.warm_nodes and model and settings.serves:
            nodes = spare.kept(settings, pool)
            kept.append(SpareNodes(key, pool, model, nodes, cluster.inside(models[model.key])))
    return kept
