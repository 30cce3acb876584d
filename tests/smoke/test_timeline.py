"""A cold start is divided by what the pod, its events and its node say."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoke.engine_log import EngineStart
from smoke.timeline import ColdStart, Images, measure
from smoke.times import parse_duration, parse_time
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
    pod = stacks.pod(image=SERVER)
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


ADAPTER = "us-central1-docker.pkg.dev/demo/models/lora"


def figures(
    events: list[dict[str, Any]],
    node: dict[str, Any] | None = None,
    answered: datetime | None = None,
    **further: Any,
) -> ColdStart:
    return measure(
        cold_pod(),
        events,
        node,
        container="kserve-container",
        images=Images(stacks.REPOSITORY, frozenset({ADAPTER})),
        resumed=RESUMED,
        answered=answered,
        **further,
    )


def at(time: str) -> datetime:
    found = parse_time(f"2026-11-22T{time}Z")
    assert found
    return found


def test_each_stage_has_its_seconds() -> None:
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


def test_a_pull_says_what_the_image_is_to_the_pod_and_how_fast_it_came() -> None:
    adapter = event("Pulled", f'Successfully pulled image "{ADAPTER}@sha256:{"d" * 64}" in 2.5s', "10:02:57")
    sidecar = event("Pulled", 'Successfully pulled image "docker.io/istio/proxyv2:1.27" in 1s', "10:02:57")
    found = figures([*EVENTS, adapter, sidecar])

    assert [pull.role for pull in found.pulls] == ["model", "server", "adapter", "other"]
    assert [pull.mb_per_second for pull in found.pulls] == [24.1, 0.0, None, None]
    assert (found.image_pull, found.adapters_pull, found.server_image_pull) == (41.5, 2.5, 21)


def test_an_adapter_that_was_there_took_no_time_and_a_model_without_any_has_no_figure() -> None:
    assert figures(EVENTS).adapters_pull == 0
    alone = measure(
        cold_pod(), EVENTS, None, container="kserve-container", images=Images(stacks.REPOSITORY), resumed=RESUMED
    )
    assert alone.adapters_pull is None


def test_the_servers_start_is_divided_by_what_its_log_says() -> None:
    engine = EngineStart("0.23.0", at("10:03:14"), at("10:03:58"), 9.5, 30.25, 20.5, 4.0)
    found = figures(EVENTS, engine=engine)

    assert (found.process_start, found.load, found.engine_init) == (14, 9.5, 30.25)
    assert (found.compile, found.graph_capture, found.ready) == (20.5, 4, 2)
    assert found.server_version == "0.23.0"


def test_a_server_that_says_nothing_has_one_figure_of_its_start() -> None:
    found = figures(EVENTS)

    assert found.server_start == 60
    parts = (found.process_start, found.load, found.engine_init, found.compile, found.graph_capture, found.ready)
    assert set(parts) == {None}


def new_node() -> dict[str, Any]:
    return {
        "metadata": {
            "name": "n-1",
            "creationTimestamp": "2026-11-22T10:00:41Z",
            "labels": {"node.kubernetes.io/instance-type": "g2-standard-12"},
        },
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T10:00:58Z"}],
            "nodeInfo": {"kubeletVersion": "v1.35.4-gke.1", "containerRuntimeVersion": "containerd://2.1.5"},
        },
    }


def installer(exit_code: int = 0) -> dict[str, Any]:
    ended = {"exitCode": exit_code, "startedAt": "2026-11-22T10:01:00Z", "finishedAt": "2026-11-22T10:01:27Z"}
    status = {"name": "nvidia-driver-installer", "state": {"terminated": ended}}
    return {"metadata": {"name": "nvidia-gpu-device-plugin-x"}, "status": {"initContainerStatuses": [status]}}


def test_a_new_node_is_divided_into_its_creation_its_registration_and_its_driver() -> None:
    other = {"metadata": {"name": "kube-proxy"}, "status": {}}
    found = figures(EVENTS, new_node(), beside=[other, installer()])

    assert (found.node_created, found.node_ready, found.driver) == (40, 17, 27)
    assert found.node_provision == 90
    assert (found.machine_type, found.kubelet, found.runtime) == (
        "g2-standard-12",
        "v1.35.4-gke.1",
        "containerd://2.1.5",
    )


def test_a_node_that_was_there_tells_nothing_of_its_creation_or_its_driver() -> None:
    node = new_node()
    node["metadata"]["creationTimestamp"] = "2026-11-21T10:00:40Z"
    found = figures(EVENTS, node, beside=[installer()])

    assert (found.node_created, found.node_ready, found.driver) == (None, None, None)


def test_a_driver_whose_installation_failed_is_no_figure() -> None:
    assert figures(EVENTS, new_node(), beside=[installer(exit_code=1)]).driver is None


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


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T10:00:00Z",
        "2026-11-22T10:00:00.000000Z",
        "2026-11-22T10:00:00.000000123Z",
        "2026-11-22T12:00:00.0+02:00",
    ],
)
def test_the_forms_of_the_apis_and_the_kubelets_times_are_read(text: str) -> None:
    assert parse_time(text) == RESUMED


@pytest.mark.parametrize("text", ["2026-11-22", "22 Nov 2026", "2026-11-22T10:00:00", "2026-13-22T10:00:00Z"])
def test_another_form_of_a_time_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)
