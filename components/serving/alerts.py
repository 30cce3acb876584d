"""Alert rules for a model, in Prometheus' own form, which each collector takes. Pure.

Names: of vLLM as v0.23.0 exports them (tests/components/serving/metrics holds what a real one said); of Kubernetes as
kube-state-metrics v2 does, docs/metrics/workload/pod-metrics.md, of which GKE collects what its package POD lists
("Use kube state metrics").
"""

from dataclasses import dataclass
from typing import Any

from components.settings.models import StackModel

_NO_POD_MINUTES = 15
_IDLE_HOURS = 1


@dataclass(frozen=True)
class Price:
    """What a pod of a model costs an hour, in US dollars, least and most; `source` says whose prices these are."""

    least: float
    most: float
    source: str

    @property
    def text(self) -> str:
        """The price as part of a sentence."""
        least, most = f"{self.least:,.2f}", f"{self.most:,.2f}"
        return f"${least if least == most else f'{least} to {most}'} an hour ({self.source})"


def of_model(model: StackModel, price: Price | None) -> dict[str, Any]:
    """The group of rules of a model; `price` is of a pod with GPUs, as far as it is known."""
    series = f'{{namespace="{model.namespace}",model="{model.name}"}}'
    rules = [_restarts(model), _queue(model, series), _cache(model, series)]
    if model.live_replicas:
        rules.append(_no_pod(model, series))
    if model.scheduling.gpus and not model.settings.paused:
        rules.append(_idle(model, series, price))
    return {"name": f"oci-model-serving.{model.namespace}.{model.name}", "interval": "30s", "rules": rules}


def _restarts(model: StackModel) -> dict[str, Any]:
    """As in kubernetes-mixin (KubePodCrashLooping): a pod that waits to be started again is seen at most times."""
    # A pod's name ends in what its owner has added, which holds no model's name.
    pods = f"{model.delivery.platform.pod_prefix.format(name=model.name)}-?[a-z0-9]+(-[a-z0-9]+)?"
    waits = f'reason="CrashLoopBackOff",namespace="{model.namespace}",pod=~"{pods}"'
    return _rule(
        model,
        "ModelRestartsAgainAndAgain",
        f"max by (namespace, pod) (max_over_time(kube_pod_container_status_waiting_reason{{{waits}}}[5m])) >= 1",
        lasting="5m",
        severity="critical",
        told=(
            f"A container of model {model.name} ends again and again",
            "Pod {{ $labels.pod }} waits to be started again; why it ended: "
            f"kubectl -n {model.namespace} logs {{{{ $labels.pod }}}} --all-containers --previous --tail=20",
        ),
    )


def _no_pod(model: StackModel, series: str) -> dict[str, Any]:
    """What a server says it says only when it is ready: vLLM listens after the model is loaded."""
    return _rule(
        model,
        "ModelHasNoReadyPod",
        f"absent(vllm:num_requests_running{series})",
        lasting=f"{_NO_POD_MINUTES}m",
        severity="critical",
        told=(
            f"No pod of model {model.name} answers",
            f"For {_NO_POD_MINUTES} minutes no server has been read: none is there or ready, or nothing collects. "
            f"kubectl -n {model.namespace} get pods -l {model.delivery.platform.pod_selector(model.name)}",
        ),
    )


def _queue(model: StackModel, series: str) -> dict[str, Any]:
    waiting = f"vllm:num_requests_waiting{series}"
    return _rule(
        model,
        "ModelQueueGrows",
        f"sum by (namespace, model) (deriv({waiting}[5m])) * 300 >= 1 "
        f"and sum by (namespace, model) (min_over_time({waiting}[5m])) > 0",
        lasting="1m",
        severity="warning",
        told=(
            f"Requests to model {model.name} wait, and become more",
            '{{ $value | printf "%.0f" }} more wait than five minutes ago: more pods (replicas.max, scaling), or fewer '
            "requests",
        ),
    )


def _cache(model: StackModel, series: str) -> dict[str, Any]:
    """A cache that is full is no fault while nobody has to give way; a preempted request is computed anew."""
    preempted, used = (f"vllm:{name}{series}" for name in ("num_preemptions_total", "kv_cache_usage_perc"))
    return _rule(
        model,
        "ModelCacheIsFull",
        f"sum by (namespace, model) (increase({preempted}[5m])) > 0 "
        f"and max by (namespace, model) (max_over_time({used}[5m])) > 0.9",
        lasting="5m",
        severity="warning",
        told=(
            f"The KV cache of model {model.name} is full",
            '{{ $value | printf "%.0f" }} requests gave way to others in five minutes and are computed anew: less at a '
            "time (--max-num-seqs), shorter contexts (--max-model-len), or more memory",
        ),
    )


def _idle(model: StackModel, series: str, price: Price | None) -> dict[str, Any]:
    """A server that has been there for the whole time, and had nothing to do in it."""
    running, ended = (f"vllm:{name}{series}" for name in ("num_requests_running", "request_success_total"))
    span, each = f"{_IDLE_HOURS}h", "max by (namespace, model, instance)"
    cost = f"Each pod costs {price.text}" if price else "What a pod costs is not known"
    rule = _rule(
        model,
        "ModelIsIdle",
        f"count by (namespace, model) ({each} (max_over_time({running}[{span}])) == 0 "
        f"and {each} ({running} offset {span})) "
        f"and sum by (namespace, model) (increase({ended}[{span}])) == 0",
        lasting="0m",
        severity="info",
        told=(
            f"The GPUs of model {model.name} have had nothing to do for an hour",
            f"{{{{ $value }}}} pods have had no request for an hour. {cost}: pause it (paused: true), "
            "let it scale to zero, or have fewer pods (replicas.min)",
        ),
    )
    if price:
        rule["annotations"]["usd_per_hour"] = f"{price.most:.2f}"
    return rule


def _rule(
    model: StackModel, name: str, expression: str, *, lasting: str, severity: str, told: tuple[str, str]
) -> dict[str, Any]:
    """A rule; `told` is what is wrong in a line, and what to do."""
    summary, description = told
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity, "model": model.name},
        "annotations": {"summary": summary, "description": description},
    }
