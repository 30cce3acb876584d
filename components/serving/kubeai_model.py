"""KubeAIModel: one model on KubeAI, wired to its image's digest."""

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.serving import objects, rollout, vllm, warm
from components.serving.objects import described
from components.settings.models import StackModel
from oci_model_serving.reference import ImageReference


class KubeAIModel(pulumi.ComponentResource):
    """Serves a model with KubeAI: the Model and its egress rule.

    Its `url` cannot hold `@`, so it names the tag that spells the digest, in a repository whose tags never move. The
    first deployment is awaited, and the first pod of a changed image; a change that leaves the image alone is not, as
    KubeAI says nothing of a rollout (its Model has no observedGeneration, its pods no label of ours).
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
        kubeconfig: pulumi.Input[str] | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("oci-model-serving:index:KubeAIModel", name, None, opts)
        own, namespace, platform = model.name, model.namespace, model.delivery.platform
        mine = pulumi.ResourceOptions(parent=self)
        before: list[pulumi.Resource] = [objects.deny_egress(own, namespace, {platform.pod_label: own}, mine)]
        if model.settings.warm == "prepull":
            account = objects.service_account(own, namespace, model.pull_secrets, mine)
            after = pulumi.ResourceOptions(parent=self, depends_on=[account])
            before.append(warm.prepull(model, namespace, reference, after))
        url = f"http://kubeai.{namespace}.svc.cluster.local/openai"
        self.described = described(model, reference, size_bytes, url)
        rollout.watch(model, self.described, kubeconfig, pulumi.ResourceOptions(parent=self, depends_on=before))
        k8s.apiextensions.CustomResource(
            own,
            api_version=platform.api_version,
            kind=platform.kind,
            metadata=objects.metadata(own, namespace, model=own, annotations=_annotations(model)),
            spec=_spec(model, self.described["storage_uri"]),
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
        )
        self.register_outputs(self.described)


def _annotations(model: StackModel) -> dict[str, str]:
    if not model.awaited or not model.live_replicas:
        return {"pulumi.com/skipAwait": "true"}
    # At least, not exactly: an autoscaled model may have more ready pods than its minimum. Not ">=": the provider
    # splits the expression at a single "=" (pulumi-kubernetes v4, pkg/jsonpath).
    ready = f"jsonpath={{$.status[?@.ready > {model.live_replicas - 1}]}}"
    return {"pulumi.com/waitFor": ready, "pulumi.com/timeoutSeconds": str(model.settings.startup_timeout)}


def _spec(model: StackModel, url: pulumi.Output[str]) -> dict[str, Any]:
    """Fields of models.kubeai.org; `owner` is only shown, so it says who deploys the model."""
    settings, replicas = model.settings, model.settings.replicas
    spec: dict[str, Any] = {
        "features": ["TextGeneration"],
        "owner": "oci-model-serving",
        "url": url,
        "engine": "VLLM",
        "image": model.server_image,
        "resourceProfile": model.resource_profile,
        "minReplicas": replicas.min,
        "maxReplicas": max(replicas.max or replicas.min, 1),
        "args": [*vllm.parallel(model.scheduling.gpus), *settings.args],
        "env": {**vllm.QUIET_ENV, **settings.env, **vllm.OFFLINE_ENV},
    }
    if settings.paused:
        spec.update(model.delivery.platform.stopped["spec"])
    return spec
