import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.google import disk, image_disk
from components.google.accelerators import Machine, machine_for
from components.settings.google import NodePoolSettings

L4 = machine_for("nvidia-l4", 1)
H100 = machine_for("nvidia-h100-80gb", 8)
B200 = machine_for("nvidia-b200", 8)

sizes = st.lists(st.floats(min_value=0, max_value=5_000, allow_nan=False), max_size=8)


def said(pool: NodePoolSettings, machine: Machine, images: dict[str, float | None]) -> list[str]:
    return [f"{key}: {problem}" for key, problem in disk.problems(pool, machine, images)]


def boot(**fields: object) -> NodePoolSettings:
    return NodePoolSettings.model_validate({"accelerator": "nvidia-l4", "boot_disk": {"size_gb": 200, **fields}})


def test_a_small_image_gets_the_minimum() -> None:
    assert disk.needed_gb([1.1]) == 200


def test_every_image_counts_twice_below_the_threshold_and_beside_the_system() -> None:
    assert disk.needed_gb([140, 15]) == 412  # (2 x 155 + 40) / 0.85
    assert disk.needed_gb([140, 15], gc_high_percent=70) == 500


@given(sizes)
def test_what_is_needed_holds_both_copies_of_every_image_and_is_no_waste(images: list[float]) -> None:
    needed = disk.needed_gb(images)
    held = 2 * sum(images) + disk.SYSTEM_GB

    assert needed >= 200
    assert needed * 0.85 >= held - 1e-3
    assert needed == 200 or (needed - 1) * 0.85 < held + 1e-3


@given(sizes, st.floats(min_value=0, max_value=5_000, allow_nan=False))
def test_one_image_more_never_needs_less(images: list[float], another: float) -> None:
    assert disk.needed_gb([*images, another]) >= disk.needed_gb(images)


@given(sizes)
def test_the_size_that_a_refusal_names_is_accepted(images: list[float]) -> None:
    named = {str(number): size for number, size in enumerate(images)}

    if disk.too_small(boot(), L4, named):
        # Beyond the largest disk that the settings take, too.
        larger = boot().boot_disk.model_copy(update={"size_gb": disk.needed_gb(images)})
        assert disk.too_small(boot().model_copy(update={"boot_disk": larger}), L4, named) is None


def test_a_disk_that_is_too_small_is_refused_with_the_images_and_the_size_to_write() -> None:
    [problem] = said(boot(), L4, {"llama": 140.0, "qwen": 15.0, "later": None})

    assert "llama 140 GB, qwen 15 GB" in problem
    assert problem.endswith("write sizeGb: 412 or more")


def test_a_disk_that_fits_is_accepted() -> None:
    assert said(boot(size_gb=412), L4, {"llama": 140.0, "qwen": 15.0}) == []


def test_the_threshold_is_the_pools_own() -> None:
    strict = boot(size_gb=412).model_copy(update={"image_gc_high_threshold_percent": 70})

    assert "at most 70 % full; write sizeGb: 500 or more" in (disk.too_small(strict, L4, {"a": 140.0, "b": 15.0}) or "")


def test_an_image_of_unknown_size_is_not_held_against_the_disk() -> None:
    assert said(boot(), L4, {"later": None}) == []


@pytest.mark.parametrize(
    ("machine", "type_", "remedy"),
    [
        (L4, "hyperdisk-balanced", "write pd-balanced or pd-ssd"),
        (L4, "pd-standard", "write pd-balanced or pd-ssd"),
        (B200, "pd-ssd", "write hyperdisk-balanced"),
    ],
)
def test_a_type_that_cannot_boot_the_machine_is_refused(machine: Machine, type_: str, remedy: str) -> None:
    [problem] = said(boot(type=type_), machine, {})

    assert problem.endswith(remedy)


def test_the_default_type_is_the_families_first() -> None:
    assert image_disk.type_of(boot().boot_disk, L4) == "pd-balanced"
    assert image_disk.type_of(boot().boot_disk, B200) == "hyperdisk-balanced"
    assert image_disk.type_of(boot(type="pd-ssd").boot_disk, L4) == "pd-ssd"


def test_performance_is_provisioned_on_hyperdisk_only() -> None:
    problems = said(boot(provisioned_iops=4000, provisioned_throughput=400), L4, {})

    assert problems == [
        "bootDisk: provisionedIops is for hyperdisk-balanced: remove it",
        "bootDisk: provisionedThroughput is for hyperdisk-balanced: remove it",
    ]


def test_a_machine_that_could_have_hyperdisk_is_told_so() -> None:
    [problem] = said(boot(provisioned_iops=4000), H100, {})

    assert "write type: hyperdisk-balanced, or remove it" in problem


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"provisioned_iops": 3000}, None),
        ({"provisioned_iops": 2999}, "write 3000 to 100000 for 200 GB"),
        ({"provisioned_iops": 100_001}, "write 3000 to 100000 for 200 GB"),
        ({"provisioned_iops": 160_000, "size_gb": 400}, None),
        ({"provisioned_iops": 160_001, "size_gb": 4000}, "write 3000 to 160000 for 4000 GB"),
        ({"provisioned_throughput": 750}, None),
        ({"provisioned_throughput": 751}, "write 140 to 750 with 3000 IOPS, or raise provisionedIops"),
        ({"provisioned_throughput": 139}, "write 140 to 750 with 3000 IOPS"),
        ({"provisioned_iops": 10_000, "provisioned_throughput": 2400}, None),
        ({"provisioned_iops": 10_000, "provisioned_throughput": 2401}, "write 140 to 2400 with 10000 IOPS"),
        ({"provisioned_iops": 100_000, "provisioned_throughput": 300}, "write 391 to 2400 with 100000 IOPS"),
    ],
)
def test_bounds_of_hyperdisk_balanced(fields: dict[str, int], problem: str | None) -> None:
    found = said(boot(**fields), B200, {})

    assert [text.endswith(problem) for text in found] == [True] if problem else found == []
