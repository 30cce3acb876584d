import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.google import accelerators
from components.google.accelerators import ACCELERATORS, AcceleratorError, Machine, machine_for, provisioning_problem

MACHINES = [machine for accelerator in ACCELERATORS.values() for machine in accelerator.machines]


@pytest.mark.parametrize(
    ("accelerator", "count", "machine"),
    [
        ("nvidia-tesla-t4", 1, "n1-standard-8"),
        ("nvidia-tesla-t4", 4, "n1-standard-32"),
        ("nvidia-l4", 1, "g2-standard-8"),
        ("nvidia-l4", 2, "g2-standard-24"),
        ("nvidia-l4", 8, "g2-standard-96"),
        ("nvidia-tesla-a100", 16, "a2-megagpu-16g"),
        ("nvidia-a100-80gb", 2, "a2-ultragpu-2g"),
        ("nvidia-h100-80gb", 1, "a3-highgpu-1g"),
        ("nvidia-h100-80gb", 8, "a3-highgpu-8g"),
        ("nvidia-h100-mega-80gb", 8, "a3-megagpu-8g"),
        ("nvidia-h200-141gb", 8, "a3-ultragpu-8g"),
        ("nvidia-b200", 8, "a4-highgpu-8g"),
        ("nvidia-rtx-pro-6000", 4, "g4-standard-192"),
    ],
)
def test_accelerator_and_count_are_enough(accelerator: str, count: int, machine: str) -> None:
    assert machine_for(accelerator, count).name == machine


@pytest.mark.parametrize("accelerator", ACCELERATORS.values(), ids=lambda accelerator: accelerator.name)
def test_every_count_has_a_machine_that_holds_the_gpus_memory(accelerator: accelerators.Accelerator) -> None:
    for count in accelerator.counts:
        machine = machine_for(accelerator.name, count)
        assert (machine.accelerator, machine.count) == (accelerator.name, count)
        assert machine.memory_gib >= machine.total_gpu_memory_gb


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: f"{machine.name}-{machine.count}")
def test_every_machine_can_boot_and_can_be_had(machine: Machine) -> None:
    assert machine.disk_types
    assert machine.on_demand or machine.spot or machine.flex_start or machine.reservable
    assert machine.vcpus > 0
    assert machine.memory_gib > 0


def test_machine_types_are_not_listed_twice_for_a_count() -> None:
    keys = [(machine.name, machine.accelerator, machine.count) for machine in MACHINES]

    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("machine", "disk_types"),
    [
        ("n1-standard-8", ("pd-balanced", "pd-ssd", "pd-standard")),
        ("g2-standard-8", ("pd-balanced", "pd-ssd")),
        ("a2-highgpu-1g", ("pd-balanced", "pd-ssd", "pd-standard")),
        ("a3-highgpu-8g", ("pd-balanced", "pd-ssd", "hyperdisk-balanced")),
        ("a3-ultragpu-8g", ("hyperdisk-balanced",)),
        ("a4-highgpu-8g", ("hyperdisk-balanced",)),
        ("g4-standard-48", ("hyperdisk-balanced",)),
    ],
)
def test_boot_disk_types_of_the_machine_families(machine: str, disk_types: tuple[str, ...]) -> None:
    assert {found.disk_types for found in MACHINES if found.name == machine} == {disk_types}


def test_a_machine_type_that_fits_is_taken_although_it_is_small() -> None:
    assert machine_for("nvidia-l4", 1, "g2-standard-4").vcpus == 4


def test_local_ssds_may_be_left_off() -> None:
    assert machine_for("nvidia-h100-80gb", 8, "a3-highgpu-8g-nolssd").memory_gib == 1872


def test_a_misspelt_accelerator_is_refused_with_the_closest_names_and_all_of_them() -> None:
    with pytest.raises(AcceleratorError) as refused:
        machine_for("h100", 8)

    assert "did you mean nvidia-h100-80gb or nvidia-h100-mega-80gb?" in str(refused.value)
    assert all(name in str(refused.value) for name in ACCELERATORS)


def test_the_usual_name_leads_to_googles() -> None:
    with pytest.raises(AcceleratorError, match="did you mean nvidia-tesla-t4"):
        machine_for("NVIDIA T4", 1)


def test_a_count_that_is_not_offered_is_refused_with_those_that_are() -> None:
    with pytest.raises(AcceleratorError, match=r"write a count of 1, 2, 4, 8$"):
        machine_for("nvidia-l4", 3)


