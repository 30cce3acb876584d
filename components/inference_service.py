"""InferenceService: one model on KServe, wired to its image's digest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import admission, disruption, kserve, objects, outputs, rollout, schema, vllm, warm
from components.references import ImageReference
from components.scheduling import Scheduling
from components.schema import kubernetes_name

POD_LABEL = "serving.kserve.io/inferenceservice"


@dataclass(frozen=True)
class InferenceServiceArgs:
    """What a model on KServe is made of.

    Attributes:
        key: the model's key.
        model: its settings.
        platform: KServe's settings, its gateway's default filled in.
        reference: the image by digest.
        size_bytes: what a node downloads for it.
        scheduling: where its pods run and what they get.
        disk_size_gb: boot disk of those nodes in GB, none for CPU nodes (their disk is not this program's).
        pull_secrets: names of secrets in the models' namespace.
        await_ready: whether `pulumi up` waits until the model is ready.
        kubeconfig: the cluster's, with which the new pods are watched; none where manifests are only rendered.
    """

    key: str
    model: schema.Model
    platform: schema.KServe
    reference: pulumi.Output[ImageReference]
    size_bytes: pulumi.Input[int]
    scheduling: Scheduling = field(default_factory=Scheduling)
    disk_size_gb: int | None = None
    pull_secrets: Sequence[str] = ()
    await_ready: bool = True
    kubeconfig: pulumi.Input[str] | None = None


class InferenceService(pulumi.ComponentResource):
    """Serves a model with our ServingRuntime: the InferenceService, its service account, egress rule and route.

    Deliberately uses `predictor.model` with a runtime: of the fields that could carry the image only this one is
    honoured by every supported KServe for both deliveries (a custom container with an annotation is not).
    """

    name: pulumi.Output[str]
    """Kubernetes name."""
    namespace: pulumi.Output[str]
    """Kubernetes namespace."""
    storage_uri: pulumi.Output[str]
    """The image as the serving resource names it."""
    url: pulumi.Output[str]
    """Where the server answers, without `/v1`."""
    described: dict[str, Any]
    """The model as the stack's outputs show it (`components.outputs.ModelOutput`)."""

    def __init__(self, name: str, args: InferenceServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("oci-model-serving:index:InferenceService", name, None, opts)
        self._args = args
        self._name = kubernetes_name(args.key)
        self._namespace = args.platform.model_namespace
        reference = admission.fitting(args.reference, args.size_bytes, args.disk_size_gb, args.key)
        self.storage_uri = reference.apply(lambda known: known.uri(args.model.delivery.value))
        mine = pulumi.ResourceOptions(parent=self)
        account = objects.service_account(self._name, self._namespace, args.pull_secrets, mine)
        egress = objects.deny_egress(self._name, self._name, self._namespace, {POD_LABEL: self._name}, mine)
        before: list[pulumi.Resource] = [account, egress]
        if args.model.warm == "prepull":
            before.append(
                warm.prepull(
                    self._name,
                    self._namespace,
                    delivery=args.model.delivery,
                    reference=reference,
                    server_image=args.platform.server.image,
                    scheduling=args.scheduling,
                    timeout_seconds=args.model.startup_timeout,
                    opts=pulumi.ResourceOptions(parent=self, depends_on=[account]),
                )
            )
        self.name = pulumi.Output.from_input(self._name)
        self.namespace = pulumi.Output.from_input(self._namespace)
        self.url = pulumi.Output.from_input(self._url())
        self.described = outputs.describe(
            args.model,
            reference,
            size_bytes=args.size_bytes,
            storage_uri=self.storage_uri,
            name=self._name,
            namespace=self._namespace,
            served_name=self._served_name,
            url=self._url(),
        )
        predictor = self._predictor()
        labels = {disruption.REVISION_LABEL: self._revision(predictor)}
        service = k8s.apiextensions.CustomResource(
            self._name,
            api_version="serving.kserve.io/v1beta1",
            kind="InferenceService",
            metadata=objects.metadata(self._name, self._namespace, model=self._name, annotations=self._annotations()),
            spec={"predictor": {**predictor, "labels": labels}},
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
        )
        running = rollout.watch(
            self._name,
            self.described,
            settings=args.model,
            kubeconfig=args.kubeconfig if args.await_ready else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[service]),
        )
        disruption.budget(
            self._name,
            self._namespace,
            {POD_LABEL: self._name, **labels},
            replicas=0 if args.model.paused else args.model.replicas.min,
            wait_seconds=args.model.startup_timeout if args.await_ready else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[service, *running]),
        )
        # A paused model has no Service, and a route to nothing is an error of the whole Gateway on GKE.
        if args.platform.gateway == "gke" and not args.model.paused:
            self._route()
        self.register_outputs(
            {"name": self.name, "namespace": self.namespace, "storage_uri": self.storage_uri, "url": self.url}
        )

    @property
    def _served_name(self) -> str:
        return self._args.model.served_name or self._args.key

    @property
    def _host(self) -> str:
        return f"{self._name}-{self._namespace}.{self._args.platform.domain}"

    def _url(self) -> str:
        platform = self._args.platform
        if platform.gateway == "none":
            return f"http://{self._name}-predictor.{self._namespace}.svc.cluster.local"
        return f"{'https' if platform.certificate else 'http'}://{self._host}"

    def _autoscaler(self) -> str:
        """Say which autoscaler owns the replicas.

        With `hpa`, KServe makes an HPA on CPU utilization, which says nothing where the number is fixed.
        """
        replicas = self._args.model.replicas
        if self._args.model.scaling.query and self._args.platform.keda:
            return "keda"
        return "hpa" if (replicas.max or replicas.min) > replicas.min else "none"

    def _annotations(self) -> dict[str, str]:
        args = self._args
        knative = args.platform.deployment_mode == "Knative"
        # KServe's webhook would add the mode: written here, it is no drift.
        annotations: dict[str, str] = {"serving.kserve.io/deploymentMode": args.platform.deployment_mode}
        if knative:
            annotations["serving.knative.dev/progress-deadline"] = f"{args.model.startup_timeout}s"
        else:
            annotations["serving.kserve.io/autoscalerClass"] = self._autoscaler()
        if args.model.paused:
            annotations["serving.kserve.io/stop"] = "true"
        if args.await_ready and args.model.paused:
            annotations["pulumi.com/waitFor"] = "condition=Stopped"
        else:
            # The budget waits instead (`disruption`). KServe copies these onto the pods, so what differed here from
            # run to run would replace them.
            annotations["pulumi.com/skipAwait"] = "true"
        return annotations

    def _revision(self, predictor: Mapping[str, Any]) -> pulumi.Output[str]:
        """Of what makes the pods; the number of replicas does not."""
        made_of = ("model", "volumes", "nodeSelector", "tolerations")
        return disruption.revision(
            {"runtime": self._args.platform.server.image, **{key: predictor.get(key) for key in made_of}}
        )

    def _predictor(self) -> dict[str, Any]:
        args, model, scheduling = self._args, self._args.model, self._args.scheduling
        replicas = model.replicas
        predictor: dict[str, Any] = {
            "minReplicas": replicas.min,
            "maxReplicas": max(replicas.max or replicas.min, 1),
            "serviceAccountName": self._name,
            "automountServiceAccountToken": False,
            "model": self._model(),
            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": model.resources.shm}}],
        }
        if args.platform.deployment_mode == "Standard":
            predictor["deploymentStrategy"] = self._strategy()
            predictor.update(self._scaling())
        if scheduling.node_selector:
            predictor["nodeSelector"] = dict(scheduling.node_selector)
        if scheduling.tolerations:
            predictor["tolerations"] = [dict(toleration) for toleration in scheduling.tolerations]
        return predictor

    def _strategy(self) -> dict[str, Any]:
        """Start the new pod first where the pool has room for it, else make room.

        One pod of which one may be missing would count as available without any, so that the InferenceService said
        Ready before its image is pulled: then all go first.
        """
        if self._args.scheduling.surge:
            return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        if self._args.model.replicas.min > 1:
            return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
        return {"type": "Recreate"}

    def _scaling(self) -> dict[str, Any]:
        scaling, platform = self._args.model.scaling, self._args.platform
        autoscaler = self._autoscaler()
        if autoscaler == "hpa":
            return {"scaleMetric": "cpu", "scaleTarget": scaling.target}
        if autoscaler != "keda":
            return {}
        metric = {"backend": "prometheus", "serverAddress": platform.prometheus, "query": scaling.query}
        external = {"metric": metric, "target": {"type": "Value", "value": str(scaling.target)}}
        return {"autoScaling": {"metrics": [{"type": "External", "external": external}]}}

    def _model(self) -> dict[str, Any]:
        args, model, scheduling = self._args, self._args.model, self._args.scheduling
        amounts = {"cpu": scheduling.cpu, "memory": scheduling.memory}
        if scheduling.gpus:
            amounts["nvidia.com/gpu"] = str(scheduling.gpus)
        parallel = [f"--tensor-parallel-size={scheduling.gpus}"] if scheduling.gpus > 1 else []
        spec: dict[str, Any] = {
            "modelFormat": {"name": kserve.MODEL_FORMAT},
            "runtime": kserve.RUNTIME,
            "storageUri": self.storage_uri,
            "args": [f"--served-model-name={self._served_name}", *parallel, *model.args],
            "env": vllm.env(dict(model.env)),
            # Both, for both: KServe fills what is left out with 1 CPU and 2 GiB.
            "resources": {"requests": amounts, "limits": amounts},
            **vllm.probes(model.startup_timeout),
        }
        if not scheduling.gpus:
            spec["image"] = args.platform.server.cpu_image
        return spec

    def _route(self) -> None:
        """Route the model's host to its predictor in the forms that GKE's gateway classes accept.

        Long generations need the backend's own timeout, and the load balancer needs to know the health path (GKE
        documentation, "Configure Gateway resources using Policies").
        """
        args = self._args
        service = f"{self._name}-predictor"
        target = {"targetRef": {"group": "", "kind": "Service", "name": service}}
        health = {"type": "HTTP", "httpHealthCheck": {"port": vllm.PORT, "requestPath": "/health"}}
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"name": service, "port": 80}],
        }
        objects_of: Mapping[str, tuple[str, str, dict[str, Any]]] = {
            "route": (
                "gateway.networking.k8s.io/v1",
                "HTTPRoute",
                {
                    "parentRefs": [{"name": kserve.GATEWAY, "namespace": args.platform.namespace}],
                    "hostnames": [self._host],
                    "rules": [rule],
                },
            ),
            "backend": (
                "networking.gke.io/v1",
                "GCPBackendPolicy",
                {"default": {"timeoutSec": args.platform.gateway_timeout}, **target},
            ),
            "health": ("networking.gke.io/v1", "HealthCheckPolicy", {"default": {"config": health}, **target}),
        }
        for suffix, (api_version, kind, spec) in objects_of.items():
            k8s.apiextensions.CustomResource(
                f"{self._name}-{suffix}",
                api_version=api_version,
                kind=kind,
                metadata=objects.metadata(self._name, self._namespace, model=self._name),
                spec=spec,
                opts=pulumi.ResourceOptions(parent=self),
            )
