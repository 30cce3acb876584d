"""A cold start is held against its prediction, and a constant that does not hold is named with what was measured."""

from dataclasses import replace
from typing import Any

import pytest

from components.google import accelerators, cold_start, node_speed, speeds
from components.google.cold_start import Served
from components.google.image_disk import ImageDisk
from oci_model_serving.outputs import ColdStartOutput
from smoke import comparison
from smoke.comparison import Comparison, OffConstant, compare
from smoke.timeline import ColdStart, Pull
from tests.smoke import stacks

STAGES: dict[str, Any] = {
    "server_image_pull": {
        "seconds": 54.0,
        "size_bytes": 10_300_000_000,
        "bound": "gzip, one layer at a time",
        "constant": "inflate",
        "value": 190,
        "unit": "MB/s",
    },
    "image_pull": {
        "seconds": 100.0,
        "size_bytes": 16_000_000_000,
        "bound": "pd-balanced 200 GB",
        "constant": "disk_base,pd-balanced + disk_per_gib,pd-balanced",
        "value": 192,
        "unit": "MiB/s",
    },
    "load": {
        "seconds": 16.0,
        "size_bytes": 16_000_000_000,
        "bound": "the default loader, one thread",
        "constant": "load_cached,default",
        "value": 1000,
        "unit": "MB/s",
    },
    "server_start": {"seconds": 79.0, "constant": "server_start,gpu", "value": 79, "unit": "s"},
}
PREDICTED = ColdStartOutput.model_validate({"node_provision": [180, 480], "stages": STAGES})
AS_PREDICTED = ColdStart(
    controller=1.0,
    node_provision=200.0,
    node_created=120.0,
    node_ready=30.0,
    driver=30.0,
    image_pull=110.0,
    adapters_pull=None,
    server_image_pull=55.0,
    unpack=None,
    container_start=2.0,
    server_start=100.0,
    process_start=20.0,
    load=18.0,
    engine_init=50.0,
    compile=30.0,
    graph_capture=10.0,
    ready=2.0,
    endpoint=1.0,
    total=460.0,
    node_is_new=True,
    pulls=(
        Pull(stacks.IMAGE, 110.0, 0.0, 16_000_000_000, "model"),
        Pull("vllm/vllm-openai:v0.23.0", 54.5, 0.0, 10_300_000_000, "server"),
        Pull("docker.io/istio/proxyv2:1.27", 0.5, 0.0, 9_000_000, "other"),
    ),
)


def compared(**changed: Any) -> Comparison:
    found = compare(replace(AS_PREDICTED, **changed), PREDICTED)
    assert found
    return found


def ratios(found: Comparison) -> dict[str, float | None]:
    return {one.stage: one.ratio for one in found.stages}


def test_every_stage_that_took_place_has_its_ratio() -> None:
    assert ratios(compared()) == {
        "node_provision": 1.0,
        "server_image_pull": 1.01,
        "image_pull": 1.1,
        "load": 1.12,
        "server_start": 1.04,  # 100 s less the 18 of the load
        "total": 1.0,
    }


def test_what_holds_within_the_factor_names_no_constant() -> None:
    assert compared().off == ()


def test_outputs_of_an_earlier_version_have_nothing_to_compare_with() -> None:
    assert stacks.outputs().model(stacks.KEY).cold_start is None
    assert compare(AS_PREDICTED, None) is None


@pytest.mark.parametrize(
    ("changed", "off"),
    [
        ({"load": 80.0}, OffConstant("load", "load_cached,default", 1000, 200, "MB/s")),
        ({"load": 4.0, "server_start": 86.0}, OffConstant("load", "load_cached,default", 1000, 4000, "MB/s")),
        ({"server_start": 258.0}, OffConstant("server_start", "server_start,gpu", 79, 240, "s")),
        ({"node_provision": 960.0}, OffConstant("node_provision", "node_most", 480, 960, "s")),
        ({"node_provision": 60.0}, OffConstant("node_provision", "node_least", 180, 60, "s")),
        (
            {"image_pull": 400.0},
            OffConstant("image_pull", "disk_base,pd-balanced + disk_per_gib,pd-balanced", 192, 48, "MiB/s"),
        ),
    ],
    ids=["slower load", "faster load", "slower engine", "late node", "early node", "slower disk"],
)
def test_a_constant_that_is_off_is_named_with_what_was_measured(changed: dict[str, Any], off: OffConstant) -> None:
    assert off in compared(**changed).off


def test_a_larger_server_image_is_off_and_the_speed_at_which_it_came_is_not() -> None:
    server = Pull("vllm/vllm-openai:v0.30.0", 108.0, 0.0, 20_600_000_000, "server")
    found = compared(pulls=(AS_PREDICTED.pulls[0], server))

    assert ratios(found)["server_image_pull"] == 2
    assert found.off == (OffConstant("server_image_pull", "server_image,gpu", 10.3, 20.6, "GB"),)


def test_a_difference_within_the_resolution_of_the_times_names_no_constant() -> None:
    small = ColdStartOutput.model_validate({"stages": {"load": {**STAGES["load"], "seconds": 0.1}}})
    found = compare(replace(AS_PREDICTED, load=3.0), small)

    assert found
    assert ratios(found) == {"load": 30}
    assert found.off == ()


def test_a_node_and_an_image_that_were_there_are_not_compared() -> None:
    found = compared(node_is_new=False, image_pull=0.0, pulls=())

    assert set(ratios(found)) == {"load", "server_start"}


def test_the_servers_start_is_not_compared_where_its_log_does_not_tell_the_load_from_it() -> None:
    assert "server_start" not in ratios(compared(load=None))


def test_a_stage_that_a_setting_bounds_names_no_constant() -> None:
    given = ColdStartOutput.model_validate({"stages": {"image_pull": {**STAGES["image_pull"], "constant": ""}}})
    found = compare(replace(AS_PREDICTED, image_pull=1000.0), given)

    assert found
    assert (ratios(found), found.off) == ({"image_pull": 10.0}, ())


def test_every_constant_that_may_be_named_is_a_row_of_the_table() -> None:
    rows = {f"{what},{kind}" if kind else what for what, kind in speeds.SPEEDS}
    assert {comparison._SERVER_IMAGE, *comparison._NODE} <= rows
    for machine in (one for found in accelerators.ACCELERATORS.values() for one in found.machines):
        for kind in machine.disk_types:
            for served in (Served(1e9), Served(9e11), Served(9e11, streamed=True, eager=True)):
                node = node_speed.node_of(ImageDisk(kind, 400), machine)
                for stage in cold_start.predict(node, served).stages:
                    assert set(stage.constant.name.split(" + ")) <= rows, stage
                    assert stage.constant.value > 0
