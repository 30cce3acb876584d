"""The dashboard of a stack's models, in Grafana's JSON. Pure; the same bytes each time.

Made here and not drawn by hand, so that a panel is one line and a test can ask whether a real server exports what it
shows (names: as in `alerts`). The variables are read from the series themselves, so that it serves every stack.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_WIDTH, _HEIGHT = 12, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_MODELS = '{namespace=~"$namespace",model_name=~"$model"}'
_BY = "(namespace, model_name)"
_SCHEMA = 39
"""Grafana 11's version of the JSON; later ones migrate it as they read it."""


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: what is seen.
        unit: Grafana's name of it.
        queries: (PromQL, legend).
        hint: what to do about it, or what it needs.
    """

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    hint: str = ""


def _rate(name: str, by: str = _BY) -> str:
    return f"sum by {by} (rate(vllm:{name}{_MODELS}[$__rate_interval]))"


def _quantile(of: float, name: str) -> str:
    buckets = f"sum by (le, namespace, model_name) (rate(vllm:{name}_bucket{_MODELS}[$__rate_interval]))"
    return f"histogram_quantile({of:g}, {buckets})"


def _latency(title: str, name: str, hint: str = "") -> Panel:
    parts = [(_quantile(of, name), f"{{{{model_name}}}} p{of * 100:g}") for of in (0.5, 0.95)]
    return Panel(title, "s", parts, hint)


PANELS = (
    Panel(
        "Requests: running and waiting",
        "short",
        [
            (f"sum by {_BY} (vllm:num_requests_running{_MODELS})", "{{model_name}} running"),
            (f"sum by {_BY} (vllm:num_requests_waiting{_MODELS})", "{{model_name}} waiting"),
        ],
        "A queue that lasts asks for more pods",
    ),
    Panel(
        "KV cache in use",
        "percentunit",
        [(f"max by {_BY} (vllm:kv_cache_usage_perc{_MODELS})", "{{model_name}}")],
        "Near 100 %: requests wait, or give way to others",
    ),
    _latency("Time to the first token", "time_to_first_token_seconds"),
    _latency("Time between tokens", "inter_token_latency_seconds"),
    _latency("A whole request", "e2e_request_latency_seconds"),
    _latency("Time in the queue", "request_queue_time_seconds", "Grows before clients see errors"),
    Panel(
        "Tokens a second",
        "short",
        [
            (_rate("generation_tokens_total"), "{{model_name}} generated"),
            (_rate("prompt_tokens_total"), "{{model_name}} read"),
        ],
    ),
    Panel(
        "Requests that ended, a second",
        "reqps",
        [
            (
                _rate("request_success_total", "(namespace, model_name, finished_reason)"),
                "{{model_name}} {{finished_reason}}",
            )
        ],
    ),
    Panel(
        "Requests that gave way, a second",
        "reqps",
        [(_rate("num_preemptions_total"), "{{model_name}}")],
        "Each is computed anew: the KV cache is too small for what runs at a time",
    ),
    Panel(
        "Prefixes found in the cache",
        "percentunit",
        [(f"{_rate('prefix_cache_hits_total')} / {_rate('prefix_cache_queries_total')}", "{{model_name}}")],
    ),
    Panel(
        "Weights that were streamed",
        "Bps",
        [
            (
                'sum by (namespace, pod) (rate(oci_model_serving_stream_served_bytes_total{namespace=~"$namespace"}'
                "[$__rate_interval]))",
                "{{pod}}",
            )
        ],
        "Of delivery stream, while a server starts",
    ),
    Panel(
        "KubeAI: requests under way",
        "short",
        [("sum by (request_model) (kubeai_inference_requests_active)", "{{request_model}}")],
        "As its proxy counts them, and scales by",
    ),
    Panel(
        "GPUs at work",
        "percent",
        [("avg by (modelName) (DCGM_FI_DEV_GPU_UTIL)", "{{modelName}}")],
        "Needs DCGM: on GKE its package of that name (docs/monitoring.md)",
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard as an object."""
    return {
        "uid": "oci-model-serving",
        "title": "Models (oci-model-serving)",
        "tags": ["oci-model-serving", "vllm"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus"},
                _variable("namespace", "Namespace", "label_values(vllm:num_requests_running, namespace)"),
                _variable(
                    "model", "Model", 'label_values(vllm:num_requests_running{namespace=~"$namespace"}, model_name)'
                ),
            ]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }


def text() -> str:
    """The dashboard as a file."""
    return json.dumps(dashboard(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "sort": 1,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, 2)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.hint,
        "datasource": _SOURCE,
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": column * _WIDTH, "y": row * _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for at, (query, legend) in enumerate(panel.queries)
        ],
    }
