import pytest

from components.google.accelerators import AcceleratorError
from components.serving.scheduling import Scheduling, most_replicas, schedule
from components.settings.google import NodePoolSettings
from components.settings.serving import ModelSettings

LABELS = {"oci-model-serving/pool": "l4"}


def model(**fields: object) -> ModelSettings:
    return ModelSettings.model_validate({"replicas": {"min": 1, "max": 1}, **fields})


def pool(**fields: object) -> NodePoolSettings:
    return NodePoolSettings.model_validate({"accelerator": "nvidia-l4", **fields})


def test_without_a_pool_a_model_runs_on_cpu_wherever_there_is_room() -> None:
    assert schedule(model()) == Scheduling(gpus=0, cpu="2", memory="4Gi", surge=True)


def test_a_pod_gets_the_share_of_the_node_that_its_gpus_are() -> None:
    half = schedule(model(gpus=1), pool(count=2, machine_type="g2-standard-24"), LABELS)  # 24 vCPUs, 96 GB
    whole = schedule(model(gpus=2), pool(count=2, machine_type="g2-standard-24"), LABELS)

    assert (half.gpus, half.cpu, half.memory) == (1, "11", "36Gi")
    assert (whole.gpus, whole.cpu, whole.memory) == (2, "23", "72Gi")


def test_cpu_and_memory_of_the_settings_win() -> None:
    resources = {"resources": {"cpu": "500m", "memory": "1Gi"}}

    for made in (schedule(model(**resources)), schedule(model(**resources), pool(), LABELS)):
        assert (made.cpu, made.memory) == ("500m", "1Gi")


def test_pods_go_to_their_pool_and_bear_its_taints() -> None:
    taints = [{"key": "team", "value": "a", "effect": "NO_EXECUTE"}, {"key": "batch", "effect": "PREFER_NO_SCHEDULE"}]

    made = schedule(model(), pool(taints=taints), LABELS)

    assert made.node_selector == LABELS
    assert made.tolerations == [
        {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present", "effect": "NoSchedule"},
        {"key": "team", "operator": "Equal", "value": "a", "effect": "NoExecute"},
        {"key": "batch", "operator": "Exists", "effect": "PreferNoSchedule"},
    ]


@pytest.mark.parametrize(
    ("replicas", "nodes", "others", "room"),
    [(1, 1, 0, False), (1, 2, 0, True), (2, 2, 0, False), (1, 2, 1, False), (1, 3, 1, True)],
)
def test_a_rollout_starts_the_new_pod_first_only_where_the_pool_has_room(
    replicas: int, nodes: int, others: int, room: bool
) -> None:
    made = schedule(model(replicas={"min": 1, "max": replicas}), pool(max_nodes=nodes), LABELS, gpus_of_others=others)

    assert made.surge is room


def test_gpus_left_over_on_several_nodes_are_no_room() -> None:
    many = pool(count=4, machine_type="g2-standard-48", max_nodes=2)

    assert schedule(model(gpus=3, replicas={"min": 2}), many, LABELS).surge is False  # 1 + 1 of 8 are left
    assert schedule(model(gpus=2, replicas={"min": 3}), many, LABELS).surge is True


def test_nodes_for_each_zone_count_by_zone() -> None:
    zones = {"zones": ["us-central1-a", "us-central1-b"], "max_nodes": 1}

    assert schedule(model(), pool(**zones, per_zone=True), LABELS).surge is True
    assert schedule(model(), pool(**zones), LABELS).surge is False


def test_a_paused_model_takes_nothing() -> None:
    assert most_replicas(model(paused=True)) == 0
    assert most_replicas(model(replicas={"min": 0})) == 1
    assert most_replicas(model(replicas={"min": 2, "max": 5})) == 5


def test_a_machine_that_does_not_fit_is_refused() -> None:
    with pytest.raises(AcceleratorError):
        schedule(model(), pool(machine_type="n1-standard-4"), LABELS)
