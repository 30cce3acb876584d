"""The dashboard: whole, the same each time, and of metrics that are exported."""

import json
import re
from pathlib import Path
from typing import Any

from components.serving import dashboard
from modelimage.stream import health
from tests import promtool
from tests.docs import dashboard_file

EXPOSITION = (Path(__file__).parent / "metrics" / "exposition.txt").read_text()
COMMITTED = dashboard_file.FILE
DOCUMENTED = {"kubeai_inference_requests_active", "DCGM_FI_DEV_GPU_UTIL"}
"""Of KubeAI's source (internal/metrics/metrics.go) and of DCGM's list of fields: no server here exports them."""
STREAMED = "oci_model_serving_stream_served_bytes_total"
_NAME = re.compile(r"\b(?:vllm:|kubeai_|DCGM_|oci_model_serving_)\w+")


def queries() -> list[str]:
    return [target["expr"] for panel in dashboard.dashboard()["panels"] for target in panel["targets"]]


def test_the_committed_file_is_what_is_made() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == dashboard.text(), "run `make docs`"


def test_prometheus_takes_every_query(tmp_path: Path) -> None:
    asked = [query.replace("$__rate_interval", "5m") for query in queries()]
    rules: list[dict[str, Any]] = [{"record": f"panel:{at}", "expr": query} for at, query in enumerate(asked)]
    promtool.check([{"name": "dashboard", "rules": rules}], tmp_path)


def test_every_metric_of_a_panel_is_exported_by_the_real_server_or_documented_by_who_exports_it() -> None:
    exported = {re.split(r"[{ ]", line)[0] for line in EXPOSITION.splitlines() if not line.startswith("#")}
    asked = {name for query in queries() for name in _NAME.findall(query)}

    assert len(asked) >= 15
    assert asked - exported == {*DOCUMENTED, STREAMED}


def test_the_sidecars_metric_is_one_that_it_exports() -> None:
    assert STREAMED in {f"{health._PREFIX}_{name}" for name, *_ in health._METRICS}


def test_labels_that_panels_group_by_are_the_servers_own_or_the_collectors() -> None:
    grouped = {label for query in queries() for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(", ")}
    servers = set(re.findall(r'(\w+)="', EXPOSITION))

    assert grouped - servers == {"namespace", "pod", "request_model", "modelName"}


def test_panels_do_not_overlap_and_each_says_what_it_shows() -> None:
    made = dashboard.dashboard()
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made["panels"]]

    assert len(set(places)) == len(places) == len(dashboard.PANELS)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in made["panels"])
    assert all(target["legendFormat"] for panel in made["panels"] for target in panel["targets"])
    assert json.loads(dashboard.text()) == made
