"""The prediction of cold starts, held against what others have measured."""

import pytest

from components.google import accelerators, speeds
from components.google.cold_start import Served, StreamedBy, disk_seconds, faster, passes, predict, span
from components.google.image_disk import LOCAL_SSD, ImageDisk
from components.google.node_speed import DiskSpeed, NodeSpeed, node_of

GB = 1e9
GP3 = DiskSpeed("gp3", 125 * (1 << 20), 125 * (1 << 20))
H100 = accelerators.machine_for("nvidia-h100-80gb", 8, "a3-highgpu-8g")
L4 = accelerators.machine_for("nvidia-l4", 1, "g2-standard-12")


@pytest.mark.parametrize(
    ("copies", "predicted", "measured"),
    [(2, 4272, 4585), (1, 2136, 2319)],
    ids=["image: the registry read, the blob written and read, the snapshot written", "s3: read and written"],
)
def test_what_kserve_5852_has_measured_is_predicted_within_a_tenth(
    copies: int, predicted: float, measured: float
) -> None:
    seconds = disk_seconds(140 * GB, 32 * (1 << 30), GP3, copies=copies, registry=True)
    assert seconds == pytest.approx(predicted, rel=0.001)
    assert seconds == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize(
    ("disk", "seconds"),
    [
        (ImageDisk("pd-balanced", 400), 1090),
        (ImageDisk("hyperdisk-balanced", 400, 0, 9_600, 2_400), 111),
        (ImageDisk(LOCAL_SSD, 6000, 16), 86),
    ],
)
def test_140_gb_are_written_twice_at_the_disks_documented_speed(disk: ImageDisk, seconds: float) -> None:
    node = node_of(disk, H100)
    assert disk_seconds(140 * GB, node.memory, node.disk) == pytest.approx(seconds, rel=0.01)


def test_a_blob_is_read_back_only_where_memory_does_not_hold_it() -> None:
    assert passes(140 * GB, 1872 * (1 << 30)) == (0, 2)
    assert passes(140 * GB, 32 * (1 << 30)) == (1, 2)
    assert passes(140 * GB, 32 * (1 << 30), registry_on_disk=True) == (2, 2)
    assert passes(140 * GB, 32 * (1 << 30), copies=1, registry_on_disk=True) == (1, 1)


def test_the_slowest_of_disk_network_and_unpacking_bounds_a_pull() -> None:
    memory = 2000 * (1 << 30)
    fast, slow = DiskSpeed("fast", 1e11, 1e11), DiskSpeed("slow", 1e8, 1e8)
    by_disk = predict(NodeSpeed(slow, 1e11, memory), Served(100 * GB)).stage("image_pull")
    by_network = predict(NodeSpeed(fast, 1e8, memory), Served(100 * GB)).stage("image_pull")
    by_unpacking = predict(NodeSpeed(fast, 1e11, memory), Served(100 * GB)).stage("image_pull")
    assert by_disk.bound == "slow"
    assert by_disk.seconds == pytest.approx(2000)
    assert by_network.bound == "network"
    assert by_network.seconds == pytest.approx(1000)
    assert by_unpacking.bound.startswith("unpacking")
    assert by_unpacking.seconds == pytest.approx(100 * GB / speeds.of("unpack"))


def test_a_secondary_boot_disk_saves_the_pull_and_is_read_at_its_own_speed() -> None:
    node = node_of(ImageDisk("pd-balanced", 400), H100)
    pulled, preloaded = (predict(node, Served(140 * GB, preloaded=given)) for given in (False, True))
    assert preloaded.stage("image_pull").seconds == 0
    assert preloaded.stage("load").seconds == pytest.approx(140 * GB / node.disk.read)
    assert preloaded.stage("load").seconds > pulled.stage("load").seconds


def test_weights_that_memory_holds_are_loaded_from_the_page_cache() -> None:
    disk = ImageDisk("pd-balanced", 400)
    held = predict(node_of(disk, H100), Served(30 * GB)).stage("load")
    not_held = predict(node_of(disk, L4), Served(40 * GB)).stage("load")
    assert held.seconds == pytest.approx(30 * GB / speeds.of("load_cached", "default"))
    assert not_held.seconds == pytest.approx(40 * GB / speeds.of("load_cold", "default"), rel=0.3)


def test_runai_measured_what_the_loaders_are_predicted_with() -> None:
    # 15 GB, from a disk of 1 GiB/s and from one of 4 GiB/s (docs/src/benchmarks.md of run-ai/runai-model-streamer).
    assert 15 * GB / speeds.of("load_cold", "default") == pytest.approx(47.99, rel=0.01)
    assert 15 * GB / speeds.of("load_cold", "streamer") == pytest.approx(7.53, rel=0.01)


