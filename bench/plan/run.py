"""Time plans and previews as a person waits for them, each a process of its own, and print the table.

    python bench/plan/run.py

A row is one command, run once to fill caches and then `--runs` times; the rows are run in turn, so that a busy minute
of the machine falls on all of them. Seconds are wall time; `processor` is the median of what the process and its
children used. The rows of the engine need the Pulumi CLI, pulumi-language-python and the providers' plugins on PATH,
and are left out, and named, without them; Google is never asked: a preview of a new stack sends it nothing.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EMPTY = "an empty program"
SIZES = ((10, 2), (100, 20), (200, 40))
"""Models and pools of the generated stacks."""
PLUGINS = ("command", "kubernetes", "gcp")


@dataclass
class Row:
    """A command, and what each run of it took: seconds of wall time, and of all its processes' time."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Run it once; a failure ends the benchmark."""
        before, started = _processor(), time.perf_counter()
        done = subprocess.run(
            self.command,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        self.seconds.append(time.perf_counter() - started)
        self.processor.append(_processor() - before)
        if done.returncode:
            raise SystemExit(f"{self.name} failed ({done.returncode}):\n{done.stderr[-2000:]}")


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def many(models: int, pools: int) -> str:
    """The settings of a stack of so many models, spread over so many pools."""
    each_pool = {
        "accelerator": "nvidia-l4",
        "zones": ["us-central1-a"],
        "bootDisk": {"sizeGb": 1000},
        "maxNodes": 2 * models // pools,
    }
    config = {
        "gcp:project": "demo",
        "gcp:region": "us-central1",
        "oci-model-serving:target": "gke",
        "oci-model-serving:registry": {"create": {"repository": "models"}},
        "oci-model-serving:cluster": {"create": {"name": "demo"}},
        "oci-model-serving:nodePools": {f"pool{number}": each_pool for number in range(pools)},
        "oci-model-serving:models": {
            f"model{number}": {
                "source": "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775",
                "sizeGb": 1.1,
                "builder": "direct",
                "nodePool": f"pool{number % pools}",
                "replicas": {"min": 1, "max": 2},
            }
            for number in range(models)
        },
    }
    return json.dumps({"config": config})


def scratch(folder: Path, *, program: bool) -> Path:
    """A folder with the committed stacks and this program, or one that does nothing; what runs leave stays in it."""
    folder.mkdir()
    for name in ("Pulumi.yaml", "components", "modelimage", "oci_model_serving"):
        (folder / name).symlink_to(ROOT / name)
    if program:
        (folder / "__main__.py").symlink_to(ROOT / "__main__.py")
    else:
        (folder / "__main__.py").write_text("")
    for stack in ("local", "dev", "prod"):
        shutil.copy(ROOT / f"Pulumi.{stack}.yaml", folder)
    # Its plugin asks for a daemon, and is no part of what is measured.
    dev = folder / "Pulumi.dev.yaml"
    dev.write_text(dev.read_text().replace("builder: docker", "builder: direct"))
    for models, pools in SIZES:
        (folder / f"Pulumi.many{models}.yaml").write_text(many(models, pools))
    (folder / ".local" / "model").mkdir(parents=True)
    (folder / ".local" / "model" / "config.json").write_text("{}")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def plans(program: Path, empty: Path) -> Iterator[Row]:
    """The in-process plans."""
    start = "import sys; sys.path[0] = sys.argv.pop(1); from oms.main import start; start()"

    def plan(name: str, folder: Path, stack: str) -> Row:
        return Row(name, [sys.executable, "-c", start, str(ROOT), "plan", "--stack", stack, "--json"], folder)

    yield Row("Python alone", [sys.executable, "-c", "pass"], ROOT)
    yield plan(f"plan: {EMPTY}", empty, "local")
    for stack in ("local", "dev", "prod"):
        yield plan(f"plan: {stack}", program, stack)
    for models, pools in SIZES:
        yield plan(f"plan: {models} models, {pools} pools", program, f"many{models}")


def previews(program: Path, empty: Path, state: Path) -> Iterator[Row]:
    """The engine's previews of stacks that do not exist yet."""
    pulumi = shutil.which("pulumi")
    tools = ("pulumi", "pulumi-language-python", *(f"pulumi-resource-{name}" for name in PLUGINS))
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing or not pulumi:
        print(f"without the engine's rows: {', '.join(missing)} not on PATH", file=sys.stderr)
        return
    environment = {
        "PULUMI_HOME": str(state / "home"),
        "PULUMI_BACKEND_URL": state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "bench",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "GOOGLE_OAUTH_ACCESS_TOKEN": "none",
    }
    for name, folder, stack in ((EMPTY, empty, "local"), ("local", program, "local"), ("dev", program, "dev")):
        select = Row("select", [pulumi, "stack", "select", "--create", stack, "--non-interactive"], folder, environment)
        select.run()
        command = [pulumi, "preview", "--stack", stack, "--non-interactive"]
        yield Row(f"preview: {name}", command, folder, environment)


def table(rows: Sequence[Row], runs: int) -> str:
    """The measurements, as in README.md."""
    processors = os.cpu_count()
    lines = [
        f"{processors} processors, load {os.getloadavg()[1]:.1f}, Python {platform.python_version()}, {runs} runs.",
        "",
        "| what | min | median | max | processor |",
        "|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        wall, used = row.seconds[1:], row.processor[1:]
        figures = (min(wall), statistics.median(wall), max(wall), statistics.median(used))
        lines.append(" | ".join([f"| {row.name}", *(f"{figure:.2f}" for figure in figures)]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="how often each command runs")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the rows whose name holds this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "state").mkdir()
        program = scratch(folder / "program", program=True)
        empty = scratch(folder / "empty", program=False)
        rows = [*plans(program, empty), *previews(program, empty, folder / "state")]
        rows = [row for row in rows if arguments.only in row.name]
        for number in range(arguments.runs + 1):
            print(f"run {number} of {arguments.runs}", file=sys.stderr)
            for row in rows:
                row.run()
        print(table(rows, arguments.runs))


if __name__ == "__main__":
    main()
