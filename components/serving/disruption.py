"""A model's PodDisruptionBudget: what a node's drain must leave running, and what `pulumi up` waits for.

An InferenceService cannot be waited for. Its `Ready` stays True while old pods serve (KServe v0.20.0,
InferenceServiceStatus.PropagateRawStatus), and its `observedGeneration` is the Deployment's, which starts again at 1
after a pause: Pulumi compares that with the InferenceService's own generation for every form of `pulumi.com/waitFor`
(pulumi-kubernetes v4, pkg/await/condition) and would wait until the timeout. A budget knows its own generation and
counts the ready pods behind a label, here that of their revision.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.serving import objects

REVISION_LABEL = "oci-model-serving/revision"
_DIGITS = 16


def revision(pod: pulumi.Input[Any]) -> pulumi.Output[str]:
    """Name what a pod is made of: another name for each other content, fit for a label."""
    return pulumi.Output.from_input(pod).apply(
        lambda known: hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:_DIGITS]
    )


def budget(
    name: str,
    namespace: pulumi.Input[str],
    pods: Mapping[str, pulumi.Input[str]],
    *,
    replicas: int,
    wait_seconds: int | None,
    opts: pulumi.ResourceOptions,
) -> k8s.policy.v1.PodDisruptionBudget:
    """Keep all but one of a model's pods through drains, and wait until as many as asked for are ready.

    Args:
        name: Kubernetes name of the model.
        namespace: its namespace.
        pods: labels of the pods, their revision among them.
        replicas: how many pods there are at least; a single one may be evicted, or no node could ever be drained.
        wait_seconds: how long `pulumi up` waits for them; None or no replicas: not at all.
        opts: resource options.
    """
    annotations = {"pulumi.com/skipAwait": "true"}
    if wait_seconds is not None and replicas:
        # Not ">=": the provider splits the expression at a single "=" (pulumi-kubernetes v4, pkg/jsonpath).
        annotations = {
            "pulumi.com/waitFor": f"jsonpath={{$[?@.currentHealthy > {replicas - 1}]}}",
            "pulumi.com/timeoutSeconds": str(wait_seconds),
        }
    return k8s.policy.v1.PodDisruptionBudget(
        name,
        metadata=objects.metadata(name, namespace, model=name, annotations=annotations),
        spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(
            # A number, not maxUnavailable: that would be counted by the owner's scale.
            min_available=max(replicas - 1, 0),
            selector=k8s.meta.v1.LabelSelectorArgs(match_labels=dict(pods)),
        ),
        opts=opts,
    )
