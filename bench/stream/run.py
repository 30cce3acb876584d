"""Bring one size of weights from a registry into a loader's memory by each delivery, in one run; print the table.

    python bench/stream/run.py --gib 2 --shards 1 4 16

What loads is Run:ai's streamer, as vLLM calls it, in the environment of the tests' vLLM; there is no GPU. What pulls is
the test node's containerd, with nothing stored. Registry and bucket are on loopback, their files in memory: the table
shows the node alone. It needs root, Debian's `docker-registry` and `busybox-static`, what `make e2e` installs, and

    export GOBIN=~/.cache/test-tools
    go install sigs.k8s.io/cri-tools/cmd/crictl@v1.34.0
    CGO_ENABLED=0 go install -tags no_btrfs github.com/containerd/containerd/v2/cmd/ctr@v2.2.3
    go install github.com/versity/versitygw/cmd/versitygw@v1.8.0
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # a script's own folder is all that Python looks in

from bench.image.folders import make_weights  # noqa: E402 - the project's root is on the path only now
from bench.image.measuring import say  # noqa: E402
from bench.image.servers import LocalRegistry  # noqa: E402
from bench.pull.disk import disk, missing  # noqa: E402
from bench.pull.node import CONTAINERD, CRICTL, CTR, Node, node  # noqa: E402
from bench.stream.processes import Cost, cost_of  # noqa: E402
from bench.stream.servers import VERSITYGW, Endpoint, bucket, door  # noqa: E402
from tests.e2e.server_image import BUSYBOX  # noqa: E402
from tests.e2e.vllm_cpu import install  # noqa: E402

PULLED = ("image volume", "modelcar")
WAYS = (*PULLED, "stream", "bucket")
_LOAD = ROOT / "bench" / "stream" / "load.py"
_TENSOR_MIB = 32
"""Of a tensor: a projection of a model with 8 billion weights."""


@dataclass
class Run:
    """One delivery of one image: seconds until it could be read, and of the load; what each side cost."""

    before: float
    load: float
    delivery: Cost
    loader: Cost

    @property
    def seconds(self) -> float:
        """From nothing to all in memory."""
        return self.before + self.load


@dataclass
class Variant:
    """A delivery of so many shards, to a disk of so many MB a second (0: this machine's), and its runs."""

    shards: int
    way: str
    disk: float
    runs: list[Run] = field(default_factory=list)

    def row(self, gigabytes: float) -> str:
        """Return its line of the table."""
        seconds = [run.seconds for run in self.runs]

        def median(*values: float) -> float:
            return statistics.median(values)

        told = [
            str(self.shards),
            f"{self.way}, disk of {self.disk:g} MB/s" if self.disk else self.way,
            f"{median(*(run.before for run in self.runs)):.1f}",
            f"{median(*(run.load for run in self.runs)):.1f}",
            f"**{median(*seconds):.1f}**",
            f"{min(seconds):.1f} to {max(seconds):.1f}",
            f"{median(*(run.delivery.cpu for run in self.runs)) / gigabytes:.2f}",
            f"{median(*(run.loader.cpu for run in self.runs)) / gigabytes:.2f}",
            f"{max(run.delivery.peak_mb for run in self.runs):.0f}",
            f"{max(run.loader.peak_mb for run in self.runs):.0f}",
            f"{max(run.delivery.written_mb + run.loader.written_mb for run in self.runs):.0f}",
        ]
        return f"| {' | '.join(told)} |"


class Bench:
    """The images and the bucket's files of each number of shards, and every way to load them."""

    def __init__(self, work: Path, registry: LocalRegistry, options: argparse.Namespace) -> None:
        self._work, self._registry, self._options = work, registry, options
        self._images: dict[tuple[int, str], str] = {}
        self._sums: dict[int, tuple[int, int]] = {}
        self._base = _packed("base", str(work / "base"), "--busybox", str(BUSYBOX))

    def publish(self, shards: int) -> None:
        """Make the weights, put them into the registry, and leave them as the bucket's objects."""
        say(f"  pushing {shards} shards")
        folder = self._folder(shards)
        folder.parent.mkdir(exist_ok=True)
        make_weights(folder, self._options.gib, shards, tensor_mib=_TENSOR_MIB)
        cache = ["--cache", str(self._work / "cache")]
        for kind, more in {"scratch": [], "busybox": ["--base", self._base]}.items():
            place = f"{self._registry.host}/{kind}/{shards}"
            self._images[shards, kind] = _packed("pack", str(folder), place, *cache, *more)

    def once(self, shards: int, way: str, mbps: float) -> Run:
        """Deliver and load once."""
        say(f"    {shards} shards, {way}, {mbps:g} MB/s")
        if way in PULLED:
            with ExitStack() as stack:
                size = 3 * self._options.gib + 1  # blob and snapshot, and what a file system needs
                device = stack.enter_context(disk(self._work / "disk", size, mbps)) if mbps else None
                return self._pulled(shards, way, device)
        began = time.monotonic()
        if way == "stream":
            server = door(self._images[shards, "scratch"], self._options.processes)
        else:
            server = bucket(self._folder(shards))
        with server as endpoint:
            before = time.monotonic() - began
            load, loader = self._load(shards, endpoint.place, endpoint)
            return Run(before, load, endpoint.cost(), loader)

    def _pulled(self, shards: int, way: str, device: str | None) -> Run:
        reference = self._images[shards, "busybox" if way == "modelcar" else "scratch"]
        with node(1, device) as puller, ExitStack() as open_while:
            pulled, cpu = puller.pull(reference)
            began = time.monotonic()
            root = open_while.enter_context(self._opened(puller, reference, way))
            before = pulled + time.monotonic() - began
            # Of containerd's start and mount nothing is counted but what stays: its memory and its writes.
            all_of_it = cost_of(puller.pid)
            load, loader = self._load(shards, str(root / "models"))
            return Run(before, load, Cost(cpu, all_of_it.peak_mb, cost_of(puller.pid).written_mb), loader)

    @staticmethod
    def _opened(puller: Node, reference: str, way: str) -> Any:
        return puller.running(reference) if way == "modelcar" else puller.mounted(reference)

    def _load(self, shards: int, place: str, endpoint: Endpoint | None = None) -> tuple[float, Cost]:
        environment = {**os.environ, "PYTHONPATH": str(install.SITE), "RUNAI_STREAMER_LOG_LEVEL": "ERROR"}
        if self._options.concurrency:
            environment["RUNAI_STREAMER_CONCURRENCY"] = str(self._options.concurrency)
        environment |= endpoint.environment if endpoint else {}
        done = subprocess.run(
            [sys.executable, str(_LOAD), place], capture_output=True, text=True, check=False, env=environment
        )
        if done.returncode:
            raise SystemExit(f"the load of {place} failed: {done.stderr[-2000:]}")
        told = json.loads(done.stdout.splitlines()[-1])
        same = self._sums.setdefault(shards, (told["bytes"], told["sum"]))
        if same != (told["bytes"], told["sum"]):
            raise SystemExit(f"{place} held {told}, and another delivery {same}")
        return told["seconds"], Cost(told["cpu"], told["peak_mb"], told["written_mb"])

    def _folder(self, shards: int) -> Path:
        return self._work / "buckets" / f"shards-{shards}"


def _packed(*arguments: str) -> str:
    command = [sys.executable, "-m", "modelimage", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return str(json.loads(done.stdout)["reference"])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=2, help="size of the weights")
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 4, 16], help="numbers of shards to try")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS, help="deliveries to try")
    parser.add_argument(
        "--disk-mbps", type=float, nargs="+", default=[0, 250], help="speeds of the node's disk to try; 0 is its own"
    )
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the median counts")
    parser.add_argument("--concurrency", type=int, help="the loader's RUNAI_STREAMER_CONCURRENCY; its own default")
    parser.add_argument("--processes", type=int, default=1, help="of our server")
    options = parser.parse_args()
    absent = [str(tool) for tool in (CONTAINERD, CRICTL, CTR, VERSITYGW, BUSYBOX) if not tool.exists()]
    absent += [tool for tool in ("docker-registry", "unshare", "nsenter") if not shutil.which(tool)]
    why = install.missing() or (missing() if any(options.disk_mbps) else "")
    if absent or why or os.geteuid():
        raise SystemExit(f"root and these are needed: {', '.join(absent) or why or 'root alone'} (see --help)")
    before = os.getloadavg()[0]
    variants = [
        Variant(shards, way, mbps)
        for shards in options.shards
        for way in options.ways
        for mbps in (options.disk_mbps if way in PULLED else [0])
    ]
    with tempfile.TemporaryDirectory(prefix="bench-stream-") as folder:
        work = Path(folder)
        registry = LocalRegistry(work / "registry")
        try:
            registry.emptied()
            bench = Bench(work, registry, options)
            for shards in options.shards:
                bench.publish(shards)
            for number in range(1, options.repeat + 1):
                # Round after round, so that what else the machine does falls on all of them.
                say(f"  round {number}")
                for one in variants:
                    one.runs.append(bench.once(one.shards, one.way, one.disk))
        finally:
            registry.stop()
    print(
        f"{options.gib:g} GiB, {os.cpu_count()} cores, Python {platform.python_version()}, {options.repeat} runs each, "
        f"load {before:.1f} before and {os.getloadavg()[0]:.1f} after\n"
    )
    print(
        "| shards | delivery | until readable, s | load, s | together | from … to | its CPU s/GB | loader's CPU s/GB | "
        "its peak MB | loader's peak MB | written MB |\n|--:|---|--:|--:|--:|---|--:|--:|--:|--:|--:|"
    )
    gigabytes = options.gib * (1 << 30) / 1e9
    print("\n".join(map(partial(Variant.row, gigabytes=gigabytes), variants)))


if __name__ == "__main__":
    main()
