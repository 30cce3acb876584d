"""KubeAIModel: one model on KubeAI, wired to its image's digest."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import admission, objects, outputs, rollout, schema, vllm, warm
from components.references import ImageReference
from components.scheduling import Scheduling
from components.schema import kubernetes_name

POD_LABEL = "model"


@dataclass(frozen=True)
class KubeAIModelArgs:
    """What a model on KubeAI is made of.

    Attributes:
        key: the model's key.
        model: its settings.
        platform: KubeAI's settings.
        reference: the image by digest; its tag `sha256-<hex>` exists (ModelImage sees to it).
        size_bytes: what a node downloads for it.
        resource_profile: `<profile>:<count>`, of the profiles that the platform was given.
        scheduling: where its pods run, for the node-warm cache.
        disk_size_gb: boot disk of those nodes in GB, none for CPU nodes (their disk is not this program's).
        pull_secrets: names of secrets in KubeAI's namespace, for the node-warm cache.
        await_ready: whether `pulumi up` waits until the model is ready.
        kubeconfig: the cluster's, with which the new pods are watched; none where manifests are only rendered.
    """

    key: str
    model: schema.Model
    platform: schema.KubeAI
    reference: pulumi.Output[ImageReference]
    size_bytes: pulumi.Input[int]
    resource_profile: str
    scheduling: Scheduling = field(default_factory=Scheduling)
    disk_size_gb: int | None = None
    pull_secrets: Sequence[str] = ()
    await_ready: bool = True
    kubeconfig: pulumi.Input[str] | None = None


class KubeAIModel(pulumi.ComponentResource):
    """Serves a model with KubeAI: the Model and its egress rule.

    Its `url` cannot hold `@`, so it names the tag that spells the digest, in a repository whose tags never move. The
    first deployment is awaited, and the first pod of a changed image; a change that leaves the image alone is not, as
    KubeAI says nothing of a rollout (its Model has no observedGeneration, its pods no label of ours).
    """

    name: pulumi.Output[str]
    """Kubernetes name, under which KubeAI serves the model."""
    namespace: pulumi.Output[str]
    """Kubernetes namespace."""
    storage_uri: pulumi.Output[str]
    """The image as the serving resource names it."""
    url: pulumi.Output[str]
    """KubeAI's endpoint inside the cluster, without `/v1`; requests choose the model by its name."""
    described: dict[str, Any]
    """The model as the stack's outputs show it (`components.outputs.ModelOutput`)."""

    def __init__(self, name: str, args: KubeAIModelArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("oci-model-serving:index:KubeAIModel", name, None, opts)
        own, namespace = kubernetes_name(args.key), args.platform.namespace
        reference = admission.fitting(args.reference, args.size_bytes, args.disk_size_gb, args.key)
        self.storage_uri = reference.apply(lambda known: known.uri(args.model.delivery.value))
        egress = objects.deny_egress(own, own, namespace, {POD_LABEL: own}, pulumi.ResourceOptions(parent=self))
        before: list[pulumi.Resource] = [egress]
        if args.model.warm == "prepull":
            account = objects.service_account(own, namespace, args.pull_secrets, pulumi.ResourceOptions(parent=self))
            before.append(
                warm.prepull(
                    own,
                    namespace,
                    delivery=args.model.delivery,
                    reference=reference,
                    server_image=_server_image(args),
                    scheduling=args.scheduling,
                    timeout_seconds=args.model.startup_timeout,
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[account]),
                )
            )
        url = f"http://kubeai.{namespace}.svc.cluster.local/openai"
        self.name = pulumi.Output.from_input(own)
        self.namespace = pulumi.Output.from_input(namespace)
        self.url = pulumi.Output.from_input(url)
        self.described = outputs.describe(
            args.model,
            reference,
            size_bytes=args.size_bytes,
            storage_uri=self.storage_uri,
            name=own,
            namespace=namespace,
            served_name=own,
            url=url,
        )
        rollout.watch(
            own,
            self.described,
            settings=args.model,
            kubeconfig=args.kubeconfig if args.await_ready else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
        )
        k8s.apiextensions.CustomResource(
            own,
            api_version="kubeai.org/v1",
            kind="Model",
            metadata=objects.metadata(own, namespace, model=own, annotations=_annotations(args)),
            spec=_spec(args, self.storage_uri),
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
        )
        self.register_outputs(
            {"name": self.name, "namespace": self.namespace, "storage_uri": self.storage_uri, "url": self.url}
        )


def _server_image(args: KubeAIModelArgs) -> str:
    server = args.platform.server
    return server.image if args.model.node_pool else server.cpu_image


def _annotations(args: KubeAIModelArgs) -> dict[str, str]:
    if not args.await_ready or args.model.paused or args.model.replicas.min == 0:
        return {"pulumi.com/skipAwait": "true"}
    # At least, not exactly: an autoscaled model may have more ready pods than its minimum. Not ">=": the provider
    # splits the expression at a single "=" (pulumi-kubernetes v4, pkg/jsonpath).
    ready = f"jsonpath={{$.status[?@.ready > {args.model.replicas.min - 1}]}}"
    return {"pulumi.com/waitFor": ready, "pulumi.com/timeoutSeconds": str(args.model.startup_timeout)}


def _spec(args: KubeAIModelArgs, url: pulumi.Output[str]) -> dict[str, Any]:
    """Fields of models.kubeai.org; `owner` is only shown, so it says who deploys the model."""
    model = args.model
    replicas = model.replicas
    parallel = [f"--tensor-parallel-size={args.scheduling.gpus}"] if args.scheduling.gpus > 1 else []
    spec: dict[str, Any] = {
        "features": ["TextGeneration"],
        "owner": "oci-model-serving",
        "url": url,
        "engine": "VLLM",
        "image": _server_image(args),
        "resourceProfile": args.resource_profile,
        "minReplicas": replicas.min,
        "maxReplicas": max(replicas.max or replicas.min, 1),
        "args": [*parallel, *model.args],
        "env": {**vllm.QUIET_ENV, **model.env, **vllm.OFFLINE_ENV},
    }
    if model.paused:
        # KubeAI has no stop switch: no replicas, and no autoscaler that would bring them back.
        spec.update({"minReplicas": 0, "replicas": 0, "autoscalingDisabled": True})
    return spec