def test_the_total_is_the_nodes_range_and_all_stages() -> None:
    cold = predict(node_of(ImageDisk("pd-balanced", 400), H100), Served(140 * GB))
    least, most = cold.total
    assert cold.on_node == sum(stage.seconds for stage in cold.stages)
    assert (least, most) == (180 + cold.on_node, 480 + cold.on_node)
    assert cold.limiting.name == "image_pull"
    assert cold.limiting.bound == "pd-balanced 400 GB"


def test_a_change_that_saves_less_than_a_tenth_is_not_named() -> None:
    slow = predict(node_of(ImageDisk("pd-balanced", 400), H100), Served(140 * GB))
    fast = predict(node_of(ImageDisk(LOCAL_SSD, 6000, 16), H100), Served(140 * GB))
    assert faster([("a", slow), ("b", fast)], slow) == ("b", fast)
    assert faster([("a", slow)], slow) is None
    assert faster([], slow) is None


def test_a_persistent_disk_is_no_faster_than_its_machine_lets_it() -> None:
    small = accelerators.machine_for("nvidia-l4", 1, "g2-standard-4")
    assert node_of(ImageDisk("pd-ssd", 4000), small).disk.write == 240 * (1 << 20)
    assert node_of(ImageDisk("pd-ssd", 4000), H100).disk.write == 1200 * (1 << 20)
    t4 = accelerators.machine_for("nvidia-tesla-t4", 1, "n1-standard-8")
    assert node_of(ImageDisk("pd-standard", 10_000), t4).disk.write == 400 * (1 << 20)


def test_every_machine_of_the_accelerator_table_has_a_network() -> None:
    for accelerator in accelerators.ACCELERATORS.values():
        for machine in accelerator.machines:
            gbits = node_of(ImageDisk(machine.disk_types[0], 400), machine).network * 8 / 1e9
            assert 10 <= gbits <= 400, machine.name


def test_every_constant_names_its_unit_and_its_source() -> None:
    for (what, kind), speed in speeds.SPEEDS.items():
        assert speed.base >= 0, (what, kind)
        assert len(speed.source) > 5, (what, kind)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (45.4, "45 s"), (89.9, "90 s"), (90, "1.5 min"), (1090, "18 min"), (7600, "2.1 h")],
)
def test_seconds_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_what_is_streamed_is_not_pulled_and_no_disk_is_in_it() -> None:
    door = StreamedBy(processes=16, reads=32)
    slow, fast = (node_of(disk, H100) for disk in (ImageDisk("pd-balanced", 400), ImageDisk(LOCAL_SSD, 6000, 16)))
    streamed = [predict(node, Served(140 * GB, door=door)) for node in (slow, fast)]
    assert [start.stage("image_pull").seconds for start in streamed] == [0, 0]
    assert streamed[0].stage("load") == streamed[1].stage("load")
    mounted = predict(fast, Served(140 * GB, streamed=True))
    pulled_and_loaded = mounted.stage("image_pull").seconds + mounted.stage("load").seconds
    assert streamed[1].stage("load").seconds < pulled_and_loaded


@pytest.mark.parametrize(
    ("door", "network", "bound", "rate"),
    [
        (StreamedBy(16, 2), 1e11, "the registry, 2 reads at once", 400 * (1 << 20)),
        (StreamedBy(16, 32), 1e9, "network", 1e9),
        (StreamedBy(1, 32), 1e11, "TLS and SHA-256, 1 process of the sidecar", 600e6),
        (StreamedBy(2, 32), 1e11, "TLS and SHA-256, 2 processes of the sidecar", 1200e6),
        (StreamedBy(16, 32), 1e11, "the streaming loader", 2000e6),
        (StreamedBy(4, 32, readers=4), 4e9, "TLS and SHA-256, 4 processes of the sidecar", 600e6),
        (StreamedBy(16, 32, readers=4), 1e9, "network", 1e9),
    ],
    ids=[
        "few connections",
        "network",
        "one process",
        "two processes",
        "loader",
        "all passes for each GPU",
        "and comes once",
    ],
)
def test_the_slowest_of_registry_network_sidecar_and_loader_bounds_a_stream(
    door: StreamedBy, network: float, bound: str, rate: float
) -> None:
    fast = DiskSpeed("fast", 1e11, 1e11)
    by_network = speeds.Constant("network", network * 8 / 1e9, "Gbit/s")
    node = NodeSpeed(fast, network, 2000 * (1 << 30), by_network)
    load = predict(node, Served(100 * GB, door=door)).stage("load")
    assert (load.bound, load.size_bytes) == (bound, 100 * GB)
    assert load.seconds == pytest.approx(100 * GB / rate)
    # What a measurement is held against: the rate at which the weights came.
    unit = {"MiB/s": 1 << 20, "MB/s": 1e6, "Gbit/s": 1e9 / 8}[load.constant.unit]
    assert load.constant.value * unit == pytest.approx(rate)
