"""When a wait for pods ends before its time, and when it does not: seconds of a clock that the tests set."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from watch.signs import Look, Signs

JSON = dict[str, Any]
_IMAGE = f"r.example/m@sha256:{'a' * 64}"
NOT_FOUND = f'failed to pull and unpack image "{_IMAGE}": failed to resolve reference "{_IMAGE}": {_IMAGE}: not found'
HICCUP = "unexpected status from GET request to https://r.example/v2/: 503 Service Unavailable"
SCHEDULED = {"type": "PodScheduled", "status": "True"}
NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}


def pod(state: JSON, *, restarts: int = 0, last: JSON | None = None, **status: Any) -> JSON:
    container = {"name": "server", "state": state, "restartCount": restarts, "ready": False}
    if last:
        container["lastState"] = last
    return {
        "metadata": {"name": "p-1", "uid": "u-1"},
        "spec": {"containers": [{"name": "server"}]},
        "status": {"phase": "Pending", "conditions": [SCHEDULED], "containerStatuses": [container], **status},
    }


def waiting(reason: str, message: str = "") -> JSON:
    return {"waiting": {"reason": reason, "message": message}}


def crashed(times: int) -> JSON:
    ended = {"terminated": {"exitCode": 1, "reason": "Error"}}
    return pod(waiting("CrashLoopBackOff"), restarts=times - 1, last=ended)


def running(restarts: int) -> JSON:
    return pod({"running": {}}, restarts=restarts, last={"terminated": {"exitCode": 1}})


def event(reason: str, message: str = "", at: int = 0, uid: str = "u-1") -> JSON:
    involved = {"kind": "Pod", "name": "p-1", "uid": uid}
    time = f"2026-11-25T10:{at // 60:02}:{at % 60:02}Z"
    return {"reason": reason, "message": message, "involvedObject": involved, "lastTimestamp": time}


def ended_at(looks: Callable[[int], Look], seconds: Iterable[int]) -> int | None:
    """The second at which the wait is over; None where it is not."""
    signs = Signs()
    return next((second for second in seconds if signs.verdict(looks(second), second)), None)


def backing_off(second: int, message: str) -> JSON:
    """As the kubelet tells it: a failed try, then its back-off, then a moment in which it says that it creates."""
    tries = (0, 10, 30, 70, 150, 310)
    if second in tries:
        return pod(waiting("ErrImagePull", message))
    if second + 1 in tries:
        return pod(waiting("ContainerCreating"))
    return pod(waiting("ImagePullBackOff", f'Back-off pulling image "r.example/m": ErrImagePull: {message}'))


def test_a_pull_that_cannot_succeed_ends_within_60_seconds_of_its_first_sign() -> None:
    ended = ended_at(lambda second: Look([backing_off(second, NOT_FOUND)]), range(300))

    assert ended == 40


def test_a_first_err_image_pull_counts_and_no_other_poll_resets_the_clock() -> None:
    looks = {0: pod(waiting("ErrImagePull", NOT_FOUND)), 50: pod(waiting("ErrImagePull", NOT_FOUND))}

    assert ended_at(lambda at: Look([looks.get(at, pod(waiting("ContainerCreating")))]), range(60)) == 50


def test_a_registrys_hiccup_gets_five_tries_and_ends_within_two_minutes() -> None:
    ended = ended_at(lambda second: Look([backing_off(second, HICCUP)]), range(300))

    assert ended is not None
    assert 100 <= ended < 120


def test_a_hiccup_that_passes_ends_nothing() -> None:
    def looks(second: int) -> Look:
        return Look([backing_off(second, HICCUP) if second < 80 else pod({"running": {}})])

    assert ended_at(looks, range(3600)) is None


def test_a_slow_pull_after_a_failed_one_is_never_ended() -> None:
    """The status keeps the failure while the kubelet pulls again; its event tells that it does."""
    events = [event("Failed", f"Failed to pull image: {HICCUP}", at=1), event("Pulling", "Pulling image", at=11)]
    failed = pod(waiting("ImagePullBackOff", HICCUP))

    assert ended_at(lambda _: Look([failed], events=events), range(3600)) is None
    assert ended_at(lambda _: Look([failed], events=[*events, event("Failed", HICCUP, at=11)]), range(3600)) == 110


def test_a_slow_first_pull_is_never_ended() -> None:
    creating = pod(waiting("ContainerCreating"))

    assert ended_at(lambda _: Look([creating], events=[event("Pulling")]), range(0, 36000, 10)) is None


@pytest.mark.parametrize("reason", ["CreateContainerConfigError", "CreateContainerError", "InvalidImageName"])
def test_a_container_that_cannot_be_made_ends_within_60_seconds(reason: str) -> None:
    assert ended_at(lambda _: Look([pod(waiting(reason))]), range(300)) == 40


def test_an_image_without_a_shell_which_nobody_can_give_it_ends_in_seconds_though_it_is_tried_again() -> None:
    no_shell = pod(waiting("RunContainerError", 'runc create failed: exec: "sh": executable file not found in $PATH'))
    tried_again = pod(waiting("CrashLoopBackOff"), restarts=1)
    for one in (no_shell, tried_again):
        one["spec"]["containers"][0]["name"] = one["status"]["containerStatuses"][0]["name"] = "modelcar"

    assert ended_at(lambda second: Look([no_shell if second != 2 else tried_again]), range(300)) == 5


@pytest.mark.parametrize(
    "message", ["context deadline exceeded", 'failed to reserve container name "x": name "x" is reserved for "a86"']
)
def test_a_container_that_a_slow_disk_keeps_back_is_never_ended(message: str) -> None:
    assert ended_at(lambda _: Look([pod(waiting("CreateContainerError", message))]), range(0, 3600, 5)) is None


def crashed_once(words: str) -> Callable[[int], Look]:
    """A server that has ended once, with these words, and runs again."""
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": words}}
    return lambda _: Look([pod({"running": {}}, restarts=1, last=ended)])


@pytest.mark.parametrize(
    "beside",
    [
        "WARNING 11-25 10:00:00 [scheduler.py:2] max_num_batched_tokens (2048) is smaller than max_model_len (32768).",
        "ModuleNotFoundError: No module named 'flash_attn'",
    ],
)
def test_a_crash_that_may_be_of_what_passes_is_not_ended_for_what_else_was_said(beside: str) -> None:
    """A driver that was not ready is, at the next start, whatever a library printed before."""
    assert ended_at(crashed_once(f"{beside}\nRuntimeError: No CUDA GPUs are available"), range(3600)) is None


def test_a_server_that_was_told_to_end_is_not_ended_for_what_it_said_before() -> None:
    ended = {"terminated": {"exitCode": 143, "reason": "Error", "message": "error: unrecognized arguments: --no"}}

    assert ended_at(lambda _: Look([pod({"running": {}}, restarts=1, last=ended)]), range(3600)) is None


def crash_loop(seconds_up: int) -> Callable[[int], Look]:
    """A server that always ends after so many seconds; the kubelet waits 0, 10, 20, 40 … s before it starts again."""
    times: list[tuple[int, JSON]] = []
    clock, back_off = 0, [0, 10, 20, 40, 80, 160]
    for number, pause in enumerate(back_off, start=1):
        times.append((clock, crashed(number)))
        clock += max(1, pause)
        times.append((clock, running(number)))
        clock += seconds_up

    return lambda second: Look([next(found for at, found in reversed(times) if at <= second)])


@pytest.mark.parametrize("seconds_up", [1, 2, 5, 10, 15, 20, 25, 30, 45, 58])
def test_a_crash_loop_ends_within_60_seconds_of_the_first_crash(seconds_up: int) -> None:
    ended = ended_at(crash_loop(seconds_up), range(400))

    assert ended is not None
    assert ended <= 60


def test_a_server_that_takes_minutes_to_crash_ends_at_its_second_crash() -> None:
    ended = ended_at(crash_loop(300), range(1000))

    assert ended == 301


UNKNOWN_ARGUMENT = "api_server.py: error: unrecognized arguments: --max-modell-len=8192"


def test_a_crash_with_words_that_no_restart_changes_ends_the_wait_though_the_server_tries_again() -> None:
    ended = {"terminated": {"exitCode": 2, "reason": "Error", "message": UNKNOWN_ARGUMENT}}

    assert ended_at(lambda _: Look([pod({"running": {}}, restarts=1, last=ended)]), range(300)) == 5


def test_the_same_words_of_a_server_that_is_ready_by_now_end_nothing() -> None:
    ended = {"terminated": {"exitCode": 2, "reason": "Error", "message": UNKNOWN_ARGUMENT}}
    looks = pod({"running": {}}, restarts=1, last=ended)
    looks["status"]["containerStatuses"][0]["ready"] = True

    assert ended_at(lambda _: Look([looks]), range(300)) is None


@pytest.mark.parametrize("stays_down", [1, 29, 120, 600])
def test_one_stray_crash_is_never_ended_however_long_the_start_takes(stays_down: int) -> None:
    def looks(second: int) -> Look:
        return Look([crashed(1) if second < stays_down else running(1)])

    assert ended_at(looks, range(3600)) is None


def test_two_quick_crashes_before_the_link_to_the_weights_is_there_end_nothing() -> None:
    def looks(second: int) -> Look:
        return Look([crashed(1) if second < 1 else crashed(2) if second < 12 else running(2)])

    assert ended_at(looks, range(3600)) is None


def test_an_init_container_that_is_done_has_not_crashed() -> None:
    done = pod({"waiting": {"reason": "PodInitializing"}})
    done["spec"]["initContainers"] = [{"name": "modelcar-init"}]
    finished = {"name": "modelcar-init", "state": {"terminated": {"exitCode": 0}}, "restartCount": 0, "ready": True}
    done["status"]["initContainerStatuses"] = [finished]

    assert ended_at(lambda _: Look([done]), range(3600)) is None


def test_no_pod_ends_after_30_seconds_where_somebody_says_why_and_after_120_where_nobody_does() -> None:
    assert ended_at(lambda _: Look(complaint="InvalidSpec"), range(300)) == 30
    assert ended_at(lambda _: Look(), range(300)) == 120


def test_a_complaint_of_the_time_before_the_change_is_no_sign_once_it_is_gone() -> None:
    def looks(second: int) -> Look:
        return Look(complaint="InvalidSpec" if second < 20 else "") if second < 60 else Look([running(0)])

    assert ended_at(looks, range(3600)) is None


def test_pods_of_before_that_are_still_going_are_progress() -> None:
    assert ended_at(lambda _: Look(going=True, complaint="quota"), range(3600)) is None


def unscheduled() -> JSON:
    found = pod({}, conditions=[NO_NODE])
    found["status"]["containerStatuses"] = []
    return found


def test_a_pod_for_which_the_autoscaler_makes_no_node_ends_after_two_minutes() -> None:
    events = [event("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached")]

    assert ended_at(lambda _: Look([unscheduled()], events=events), range(300)) == 120


def scale_up_failed(why: str) -> str:
    return f"Node scale up in zones us-central1-a associated with this pod failed: {why}. Pod is at risk."


@pytest.mark.parametrize("why", ["IP space exhausted", "Service Account was deleted", "Reservation not found"])
def test_a_scale_up_that_no_repetition_helps_ends_the_wait_after_two_minutes(why: str) -> None:
    events = [
        event("TriggeredScaleUp", at=1),
        event("FailedScaleUp", scale_up_failed(why), at=30),
        event("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 in backoff after failed scale-up", at=60),
    ]

    assert ended_at(lambda _: Look([unscheduled()], events=events), range(300)) == 120


@pytest.mark.parametrize(
    "events",
    [
        [],
        [event("NotTriggerScaleUp", at=1), event("TriggeredScaleUp", at=9)],
        [event("TriggeredScaleUp", at=1), event("NotTriggerScaleUp", at=9)],
        [event("NotTriggerScaleUp", uid="of-an-earlier-pod")],
        [event("TriggeredScaleUp", at=1), event("FailedScaleUp", scale_up_failed("GCE quota exceeded"), at=9)],
        [event("TriggeredScaleUp", at=1), event("FailedScaleUp", scale_up_failed("GCE out of resources"), at=9)],
        [event("FailedScaleUp", scale_up_failed("IP space exhausted"), at=1), event("TriggeredScaleUp", at=9)],
        [event("TriggeredScaleUp", scale_up_failed("IP space exhausted"))],
        [event("FailedScaleUp", scale_up_failed("IP space exhausted"), uid="of-an-earlier-pod")],
    ],
)
def test_a_pod_that_a_node_may_come_for_is_waited_for(events: list[JSON]) -> None:
    assert ended_at(lambda _: Look([unscheduled()], events=events), range(3600)) is None


def failed(number: int) -> list[JSON]:
    return [
        {"metadata": {"name": f"p-{one}"}, "spec": {}, "status": {"phase": "Failed", "reason": "Evicted"}}
        for one in range(number)
    ]


def test_a_pod_that_is_evicted_for_its_own_limit_ends_the_wait_as_the_next_would_be_too() -> None:
    evicted = failed(1)[0]
    evicted["status"]["message"] = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi."

    assert ended_at(lambda second: Look([*([evicted] if second >= 20 else []), running(0)]), range(300)) == 25
    assert ended_at(lambda _: Look([evicted, running(0)]), range(300)) is None


def test_an_evicted_pod_whose_server_ended_well_is_known_by_its_event() -> None:
    done = {"metadata": {"name": "p-1", "uid": "u-1"}, "spec": {}, "status": {"phase": "Succeeded"}}
    said = event("Evicted", "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ")
    told = {**said, "type": "Warning"}

    assert ended_at(lambda second: Look([done] if second else [], going=True, events=[told]), range(300)) == 6


def test_pods_that_are_evicted_again_and_again_end_the_wait_and_those_of_before_do_not() -> None:
    live = running(0)

    assert ended_at(lambda second: Look([*failed(min(3, second // 5)), live]), range(300)) == 15
    assert ended_at(lambda _: Look([*failed(3), live]), range(300)) is None
    assert ended_at(lambda _: Look(failed(3)), range(300)) == 120
