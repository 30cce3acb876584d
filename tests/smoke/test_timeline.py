"""A cold start is divided by what the pod, its events and its node say."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoke.timeline import measure, parse_duration, parse_time
from tests.smoke import stacks

RESUMED = datetime(2026, 11, 22, 10, 0, 0, tzinfo=timezone.utc)
SERVER = "docker.io/vllm/vllm-openai:v0.23.0"


def event(reason: str, message: str, at: str) -> dict[str, Any]:
    return {
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-11-22T{at}Z",
        "involvedObject": {"kind": "Pod", "name": "p-1"},
    }


def cold_pod() -> dict[str, Any]:
    pod = stacks.pod()
    pod["status"]["conditions"].append(
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-22T10:01:31Z"}
    )
    return pod


EVENTS = [
    event(
        "Pulled",
        f'Successfully pulled image "{stacks.IMAGE}" in 41.5s (1m1.5s including waiting). '
        "Image size: 1000000000 bytes.",
        "10:02:35",
    ),
    event("Pulled", f'Container image "{stacks.IMAGE}" already present on machine', "10:02:36"),
    event(
        "Pulled",
        f'Successfully pulled image "{SERVER}" in 20s (20s including waiting). Image size: 9000 bytes.',
        "10:02:56",
    ),
]


def figures(events: list[dict[str, Any]], node: dict[str, Any] | None = None, answered: datetime | None = None) -> Any:
    return measure(
        cold_pod(),
        events,
        node,
        container="kserve-container",
        repository=stacks.REPOSITORY,
        resumed=RESUMED,
        answered=answered,
    )


def test_each_phase_has_its_seconds() -> None:
    found = figures(EVENTS, answered=RESUMED + timedelta(seconds=245))

    assert found.controller == 1
    assert found.node_provision == 90
    assert found.image_pull == 41.5
    assert found.server_image_pull == 20
    assert found.container_start == 4  # 10:02:56 to 10:03:00
    assert found.server_start == 60
    assert found.endpoint == 5
    assert found.total == 245


def test_a_pull_has_its_size_and_the_time_in_the_queue() -> None:
    model, server = figures(EVENTS).pulls

    assert (model.size_bytes, model.waiting_seconds) == (1_000_000_000, 20)
    assert (server.image, server.waiting_seconds) == (SERVER, 0)


def test_unpacking_is_not_guessed() -> None:
    assert figures(EVENTS).unpack is None


def test_a_node_that_had_the_image_needs_no_pull() -> None:
    found = figures([EVENTS[1]])

    assert found.image_pull == 0
    assert found.container_start == 24


def test_without_events_the_pull_is_unknown_and_not_zero() -> None:
    assert figures([]).image_pull is None


def test_without_an_answer_the_total_ends_at_ready() -> None:
    found = figures(EVENTS)

    assert found.endpoint is None
    assert found.total == 240


@pytest.mark.parametrize(("created", "new"), [("2026-11-22T10:00:40Z", True), ("2026-11-21T10:00:40Z", False)])
def test_a_node_is_new_when_it_came_after_the_resume(created: str, new: bool) -> None:
    assert figures(EVENTS, {"metadata": {"creationTimestamp": created}}).node_is_new is new


def test_events_of_other_pods_do_not_count() -> None:
    other = {**EVENTS[0], "involvedObject": {"name": "p-2"}}

    assert figures([other, EVENTS[1]]).image_pull == 0


@given(st.integers(0, 10_000), st.integers(0, 59), st.integers(0, 999))
def test_go_durations_are_read(minutes: int, seconds: int, millis: int) -> None:
    text = f"{minutes}m{seconds}.{millis:03d}s" if minutes else f"{seconds}.{millis:03d}s"

    assert parse_duration(text) == pytest.approx(minutes * 60 + seconds + millis / 1000)


def test_short_go_durations_are_read() -> None:
    assert parse_duration("317.5ms") == pytest.approx(0.3175)


@pytest.mark.parametrize("text", ["2026-11-22T10:00:00Z", "2026-11-22T10:00:00.000000Z"])
def test_both_forms_of_the_apis_times_are_read(text: str) -> None:
    assert parse_time(text) == RESUMED
