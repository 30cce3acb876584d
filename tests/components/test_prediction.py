"""What a plan predicts of a stack: cold starts with what would help, and cost."""

from pathlib import Path
from typing import Any

import pytest

from components import prediction
from components.cost import Cost
from components.google import prices
from components.prediction import SAID, predict
from tests.components.settings.reading import read
from tests.serving import IMAGE, gke, local, run

H100 = {"accelerator": "nvidia-h100-80gb", "count": 8, "machineType": "a3-highgpu-8g", "zones": ["us-central1-a"]}
BIG = {"digest": IMAGE, "sizeGb": 140, "nodePool": "h100"}


def stack(pool: dict[str, Any] | None = None, **model: Any) -> dict[str, Any]:
    return gke({"big": {**BIG, **model}}, nodePools={"h100": {**H100, **(pool or {})}})


def start(values: dict[str, Any], key: str = "big") -> prediction.Start:
    return predict(read(values)).starts[key]


def test_140_gb_on_an_a3_high_lie_on_its_16_local_ssds_with_a_boot_disk_of_200_gb() -> None:
    cold = start(stack({"bootDisk": {"sizeGb": 200}})).cold_start
    pull = cold.stage("image_pull")
    # Two passes over 16 Local SSDs take 86 s; unpacking one layer at a time takes longer.
    assert pull.seconds == pytest.approx(140e9 / 1.5e9, rel=0.01)
    assert pull.bound.startswith("unpacking")


def test_on_a_balanced_disk_of_400_gb_it_says_what_would_help_and_by_how_much() -> None:
    values = stack({"machineType": "a3-highgpu-8g-nolssd", "bootDisk": {"sizeGb": 400, "type": "pd-balanced"}})
    found = start(values)
    assert found.cold_start.limiting.bound == "pd-balanced 400 GB"
    assert found.cold_start.limiting.seconds == pytest.approx(1090, rel=0.01)
    assert found.improvement is not None
    assert found.improvement.setting == "nodePools.h100.machineType: a3-highgpu-8g"
    assert found.improvement.cold_start.stage("image_pull").seconds < 100
    assert "pull 18 min, bound by pd-balanced 400 GB" in found.text
    assert "machineType: a3-highgpu-8g ->" in found.text


@pytest.mark.parametrize(
    ("pool", "setting", "followed"),
    [
        (
            {"count": 4, "machineType": "g2-standard-48", "bootDisk": {"sizeGb": 400}},
            "nodePools.l4.localSsd: 4",
            {"localSsd": 4},
        ),
        (
            {"machineType": "g2-standard-12", "bootDisk": {"sizeGb": 400}},
            "nodePools.l4.bootDisk.type: pd-ssd",
            {"bootDisk": {"sizeGb": 400, "type": "pd-ssd"}},
        ),
        (
            {"count": 4, "machineType": "g2-standard-48", "localSsd": 4},
            "models.m.args: [--load-format=runai_streamer]",
            {"args": ["--load-format=runai_streamer"]},
        ),
    ],
)
def test_who_follows_what_it_says_gets_what_it_promises(
    pool: dict[str, Any], setting: str, followed: dict[str, Any]
) -> None:
    size_gb = 20 * pool.get("count", 1)  # so that they hold it

    def of(pool: dict[str, Any], args: list[str]) -> prediction.Start:
        pools = {"l4": {"accelerator": "nvidia-l4", "zones": ["us-central1-a"], **pool}}
        model = {"digest": IMAGE, "sizeGb": size_gb, "nodePool": "l4", "args": args}
        return start(gke({"m": model}, nodePools=pools), "m")

    improvement = of(pool, []).improvement
    assert improvement is not None
    assert improvement.setting == setting
    args = followed.pop("args", [])
    assert of({**pool, **followed}, args).cold_start.total == improvement.cold_start.total


