"""What a sidecar says last, in its own words, is told by its cause."""

import pytest

from modelimage.stream import faults
from tests.watch.test_diagnosis import case
from watch.complaints import complaints
from watch.diagnosis import diagnose
from watch.table import is_lasting

IMAGE = f"us-central1-docker.pkg.dev/demo/models/qwen@sha256:{'a' * 64}"
LAYER = f"{IMAGE}: layer sha256:{'b' * 64}"
FAULTS = [
    (faults.mismatch(LAYER, 3, listed=True), "stream-corrupt"),
    (faults.mismatch(LAYER, 3, listed=False), "stream-corrupt"),
    (faults.refused(IMAGE, 404), "stream-image-missing"),
    (faults.refused(IMAGE, 401), "stream-no-login"),
    (faults.refused(IMAGE, 403, what="its chunk lists"), "stream-no-login"),
    (faults.ignored_ranges("registry.example:5000"), "stream-no-ranges"),
]


@pytest.mark.parametrize(("fault", "code"), FAULTS, ids=lambda one: str(one)[:40])
def test_what_the_sidecar_leaves_is_told_by_its_cause(fault: faults.StreamFault, code: str) -> None:
    recorded = case("stream-not-there")
    status = recorded.pod["status"]["initContainerStatuses"][0]
    status["lastState"]["terminated"]["message"] = f"{faults.LINE}{fault}\n"

    assert [cause.code for cause in diagnose(recorded)] == [code]


def test_what_is_in_a_log_is_told_as_well_where_the_status_was_cut_off() -> None:
    recorded = case("stream-not-there", logs={"stream": f"stream: serving\n{faults.LINE}{FAULTS[0][0]}\n"})
    recorded.pod["status"]["initContainerStatuses"][0]["lastState"]["terminated"]["message"] = ""

    assert [cause.code for cause in diagnose(recorded)] == ["stream-corrupt"]


@pytest.mark.parametrize(
    ("name", "ends"), [("stream-flipped-byte", True), ("stream-compressed", True), ("stream-401", False)]
)
def test_a_fault_of_the_image_lasts_and_a_role_may_still_come(name: str, ends: bool) -> None:
    said = [one for one in complaints(case(name)) if "stream: " in one.text]

    assert [is_lasting(one) for one in said] == [ends]
