"""AllowList: what the cluster accepts in the models' namespace, enforced by its own API server.

A ValidatingAdmissionPolicy looks at each pod that is made there, whoever makes it, and one at each object that serves a
model. Both read the annotations of the namespace, which hold the images of the stack: each model owns its keys there,
by a patch of its own. A patch is never changed but replaced: the new keys are there before the serving resource is
sent, and the engine takes the old ones away at the end of an update that succeeded, when the pods of before are gone
(`rollout`). After one that failed both stay.
"""

# Annotations stay text: pulumi_kubernetes loads a group's classes when one is first named.
from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import commands
from components.google.cluster import Cluster
from components.serving import admission_rules, objects, serving_runtime
from components.serving.admission_rules import LISTED, policy_name
from components.settings.models import StackModel
from components.settings.stack import Settings
from oci_model_serving.delivery import KSERVE, STREAM_CONTAINER, Platform
from oci_model_serving.reference import ImageReference

_NAME = "allowed-images"
_KEY_DIGITS = 16
_SECONDS = 60
_OWNER_LENGTH = 46  # 63 for the part behind the slash (Kubernetes, "Annotations")


class AllowList(pulumi.ComponentResource):
    """The policies of one namespace of models, their bindings and the images that no model brings.

    Deliberately has no model's images: `allow` adds them, each beside its model, so that a model waits for its own
    image only. Where manifests are rendered, the namespace's own has all (`whole`).
    """

    def __init__(
        self, name: str, platform: Platform, settings: Settings, *, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("oci-model-serving:index:AllowList", name, None, opts)
        namespace = settings.namespace_of(platform)
        mine, listed = pulumi.ResourceOptions(parent=self), settings.cluster.settings.allow_list
        others = _entries(platform.name, admission_rules.other_images(platform, settings))
        if settings.cluster.exists and others:
            _patch(f"{namespace}-{_NAME}-others", namespace, others, mine)
        rules: Mapping[str, Any] = admission_rules.rules(platform, settings, remote_code=listed.remote_code)
        for kind, spec in rules.items():
            policy = policy_name(namespace, kind)
            made = k8s.admissionregistration.v1.ValidatingAdmissionPolicy(
                policy, metadata=objects.metadata(policy), spec=spec, opts=mine
            )
            binding: Any = {
                "policyName": policy,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
            }
            k8s.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
                policy,
                metadata=objects.metadata(policy),
                spec=binding,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[made]),
            )
        self.register_outputs({})


def enforce(settings: Settings, platforms: Mapping[str, pulumi.Resource], cluster: Cluster) -> list[AllowList]:
    """Have the cluster refuse, in each platform's namespace of models, what the stack has not admitted."""
    if not settings.cluster.settings.allow_list.enforce:
        return []
    return [
        AllowList(f"{platform.name}-allow-list", platform, settings, opts=cluster.inside(platforms[platform.name]))
        for platform in settings.platforms
    ]


def whole(
    platform: Platform, settings: Settings, admitted: Mapping[str, pulumi.Output[ImageReference]]
) -> pulumi.Output[dict[str, str]] | None:
    """The annotations of a platform's namespace where manifests are rendered: a file holds a whole object.

    None where there is a cluster, to which each model adds its own, and where nothing is enforced.
    """
    if settings.cluster.exists or not settings.cluster.settings.allow_list.enforce:
        return None
    others = _entries(platform.name, admission_rules.other_images(platform, settings))
    of_models = [_of_model(model, _references(model, admitted)) for model in settings.models_of(platform)]
    return pulumi.Output.all(*of_models).apply(lambda known: {k: v for one in (others, *known) for k, v in one.items()})


def allow(
    model: StackModel,
    references: Sequence[pulumi.Output[ImageReference]],
    kubeconfig: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> pulumi.Resource:
    """Let a model's images into its namespace, and return what is there once the API servers know of them.

    Args:
        model: the model.
        references: its weights' image, its adapters' and its compile cache's.
        kubeconfig: text or path of a kubeconfig, which reaches the command by its environment only, as a secret.
        opts: resource options.
    """
    patch = _patch(f"{model.name}-{_NAME}", model.namespace, _of_model(model, references), opts)
    platform = model.delivery.platform
    asked = pulumi.Output.all(*references).apply(lambda known: json.dumps(_like_served(model, known), sort_keys=True))
    return commands.local(
        f"{model.name}-admitted",
        commands.ADMITTED,
        ["--policy", policy_name(model.namespace, platform.kind), "--timeout", _SECONDS],
        # Another text is an update of the command, which runs it again (pulumi-command, `update`).
        stdin=asked,
        environment={"SMOKE_KUBECONFIG": pulumi.Output.secret(kubeconfig)},
        triggers=[],
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[patch])),
    )


def _like_served(model: StackModel, references: Sequence[ImageReference]) -> dict[str, Any]:
    """An object with the images of the one that serves the model, and nothing that anybody else could object to."""
    weights, *mounted = references
    uri, server, platform = model.delivery.uri(weights), model.server_image, model.delivery.platform
    if platform is KSERVE:
        served = {"modelFormat": {"name": serving_runtime.model_format(model)}, "image": server}
        sidecar = {"name": STREAM_CONTAINER, "image": model.stream_image, "args": [uri]}
        beside = {"initContainers": [sidecar]} if model.delivery.streamed else {}
        served |= {} if model.delivery.streamed else {"storageUri": uri}
        mounts = [{"name": f"image-{at}", "image": {"reference": str(one)}} for at, one in enumerate(mounted)]
        spec: dict[str, Any] = {"predictor": {"model": served, **beside, **({"volumes": mounts} if mounts else {})}}
    else:
        spec = {"url": uri, "image": server, "engine": "VLLM", "features": []}
    return {
        "apiVersion": platform.api_version,
        "kind": platform.kind,
        "metadata": {"name": model.name, "namespace": model.namespace},
        "spec": spec,
    }


def _patch(
    name: str, namespace: str, images: pulumi.Input[Mapping[str, str]], opts: pulumi.ResourceOptions
) -> pulumi.Resource:
    """Add to the namespace's annotations, as a field manager of their own, which the provider names anew each time.

    When it goes, the provider gives up the manager's fields, and the server removes those that nobody else owns
    (pulumi-kubernetes v4, pkg/await `Deletion`, pkg/ssa `Relinquish`).
    """
    return k8s.core.v1.NamespacePatch(
        name,
        metadata=k8s.meta.v1.ObjectMetaPatchArgs(name=namespace, annotations=pulumi.Output.from_input(images)),
        opts=pulumi.ResourceOptions.merge(
            opts, pulumi.ResourceOptions(replace_on_changes=["metadata"], delete_before_replace=False)
        ),
    )


def _references(
    model: StackModel, admitted: Mapping[str, pulumi.Output[ImageReference]]
) -> list[pulumi.Output[ImageReference]]:
    return [admitted[key] for key in (model.key, *(image.key for image in model.beside))]


def _of_model(model: StackModel, references: Sequence[pulumi.Output[ImageReference]]) -> pulumi.Output[dict[str, str]]:
    return pulumi.Output.all(*references).apply(
        lambda known: _entries(model.name, [*map(str, known), *model.own_images])
    )


def _entries(owner: str, images: Sequence[str]) -> dict[str, str]:
    """Keys that another image never has, so that two of one owner are there at once, and what pods call the images.

    The owner is there for who reads it; of two that are called alike and have the same image, both own the key.
    """
    return {
        f"{LISTED}{owner[:_OWNER_LENGTH]}.{hashlib.sha256(image.encode()).hexdigest()[:_KEY_DIGITS]}": image
        for image in images
    }
