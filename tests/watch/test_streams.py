"""What a sidecar says last, in its own words, is told by its cause."""

import pytest

from modelimage.errors import ImageError
from modelimage.stream import faults, rights
from modelimage.stream.connections import place_of
from oci_model_serving.reference import parse_registry
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
    (faults.CorruptFault(f"{LAYER} is cut short"), "stream-corrupt"),
    (faults.StreamFault(f"{LAYER} cannot be listed: it is cut short"), "stream-unreadable"),
    (faults.StreamFault(f"{LAYER} is compressed (x+zstd), and cannot be listed: its type"), "stream-compressed"),
    (faults.StreamFault(f"{IMAGE}: the chunk lists sha256:{'c' * 64}: two lists"), "stream-unreadable"),
]


def causes_of(said: object) -> list[str]:
    recorded = case("stream-not-there")
    status = recorded.pod["status"]["initContainerStatuses"][0]
    status["lastState"]["terminated"]["message"] = f"{faults.LINE}{said}\n"
    return [cause.code for cause in diagnose(recorded)]


@pytest.mark.parametrize(("fault", "code"), FAULTS, ids=lambda one: str(one)[:40])
def test_what_the_sidecar_leaves_is_told_by_its_cause(fault: faults.StreamFault, code: str) -> None:
    assert causes_of(fault) == [code]


@pytest.mark.parametrize("address", ["http://storage.example/blob", "https://[::1"])
def test_a_registry_that_sends_where_nobody_follows_is_told(address: str) -> None:
    with pytest.raises(ImageError) as raised:
        place_of(address)

    assert causes_of(raised.value) == ["stream-redirect"]


def test_a_pod_whose_account_gets_no_token_is_told_where_tokens_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "_WAITS", (0.0,))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")  # nobody is there, as where no rule lets the pod through
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    image = parse_registry(IMAGE)
    with pytest.raises(ImageError) as raised:
        rights.PodCredentials(image.host, image.repository, use_environment=True).from_google(refresh=False)

    assert causes_of(faults.as_fault(raised.value, image)) == ["stream-no-token"]


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
