"""The keys of a model's pods beside the weights: environment, server, where they are placed, who reaches them."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from components.settings.types import (
    Cidr,
    DnsLabel,
    KubernetesLabels,
    KubernetesName,
    Quantity,
    Section,
    variable_names,
)


class SecretKeyRef(Section):
    """A key of a Kubernetes Secret that is in the models' namespace already."""

    name: Annotated[KubernetesName, Field(description="name of the Secret")]
    key: Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]{1,253}$", description="key of the Secret that has the value")]


class EnvFrom(Section):
    """A variable whose value is in a Secret that others make."""

    secret_key_ref: SecretKeyRef


Env = Annotated[dict[str, str | EnvFrom], AfterValidator(variable_names)]
"""Variables: each a text, or where a Secret has it."""
SecretEnv = Annotated[dict[str, SecretStr], AfterValidator(variable_names)]
"""Variables whose values are Pulumi secrets."""


class TopologySpread(Section):
    """How evenly a model's pods spread over zones or nodes (Kubernetes, "Pod Topology Spread Constraints")."""

    topology_key: Annotated[
        str, Field(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9._-]+$", description="label of nodes that tells them apart")
    ] = "topology.kubernetes.io/zone"
    max_skew: Annotated[int, Field(ge=1, le=1000, description="pods that one place may have more than another")] = 1
    when_unsatisfiable: Annotated[
        Literal["DoNotSchedule", "ScheduleAnyway"], Field(description="whether a pod waits where it cannot be")
    ] = "ScheduleAnyway"


def _server_image(value: str) -> str:
    if not value.strip() or re.search(r"\s", value):
        raise ValueError(f"{value!r} is no image: write host/path@sha256:… (or a version's tag)")
    return value


def _path(value: str) -> str:
    if not re.fullmatch(r"/[!-~]*", value):
        raise ValueError(f"{value!r} is no path of a URL: write for example /health")
    return value


class ModelServer(Section):
    """A server other than the platform's vLLM, on KServe: it finds the weights below /mnt/models."""

    image: Annotated[str, AfterValidator(_server_image), Field(description="image of the server; a digest is best")]
    command: Annotated[
        tuple[str, ...],
        Field(strict=False, description="what starts it; default: the image's own, which delivery native only leaves"),
    ] = ()
    args: Annotated[
        tuple[str, ...], Field(strict=False, description="its arguments; models.NAME.args are appended")
    ] = ()
    port: Annotated[int, Field(ge=1024, le=65535, description="port that it listens on")] = 8080
    health: Annotated[
        str, AfterValidator(_path), Field(description="path that answers 200 once requests can be served")
    ] = "/health"


class Ingress(Section):
    """Who may reach the models' pods, beside the gateway, KubeAI's proxy and the control plane."""

    limit: Annotated[
        bool | None,
        Field(description="a NetworkPolicy for each model; default: on GKE, of KServe with a gateway or named callers"),
    ] = None
    namespaces: Annotated[
        tuple[DnsLabel, ...], Field(strict=False, description="namespaces whose pods may ask the models directly")
    ] = ()
    monitoring: Annotated[
        tuple[DnsLabel, ...], Field(strict=False, description="namespaces of what collects metrics")
    ] = ("gmp-system", "gke-gmp-system", "monitoring")
    cidrs: Annotated[
        tuple[Cidr, ...],
        Field(
            strict=False,
            description="address ranges that may: in a network that is there, its proxy-only subnetwork; else, with "
            "gateway gke, all private ones",
        ),
    ] = ()


class Monitoring(Section):
    """What collects the metrics of the servers, and warns of what they show (docs/monitoring.md)."""

    collector: Annotated[
        Literal["none", "managed", "operator"],
        Field(
            description="managed: Google's managed Prometheus (PodMonitoring); operator: a Prometheus Operator that is "
            "there already (PodMonitor)"
        ),
    ] = "none"
    interval: Annotated[int, Field(ge=5, le=300, description="seconds from one reading to the next")] = 30
    alerts: Annotated[bool, Field(description="alert rules for each model")] = True
    dashboard: Annotated[
        bool, Field(description="a ConfigMap with the dashboard, labelled grafana_dashboard as Grafana's sidecar asks")
    ] = False
    labels: Annotated[
        KubernetesLabels,
        Field(description="of what a Prometheus Operator is to pick up, as release: kube-prometheus-stack"),
    ] = {}  # noqa: RUF012 - pydantic copies it

    @property
    def collects(self) -> bool:
        """Whether anything collects."""
        return self.collector != "none"


class Replicas(Section):
    """How many pods serve a model."""

    min: Annotated[int, Field(ge=0, le=1000, description="0 only with KEDA, Knative or KubeAI (docs/serving.md)")] = 1
    max: Annotated[int | None, Field(ge=1, le=1000, description="default: min, at least 1")] = None


class Resources(Section):
    """Requests and limits of the server's container (KServe would otherwise cap it at 1 CPU and 2 GiB)."""

    cpu: Annotated[Quantity | None, Field(description="default: the GPUs' share of the node")] = None
    memory: Annotated[Quantity | None, Field(description="default: the GPUs' share of the node")] = None
    shm: Annotated[
        Quantity | None,
        Field(description="size of /dev/shm; default: 2Gi, of several GPUs 16Gi or half the memory (profile auto)"),
    ] = None


class Scaling(Section):
    """When to add pods: KEDA's external metric, the HPA's CPU utilization, or the requests that KubeAI sees."""

    query: Annotated[str | None, Field(description="PromQL that KEDA scales on")] = None
    target: Annotated[int, Field(ge=1, description="KEDA: value a pod; HPA: CPU utilization in percent")] = 80
    target_requests: Annotated[
        int | None, Field(ge=1, le=100000, description="KubeAI: requests at a time a pod; default: KubeAI's, 100")
    ] = None
    scale_down_delay: Annotated[
        int | None, Field(ge=0, le=86400, description="KubeAI: seconds of less load before a pod goes; default: 30")
    ] = None
