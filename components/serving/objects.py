"""What our Kubernetes objects have in common: labels, metadata, the pull secret's data, their network policies."""

# Annotations stay text: pulumi_kubernetes loads a group's classes when one is first named.
from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import prediction
from components.serving.adapters import ServedAdapter
from components.serving.compile_cache import ServedCache
from components.settings.models import StackModel
from components.settings.serving import PullSecret
from modelimage.traits import Traits
from oci_model_serving import outputs
from oci_model_serving.reference import ImageReference

Annotations = pulumi.Input[Mapping[str, str]] | None
"""Annotations that may be known only after a build."""
MANAGED_BY = {"app.kubernetes.io/managed-by": "pulumi", "app.kubernetes.io/part-of": "oci-model-serving"}
MODEL_LABEL = "oci-model-serving/model"


SERVING_ANNOTATIONS = {
    # The watch waits instead (`rollout`).
    "pulumi.com/skipAwait": "true",
    # What the settings say holds, whoever has written it meanwhile: a pause by command, KubeAI's manager (which owns
    # `replicas`), a person with kubectl. Without it the API server refuses the next change for a conflict.
    "pulumi.com/patchForce": "true",
}
"""Annotations of the objects that serve models. KServe copies them onto the pods: another value replaces these."""


def described(
    model: StackModel,
    reference: pulumi.Output[ImageReference],
    size_bytes: pulumi.Input[int],
    url: str,
    *,
    storage_uri: pulumi.Output[str],
    revision: pulumi.Output[str],
    traits: pulumi.Output[Traits],
    adapters: Sequence[ServedAdapter] = (),
    cache: ServedCache | None = None,
) -> dict[str, Any]:
    """A model as the stack's outputs show it; `url` is where its server answers, without `/v1`."""
    started = pulumi.Output.all(size_bytes, cache.used if cache else False)
    return outputs.describe(
        reference,
        model.delivery,
        size_bytes=size_bytes,
        traits=traits.apply(asdict),
        storage_uri=storage_uri,
        name=model.name,
        namespace=model.namespace,
        served_name=model.served_name,
        url=url,
        paused=model.settings.paused,
        node_pool=model.settings.node_pool,
        revision=revision,
        replicas=model.live_replicas,
        task=traits.apply(lambda known: model.task_of(known).value),
        cold_start=started.apply(lambda of: prediction.described(model, of[0], compiled=of[1])),
        adapters={
            adapter.label: outputs.describe_image(adapter.reference, adapter.size_bytes, adapter.traits.apply(asdict))
            for adapter in adapters
        },
        cache=outputs.describe_cache(cache.reference, cache.size_bytes, cache.used) if cache else None,
    )


def metadata(
    name: str,
    namespace: pulumi.Input[str] | None = None,
    *,
    model: str | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: pulumi.Input[Mapping[str, pulumi.Input[str]]] | None = None,
) -> k8s.meta.v1.ObjectMetaArgs:
    """Metadata with our labels; `model` is the Kubernetes name of the model that the object belongs to."""
    own = {MODEL_LABEL: model} if model else {}
    return k8s.meta.v1.ObjectMetaArgs(
        name=name,
        namespace=namespace,
        labels={**MANAGED_BY, **own, **(labels or {})},
        annotations=annotations,
    )


def namespace(
    name: str, pod_security: str, opts: pulumi.ResourceOptions, *, annotations: Annotations = None
) -> k8s.core.v1.Namespace:
    """Make a namespace that enforces a Pod Security level (`baseline` or `restricted`)."""
    return k8s.core.v1.Namespace(
        name,
        metadata=metadata(
            name,
            labels={
                "pod-security.kubernetes.io/enforce": pod_security,
                "pod-security.kubernetes.io/warn": "restricted",
            },
            annotations=annotations,
        ),
        opts=opts,
    )


