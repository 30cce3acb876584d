"""The cold-start table of docs/gke.md: three typical models on four disks each, as the plan predicts them.

`python -m tests.docs.cold_start_table` (`make docs`) writes it anew.
"""

from collections.abc import Iterator
from pathlib import Path

from components.google import accelerators, cold_start, node_speed
from components.google.cold_start import PredictedStart, Served, StreamedBy, span
from components.google.image_disk import LOCAL_SSD, ImageDisk
from components.prediction import TITLES
from components.serving import sidecar

PAGE = Path(__file__).parents[2] / "docs" / "gke.md"
BEGIN = "<!-- cold starts: written by `make docs` -->\n"
END = "<!-- end of cold starts -->"
MODELS = (
    ("8B in bf16", 16.1, "nvidia-l4", 1, "g2-standard-12"),
    ("70B in bf16", 141.0, "nvidia-h100-80gb", 8, "a3-highgpu-8g"),
    ("671B in fp8", 688.0, "nvidia-h200-141gb", 8, "a3-ultragpu-8g"),
)
"""What a row is about: a model, its image in GB, and the machine that serves it."""


def disks(size_gb: float, ssds: int) -> tuple[ImageDisk, ...]:
    """The four disks that a row compares, each as large as the disk rule wants it."""
    boot = max(200, round((2 * size_gb + 40) / 0.85 + 0.5))
    return (
        ImageDisk("pd-balanced", boot),
        ImageDisk("pd-ssd", boot),
        ImageDisk("hyperdisk-balanced", boot, 0, 9_600, 2_400),
        ImageDisk(LOCAL_SSD, ssds * 375, ssds),
    )


def rows() -> Iterator[tuple[str, str, str, PredictedStart, PredictedStart]]:
    """Model, machine, disk, and the cold starts with the image mounted and streamed, each GPU reading all of it."""
    for model, size_gb, accelerator, count, machine_type in MODELS:
        machine = accelerators.machine_for(accelerator, count, machine_type)
        ssds = {"g2-standard-12": 1, "a3-highgpu-8g": 16, "a3-ultragpu-8g": 32}[machine_type]
        for disk in disks(size_gb, ssds):
            node = node_speed.node_of(disk, machine)
            processes = sidecar.size(node.network, machine.vcpus).processes
            door = StreamedBy(processes, sidecar.reads(str(machine.vcpus)), count)
            yield (
                f"{model}, {size_gb:g} GB",
                machine_type,
                node.disk.name,
                cold_start.predict(node, Served(size_gb * 1e9)),
                cold_start.predict(node, Served(size_gb * 1e9, door=door)),
            )


def table() -> str:
    """The rows as Markdown."""
    titles = [
        "model",
        "machine",
        "disk of the images",
        *TITLES.values(),
        "on the node",
        "load by stream",
        "on the node so",
    ]
    lines = [f"| {' | '.join(titles)} |", "|---|---|---|" + "--:|" * (len(TITLES) + 3)]
    for model, machine, disk, cold, streamed in rows():
        longest = cold.limiting
        cells = [f"**{span(one.seconds)}**" if one is longest else span(one.seconds) for one in cold.stages]
        cells += [span(cold.on_node), span(streamed.stage("load").seconds), span(streamed.on_node)]
        lines.append(f"| {' | '.join([model, f'`{machine}`', disk, *cells])} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
