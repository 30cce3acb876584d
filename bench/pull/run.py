"""Pull one size of weights in several layers, plain and zstd, by a node's containerd, in one run; print the table.

    python bench/pull/run.py --gib 1 --layers 1 4 8 16 --unpacks 1 4

What pulls is the test node's containerd (make e2e builds it), asked by `crictl` for what the kubelet asks it for where
a pod has an image volume: `PullImage`, which fetches and unpacks. Each pull has a containerd of its own, with nothing
stored. The registry is on loopback and its files are in memory: the table shows the node alone. It needs root,
Debian's `docker-registry` and `skopeo`, and `crictl`:

    GOBIN=~/.cache/test-tools go install sigs.k8s.io/cri-tools/cmd/crictl@v1.34.0
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
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # a script's own folder is all that Python looks in

from bench.image.folders import make_weights  # noqa: E402 - the project's root is on the path only now
from bench.image.measuring import say  # noqa: E402
from bench.image.servers import LocalRegistry  # noqa: E402
from bench.pull.node import CONTAINERD, CRICTL, node  # noqa: E402

FORMS = ("plain", "zstd")


@dataclass
class Variant:
    """An image to pull, a way to unpack it, and what its pulls took: wall seconds and seconds of processor."""

    layers: int
    form: str
    unpacks: int
    reference: str
    megabytes: float
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def row(self) -> str:
        """Return its line of the table."""
        spread = f"{min(self.seconds):.1f} to {max(self.seconds):.1f}"
        told = [self.layers, self.form, self.unpacks, f"{self.megabytes:.0f}", f"{statistics.median(self.seconds):.1f}"]
        return f"| {' | '.join(map(str, told))} | {spread} | {statistics.median(self.cpu):.1f} |"


def publish(work: Path, registry: LocalRegistry, gib: float, layers: int) -> dict[str, tuple[str, float]]:
    """Push weights of as many shards as layers; by form, the image's reference and its megabytes."""
    weights, layout = work / "weights", work / "layout"
    say(f"  pushing {layers} layers")
    make_weights(weights, gib, layers)
    pushed = {form: f"{registry.host}/{form}/{layers}:pull" for form in FORMS}
    command = [sys.executable, "-m", "modelimage", "pack", str(weights)]
    for destination in (pushed["plain"], f"oci:{layout}"):
        _run(*command, destination, "--cache", str(work / "cache"))
    # From a layout and to a repository of its own: it would otherwise take the plain layers that are there.
    skopeo = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--dest-compress-format", "zstd"]
    _run(*skopeo, f"oci:{layout}", f"docker://{pushed['zstd']}")
    for folder in (weights, layout):
        shutil.rmtree(folder)
    return {form: (reference, _megabytes(reference, form, layers)) for form, reference in pushed.items()}


def _megabytes(reference: str, form: str, layers: int) -> float:
    said = _run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{reference}")
    found = json.loads(said)["layers"]
    kinds = {layer["mediaType"].endswith("+zstd") for layer in found}
    if len(found) != layers + 1 or kinds != {form == "zstd"}:
        raise SystemExit(f"{reference} has {len(found)} layers: {said}")
    return float(sum(layer["size"] for layer in found)) / 1e6


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return done.stdout


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=1, help="size of the weights")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 4, 8, 16], help="numbers of layers to try")
    parser.add_argument("--unpacks", type=int, nargs="+", default=[1, 4], help="containerd's max_concurrent_unpacks")
    parser.add_argument("--repeat", type=int, default=3, help="pulls of each; the median counts")
    options = parser.parse_args()
    absent = [str(tool) for tool in (CONTAINERD, CRICTL) if not tool.exists()]
    absent += [tool for tool in ("docker-registry", "skopeo", "unshare") if not shutil.which(tool)]
    if absent or os.geteuid():
        raise SystemExit(f"root and these are needed: {', '.join(absent) or 'root alone'} (see --help)")
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        registry = LocalRegistry(work / "registry")
        try:
            registry.emptied()
            images = {layers: publish(work, registry, options.gib, layers) for layers in options.layers}
            variants = [
                Variant(layers, form, unpacks, *images[layers][form])
                for form, layers, unpacks in product(FORMS, options.layers, options.unpacks)
            ]
            for number in range(1, options.repeat + 1):
                # Round after round, so that what else the machine does falls on all of them.
                for one in variants:
                    say(f"  round {number}: {one.layers} {one.form}, {one.unpacks} unpacked at once")
                    with node(one.unpacks) as puller:
                        seconds, cpu = puller.pull(one.reference)
                    one.seconds.append(seconds)
                    one.cpu.append(cpu)
        finally:
            registry.stop()
    version = _run(str(CONTAINERD), "--version").split()[2]
    print(
        f"{options.gib:g} GiB, containerd {version}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{options.repeat} pulls each, load {before:.1f} before and {os.getloadavg()[0]:.1f} after\n"
    )
    print(
        "| layers | form | unpacked at once | MB | seconds | from … to | CPU seconds |\n|--:|---|--:|--:|--:|---|--:|"
    )
    print("\n".join(one.row() for one in variants))


if __name__ == "__main__":
    main()
