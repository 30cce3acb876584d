"""Prometheus' own tool for rules: Debian's `prometheus` brings it, and where it is not there the tests on it skip."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml


def check(groups: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Fail where a query or a template of the rules is none.

    Raises:
        AssertionError: what the tool says.
    """
    rules = folder / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": [dict(group) for group in groups]}))
    _run("check", "rules", str(rules))


def judge(
    groups: Sequence[Mapping[str, Any]],
    series: Mapping[str, str],
    folder: Path,
    *,
    seconds: int,
    firing: Sequence[tuple[str, Mapping[str, str], bool]],
    told: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Have Prometheus judge the rules on series, one value each `seconds`.

    Args:
        groups: the rules.
        series: series to its values, in promtool's notation.
        folder: for the files.
        seconds: from one value to the next.
        firing: at which time an alert of these labels fires, or does not.
        told: whole alerts, as promtool's `alert_rule_test` has them.

    Raises:
        AssertionError: an alert does not fire when it should, or does when it should not.
    """
    rules = folder / "rules.yaml"
    rules.write_text(yaml.safe_dump({"groups": [dict(group) for group in groups]}))
    asked = [
        {
            "expr": f"ALERTS{{{_matchers({**labels, 'alertstate': 'firing'})}}}",
            "eval_time": time,
            "exp_samples": [{"labels": f"ALERTS{{{_matchers({**labels, 'alertstate': 'firing'})}}}", "value": 1}]
            if fires
            else [],
        }
        for time, labels, fires in firing
    ]
    test = {
        "interval": f"{seconds}s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": asked,
        "alert_rule_test": [dict(one) for one in told],
    }
    tests = folder / "tests.yaml"
    tests.write_text(
        yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": f"{seconds}s", "tests": [test]})
    )
    _run("test", "rules", str(tests))


def _matchers(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def _run(*arguments: str) -> None:
    tool = shutil.which("promtool")
    if not tool:
        pytest.skip("no promtool on PATH (Debian: prometheus)")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
