"""docs/coldstart.md shows what was measured, beside what was predicted, and says each figure and key that there is."""

import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest

from smoke.comparison import Compared, Comparison, OffConstant, compare
from smoke.report import STAGES
from smoke.timeline import SCHEMA, ColdStart, Pull
from tests.docs import measured_starts
from tests.docs.measured_starts import BEGIN, PAGE, reports, table, with_tables
from tests.smoke.test_comparison import AS_PREDICTED, PREDICTED

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_holds_the_tables_of_what_was_measured() -> None:
    assert BEGIN in TEXT
    assert with_tables(TEXT) == TEXT, "run `make docs`"


def test_every_report_that_is_kept_is_of_the_schema_and_names_no_image() -> None:
    for report in reports():
        assert report["figures"]["schema"] == SCHEMA
        assert set(report["figures"]) == {one.name for one in fields(ColdStart)} | {"prediction"}
        assert all("image" not in pull for pull in report["figures"]["pulls"])


def test_the_page_says_every_figure_and_every_key() -> None:
    said = set(re.findall(r"`(\w+)`", TEXT))
    for kind in (ColdStart, Pull, Comparison, Compared, OffConstant):
        assert {one.name for one in fields(kind)} <= said, kind


def test_every_stage_of_the_figures_is_in_the_table_of_the_terminal() -> None:
    figures = {one.name for one in fields(ColdStart) if one.type == float | None}
    assert figures == set(STAGES)


def test_a_table_has_a_row_for_what_something_told_and_its_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured_starts, "FOLDER", tmp_path / "kept")
    found = replace(AS_PREDICTED, machine_type="g2-standard-12", server_version="0.23.0")
    compared = compare(found, PREDICTED)
    assert compared
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"coldstart": {"secret-name": {**asdict(found), "prediction": asdict(compared)}}}))

    measured_starts.take_in(report, "A model on an L4")

    (kept,) = reports()
    assert "secret-name" not in json.dumps(kept)
    assert "vllm/vllm-openai" not in json.dumps(kept)
    lines = table(kept).splitlines()
    assert lines[0] == "A model on an L4 (vLLM 0.23.0, g2-standard-12, a new node):"
    assert "| `node_provision` | 180 to 480 | 200.0 | 1 |" in lines
    assert "| - `load` | 16.0 | 18.0 | 1.12 |" in lines
    assert "| - - `compile` |  | 30.0 |  |" in lines
    assert not any("unpack" in line for line in lines)
