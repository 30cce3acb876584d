"""AllowList: what the cluster accepts in the models' namespace, enforced by its own API server.

A ValidatingAdmissionPolicy looks at each pod that is made there, whoever makes it, and one at each object that serves a
model. Both read one ConfigMap, which holds the images of the stack: each model owns its keys there, by a patch of its
own. A patch is never changed but replaced: the new keys are there before the serving resource is sent, and the engine
takes the old ones away at the end of an update that succeeded, when the pods of before are gone (`rollout`). After one
that failed both stay.
"""

# Annotations stay text: pulumi_kubernetes loads a group's classes when one is first named.
from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.google.cluster import Cluster
from components.serving import admission_rules, objects
from components.serving.admission_rules import NAME, policy_name
from components.settings.models import StackModel
from components.settings.stack import Settings
from oci_model_serving.delivery import Platform
from oci_model_serving.reference import ImageReference

_KEY_DIGITS = 16


class AllowList(pulumi.ComponentResource):
    """The policies of one namespace of models, their bindings and the ConfigMap that they read.

    Deliberately has no model's images where there is a cluster: `allow` adds them, each beside its model, so that a
    model waits for its own image only.
    """

    def __init__(
        self,
        name: str,
        platform: Platform,
        settings: Settings,
        admitted: Mapping[str, pulumi.Output[ImageReference]],
        *,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Make it for the models of a platform; `admitted` has the images of all, by their keys."""
        super().__init__("oci-model-serving:index:AllowList", name, None, opts)
        namespace = settings.namespace_of(platform)
        mine, listed = pulumi.ResourceOptions(parent=self), settings.cluster.settings.allow_list
        others = _entries(platform.name, admission_rules.other_images(platform, settings))
        if settings.cluster.exists:
            # The provider replaces a ConfigMap whose data change (pulumi-kubernetes 4.34.2, forceNewProperties), and
            # with it all that others have put there: this one has none.
            params = k8s.core.v1.ConfigMap(f"{namespace}-{NAME}", metadata=objects.metadata(NAME, namespace), opts=mine)
            if others:
                beside = pulumi.ResourceOptions(parent=self, depends_on=[params])
                _patch(f"{namespace}-{NAME}-others", namespace, others, beside)
        else:
            # Manifests are rendered: a file holds a whole object.
            of_models = [_of_model(model, _references(model, admitted)) for model in settings.models_of(platform)]
            data = pulumi.Output.all(*of_models).apply(
                lambda known: {k: v for one in (others, *known) for k, v in one.items()}
            )
            params = k8s.core.v1.ConfigMap(
                f"{namespace}-{NAME}", metadata=objects.metadata(NAME, namespace), data=data, opts=mine
            )
        after = pulumi.ResourceOptions(parent=self, depends_on=[params])
        rules: Mapping[str, Any] = admission_rules.rules(platform, settings, remote_code=listed.remote_code)
        for kind, spec in rules.items():
            policy = policy_name(namespace, kind)
            made = k8s.admissionregistration.v1.ValidatingAdmissionPolicy(
                policy, metadata=objects.metadata(policy), spec=spec, opts=after
            )
            binding: Any = {
                "policyName": policy,
                "validationActions": ["Deny"],
                "paramRef": {"name": NAME, "namespace": namespace, "parameterNotFoundAction": "Deny"},
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
            }
            k8s.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
                policy,
                metadata=objects.metadata(policy),
                spec=binding,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[made]),
            )
        self.register_outputs({})


def enforce(
    settings: Settings,
    admitted: Mapping[str, pulumi.Output[ImageReference]],
    platforms: Mapping[str, pulumi.Resource],
    cluster: Cluster,
) -> list[AllowList]:
    """Have the cluster refuse, in each platform's namespace of models, what the stack has not `admitted`."""
    if not settings.cluster.settings.allow_list.enforce:
        return []
    return [
        AllowList(
            f"{platform.name}-allow-list", platform, settings, admitted, opts=cluster.inside(platforms[platform.name])
        )
        for platform in settings.platforms
    ]


def allow(
    model: StackModel, references: Sequence[pulumi.Output[ImageReference]], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """Let a model's images into its namespace: the weights', the adapters' and the server's."""
    return _patch(f"{model.name}-{NAME}", model.namespace, _of_model(model, references), opts)


def _patch(
    name: str, namespace: str, data: pulumi.Input[Mapping[str, str]], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """Add keys to the ConfigMap, as a field manager of their own, which the provider names anew for each replacement.

    When it goes, the provider gives up the manager's fields, and the server removes those that nobody else owns
    (pulumi-kubernetes v4, pkg/await `Deletion`, pkg/ssa `Relinquish`).
    """
    return k8s.core.v1.ConfigMapPatch(
        name,
        metadata=k8s.meta.v1.ObjectMetaPatchArgs(name=NAME, namespace=namespace),
        data=pulumi.Output.from_input(data),
        opts=pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(replace_on_changes=["data"], delete_before_replace=False)
        ),
    )


def _references(
    model: StackModel, admitted: Mapping[str, pulumi.Output[ImageReference]]
) -> list[pulumi.Output[ImageReference]]:
    return [admitted[key] for key in (model.key, *(adapter.key for adapter in model.adapters))]


def _of_model(model: StackModel, references: Sequence[pulumi.Output[ImageReference]]) -> pulumi.Output[dict[str, str]]:
    return pulumi.Output.all(*references).apply(
        lambda known: _entries(model.name, [*map(str, known), model.server_image])
    )


def _entries(owner: str, images: Sequence[str]) -> dict[str, str]:
    """Keys that another image never has, so that two of one owner are there at once, and what pods call the images."""
    return {f"{owner}.{hashlib.sha256(image.encode()).hexdigest()[:_KEY_DIGITS]}": image for image in images}
