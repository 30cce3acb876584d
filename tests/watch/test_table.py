"""The table of causes is whole: each row is seen in a recorded state, and its remedy can be filled in."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from watch import facts
from watch.table import ROWS
from watch.table.row import Row

STATES = [json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "statuses").glob("*.json"))]


def test_each_code_names_one_cause() -> None:
    assert {code: count for code, count in Counter(row.code for row in ROWS).items() if count > 1} == {}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_each_cause_is_seen_in_a_recorded_state(row: Row) -> None:
    assert any(row.code in state["expect"] for state in STATES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_each_remedy_can_be_filled_in(row: Row) -> None:
    known = facts.names() | re.compile(row.pattern).groupindex.keys()

    assert set(re.findall(r"\{(\w+)\}", row.remedy)) <= known


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.code)
def test_what_a_cause_hides_is_a_cause(row: Row) -> None:
    assert set(row.hides) <= {other.code for other in ROWS} - {row.code}
    assert row.source
