"""What Google refuses is refused here first, at the key that is wrong; what it takes is taken."""

import copy
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings.checks.recurrence import Recurrence, RecurrenceError
from tests.components.settings.cases_google import BAD, LEGIT, base
from tests.components.settings.reading import problems, read

START = date(2026, 1, 3)  # a Saturday


def edited(edit: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of a case, and what is given beside them."""
    values, beside = base(), {}
    for path, value in copy.deepcopy(dict(edit)).items():
        if path == "gcp:region":
            beside["region"] = value
            continue
        *above, last = path.split(".")
        at = values
        for name in above:
            at = at.setdefault(name, {})
        if value is None:
            at.pop(last)
        else:
            at[last] = value
    return values, beside


@pytest.mark.parametrize("name", BAD)
def test_what_google_refuses_is_refused_at_its_key_with_the_remedy(name: str) -> None:
    case = BAD[name]
    values, beside = edited(case["edit"])

    found = problems(values, **beside)

    path = case["key"] if case["key"].startswith("gcp:") else f"oci-model-serving:{case['key']}"
    told = [line for line in found if line.startswith(f"{path}: ")]
    assert [line for line in told if all(words in line for words in case["words"])], found


@pytest.mark.parametrize("name", LEGIT)
def test_what_google_takes_is_taken(name: str) -> None:
    values, beside = edited(LEGIT[name])

    assert read(values, **beside)


@pytest.mark.parametrize("value", [0, -1, True, "16", "all", None, [1], 1.5])
def test_local_ssds_are_a_number_or_a_word(value: object) -> None:
    values, _ = edited({})
    values["nodePools"]["l4"]["localSsd"] = value

    [problem] = problems(values)

    assert problem.startswith("oci-model-serving:nodePools.l4.localSsd: ")
    assert problem.endswith("write auto, none or the number of Local SSDs")


# Following the advice.


def test_ranges_that_all_overlap_are_told_free_ones_that_work_together() -> None:
    new = {"nodesCidr": "10.0.0.0/16", "podsCidr": "10.0.0.0/14", "servicesCidr": "10.0.0.0/20"}
    values, _ = edited({"cluster.create.newNetwork": new})

    for line in problems(values):
        key = line.partition(": ")[0].rpartition(".")[2]
        values["cluster"]["create"]["newNetwork"][key] = line.rpartition("as ")[2]

    assert read(values)


# Recurrences.


def on(text: str, days: int = 62) -> list[date]:
    return list(Recurrence.parse(text).days(START, START + timedelta(days=days)))


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("FREQ=DAILY;INTERVAL=20", ["2026-01-03", "2026-01-23", "2026-02-12", "2026-03-04"]),
        ("FREQ=DAILY;BYDAY=MO;BYMONTHDAY=12,26", ["2026-01-12", "2026-01-26"]),
        ("FREQ=WEEKLY;INTERVAL=4", ["2026-01-03", "2026-01-31", "2026-02-28"]),
        ("FREQ=WEEKLY;INTERVAL=4;BYDAY=SU", ["2026-01-04", "2026-02-01", "2026-03-01"]),
        ("FREQ=WEEKLY;INTERVAL=4;BYDAY=SU;WKST=SU", ["2026-01-25", "2026-02-22"]),
        ("FREQ=MONTHLY", ["2026-01-03", "2026-02-03", "2026-03-03"]),
        ("FREQ=MONTHLY;BYDAY=2TU", ["2026-01-13", "2026-02-10"]),
        ("FREQ=MONTHLY;BYDAY=-1SA", ["2026-01-31", "2026-02-28"]),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", ["2026-01-31", "2026-02-28"]),
        ("FREQ=MONTHLY;BYMONTHDAY=31", ["2026-01-31"]),
        (
            "FREQ=MONTHLY;BYDAY=SA,SU;BYSETPOS=1,-1",
            ["2026-01-03", "2026-01-31", "2026-02-01", "2026-02-28", "2026-03-01"],
        ),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=1", ["2026-02-01"]),
        ("FREQ=YEARLY;BYMONTH=2", ["2026-02-03"]),
    ],
)
def test_a_rule_falls_on_its_days(text: str, days: list[str]) -> None:
    # RFC 5545, 3.8.5.3; the first window of a MONTHLY;BYSETPOS=1 is before the start and does not count.
    assert [str(day) for day in on(text)] == days


@pytest.mark.parametrize(
    "text",
    [
        "FREQ=WEEKLY;BYDAY=1SA",
        "FREQ=WEEKLY;BYMONTHDAY=1",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=two",
        "FREQ=DAILY;BYMONTHDAY=32",
        "FREQ=DAILY;BYHOUR=2",
        "FREQ=DAILY;WKST=XX",
        "FREQ=DAILY;FREQ=WEEKLY",
        "FREQ=DAILY;",
        "FREQ=",
        "BYDAY=SA",
        "",
    ],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(RecurrenceError):
        Recurrence.parse(text)


_PART = st.sampled_from(
    [
        "INTERVAL=2",
        "INTERVAL=1000",
        "BYDAY=SA,SU",
        "BYDAY=5MO",
        "BYDAY=-53FR",
        "BYMONTHDAY=30,31",
        "BYMONTH=2",
        "BYSETPOS=-1",
        "BYSETPOS=366",
        "WKST=WE",
    ]
)


@given(st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]), st.lists(_PART, unique_by=lambda part: part[:4]))
def test_a_rule_ends_and_its_days_come_in_order_within_the_time(frequency: str, parts: list[str]) -> None:
    try:
        rule = Recurrence.parse(";".join([f"FREQ={frequency}", *parts]))
    except RecurrenceError:
        return
    end = START + timedelta(days=400)
    days = list(rule.days(START, end))

    assert days == sorted(set(days))
    assert all(START <= day < end for day in days)


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_refused_with_words(text: str) -> None:
    said = "taken"
    try:
        Recurrence.parse(text)
    except RecurrenceError as error:
        said = str(error)

    assert said
