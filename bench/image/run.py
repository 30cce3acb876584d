"""Push and copy N GiB of weights to local registries by every means, in one run, and print the table.

    python bench/image/run.py --gib 2 --shards 8

Each row is one command's whole process tree: wall time, processor, the memory of its largest process, the bytes that
it wrote to disks itself (the registry's own writes are nobody's but the registry's), and what passed over the network,
both ways: the run has a network namespace of its own where it may (root), so that nobody else's is counted. A tool that
is not installed is left out and named.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a script's own folder is all that Python looks in

from bench.image.folders import MIB, make_small_files, make_weights
from bench.image.hub import COMMIT, MODEL
from bench.image.measuring import ROOT, Row, measured, say, table
from bench.image.peers import IMAGE, Builders, copied, pulls
from bench.image.servers import LocalRegistry, serving

GROUPS = ("curl", "direct", "hub", "small", "copy", "sink", "buildah", "docker", "pull")
_OWN_NETWORK = "BENCH_OWN_NETWORK"
_SETTLED_SECONDS = 2.5  # past the time in which a change could hide behind a coarse time stamp

CURL_PUSH = r"""
set -e
push() {
  location=$(curl -sf -X POST -D - -o /dev/null -H 'Content-Length: 0' "http://$1/v2/floor/blobs/uploads/" |
    tr -d '\r' | awk 'tolower($1) == "location:" {print $2}')
  location=$(curl -sf -X PATCH -T "$2" -H 'Expect:' -H 'Content-Type: application/octet-stream' -D - -o /dev/null \
    "$location" | tr -d '\r' | awk 'tolower($1) == "location:" {print $2}')
  curl -sf -X PUT -H 'Content-Length: 0' -o /dev/null "$location&digest=$3"
}
host=$1; mode=$2; shift 2
while [ $# -gt 0 ]; do
  if [ "$mode" = parallel ]; then push "$host" "$1" "$2" & jobs="$jobs $!"; else push "$host" "$1" "$2"; fi
  shift 2
done
for job in $jobs; do wait "$job"; done
"""


class Bench:
    """Our packer and the floor, over one folder of weights and one registry."""

    def __init__(self, work: Path, registry: LocalRegistry) -> None:
        self._work, self._registry = work, registry
        self.weights = work / "weights"
        self._cache = work / "cache"

    def _direct(
        self, name: str, place: str, source: str | Path | None = None, *, env: dict[str, str] | None = None
    ) -> Row:
        where = place if place.startswith("127.") else f"{self._registry.host}/{place}"
        command = [*IMAGE, "pack", source or self.weights, where, "--cache", self._cache, "--json"]
        return measured(name, command, env=env)

    def _forget(self) -> None:
        shutil.rmtree(self._cache, ignore_errors=True)

    def pack(self) -> None:
        """Push once, unmeasured, into what the registry has."""
        self._forget()
        self._direct("(pushing)", "direct:one")

    def floor(self, layers: Sequence[tuple[Path, str]], mode: str, host: str | None = None) -> Row:
        """Send the very layers by curl; their digests are known."""
        if host is None:
            self._registry.emptied()
        arguments = [part for layer in layers for part in layer]
        name = "curl, one layer after the other" if mode == "sequential" else "curl, all layers at once"
        return measured(name, ["bash", "-c", CURL_PUSH, "push", host or self._registry.host, mode, *arguments])

    def direct(self) -> list[Row]:
        """Push a folder: first, again, without what is remembered, to another repository, and after a change."""
        self._registry.emptied()
        self._forget()
        rows = [
            self._direct("direct", "direct:one"),
            self._direct("direct, second push", "direct:one"),
            self._direct("direct, another repository of the host", "other:one"),
        ]
        self._forget()
        rows.append(self._direct("direct, second push, empty cache", "direct:one"))
        shard = min(self.weights.glob("*.safetensors"))
        with shard.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        time.sleep(_SETTLED_SECONDS)
        rows.append(self._direct("direct, one shard changed", "direct:two"))
        return rows

    def hub(self) -> list[Row]:
        """Push a commit of a hub: first, again, and without what is remembered."""
        self._registry.emptied()
        self._forget()
        with serving("hub.py", self.weights) as address:
            env = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"}
            source = f"hf://{MODEL}@{COMMIT}"
            rows = [self._direct(f"hf://{name}", "hub:one", source, env=env) for name in ("", ", again")]
            self._forget()
            rows.append(self._direct("hf://, again, empty cache", "hub:one", source, env=env))
        return rows

    def small(self, count: int) -> list[Row]:
        """Push a model of very many small files, and what tar and sha256sum take for the same."""
        self._registry.emptied()
        self._forget()
        folder, fewest = self._work / "small", self._work / "fewest"
        make_small_files(folder, count)
        make_small_files(fewest, 0)
        time.sleep(_SETTLED_SECONDS)
        script = 'tar --sort=name --mtime=@0 --owner=0 --group=0 -cf - -C "$1" . | sha256sum'
        rows = [
            measured(f"tar and sha256sum, {count} files", ["bash", "-c", script, "tar", folder]),
            self._direct(f"direct, {count} files", "small:one", folder),
            self._direct("direct, two small files", "small:fewest", fewest),
        ]
        shutil.rmtree(folder)
        return rows

    def sink(self, layers: Sequence[tuple[Path, str]], layout: str) -> list[Row]:
        """Push to what neither hashes nor stores: what the clients cost."""
        self._forget()
        with serving("sink.py") as host:
            rows = [
                self.floor(layers, "sequential", host),
                self.floor(layers, "parallel", host),
                self._direct("direct", f"{host}/direct:one"),
                *copied("layout copied", layout, host),
            ]
        for row in rows:
            row.name = f"no store: {row.name}"
        return rows


def layers_of(work: Path, weights: Path) -> tuple[str, list[tuple[Path, str]]]:
    """Write our layers to a layout, so that curl sends the very bytes; return the image and its layers with digests."""
    layout = work / "layers"
    command = [*IMAGE, "pack", weights, f"oci:{layout}", "--cache", work / "layer-cache"]
    packed = subprocess.run([str(part) for part in [*command, "--json"]], cwd=ROOT, capture_output=True, check=True)
    image = json.loads(packed.stdout)
    digests = [layer["digest"] for layer in image["layers"]]
    blobs = layout / "blobs" / "sha256"
    return image["reference"], [(blobs / digest.removeprefix("sha256:"), digest) for digest in digests]


def hash_speed() -> float:
    """Return how many MB a second one core hashes here: what most of the work is."""
    block = os.urandom(64 * MIB)
    started = time.perf_counter()
    hashlib.sha256(block).digest()
    return len(block) / (time.perf_counter() - started) / 1e6


def between(work: Path, registry: LocalRegistry, bench: Bench) -> list[Row]:
    """Copy an image from one registry to another, as it is."""
    other = LocalRegistry(work / "other")
    try:
        registry.emptied()
        bench.pack()
        described = subprocess.run(
            [*IMAGE, "inspect", f"{registry.host}/direct:one", "--json"], cwd=ROOT, capture_output=True, check=True
        )
        return copied("registry to registry", json.loads(described.stdout)["reference"], other)
    finally:
        other.stop()


def contenders(work: Path, registry: LocalRegistry, options: argparse.Namespace) -> list[Row]:
    """Run all that is wanted and installed; curl and direct `repeat` times, of which the median counts."""
    bench = Bench(work, registry)
    wanted = [name for name in GROUPS if name not in options.skip and (not options.only or name in options.only)]
    layout, layers = layers_of(work, bench.weights)
    context = work / "context"
    if {"buildah", "docker"} & set(wanted):
        command = [*IMAGE, "context", bench.weights, context]
        subprocess.run([str(part) for part in command], cwd=ROOT, check=True, capture_output=True)
    builders = Builders(work, registry, context)
    groups: dict[str, tuple[str, Callable[[], list[Row]]]] = {
        "curl": (
            "curl",
            lambda: [
                median([[bench.floor(layers, "sequential")] for _ in range(options.repeat)])[0],
                bench.floor(layers, "parallel"),
            ],
        ),
        "direct": ("docker-registry", lambda: median([bench.direct() for _ in range(options.repeat)])),
        "hub": ("docker-registry", bench.hub),
        "small": ("docker-registry", lambda: bench.small(options.files)),
        "copy": (
            "docker-registry",
            lambda: [*copied("layout to registry", layout, registry), *between(work, registry, bench)],
        ),
        "sink": ("curl", lambda: bench.sink(layers, layout)),
        "buildah": ("buildah", builders.buildah),
        "docker": ("dockerd", builders.docker),
        "pull": ("dockerd", lambda: pulls(work, registry, bench.weights, bench.pack)),
    }
    rows: list[Row] = []
    for name in wanted:
        program, run = groups[name]
        if shutil.which(program) is None:
            say(f"left out: {name} ({program} is not installed)")
            continue
        rows += run()
    return rows


def median(runs: Sequence[list[Row]]) -> list[Row]:
    """The run whose first row took neither the longest nor the shortest."""
    return sorted(runs, key=lambda rows: rows[0].seconds)[len(runs) // 2]


def in_own_network() -> None:
    """Begin again in a network namespace where nobody else's bytes are, if this user may."""
    if os.environ.get(_OWN_NETWORK) or os.getuid() != 0 or not (shutil.which("unshare") and shutil.which("ip")):
        return
    again = 'ip link set lo up && exec "$0" "$@"'
    words = ["unshare", "--net", "sh", "-c", again, sys.executable, *sys.argv]
    os.environ[_OWN_NETWORK] = "1"
    os.execvp(words[0], words)  # noqa: S606 - our own words


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2.0, help="size of the weights in GiB (default: 2)")
    parser.add_argument("--shards", type=int, default=8, help="how many files they are (default: 8)")
    parser.add_argument("--files", type=int, default=20_000, help="how many small files (default: 20000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of curl and direct; the median counts (default: 3)")
    parser.add_argument("--skip", nargs="*", default=[], choices=GROUPS, help="leave out")
    parser.add_argument("--only", nargs="*", default=[], choices=GROUPS, help="run these alone")
    parser.add_argument(
        "--work", type=Path, help="folder for all files, about 12 x the size (default: a temporary one)"
    )
    options = parser.parse_args()
    if shutil.which("docker-registry") is None or shutil.which("curl") is None:
        raise SystemExit("needs docker-registry and curl (Debian: docker-registry, curl)")
    in_own_network()
    os.environ["PATH"] += f"{os.pathsep}{Path('~/.cache/test-tools').expanduser()}"  # what .ci/run builds
    with tempfile.TemporaryDirectory(prefix="bench-image-", dir=options.work) as name:
        work = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(work / "xdg-cache")  # not the user's remembered digests
        registry = LocalRegistry(work / "registry")
        say(f"making {options.gib} GiB of weights")
        make_weights(work / "weights", options.gib, options.shards)
        load = os.getloadavg()[0]
        try:
            rows = contenders(work, registry, options)
        finally:
            registry.stop()
    print(
        f"{options.gib:g} GiB in {options.shards} shards, {os.cpu_count()} cores, Python {platform.python_version()},"
    )
    print(f"SHA-256 {hash_speed():.0f} MB/s a core, load {load:.1f} before and {os.getloadavg()[0]:.1f} after\n")
    print(table(rows))


if __name__ == "__main__":
    main()
