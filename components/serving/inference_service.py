"""InferenceService: one model on KServe, wired to its image's digest."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.serving import (
    allow_list,
    egress,
    ingress,
    kserve,
    objects,
    predictor,
    rollout,
    serving_runtime,
    streaming,
    vllm,
    warm,
)
from components.serving.adapters import ServedAdapter
from components.serving.compile_cache import ServedCache
from components.serving.objects import described
from components.settings.models import StackModel
from components.settings.serving import KServeSettings
from modelimage.traits import Traits
from oci_model_serving.delivery import REVISION_LABEL
from oci_model_serving.reference import ImageReference


class InferenceService(pulumi.ComponentResource):
    """Serves a model with our ServingRuntime: the InferenceService, its service account, egress rule and route.

    Deliberately uses `predictor.model` with a runtime: of the fields that could carry the image only this one is
    honoured by every supported KServe for both deliveries (a custom container with an annotation is not).
    """

    described: dict[str, Any]
    """The model as the stack's outputs show it (`oci_model_serving.outputs.ModelOutput`)."""

    def __init__(
        self,
        name: str,
        model: StackModel,
        platform: KServeSettings,
        *,
        reference: pulumi.Output[ImageReference],
        size_bytes: pulumi.Input[int],
        traits: pulumi.Output[Traits],
        kubeconfig: pulumi.Input[str] | None,
        enforced: bool = False,
        adapters: Sequence[ServedAdapter] = (),
        cache: ServedCache | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("oci-model-serving:index:InferenceService", name, None, opts)
        self._model, self._platform = model, platform
        kind, namespace = model.delivery.platform, platform.model_namespace
        pods = {kind.pod_label: model.name}
        mine = pulumi.ResourceOptions(parent=self)
        account = objects.service_account(model.name, namespace, model.pull_secrets, mine)
        denied = egress.deny(model.name, namespace, pods, mine, more=egress.to_registry(model, reference))
        before: list[pulumi.Resource] = [account, denied, *egress.by_name(model, reference, pods, mine)]
        before += ingress.limited(model, pods, mine)
        before += objects.env_secret(model, mine)
        before += self._code(mine)
        if enforced and kubeconfig is not None:
            images = [reference, *(adapter.reference for adapter in adapters)]
            images += [cache.reference] if cache else []
            before.append(allow_list.allow(model, images, kubeconfig, mine))
        if model.settings.server:
            # Its change alone replaces the pods, which the cluster has to accept.
            before.append(self._runtime(pulumi.ResourceOptions(parent=self, depends_on=list(before))))
        if model.settings.warm == "prepull":
            after = pulumi.ResourceOptions(parent=self, depends_on=list(before))
            before += warm.prepull(model, namespace, reference, adapters, after, cache=cache)
        storage_uri = reference.apply(model.delivery.uri)
        spec = predictor.spec(model, platform, storage_uri, traits, adapters, cache=cache)
        annotations = predictor.annotations(model, platform, storage_uri)
        revision = predictor.revision(model, spec, annotations, platform)
        self.described = described(
            model,
            reference,
            size_bytes,
            self._url(),
            storage_uri=storage_uri,
            revision=revision,
            traits=traits,
            adapters=adapters,
            cache=cache,
        )
        service = k8s.apiextensions.CustomResource(
            model.name,
            api_version=kind.api_version,
            kind=kind.kind,
            metadata=objects.metadata(model.name, namespace, model=model.name, annotations=annotations),
            spec={"predictor": {**spec, "labels": {**model.settings.labels, REVISION_LABEL: revision}}},
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
        )
        after = pulumi.ResourceOptions(parent=self, depends_on=[service])
        rollout.watch(model, self.described, kubeconfig, after)
        objects.disruption_budget(model.name, namespace, pods, replicas=model.live_replicas, opts=after)
        # A paused model has no Service, and a route to nothing is an error of the whole Gateway on GKE.
        if platform.gateway == "gke" and not model.settings.paused:
            self._route()
        self.register_outputs(self.described)

    def _code(self, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        """What the sidecar of delivery `stream` runs, under a name that is of its content, so that it never changes."""
        if not self._model.delivery.streamed:
            return []
        (name, content), model = streaming.code(), self._model
        return [
            k8s.core.v1.ConfigMap(
                f"{model.name}-{name}",
                metadata=objects.metadata(f"{model.name}-{name}", model.namespace, model=model.name),
                binary_data={streaming.ARCHIVE: content},
                immutable=True,
                # The same code is not made anew for another machine's compression.
                opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(ignore_changes=["binaryData"])),
            )
        ]

    def _runtime(self, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """The ServingRuntime of a server that is the model's own."""
        name = serving_runtime.name(self._model)
        return k8s.apiextensions.CustomResource(
            name,
            api_version="serving.kserve.io/v1alpha1",
            kind="ServingRuntime",
            metadata=objects.metadata(name, self._platform.model_namespace, model=self._model.name),
            spec=serving_runtime.of_model(self._model, self._platform),
            opts=opts,
        )

    @property
    def _host(self) -> str:
        return f"{self._model.name}-{self._platform.model_namespace}.{self._platform.domain}"

    def _url(self) -> str:
        platform = self._platform
        if platform.gateway == "none":
            return f"http://{self._model.name}-predictor.{platform.model_namespace}.svc.cluster.local"
        return f"{'https' if platform.certificate else 'http'}://{self._host}"

    def _route(self) -> None:
        """Route the model's host to its predictor in the forms that GKE's gateway classes accept.

        Long generations need the backend's own timeout, and the load balancer needs to know the health path (GKE
        documentation, "Configure Gateway resources using Policies").
        """
        name, platform = self._model.name, self._platform
        service = f"{name}-predictor"
        target = {"targetRef": {"group": "", "kind": "Service", "name": service}}
        path, port = vllm.health(self._model)
        health = {"type": "HTTP", "httpHealthCheck": {"port": port, "requestPath": path}}
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"name": service, "port": 80}],
        }
        objects_of: Mapping[str, tuple[str, str, dict[str, Any]]] = {
            "route": (
                "gateway.networking.k8s.io/v1",
                "HTTPRoute",
                {
                    "parentRefs": [kserve.gateway_of(platform)],
                    "hostnames": [self._host, *self._model.settings.hosts],
                    "rules": [rule],
                },
            ),
            "backend": (
                "networking.gke.io/v1",
                "GCPBackendPolicy",
                {"default": {"timeoutSec": platform.gateway_timeout}, **target},
            ),
            "health": ("networking.gke.io/v1", "HealthCheckPolicy", {"default": {"config": health}, **target}),
        }
        for suffix, (api_version, kind, spec) in objects_of.items():
            k8s.apiextensions.CustomResource(
                f"{name}-{suffix}",
                api_version=api_version,
                kind=kind,
                metadata=objects.metadata(name, platform.model_namespace, model=name),
                spec=spec,
                opts=pulumi.ResourceOptions(parent=self),
            )
