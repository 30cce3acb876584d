import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.google import disk, image_disk, local_ssd
from components.google.accelerators import ACCELERATORS, Machine, machine_for
from components.google.image_disk import ImageDisk
from components.settings.google import ClusterSettings, NodePoolSettings
from components.settings.places import StackCluster, StackPool

MACHINES = {machine.name: machine for entry in ACCELERATORS.values() for machine in entry.machines}
A3 = MACHINES["a3-highgpu-8g"]


def pool(**fields: object) -> NodePoolSettings:
    return NodePoolSettings.model_validate({"accelerator": "nvidia-l4", **fields})


def said(settings: NodePoolSettings, machine: Machine, sizes: dict[str, float | None]) -> list[str]:
    return [f"{key}: {problem}" for key, problem in disk.problems(settings, machine, sizes)]


# What a machine brings.


@pytest.mark.parametrize(
    ("machine", "count"),
    [
        ("a2-ultragpu-1g", 1),
        ("a2-ultragpu-2g", 2),
        ("a2-ultragpu-4g", 4),
        ("a2-ultragpu-8g", 8),
        ("a3-highgpu-1g", 2),
        ("a3-highgpu-2g", 4),
        ("a3-highgpu-4g", 8),
        ("a3-highgpu-8g", 16),
        ("a3-edgegpu-8g", 16),
        ("a3-megagpu-8g", 16),
        ("a3-ultragpu-8g", 32),
        ("a4-highgpu-8g", 32),
    ],
)
def test_images_are_on_the_local_ssds_that_a_machine_always_comes_with(machine: str, count: int) -> None:
    held = image_disk.of(pool(), MACHINES[machine])

    assert held == ImageDisk("local-ssd", count * 375, count)
    assert held.is_local
    assert held.setting == "localSsd"


@pytest.mark.parametrize("machine", ["n1-standard-8", "g2-standard-8", "g4-standard-48", "a2-highgpu-1g"])
def test_where_the_number_is_chosen_the_boot_disk_holds_the_images_until_one_is(machine: str) -> None:
    boot, chosen = MACHINES[machine], local_ssd.of(machine)
    assert chosen is not None

    for none in (pool(), pool(local_ssd="none")):
        assert image_disk.of(none, boot) == ImageDisk(boot.disk_types[0], 200)
    for count in chosen.counts:
        assert image_disk.of(pool(local_ssd=count), boot) == ImageDisk("local-ssd", count * 375, count)


@pytest.mark.parametrize("name", [name for name in MACHINES if name.endswith("-nolssd")])
def test_a_machine_without_local_ssds_has_its_images_on_the_boot_disk(name: str) -> None:
    held = image_disk.of(pool(boot_disk={"size_gb": 500}), MACHINES[name])

    assert (held.size_gb, held.count, held.setting) == (500, 0, "bootDisk")


def test_what_is_provisioned_on_a_boot_disk_is_told() -> None:
    boot = {"size_gb": 400, "provisioned_iops": 8000, "provisioned_throughput": 1200}

    held = image_disk.of(pool(boot_disk=boot), MACHINES["g4-standard-48"])

    assert held == ImageDisk("hyperdisk-balanced", 400, 0, 8000, 1200)
    assert held.usable_gb == 400


def test_every_machine_type_is_in_the_table_or_has_none() -> None:
    missing = [name for name in MACHINES if local_ssd.of(name) is None]

    assert missing == [name for name in MACHINES if name.endswith("-nolssd")]


def test_a_custom_machine_type_of_n1_takes_as_many_as_the_others() -> None:
    assert local_ssd.of("custom-8-32768") == local_ssd.of("n1-custom-8-32768") == local_ssd.of("n1-standard-8")
    assert local_ssd.of("c3-standard-8") is None


def test_a_file_system_takes_no_more_than_was_measured() -> None:
    # KiB that one and 16 of 375 GiB have less than their sum (Kubernetes' cluster autoscaler, on GKE).
    for count, taken in ((1, 7_289_472), (16, 52_837_800)):
        assert ImageDisk("local-ssd", 375 * count, count).usable_gb <= count * 375 - taken / 2**20


def test_a_stacks_pool_tells_its_disk() -> None:
    home = StackCluster(ClusterSettings(name="demo", location="us-central1"), project="demo", location="us-central1")

    assert StackPool("h100", pool(accelerator="nvidia-h100-80gb", count=8), home).image_disk.count == 16


# The rule judges that disk.


def test_a_large_model_needs_no_large_boot_disk_where_16_local_ssds_hold_it() -> None:
    settings = pool(accelerator="nvidia-h100-80gb", count=8, boot_disk={"size_gb": 200})

    assert said(settings, A3, {"llama": 140.0}) == []
    assert said(settings, A3, {"deepseek": 700.0, "kimi": 1000.0}) == []
    assert (
        len(said(settings.model_copy(update={"machine_type": "x"}), MACHINES["a3-highgpu-8g-nolssd"], {"llama": 140.0}))
        == 1
    )


