"""KubeAIModel: one model on KubeAI, wired to its image's digest."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.serving import allow_list, digest_tags, egress, ingress, objects, rollout, vllm, warm
from components.serving.features import features
from components.serving.objects import described
from components.settings.models import StackModel
from modelimage.traits import Traits
from oci_model_serving.delivery import REVISION_ENV
from oci_model_serving.reference import ImageReference

# How many pods there are, which `_scale` says (KubeAI 0.23.2, ModelSpec); the rest makes the pod itself.
NOT_OF_THE_POD = frozenset(
    {"minReplicas", "maxReplicas", "replicas", "autoscalingDisabled", "targetRequests", "scaleDownDelaySeconds"}
)


class KubeAIModel(pulumi.ComponentResource):
    """Serves a model with KubeAI: the Model and its egress rule.

    Its `url` cannot hold `@`, so it names the tag that spells the digest, in a repository whose tags never move.
    """

    described: dict[str, Any]
    """The model as the stack's outputs show it (`oci_model_serving.outputs.ModelOutput`)."""

    def __init__(
        self,
        name: str,
        model: StackModel,
        *,
        reference: pulumi.Output[ImageReference],
        size_bytes: pulumi.Input[int],
        traits: pulumi.Output[Traits],
        kubeconfig: pulumi.Input[str] | None,
        enforced: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("oci-model-serving:index:KubeAIModel", name, None, opts)
        own, namespace, platform = model.name, model.namespace, model.delivery.platform
        mine = pulumi.ResourceOptions(parent=self)
        reference = digest_tags.held(model, reference)
        pods = {platform.pod_label: own}
        before: list[pulumi.Resource] = [egress.deny(own, namespace, pods, mine)]
        before += ingress.limited(model, pods, mine)
        before += objects.env_secret(model, mine)
        if enforced and kubeconfig is not None:
            before.append(allow_list.allow(model, [reference], kubeconfig, mine))
        if model.settings.warm == "prepull":
            account = objects.service_account(own, namespace, model.pull_secrets, mine)
            after = pulumi.ResourceOptions(parent=self, depends_on=[account, *before])
            before += warm.prepull(model, namespace, reference, (), after)
        url = f"http://kubeai.{namespace}.svc.cluster.local/openai"
        storage_uri = reference.apply(model.delivery.uri)
        spec = _spec(model, storage_uri, traits)
        revision = _revision(model, spec)
        self.described = described(
            model, reference, size_bytes, url, storage_uri=storage_uri, revision=revision, traits=traits
        )
        served = k8s.apiextensions.CustomResource(
            own,
            api_version=platform.api_version,
            kind=platform.kind,
            metadata=objects.metadata(own, namespace, model=own, annotations=objects.SERVING_ANNOTATIONS),
            spec={**spec, "env": {**spec["env"], REVISION_ENV: revision}, **_scale(model)},
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
        )
        rollout.watch(model, self.described, kubeconfig, pulumi.ResourceOptions(parent=self, depends_on=[served]))
        self.register_outputs(self.described)


def _spec(model: StackModel, url: pulumi.Output[str], traits: pulumi.Output[Traits]) -> dict[str, Any]:
    """What makes a pod of a Model; `owner` is only shown, so it says who deploys the model."""
    settings = model.settings
    return {
        "features": traits.apply(lambda known: features(model.task_of(known))),
        "owner": "oci-model-serving",
        "url": url,
        "engine": "VLLM",
        "image": model.server_image,
        "resourceProfile": model.resource_profile,
        # Behind KubeAI's own --model, which the last one overrules.
        "args": traits.apply(lambda known: [*vllm.told(model, known), *settings.args]),
        "env": {**vllm.QUIET_ENV, **_texts(model), **vllm.OFFLINE_ENV},
        **({"envFrom": [{"secretRef": {"name": model.secret_name}}]} if model.secret_name else {}),
        **({"priorityClassName": settings.priority_class} if settings.priority_class else {}),
    }


def _texts(model: StackModel) -> dict[str, str]:
    """The profile's environment and the settings'; a Model takes texts alone."""
    texts = {name: value for name, value in model.settings.env.items() if isinstance(value, str)}
    return {**model.tuned(model.traits).env, **texts}


def _revision(model: StackModel, spec: dict[str, Any]) -> pulumi.Output[str]:
    """The name of what makes the pods: the Model's own part, and what KubeAI takes from its resource profile."""
    unit = model.profile_unit
    return rollout.revision(
        {
            **spec,
            "drain": model.drain_timeout,
            "amounts": unit.amounts,
            "selector": dict(unit.node_selector),
            "tolerations": list(unit.tolerations),
            **({"affinity": dict(unit.affinity)} if unit.affinity else {}),
        }
    )


def _scale(model: StackModel) -> dict[str, Any]:
    """How many pods there are. Of `replicas` nothing but a pause speaks: KubeAI's manager owns the field."""
    settings, platform = model.settings, model.delivery.platform
    low, high, scaling = settings.replicas.min, settings.replicas.max, settings.scaling
    given = {"targetRequests": scaling.target_requests, "scaleDownDelaySeconds": scaling.scale_down_delay}
    return {
        "minReplicas": low,
        "maxReplicas": max(high or low, 1),
        **{key: value for key, value in given.items() if value is not None},
        **(platform.stopped if settings.paused else platform.running)["spec"],
    }