@pytest.mark.parametrize(
    "other", [{"args": ["--load-format=dummy"]}, {"server": {"image": "lmsysorg/sglang:v0.5", "command": ["sglang"]}}]
)
def test_the_streaming_loader_is_offered_to_nobody_who_loads_otherwise(other: dict[str, Any]) -> None:
    pool = {"accelerator": "nvidia-l4", "count": 4, "machineType": "g2-standard-48", "localSsd": 4}
    model = {"digest": IMAGE, "sizeGb": 80, "nodePool": "l4", **other}
    found = start(gke({"m": model}, nodePools={"l4": {**pool, "zones": ["us-central1-a"]}}), "m")
    assert found.improvement is None


def test_no_more_local_ssds_are_told_than_make_it_faster() -> None:
    pool = {"accelerator": "nvidia-tesla-t4", "machineType": "n1-standard-8", "zones": ["us-central1-a"]}
    found = start(gke({"m": {"digest": IMAGE, "sizeGb": 10, "nodePool": "t4"}}, nodePools={"t4": pool}), "m")
    assert found.improvement is not None
    assert found.improvement.setting in {f"nodePools.t4.localSsd: {count}" for count in range(1, 9)}


def test_a_secondary_boot_disk_is_no_pull_and_a_load_at_the_boot_disks_speed() -> None:
    cold = start(
        stack(
            {
                "machineType": "a3-highgpu-8g-nolssd",
                "bootDisk": {"sizeGb": 400, "type": "pd-balanced"},
                "secondaryBootDisks": ["projects/demo/global/images/weights"],
            }
        )
    ).cold_start
    assert cold.stage("image_pull").seconds == 0
    assert cold.stage("load").bound == "pd-balanced 400 GB"


def test_nothing_is_predicted_of_what_is_not_known() -> None:
    unsized = predict(read(gke({"m": {"digest": IMAGE, "nodePool": "l4"}})))
    assert (unsized.starts, unsized.unsized) == ({}, ("m",))
    assert unsized.data()["models"]["m"]["cold_start"] is None
    assert predict(read(gke({"m": {"digest": IMAGE, "sizeGb": 1}}))).data()["models"] == {}
    assert predict(read(local({"m": {"digest": IMAGE, "sizeGb": 1}}))).data() == {}


def test_the_size_of_another_stacks_image_is_taken_from_the_plan() -> None:
    values = gke({"m": {"fromStack": "acme/oci-model-serving/stage", "nodePool": "l4"}})
    assert set(predict(read(values), sizes_gb={"m": 16.0}).starts) == {"m"}


def test_the_cost_is_that_of_the_nodes_at_min_at_max_and_paused() -> None:
    pool = {"minNodes": 0, "maxNodes": 3, "bootDisk": {"sizeGb": 200, "type": "pd-balanced"}}
    cost = predict(read(stack(pool, replicas={"min": 2, "max": 3}))).cost
    assert cost is not None
    node = 88.49 + 200 * 0.10 / 730
    fixed = 0.10 + (0.134 + 50 * 0.10 / 730)
    assert list(cost.paused) == pytest.approx([fixed] * 2)
    assert list(cost.at_min) == pytest.approx([fixed + 2 * node] * 2)
    assert cost.at_max[0] == pytest.approx(0.10 + 3 * (0.134 + 50 * 0.10 / 730) + 3 * node)
    assert cost.unpriced == ()


