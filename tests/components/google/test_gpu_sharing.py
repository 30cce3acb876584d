import pytest

from components.google import gpu_sharing
from components.google.accelerators import ACCELERATORS, machine_for
from components.settings.google import NodePoolSettings

PARTS = [(name, size, count) for name, sizes in gpu_sharing.PARTITIONS.items() for size, count in sizes.items()]


def pool(**fields: object) -> NodePoolSettings:
    return NodePoolSettings.model_validate({"accelerator": "nvidia-l4", **fields})


@pytest.mark.parametrize(("accelerator", "size", "count"), PARTS)
def test_the_partitions_of_a_gpu_take_no_more_memory_and_compute_than_it_has(
    accelerator: str, size: str, count: int
) -> None:
    compute, _, memory = size.removesuffix("gb").partition("g.")
    whole = ACCELERATORS[accelerator].machines[0].gpu_memory_gb

    assert count * int(memory) <= whole + 1  # sizes are rounded
    assert count * int(compute) <= 7


@pytest.mark.parametrize(
    ("fields", "slots", "default", "memory", "utilization"),
    [
        ({"count": 4}, 4, 4, 24, 0.9),
        ({"count": 4, "sharing": {"max_clients": 3}}, 12, 1, 24, 0.3),
        ({"sharing": {"max_clients": 2}}, 2, 1, 24, 0.45),
        ({"accelerator": "nvidia-tesla-a100", "gpu_partition_size": "1g.5gb"}, 7, 1, 5, 0.9),
        ({"accelerator": "nvidia-b200", "count": 8, "gpu_partition_size": "3g.90gb"}, 16, 1, 90, 0.9),
        (
            {"accelerator": "nvidia-tesla-a100", "gpu_partition_size": "3g.20gb", "sharing": {"max_clients": 2}},
            4,
            1,
            20,
            0.45,
        ),
    ],
)
def test_what_a_node_offers_and_what_a_pod_gets_of_it(
    fields: dict[str, object], slots: int, default: int, memory: int, utilization: float
) -> None:
    made = pool(**fields)
    machine = machine_for(made.accelerator, made.count)

    assert gpu_sharing.slots(made) == slots
    assert gpu_sharing.default_gpus(made) == default
    assert gpu_sharing.memory_gb(made, machine) == memory
    assert gpu_sharing.utilization(made) == utilization


@pytest.mark.parametrize("clients", range(2, 49))
def test_as_many_servers_as_may_share_a_gpu_never_want_more_than_it_has(clients: int) -> None:
    part = gpu_sharing.utilization(pool(sharing={"max_clients": clients}))

    assert 0 < part * clients <= gpu_sharing.UTILIZATION + 1e-9