def test_a_boot_disk_that_is_too_small_may_give_way_to_local_ssds() -> None:
    [problem] = said(pool(), MACHINES["g2-standard-96"], {"llama": 140.0})

    assert problem.startswith("bootDisk: sizeGb is 200, ")
    assert problem.endswith("write localSsd: 8, or sizeGb: 377 or more")
    assert said(pool(local_ssd=8), MACHINES["g2-standard-96"], {"llama": 140.0}) == []


def test_the_smallest_number_that_holds_the_images_is_named() -> None:
    [problem] = said(pool(local_ssd=1), MACHINES["a2-highgpu-1g"], {"llama": 140.0, "more": 140.0})

    assert problem.startswith("localSsd: 1 Local SSDs hold 367 GB, ")
    assert problem.endswith("write localSsd: 2")


@pytest.mark.parametrize(
    ("settings", "machine", "remedy"),
    [
        ({"local_ssd": 1}, "g2-standard-8", "localSsd: none and bootDisk.sizeGb: 518 or more"),
        ({}, "a2-ultragpu-1g", "machineType: a2-ultragpu-1g-nolssd and bootDisk.sizeGb: 518 or more"),
    ],
)
def test_where_no_number_is_enough_the_boot_disk_may_hold_the_images(
    settings: dict[str, object], machine: str, remedy: str
) -> None:
    [problem] = said(pool(**settings), MACHINES[machine], {"llama": 200.0})

    assert problem.startswith("localSsd: ")
    assert problem.endswith(f"spread the models over pools, or write {remedy}")


@given(
    st.sampled_from(sorted(MACHINES)),
    st.dictionaries(st.sampled_from("abcd"), st.floats(min_value=0, max_value=4_000), max_size=4),
)
def test_what_a_refusal_says_to_write_is_accepted(name: str, sizes: dict[str, float]) -> None:
    found = said(pool(), MACHINES[name], dict(sizes))
    for problem in found:
        remedy = problem.rpartition("write ")[2]
        update: dict[str, object] = {}
        machine = MACHINES[name]
        for part in remedy.replace(" and ", ", or ").split(", or "):
            key, _, value = part.removesuffix(" or more").rpartition(": ")
            if key == "localSsd":
                update = {"local_ssd": "none" if value == "none" else int(value)}
                break
            if key == "machineType":
                machine = MACHINES[value]
            if key.endswith("sizeGb"):
                boot = pool().boot_disk.model_copy(update={"size_gb": int(value)})
                update = {"boot_disk": boot}
        assert said(pool().model_copy(update=update), machine, dict(sizes)) == []


# What may be written.


@pytest.mark.parametrize(
    ("asked", "machine", "problem"),
    [
        (2, "g2-standard-8", "is 2, but g2-standard-8 takes 1: write 1"),
        (16, "a2-highgpu-1g", "is 16, but a2-highgpu-1g takes 1, 2, 4 or 8: write 1, 2, 4 or 8"),
        (9, "n1-standard-8", "takes 1, 2, 3, 4, 5, 6, 7, 8, 16 or 24: write"),
        (8, "a3-highgpu-8g", "is 8, but a3-highgpu-8g comes with 16: write 16"),
        (
            "none",
            "a3-highgpu-8g",
            "always comes with 16 Local SSDs: write machineType: a3-highgpu-8g-nolssd, or remove it",
        ),
        (16, "a3-highgpu-8g-nolssd", "takes no Local SSD: write machineType: a3-highgpu-8g, or remove it"),
        (1, "c3-standard-8", "is 1, but c3-standard-8 takes no Local SSD: remove it"),
    ],
)
def test_a_number_that_a_machine_cannot_have_is_refused_with_those_that_it_can(
    asked: int | str, machine: str, problem: str
) -> None:
    assert problem in (local_ssd.problem(machine, asked) or "")


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_the_numbers_of_the_table_are_taken(name: str) -> None:
    found = local_ssd.of(name)

    assert local_ssd.problem(name, "auto") is None
    for count in found.counts if found else ():
        assert local_ssd.problem(name, count) is None
    if found is None or not found.bundled:
        assert local_ssd.problem(name, "none") is None
    else:
        assert f"{name}-nolssd" in MACHINES


def test_a_wrong_number_is_told_once_and_not_judged_further() -> None:
    assert said(pool(local_ssd=3), machine_for("nvidia-l4", 1), {"llama": 2_000.0}) == [
        "localSsd: is 3, but g2-standard-8 takes 1: write 1"
    ]