def test_a_contradicting_machine_type_is_refused_with_what_it_carries_and_those_that_fit() -> None:
    with pytest.raises(AcceleratorError) as refused:
        machine_for("nvidia-l4", 2, "g2-standard-8")

    assert "g2-standard-8 does not fit 2 x nvidia-l4 (it carries 1 x nvidia-l4)" in str(refused.value)
    assert str(refused.value).endswith("write one of: g2-standard-24")


def test_a_machine_type_without_gpus_is_refused() -> None:
    with pytest.raises(AcceleratorError, match="not a machine type with GPUs"):
        machine_for("nvidia-l4", 1, "e2-standard-4")


def test_a_t4_cannot_be_attached_beyond_its_vcpu_limit() -> None:
    with pytest.raises(AcceleratorError):
        machine_for("nvidia-tesla-t4", 1, "n1-standard-96")

    assert machine_for("nvidia-tesla-t4", 4, "n1-standard-96").vcpus == 96


def test_small_a3_machines_are_refused_on_demand_with_what_they_can_be_had_by() -> None:
    machine = machine_for("nvidia-h100-80gb", 1)

    problem = provisioning_problem(machine, spot=False, flex_start=False, reservation=False)

    assert problem == "a3-highgpu-1g cannot be had on demand: write spot: true or flexStart: true"
    assert provisioning_problem(machine, spot=True, flex_start=False, reservation=False) is None
    assert provisioning_problem(machine, spot=False, flex_start=False, reservation=True) is not None


def test_b200_is_had_by_reservation_spot_or_flex_start() -> None:
    machine = machine_for("nvidia-b200", 8)

    assert provisioning_problem(machine, spot=False, flex_start=False, reservation=True) is None
    assert provisioning_problem(machine, spot=False, flex_start=True, reservation=False) is None
    assert provisioning_problem(machine, spot=False, flex_start=False, reservation=False) is not None


def test_a_machine_outside_of_flex_start_is_refused_there() -> None:
    machine = machine_for("nvidia-h100-80gb", 8, "a3-edgegpu-8g")

    problem = provisioning_problem(machine, spot=False, flex_start=True, reservation=False)

    assert problem is not None
    assert "flexStart" in problem.partition(":")[0]


def test_an_l4_needs_nothing_said() -> None:
    assert provisioning_problem(machine_for("nvidia-l4", 1), spot=False, flex_start=False, reservation=False) is None


@pytest.mark.parametrize(
    ("accelerator", "count", "machine", "vcpus", "memory_gib"),
    [
        ("nvidia-tesla-t4", 1, "custom-8-49152", 8, 48),
        ("nvidia-tesla-t4", 4, "n1-custom-96-638976", 96, 624),
        ("nvidia-tesla-t4", 1, "n1-custom-1-1024", 1, 1),
        ("nvidia-tesla-t4", 2, "custom-4-131072-ext", 4, 128),
        ("nvidia-l4", 1, "g2-custom-16-55296", 16, 54),
        ("nvidia-l4", 8, "g2-custom-96-442368", 96, 432),
    ],
)
def test_a_machine_that_is_made_to_measure_is_what_its_name_says(
    accelerator: str, count: int, machine: str, vcpus: int, memory_gib: float
) -> None:
    made, like = machine_for(accelerator, count, machine), machine_for(accelerator, count)

    assert (made.name, made.vcpus, made.memory_gib) == (machine, vcpus, memory_gib)
    assert (made.gpu_memory_gb, made.disk_types, made.count) == (like.gpu_memory_gb, like.disk_types, count)


@given(st.from_regex(r"(n1-|g2-)?custom-[0-9]{1,4}-[0-9]{1,7}(-ext)?", fullmatch=True))
def test_a_machine_that_is_made_to_measure_is_taken_within_its_bounds_or_told(machine: str) -> None:
    for accelerator in ("nvidia-tesla-t4", "nvidia-l4", "nvidia-b200"):
        count = ACCELERATORS[accelerator].counts[0]
        with contextlib.suppress(AcceleratorError):
            made = machine_for(accelerator, count, machine)
            assert accelerator != "nvidia-b200"
            assert made.memory_gib <= 6.5 * made.vcpus or "-ext" in machine or accelerator == "nvidia-l4"


@pytest.mark.parametrize("accelerator", ["nvidia-gb200", "nvidia-gb300", "nvidia-tesla-v100"])
def test_what_gke_has_and_the_table_has_not_is_refused_with_the_reason(accelerator: str) -> None:
    with pytest.raises(AcceleratorError, match=f"^{accelerator} is .*: write nvidia-"):
        machine_for(accelerator, 4)