def service_account(
    name: str, namespace: pulumi.Input[str], pull_secrets: Iterable[str], opts: pulumi.ResourceOptions
) -> k8s.core.v1.ServiceAccount:
    """Make a model's service account: it pulls with these secrets and is given no token for the API server."""
    return k8s.core.v1.ServiceAccount(
        name,
        metadata=metadata(name, namespace, model=name),
        automount_service_account_token=False,
        image_pull_secrets=[k8s.core.v1.LocalObjectReferenceArgs(name=secret) for secret in pull_secrets],
        opts=opts,
    )


def pull_secret(
    resource: str,
    name: str,
    namespace: pulumi.Input[str],
    credentials: Iterable[PullSecret],
    opts: pulumi.ResourceOptions,
) -> k8s.core.v1.Secret:
    """Make a `kubernetes.io/dockerconfigjson` secret; its data is a Pulumi secret from the start."""
    auths = {}
    for one in credentials:
        password = one.password.get_secret_value()
        auths[one.server] = {
            "username": one.username,
            "password": password,
            "auth": base64.b64encode(f"{one.username}:{password}".encode()).decode(),
        }
    return k8s.core.v1.Secret(
        resource,
        metadata=metadata(name, namespace),
        type="kubernetes.io/dockerconfigjson",
        string_data=pulumi.Output.secret({".dockerconfigjson": json.dumps({"auths": auths}, sort_keys=True)}),
        opts=opts,
    )


def env_secret(model: StackModel, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """Make the Secret of a model's `secretEnv`, where it has any; its data is a Pulumi secret from the start.

    Its name stays when a value changes, and running pods keep what they were started with.
    """
    if not model.secret_name:
        return []
    values = {name: value.get_secret_value() for name, value in model.settings.secret_env.items()}
    return [
        k8s.core.v1.Secret(
            model.secret_name,
            metadata=metadata(model.secret_name, model.namespace, model=model.name),
            string_data=pulumi.Output.secret(values),
            opts=opts,
        )
    ]


def within(namespace: str) -> dict[str, Any]:
    """A peer of network policies: the pods of a namespace."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}


def network_policy(
    name: str,
    model: str,
    namespace: pulumi.Input[str],
    pods: Mapping[str, str],
    opts: pulumi.ResourceOptions,
    *,
    ingress: pulumi.Input[Sequence[Any]] | None = None,
    egress: pulumi.Input[Sequence[Any]] | None = None,
) -> k8s.networking.v1.NetworkPolicy:
    """Limit what reaches a model's pods, or what they reach, to these rules; a side without rules is left alone."""
    sides = {"Ingress": ingress, "Egress": egress}
    # Plain Kubernetes keys, as in the custom resources; the SDK types only its own spelling.
    spec: Any = {
        "podSelector": {"matchLabels": dict(pods)},
        "policyTypes": [side for side, rules in sides.items() if rules is not None],
        **{side.lower(): rules for side, rules in sides.items() if rules is not None},
    }
    return k8s.networking.v1.NetworkPolicy(name, metadata=metadata(name, namespace, model=model), spec=spec, opts=opts)


def disruption_budget(
    name: str,
    namespace: pulumi.Input[str],
    pods: Mapping[str, pulumi.Input[str]],
    *,
    replicas: int,
    opts: pulumi.ResourceOptions,
) -> k8s.policy.v1.PodDisruptionBudget:
    """Keep all but one of a model's pods through drains.

    Args:
        name: Kubernetes name of the model.
        namespace: its namespace.
        pods: labels of the pods.
        replicas: how many pods there are at least; a single one may be evicted, or no node could ever be drained.
        opts: resource options.
    """
    return k8s.policy.v1.PodDisruptionBudget(
        name,
        metadata=metadata(name, namespace, model=name, annotations={"pulumi.com/skipAwait": "true"}),
        spec=k8s.policy.v1.PodDisruptionBudgetSpecArgs(
            # A number, not maxUnavailable: that would be counted by the owner's scale.
            min_available=max(replicas - 1, 0),
            selector=k8s.meta.v1.LabelSelectorArgs(match_labels=dict(pods)),
        ),
        opts=opts,
    )
