"""The alert rules, judged by Prometheus itself on what a real vLLM said under load (metrics/record.py)."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import promtool, serving

RECORDED = json.loads((Path(__file__).parent / "metrics" / "series.json").read_text())
SECONDS: int = RECORDED["seconds"]
EXPOSITION = (Path(__file__).parent / "metrics" / "exposition.txt").read_text()
POD = "qwen-predictor-6b765b554d-abcde"
TARGET = f'namespace="models",model="qwen",instance="{POD}:8080",pod="{POD}"'
WAITING_REASON = "kube_pod_container_status_waiting_reason"
HOUR = 3600 // SECONDS


def groups(**model: Any) -> list[dict[str, Any]]:
    """The rules of a stack with one model."""
    settings = {"digest": serving.IMAGE, "nodePool": "l4", **model}
    platforms = {"kserve": {}, "kubeai": {"version": "0.24.0"}, "monitoring": {"collector": "managed"}}
    found = serving.of_kind(serving.run(serving.gke({"qwen": settings}, platforms=platforms)), "Rules")
    return [group for one in found for group in one["spec"]["groups"]]


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    return groups()


def recorded(*, then: int = 0) -> dict[str, str]:
    """What the real server said, with the labels that a collector adds; its last word repeated as often as asked."""
    return {
        f"{name[:-1]},{TARGET}}}": " ".join(map(str, [*values, *[values[-1]] * then]))
        for name, values in RECORDED["series"].items()
    }


def alert(name: str, severity: str, **labels: str) -> dict[str, str]:
    return {"alertname": name, "model": "qwen", "namespace": "models", "severity": severity, **labels}


def annotations(rules: list[dict[str, Any]], name: str) -> Mapping[str, str]:
    return next(dict(rule["annotations"]) for group in rules for rule in group["rules"] if rule.get("alert") == name)


def names(rules: list[dict[str, Any]]) -> set[str]:
    return {rule["alert"] for group in rules for rule in group["rules"]}


def test_prometheus_takes_every_rule(rules: list[dict[str, Any]], tmp_path: Path) -> None:
    promtool.check(rules, tmp_path)
    promtool.check(groups(delivery="kubeai"), tmp_path)


def test_every_metric_of_a_rule_is_one_that_the_real_server_exports_or_kube_state_metrics_documents(
    rules: list[dict[str, Any]],
) -> None:
    asked = {name for group in rules for rule in group["rules"] for name in re.findall(r"vllm:\w+", rule["expr"])}
    exported = {re.split(r"[{ ]", line)[0] for line in EXPOSITION.splitlines() if not line.startswith("#")}

    assert len(asked) == 5
    assert asked <= exported


def test_a_queue_that_grows_is_told_within_minutes_and_no_longer_than_it_grows(
    rules: list[dict[str, Any]], tmp_path: Path
) -> None:
    grows = alert("ModelQueueGrows", "warning")
    # The recording is idle for two minutes, has one client for two and more clients than places for seven.
    firing = [("3m", grows, False), ("11m", grows, True), ("15m", grows, False)]
    promtool.judge(rules, recorded(), tmp_path, seconds=SECONDS, firing=firing)


def test_a_queue_that_is_long_and_does_not_grow_is_no_alert(rules: list[dict[str, Any]], tmp_path: Path) -> None:
    series = {f'vllm:num_requests_waiting{{engine="0",{TARGET}}}': "20x80"}
    promtool.judge(
        rules, series, tmp_path, seconds=SECONDS, firing=[("18m", alert("ModelQueueGrows", "warning"), False)]
    )


def test_a_full_cache_is_told_where_requests_give_way_and_not_under_a_load_that_fits(
    rules: list[dict[str, Any]], tmp_path: Path
) -> None:
    full = alert("ModelCacheIsFull", "warning")
    firing = [("4m", full, False), ("10m", full, True)]
    promtool.judge(rules, recorded(then=HOUR), tmp_path, seconds=SECONDS, firing=[*firing, ("40m", full, False)])


def test_an_hour_without_a_request_is_told_with_what_it_costs(rules: list[dict[str, Any]], tmp_path: Path) -> None:
    idle = alert("ModelIsIdle", "info")
    said = annotations(rules, "ModelIsIdle")
    told = {
        "eval_time": "75m",
        "alertname": "ModelIsIdle",
        "exp_alerts": [
            {
                "exp_labels": {key: value for key, value in idle.items() if key != "alertname"},
                "exp_annotations": {**said, "description": said["description"].replace("{{ $value }}", "1")},
            }
        ],
    }
    # The last request of the recording ends in its twelfth minute.
    firing = [("16m", idle, False), ("65m", idle, False), ("80m", idle, True)]
    promtool.judge(rules, recorded(then=2 * HOUR), tmp_path, seconds=SECONDS, firing=firing, told=[told])

    assert re.search(r"Each pod costs \$\d+\.\d\d an hour \(list price", said["description"])
    assert float(said["usd_per_hour"]) > 0


def test_a_pod_that_is_new_has_not_been_idle_for_an_hour(rules: list[dict[str, Any]], tmp_path: Path) -> None:
    old = f'vllm:num_requests_running{{engine="0",{TARGET}}}'
    new = old.replace("abcde", "fghij")
    ended = f'vllm:request_success_total{{engine="0",finished_reason="stop",{TARGET}}}'
    # The old pod goes as the new one comes.
    series = {old: f"1x{HOUR} _x{HOUR}", new: f"_x{HOUR} 0x{HOUR}", ended: f"0+1x{HOUR} _x{HOUR}"}
    promtool.judge(rules, series, tmp_path, seconds=SECONDS, firing=[("110m", alert("ModelIsIdle", "info"), False)])


@pytest.mark.parametrize(
    ("labels", "fires"),
    [
        ('reason="CrashLoopBackOff",pod="qwen-predictor-6b765b554d-abcde"', True),
        ('reason="ImagePullBackOff",pod="qwen-predictor-6b765b554d-abcde"', False),
        ('reason="CrashLoopBackOff",pod="qwen-predictor-two-predictor-6b765b554d-abcde"', False),
        ('reason="CrashLoopBackOff",pod="qwen-predictor-6b765b554d-abcde",namespace="others"', False),
    ],
)
def test_a_pod_that_restarts_again_and_again_is_told_and_nobody_elses(
    rules: list[dict[str, Any]], labels: str, fires: bool, tmp_path: Path
) -> None:
    namespace = "" if "namespace" in labels else ',namespace="models"'
    # It waits for most of the time, and runs for a moment between.
    series = {f'{WAITING_REASON}{{container="kserve-container",{labels}{namespace}}}': "1 1 1 _ " * 20}
    pod = re.search(r'pod="([^"]+)"', labels)
    told = alert("ModelRestartsAgainAndAgain", "critical", pod=pod[1] if pod else "")
    promtool.judge(rules, series, tmp_path, seconds=SECONDS, firing=[("2m", told, False), ("15m", told, fires)])


def test_kubeais_pods_are_found_by_their_names(tmp_path: Path) -> None:
    labels = 'container="server",reason="CrashLoopBackOff",namespace="kubeai",pod="model-qwen-5d8c4-x2"'
    series = {f"{WAITING_REASON}{{{labels}}}": "1x60"}
    told = {**alert("ModelRestartsAgainAndAgain", "critical", pod="model-qwen-5d8c4-x2"), "namespace": "kubeai"}
    promtool.judge(groups(delivery="kubeai"), series, tmp_path, seconds=SECONDS, firing=[("10m", told, True)])


def test_a_model_that_nobody_has_read_for_a_quarter_of_an_hour_has_no_ready_pod(
    rules: list[dict[str, Any]], tmp_path: Path
) -> None:
    none = alert("ModelHasNoReadyPod", "critical")
    gone = {name: f"{values} stale" for name, values in recorded().items()}
    firing = [("10m", none, False), ("25m", none, False), ("40m", none, True)]
    promtool.judge(rules, gone, tmp_path, seconds=SECONDS, firing=firing)


def test_a_model_that_is_paused_or_may_be_at_zero_is_not_missed_and_one_without_gpus_costs_nothing_idle() -> None:
    assert names(groups(paused=True)) == {"ModelRestartsAgainAndAgain", "ModelQueueGrows", "ModelCacheIsFull"}
    zero = groups(replicas={"min": 0, "max": 1}, delivery="kubeai")
    assert "ModelHasNoReadyPod" not in names(zero)
    assert "ModelIsIdle" in names(zero)
    assert "ModelIsIdle" not in names(groups(nodePool=None))


def test_a_share_of_a_node_costs_its_share() -> None:
    machine = {"l4": {"accelerator": "nvidia-l4", "count": 4, "zones": ["us-central1-a"]}}
    costs = [float(annotations(_of_pool(machine, gpus), "ModelIsIdle")["usd_per_hour"]) for gpus in (1, 2, 4)]

    assert costs[1] == pytest.approx(2 * costs[0], abs=0.02)
    assert costs[2] == pytest.approx(4 * costs[0], abs=0.02)


def _of_pool(pools: dict[str, Any], gpus: int) -> list[dict[str, Any]]:
    models = {"qwen": {"digest": serving.IMAGE, "nodePool": "l4", "gpus": gpus}}
    settings = serving.gke(models, nodePools=pools, platforms={"monitoring": {"collector": "managed"}})
    return [group for one in serving.of_kind(serving.run(settings), "Rules") for group in one["spec"]["groups"]]
