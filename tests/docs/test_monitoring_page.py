"""docs/monitoring.md: its alerts, metrics and settings are those of the program."""

import re
from typing import Any, get_args

import yaml

from components.settings.pods import Monitoring
from tests import serving
from tests.components.serving.test_alerts import RECORDED
from tests.components.serving.test_dashboard import DOCUMENTED, EXPOSITION, STREAMED

PAGE = (serving.ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The table below a heading, without its head."""
    lines = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def rules() -> list[dict[str, Any]]:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    platforms = yaml.safe_load(block)["oci-model-serving:platforms"]
    recording = serving.run(serving.gke({"qwen": {"digest": serving.IMAGE, "nodePool": "l4"}}, platforms=platforms))
    (one,) = serving.of_kind(recording, "Rules")
    return [rule for group in one["spec"]["groups"] for rule in group["rules"]]


def test_the_page_names_every_alert_with_its_severity_and_its_time() -> None:
    made = {rule["alert"]: rule for rule in rules()}
    told = {name.strip("`"): (when, severity) for name, when, severity in rows("Alerts")}

    assert told.keys() == made.keys()
    for name, (when, severity) in told.items():
        assert severity == made[name]["labels"]["severity"]
        minutes = re.findall(r"(\d+) minutes", when)
        spans = [made[name]["for"], *re.findall(r"\[(\d+\w)\]", made[name]["expr"])]
        assert not minutes or f"{minutes[0]}m" in spans


def test_every_metric_of_the_page_is_exported_by_the_real_server_or_documented_by_its_source() -> None:
    named = {name for cells in rows("The names") for name in re.findall(r"`([\w:]+)`", cells[0])}
    exported = {re.split(r"[{ ]", line)[0] for line in EXPOSITION.splitlines() if not line.startswith("#")}
    families = exported | {name.removesuffix("_bucket") for name in exported}

    assert len(named) >= 15
    assert named - families == DOCUMENTED | {STREAMED, "kube_pod_container_status_waiting_reason"}


def test_the_collectors_of_the_page_are_those_of_the_settings() -> None:
    told = {
        cells[0].split("`")[1]
        for cells in (line.strip("|").split("|") for line in PAGE.splitlines() if line[:3] == "| `")
    }
    choices = set(get_args(Monitoring.model_fields["collector"].annotation))

    assert choices <= told


def test_the_samples_of_the_page_are_those_of_the_recorded_server() -> None:
    (said,) = re.findall(r"some (\d+) series, at `interval: (\d+)` about (\d+) million", PAGE)
    count, interval, millions = map(int, said)
    assert count == RECORDED["samples"]
    assert round(count * 30 * 86400 / interval / 1e6) == millions
