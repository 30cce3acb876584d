"""What collects a stack's metrics, in the cluster: which pods are read where, the alert rules and the dashboard.

Two collectors read the same endpoints. Google's managed Prometheus: prometheus-engine
v0.17, doc/api.md (PodMonitoring, Rules). Prometheus Operator v0.93, Documentation/api-reference (PodMonitor,
PrometheusRule).
"""

# Annotations stay text: pulumi_kubernetes loads a group's classes when one is first named.
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components import cost
from components.google import prices
from components.serving import alerts, dashboard, objects, vllm
from components.settings.models import StackModel
from components.settings.pods import Monitoring
from components.settings.serving import KServeSettings
from components.settings.stack import Settings
from oci_model_serving.delivery import KUBEAI, STREAM_HEALTH_PORT, Platform

_MANAGED, _OPERATOR = "monitoring.googleapis.com/v1", "monitoring.coreos.com/v1"
_MODEL = "model"
"""The label of a model's series, by which rules find them: its Kubernetes name."""
_KUBEAI_PORT = 8080
"""Of KubeAI's own metrics (internal/config/system.go, metricsAddr), which its pod does not declare."""
_KUBEAI_PODS = {"app.kubernetes.io/name": "kubeai"}
_DASHBOARD = "oci-model-serving-dashboard"


@dataclass(frozen=True)
class _Target:
    """Pods and where they tell of themselves.

    Attributes:
        name: of the object, and so the job of its series.
        pods: their labels.
        ports: their numbers; of several, the first is the server's.
        declared: the name of a port that the pods declare: an Operator's Prometheus finds no other.
        model: the label of its series.
    """

    name: str
    namespace: str
    pods: Mapping[str, str]
    ports: tuple[int, ...]
    declared: str
    model: str | None = None

    def managed(self, interval: str) -> tuple[str, dict[str, Any]]:
        """Kind and spec for Google's managed Prometheus, which reads any port by its number."""
        endpoints = [{"port": port, "path": "/metrics", "interval": interval} for port in self.ports]
        (pod_label,) = self.pods
        labels = {"targetLabels": {"fromPod": [{"from": pod_label, "to": _MODEL}]}} if self.model else {}
        return "PodMonitoring", {"selector": {"matchLabels": dict(self.pods)}, "endpoints": endpoints, **labels}

    def operator(self, interval: str) -> tuple[str, dict[str, Any]]:
        """Kind and spec for a Prometheus Operator."""
        endpoints = []
        for port in self.ports:
            address = {
                "sourceLabels": ["__meta_kubernetes_pod_ip"],
                "targetLabel": "__address__",
                "replacement": f"$1:{port}",
            }
            relabelings = [address, *([{"targetLabel": _MODEL, "replacement": self.model}] if self.model else [])]
            endpoints.append(
                {"port": self.declared, "path": "/metrics", "interval": interval, "relabelings": relabelings}
            )
        return "PodMonitor", {"selector": {"matchLabels": dict(self.pods)}, "podMetricsEndpoints": endpoints}


def of_model(model: StackModel, opts: pulumi.ResourceOptions) -> None:
    """Have a model's server read, and its rules judged, where the settings name a collector.

    Servers other than vLLM are left alone: whether and where they tell anything is theirs.
    """
    if not model.monitoring.collects or model.settings.server:
        return
    kind = model.delivery.platform
    port, declared = (vllm.KUBEAI_PORT, "http") if kind is KUBEAI else (vllm.PORT, "http1")
    if isinstance(model.platform, KServeSettings) and model.platform.deployment_mode == "Knative":
        declared = "user-port"  # Knative renames it (serving, pkg/apis/serving/v1, UserPortName)
    # A streamed model's sidecar tells of the bytes that it has handed on.
    ports = (port, STREAM_HEALTH_PORT) if model.delivery.streamed else (port,)
    pods = {kind.pod_label: model.name}
    _read(_Target(model.name, model.namespace, pods, ports, declared, model.name), model.monitoring, opts)
    if model.monitoring.alerts:
        _judge(model, opts)


def of_platform(platform: Platform, settings: Settings, opts: pulumi.ResourceOptions) -> None:
    """Have KubeAI's proxy read, and the dashboard kept, where the settings ask for it."""
    wanted, namespace = settings.sections.platforms.monitoring, settings.namespace_of(platform)
    if wanted.collects and platform is KUBEAI:
        _read(_Target(KUBEAI.name, namespace, _KUBEAI_PODS, (_KUBEAI_PORT,), "http"), wanted, opts)
    # Grafana takes a dashboard once.
    if wanted.dashboard and platform is settings.platforms[0]:
        k8s.core.v1.ConfigMap(
            _DASHBOARD,
            metadata=objects.metadata(_DASHBOARD, namespace, labels={"grafana_dashboard": "1"}),
            data={f"{_DASHBOARD}.json": dashboard.text()},
            opts=opts,
        )


def _read(target: _Target, wanted: Monitoring, opts: pulumi.ResourceOptions) -> None:
    form = target.managed if wanted.collector == "managed" else target.operator
    metadata = objects.metadata(target.name, target.namespace, model=target.model, labels=wanted.labels)
    _object(f"{target.name}-metrics", form(f"{wanted.interval}s"), wanted, metadata, opts)


def _judge(model: StackModel, opts: pulumi.ResourceOptions) -> None:
    price = None
    if model.pool and model.scheduling.gpus:
        table = prices.chosen()
        each = cost.of_pod(model, table)
        price = alerts.Price(*each, table.source) if each else None
    wanted = model.monitoring
    kind = "Rules" if wanted.collector == "managed" else "PrometheusRule"
    metadata = objects.metadata(model.name, model.namespace, model=model.name, labels=wanted.labels)
    _object(f"{model.name}-alerts", (kind, {"groups": [alerts.of_model(model, price)]}), wanted, metadata, opts)


def _object(
    name: str,
    made: tuple[str, Mapping[str, Any]],
    wanted: Monitoring,
    metadata: k8s.meta.v1.ObjectMetaArgs,
    opts: pulumi.ResourceOptions,
) -> None:
    """Make an object of a collector's, of a kind and a spec."""
    kind, spec = made
    version = _MANAGED if wanted.collector == "managed" else _OPERATOR
    k8s.apiextensions.CustomResource(
        name, api_version=version, kind=kind, metadata=metadata, spec=dict(spec), opts=opts
    )
