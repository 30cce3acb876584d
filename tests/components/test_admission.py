import pulumi
import pytest

from components import admission
from components.references import ImageReference
from tests.mocks import record
from tests.serving import IMAGE

REFERENCE = ImageReference.parse(IMAGE)


def pass_on(size_bytes: int, disk_size_gb: int | None) -> object:
    def program() -> None:
        made = admission.fitting(pulumi.Output.from_input(REFERENCE), size_bytes, disk_size_gb, "qwen")
        pulumi.export("image", made.apply(str))

    return record(program).outputs["image"]


@pytest.mark.parametrize(("size", "disk"), [(1_000_000_000, 200), (60_000_000_000, 200), (10**15, None)])
def test_an_image_that_fits_is_passed_on_and_a_disk_of_somebody_else_is_not_judged(size: int, disk: int | None) -> None:
    assert pass_on(size, disk) == IMAGE


def test_an_image_that_a_build_found_too_large_stops_before_it_is_served() -> None:
    with pytest.raises(admission.DiskError, match=r"models\.qwen: bootDisk\.") as caught:
        pass_on(100_000_000_000, 200)

    assert "100" in str(caught.value)
    assert isinstance(caught.value, pulumi.RunError)  # the engine shows it without a traceback


@pytest.mark.parametrize(("image", "warned"), [("docker.io/vllm/vllm-openai:v0.23.0", 1), (IMAGE, 0)])
def test_a_servers_tag_is_warned_of_with_the_command_that_prints_its_digest(image: str, warned: int) -> None:
    messages = record(lambda: admission.advise_digest("platforms.kserve.server.image", image)).messages

    assert len(messages) == warned
    for level, text in messages:
        assert level == "warning"
        assert f"`python -m modelimage inspect {image}`" in text
