"""What nodes offer: Google's formula, at its own examples, and no machine of ours without room for a pod."""

import pytest

from components.google.accelerators import ACCELERATORS
from components.google.gpu_memory import CUDA_GIB, cuda_gb
from components.google.node_room import general_purpose, room


@pytest.mark.parametrize(
    ("vcpus", "gib", "cpu", "reserved_gib"),
    [(1, 4, 0.94, 1.0), (2, 8, 1.93, 1.8), (4, 16, 3.92, 2.6), (8, 32, 7.91, 3.56), (208, 1872, 207.41, 9.32 + 34.88)],
)
def test_the_reservations_are_those_of_googles_page(vcpus: int, gib: float, cpu: float, reserved_gib: float) -> None:
    made = room(vcpus, gib, 110)
    assert made.most_cpu == pytest.approx(cpu)
    assert made.memory_gib == pytest.approx(max(gib - reserved_gib - 100 / 1024 - 0.6, 0))


def test_a_newer_node_keeps_less_and_what_it_offers_at_most_is_told_apart() -> None:
    made = room(8, 32, 32)
    assert made.most_memory_gib == pytest.approx(32 - 32 * 15 / 1024 - 100 / 1024)
    assert made.memory_gib < made.most_memory_gib
    assert made.cpu < made.most_cpu


@pytest.mark.parametrize(
    ("name", "found"),
    [("e2-standard-4", (4, 16)), ("n2-highmem-16", (16, 128)), ("n1-standard-8", (8, 30)), ("m3-ultramem-32", None)],
)
def test_machines_without_gpus_are_known_by_their_names(name: str, found: tuple[int, float] | None) -> None:
    assert general_purpose(name) == found


def test_every_type_of_gpu_has_the_memory_that_cuda_reports() -> None:
    for name, accelerator in ACCELERATORS.items():
        nominal, gib = CUDA_GIB[name]
        assert nominal == accelerator.machines[0].gpu_memory_gb
        assert 0.9 < gib / nominal < 1
        assert cuda_gb(name, nominal) == pytest.approx(gib * 1.073741824)
        assert cuda_gb(name, nominal / 2) == pytest.approx(gib * 1.073741824 / 2)  # a partition
