from collections.abc import Mapping
from typing import Any

import pulumi
import pytest

from components.serving import admission
from offline.recording import Answer
from tests import serving
from tests.mocks import KnownAfter, Recording, Resource, built, record
from tests.serving import IMAGE

HUB = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
GB = 1_000_000_000


def run(
    size_gb: int, disk_gb: int, pool: dict[str, Any] | None = None, answer: Answer | None = None, **fields: Any
) -> Recording:
    """Two models on one pool, each built of this size, one on either platform."""
    model = {"source": HUB, "nodePool": "l4", **fields}
    nodes = {"accelerator": "nvidia-l4", "maxNodes": 9, "bootDisk": {"sizeGb": disk_gb}, **(pool or {})}
    settings = serving.gke({"a": model, "b": {**model, "delivery": "kubeai"}}, nodePools={"l4": nodes})
    return serving.run(settings, answer=answer or built(size_bytes=size_gb * GB))


def said(recording: Recording) -> list[str]:
    return [text for level, text in recording.messages if level == "info" and text.startswith("nodePools.l4")]


def test_images_that_only_the_build_sizes_count_together_before_any_is_served() -> None:
    with pytest.raises(admission.DiskError) as caught:
        run(150, 500)

    assert str(caught.value).startswith("nodePools.l4.bootDisk: sizeGb is 500")
    assert "(a 150 GB, b 150 GB) need 753" in str(caught.value)
    assert str(caught.value).endswith("write sizeGb: 753 or more")
    assert isinstance(caught.value, pulumi.RunError)  # the engine shows it without a traceback


@pytest.mark.parametrize("warm", ["none", "prepull"])
def test_nothing_is_served_from_a_disk_that_proves_too_small(warm: str) -> None:
    made: list[str] = []

    def watched(resource: Resource) -> Mapping[str, Any] | None:
        made.append(resource.type)
        return built(size_bytes=150 * GB)(resource)

    with pytest.raises(admission.DiskError):
        run(150, 500, answer=watched, warm=warm)

    assert "command:local:Command" in made
    serving_types = ("InferenceService", "kubeai.org/v1:Model", "DaemonSet")
    assert [kind for kind in made if kind.startswith("kubernetes:") and kind.endswith(serving_types)] == []


def test_a_disk_that_holds_all_of_its_images_serves_them_and_says_so_only_then() -> None:
    recording = run(150, 753)

    assert {model["name"] for model in recording.outputs["models"].values()} == {"a", "b"}
    before, after = said(recording)
    assert "a, b is known only after" in before
    assert "headroom" not in before
    assert after == "nodePools.l4.bootDisk: 753 GB, its 2 images need 753 GB, headroom 0 GB"


def test_the_threshold_is_the_pools_own() -> None:
    with pytest.raises(admission.DiskError, match=r"at most 70 % full; write sizeGb: 915 or more"):
        run(150, 753, {"imageGcHighThresholdPercent": 70, "imageGcLowThresholdPercent": 60})


def test_no_headroom_is_claimed_while_a_size_is_unknown() -> None:
    model = {"nodePool": "l4", "digest": IMAGE}
    settings = serving.gke({"known": {**model, "sizeGb": 5}, "later": {**model, "source": HUB, "digest": None}})
    recording = serving.run(settings, answer=None)

    (text,) = said(recording)
    assert "the image size of later is known only after its build" in text
    assert "headroom" not in text
    assert isinstance(recording.outputs["models"]["known"]["storage_uri"], KnownAfter)


def test_need_and_headroom_are_said_in_the_plan_where_all_sizes_are_known() -> None:
    model = {"nodePool": "l4", "digest": IMAGE, "sizeGb": 70}
    pool = {"accelerator": "nvidia-l4", "count": 8, "maxNodes": 9, "bootDisk": {"sizeGb": 500}}
    recording = serving.run(serving.gke({"a": model, "b": model}, nodePools={"l4": pool}), answer=None)

    assert said(recording) == ["nodePools.l4.bootDisk: 500 GB, its 2 images need 377 GB, headroom 123 GB"]


def test_a_disk_of_somebody_else_is_not_judged() -> None:
    models = {"a": {"digest": IMAGE}}

    assert serving.run(serving.gke(models), answer=built(size_bytes=10**15)).outputs["models"]["a"]["image"] == IMAGE


@pytest.mark.parametrize(("image", "warned"), [("docker.io/vllm/vllm-openai:v0.23.0", 1), (IMAGE, 0)])
def test_a_servers_tag_is_warned_of_with_the_command_that_pins_it(image: str, warned: int) -> None:
    messages = record(lambda: admission.advise_digest("platforms.kserve.server.image", image)).messages

    assert len(messages) == warned
    for level, text in messages:
        assert level == "warning"
        assert "`oms pin`" in text