@pytest.mark.parametrize(
    ("pool", "models", "nodes"),
    [
        ({}, 1, 1),
        ({"count": 8, "gpus": 5}, 3, 3),
        ({"sharing": {"maxClients": 4}}, 4, 1),
        ({"perZone": True, "minNodes": 1, "zones": None}, 1, 3),
        ({"perZone": True, "minNodes": 1, "zones": ["us-central1-a", "us-central1-b"]}, 1, 2),
    ],
)
def test_at_min_there_are_as_many_nodes_as_the_pods_need(pool: dict[str, Any], models: int, nodes: int) -> None:
    one = {"accelerator": "nvidia-l4", "zones": ["us-central1-a"], "maxNodes": 3, **pool}
    gpus = {"gpus": one.pop("gpus")} if "gpus" in one else {}
    made = {key: value for key, value in one.items() if value is not None}
    each = {f"m{at}": {"digest": IMAGE, "sizeGb": 1, "nodePool": "l4", **gpus} for at in range(models)}
    cost = predict(read(gke(each, nodePools={"l4": made}))).cost
    single = predict(read(gke({}, nodePools={"l4": {**made, "minNodes": 1, "perZone": False}}))).cost
    none = predict(read(gke({}, nodePools={"l4": {**made, "minNodes": 0}}))).cost
    assert cost is not None
    assert single is not None
    assert none is not None
    assert (cost.at_min[0] - none.paused[0]) / (single.paused[0] - none.paused[0]) == pytest.approx(nodes)


def test_a_paused_model_wants_no_node() -> None:
    cost = predict(read(stack(paused=True))).cost
    assert cost is not None
    assert cost.at_min == cost.paused


def test_spot_nodes_cost_a_range() -> None:
    cost = predict(read(stack({"spot": True}))).cost
    assert cost is not None
    assert cost.at_max[0] < cost.at_max[1] < 88.49


def test_what_has_no_price_is_named_and_not_in_the_sum() -> None:
    values = gke(
        {"m": {"digest": IMAGE, "sizeGb": 10, "nodePool": "b200"}},
        nodePools={"b200": {"accelerator": "nvidia-b200", "count": 8, "spot": True, "zones": ["us-central1-b"]}},
    )
    cost = predict(read(values)).cost
    assert cost is not None
    assert cost.unpriced == ("nodePools.b200 (a4-highgpu-8g)",)
    assert "without nodePools.b200" in cost.text
    assert cost.text.startswith("at least $")
    assert Cost(unpriced=("nodePools.b200",), source="list").text == "not known (list, without nodePools.b200)"


def test_chosen_local_ssds_are_paid_for_and_those_of_a_machine_are_in_its_price() -> None:
    def at_max(values: dict[str, Any]) -> float:
        cost = predict(read(values)).cost
        assert cost is not None
        return cost.at_max[1]

    def of_l4(**pool: Any) -> dict[str, Any]:
        pools = {
            "l4": {"accelerator": "nvidia-l4", "machineType": "g2-standard-12", "zones": ["us-central1-a"], **pool}
        }
        return gke({"m": {"digest": IMAGE, "sizeGb": 10, "nodePool": "l4"}}, nodePools=pools)

    assert at_max(of_l4(localSsd=1)) - at_max(of_l4()) == pytest.approx(375 * 0.08 / 730)
    assert at_max(stack()) == at_max(stack({"localSsd": "auto"}))


def test_an_adopted_cluster_costs_what_its_pools_here_cost() -> None:
    values = {**stack(), "cluster": {"name": "theirs", "location": "us-central1"}}
    cost = predict(read(values)).cost
    assert cost is not None
    assert cost.paused == (0, 0)


def test_costs_add_up_and_name_each_gap_once() -> None:
    one = Cost((1, 2), (3, 4), (5, 6), ("a",), "list")
    assert one + Cost((1, 1), (1, 1), (1, 1), ("a", "b")) == Cost((2, 3), (4, 5), (6, 7), ("a", "b"), "list")


def test_the_program_says_its_predictions_in_every_plan() -> None:
    said = [text for _, text in run(stack()).messages if text.startswith(SAID)]
    assert any(text.startswith(f"{SAID}models.big: cold start ") for text in said)
    assert any(text.startswith(f"{SAID}cost: $") and prices.LIST_PRICE in text for text in said)


def test_prices_of_the_users_own_are_those_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("kind,name,usd,per\nmachine,a3-highgpu-8g,1,hour\n")
    monkeypatch.setenv(prices.VARIABLE, str(file))
    cost = predict(read(stack())).cost
    assert cost is not None
    assert cost.at_max[1] < 2
    assert str(file) in cost.source
