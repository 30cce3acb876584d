"""Push N GiB of weights to a local registry by every means, in one run, and print the table.

    python bench/image/run.py --gib 2

Each row is one command's whole process tree: wall time, the memory of its largest process, and the bytes that it wrote
to disks itself (the registry's own writes are nobody's but the registry's). The floor is curl sending the same bytes
as the same layers to the same registry, one after the other, with digests that were worked out beforehand. A tool that
is not installed is left out and named.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
IMAGE = (sys.executable, "-m", "oms", "image")
MIB = 1 << 20
BUSYBOX = Path("/bin/busybox")


@dataclass
class Row:
    """One measurement: seconds, peak resident memory of the largest process in MB, MB written to disks."""

    name: str
    seconds: float
    rss_mb: float | None = None
    written_mb: float | None = None
    note: str = ""


def say(text: str) -> None:
    """Tell how far it is, on stderr: stdout is for the table."""
    print(text, file=sys.stderr, flush=True)


def measured(name: str, command: Sequence[str | Path], *, env: dict[str, str] | None = None) -> Row:
    """Run a command to its end and measure its process tree; a failure ends the benchmark."""
    say(f"  {name}")
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=output, env={**os.environ, **(env or {})}, cwd=ROOT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(f"{name} failed ({process.returncode}):\n{output.read().decode(errors='replace')[-2000:]}")
    return Row(name, seconds, usage.ru_maxrss / 1024, usage.ru_oublock * 512 / 1e6)


def make_weights(folder: Path, gib: float, shards: int) -> None:
    """Write safetensors shards whose bytes look like trained bfloat16 weights: normal values, random mantissas."""
    folder.mkdir()
    generator = random.Random(1)  # noqa: S311 - benchmark data
    # The high byte of a bfloat16 is its sign and most of its exponent: what little a compressor can use. A cycle of
    # two million is far longer than its window.
    high = bytes(struct.pack(">f", generator.gauss(0, 0.02))[0] for _ in range(2 * MIB))
    size = int(gib * 1024 / shards) * MIB
    block = bytearray(4 * MIB)
    block[1::2] = high
    weight_map = {}
    for number in range(1, shards + 1):
        name = f"model-{number:05d}-of-{shards:05d}.safetensors"
        header = json.dumps({f"w{number}": {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}}).encode()
        header += b" " * (-len(header) % 8)
        weight_map[f"w{number}"] = name
        with (folder / name).open("wb") as file:
            file.write(struct.pack("<Q", len(header)) + header)
            written = 0
            while written < size:
                block[0::2] = os.urandom(2 * MIB)
                piece = memoryview(block)[: min(len(block), size - written)]
                file.write(piece)
                written += len(piece)
            os.fsync(file.fileno())
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text('{"model_type": "qwen2"}')


class LocalRegistry:
    """A docker-registry whose storage can be emptied between contenders."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        folder.mkdir()
        config = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
            "http": {"addr": self.host},
        }
        (folder / "config.yml").write_text(json.dumps(config))
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """Stop the registry."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def emptied(self) -> None:
        """Start afresh, with nothing stored and nothing waiting to be written to the disk."""
        self.stop()
        shutil.rmtree(self._folder / "storage", ignore_errors=True)
        os.sync()
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self._folder / "config.yml")], stdout=log, stderr=log
            )
        for _ in range(200):
            with socket.socket() as probe:
                host, port = self.host.split(":")
                if probe.connect_ex((host, int(port))) == 0:
                    return
            time.sleep(0.05)
        raise SystemExit("docker-registry did not start")


@contextmanager
def dockerd(folder: Path) -> Iterator[Callable[..., tuple[str | Path, ...]]]:
    """Run a daemon of our own; gives a function that makes a client's command line. Adds nothing to the machine's."""
    # The socket's path must be short; everything else lies with the benchmark's other files.
    with tempfile.TemporaryDirectory(prefix="bench-") as short:
        address = f"unix://{short}/docker.sock"
        shutil.rmtree(folder, ignore_errors=True)
        command = ["dockerd", "--host", address, "--data-root", folder / "data", "--exec-root", folder / "exec"]
        command += ["--pidfile", folder / "pid", "--bridge=none", "--iptables=false", "--ip6tables=false"]
        folder.mkdir()
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        try:
            for _ in range(600):
                if Path(short, "docker.sock").exists():
                    break
                if daemon.poll() is not None:
                    raise SystemExit(f"dockerd did not start: {(folder / 'log').read_text()[-500:]}")
                time.sleep(0.1)
            yield lambda *arguments: ("docker", "--host", address, *arguments)
        finally:
            daemon.terminate()
            _, _, usage = os.wait4(daemon.pid, 0)
            daemon.returncode = 0
            dockerd.usage = usage  # type: ignore[attr-defined]
            shutil.rmtree(folder, ignore_errors=True)


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
    """The contenders, over one folder of weights and one registry."""

    def __init__(self, work: Path, registry: LocalRegistry) -> None:
        self._work, self._registry = work, registry
        self.weights = work / "weights"
        self.context = work / "context"

    def _direct(self, name: str, tag: str) -> Row:
        cache = self._work / "cache"
        place = f"{self._registry.host}/direct:{tag}"
        return measured(name, [*IMAGE, "pack", self.weights, place, "--cache", cache, "--json"])

    def floor(self, layers: Sequence[tuple[Path, str]], mode: str) -> Row:
        """Send the very layers by curl."""
        self._registry.emptied()
        arguments = [part for layer in layers for part in layer]
        name = "curl (floor)" if mode == "sequential" else "curl, all layers at once"
        return measured(name, ["bash", "-c", CURL_PUSH, "push", self._registry.host, mode, *arguments])

    def direct(self) -> list[Row]:
        """Push by our packer: first, again, and after one shard has changed."""
        self._registry.emptied()
        shutil.rmtree(self._work / "cache", ignore_errors=True)
        rows = [self._direct("direct", "one"), self._direct("direct, second push", "one")]
        shard = min(self.weights.glob("*.safetensors"))
        with shard.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        time.sleep(2.5)  # past the time in which a change could hide behind a coarse time stamp
        rows.append(self._direct("direct, one shard changed", "two"))
        return rows

    def buildah(self) -> list[Row]:
        """Build and push by buildah."""
        self._registry.emptied()
        storage: list[str | Path] = [
            "--root",
            self._work / "buildah" / "root",
            "--runroot",
            self._work / "buildah" / "run",
        ]
        place = f"{self._registry.host}/buildah:one"
        env = {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self._work)}
        build = measured("buildah build", ["buildah", *storage, "bud", "--tag", place, self.context], env=env)
        push: list[str | Path] = ["buildah", *storage, "push", "--tls-verify=false", place]
        rows = [build, measured("buildah push", push, env=env)]
        subprocess.run(["buildah", *map(str, storage), "rmi", "--all", "--force"], check=False, capture_output=True)
        shutil.rmtree(self._work / "buildah", ignore_errors=True)
        return [total("buildah build + push", rows), *rows]

    def docker(self) -> list[Row]:
        """Build and push by Docker, its daemon's memory and writes included."""
        self._registry.emptied()
        place = f"{self._registry.host}/docker:one"
        env = {"DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": str(self._work)}
        with dockerd(self._work / "docker") as client:
            rows = [
                measured("docker build", client("build", "--network=none", "--tag", place, self.context), env=env),
                measured("docker push", client("push", place), env=env),
            ]
        usage = dockerd.usage  # type: ignore[attr-defined]
        both = total("docker build + push", rows)
        both.rss_mb = max(both.rss_mb or 0, usage.ru_maxrss / 1024)
        both.written_mb = (both.written_mb or 0) + usage.ru_oublock * 512 / 1e6
        return [both, *(Row(row.name, row.seconds) for row in rows)]

    def _copy(self, reference: str, place: str) -> None:
        command = [*IMAGE, "copy", reference, place]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    def pulls(self) -> list[Row]:
        """Pull with Docker what three ways of layering have made, each by a daemon that has nothing."""
        self._registry.emptied()
        host = self._registry.host
        for name, flags in (("plain", ()), ("gzip", ("--gzip",))):
            say(f"  (making one layer, {name})")
            layout = self._work / f"single-{name}"
            command: list[str | Path] = [sys.executable, ROOT / "bench/image/one_layer.py", self.weights, layout]
            made = subprocess.run([*command, *flags], cwd=ROOT, check=True, capture_output=True, text=True)
            self._copy(made.stdout.strip(), f"{host}/pull:{name}")
            shutil.rmtree(layout)
        shutil.rmtree(self._work / "cache", ignore_errors=True)
        self._direct("(pushing for the pulls)", "one")
        rows = []
        for name, image in (
            ("one gzip layer", "pull:gzip"),
            ("one uncompressed layer", "pull:plain"),
            ("ours, a layer a shard", "direct:one"),
        ):
            os.sync()
            note = f"{download_size(host, image) / 1e6:.0f} MB to download"
            with dockerd(self._work / "docker") as client:
                row = measured(f"docker pull: {name}", client("pull", f"{host}/{image}"))
            rows.append(Row(row.name, row.seconds, note=note))
        return rows


def download_size(host: str, image: str) -> int:
    """Return the sum of an image's layers in bytes."""
    repository, tag = image.split(":")
    request = urllib.request.Request(
        f"http://{host}/v2/{repository}/manifests/{tag}",
        headers={
            "Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        },
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        return sum(layer["size"] for layer in json.load(answer)["layers"])


def total(name: str, rows: Sequence[Row]) -> Row:
    """Add steps up."""
    return Row(
        name,
        sum(row.seconds for row in rows),
        max(row.rss_mb or 0 for row in rows),
        sum(row.written_mb or 0 for row in rows),
    )


def layers_of(work: Path, weights: Path) -> list[tuple[Path, str]]:
    """Write our layers to files, so that curl sends the very same bytes; return each with its digest."""
    layout = work / "layers"
    command = [*IMAGE, "pack", weights, f"oci:{layout}", "--cache", work / "layer-cache"]
    packed = subprocess.run([str(part) for part in [*command, "--json"]], cwd=ROOT, capture_output=True, check=True)
    layers = []
    for layer in json.loads(packed.stdout)["layers"]:
        path = layout / "blobs" / "sha256" / layer["digest"].removeprefix("sha256:")
        layers.append((path, layer["digest"]))
    return layers


def table(rows: Sequence[Row], floor: Row) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| what | seconds | of the floor | largest process, MB | written by the client, MB | |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        ratio = "" if row.name.startswith("docker pull") else f"{row.seconds / floor.seconds:.2f}"
        rss = "" if row.rss_mb is None else f"{row.rss_mb:.0f}"
        written = "" if row.written_mb is None else f"{row.written_mb:.0f}"
        lines.append(f"| {row.name} | {row.seconds:.1f} | {ratio} | {rss} | {written} | {row.note} |")
    return "\n".join(lines)


def hash_speed() -> float:
    """Return how many MB a second one core hashes here: what most of the work is."""
    block = os.urandom(64 * MIB)
    started = time.perf_counter()
    hashlib.sha256(block).digest()
    return len(block) / (time.perf_counter() - started) / 1e6


def contenders(bench: Bench, work: Path, skip: Sequence[str], repeat: int) -> tuple[list[Row], Row]:
    """Run all that is installed; the floor and our packer `repeat` times, of which the median counts."""
    layers = layers_of(work, bench.weights)
    floors, directs = [], []
    for _ in range(repeat):
        floors.append(bench.floor(layers, "sequential"))
        directs.append(bench.direct())
    parallel = bench.floor(layers, "parallel")
    floor = sorted(floors, key=lambda row: row.seconds)[len(floors) // 2]
    rows = [floor, parallel, *sorted(directs, key=lambda run: run[0].seconds)[len(directs) // 2]]
    command = [*IMAGE, "context", bench.weights, bench.context]
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True, capture_output=True)
    for name, program, run in (
        ("buildah", "buildah", bench.buildah),
        ("docker", "dockerd", bench.docker),
        ("pull", "dockerd", bench.pulls),
    ):
        if name in skip:
            continue
        if shutil.which(program) is None:
            say(f"left out: {name} ({program} is not installed)")
            continue
        rows += run()
    return rows, floor


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2.0, help="size of the weights in GiB (default: 2)")
    parser.add_argument("--shards", type=int, default=4, help="how many files they are (default: 4)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of curl and direct; the median counts (default: 3)")
    parser.add_argument("--skip", nargs="*", default=[], choices=["buildah", "docker", "pull"], help="leave out")
    parser.add_argument(
        "--work", type=Path, help="folder for all files, about 12 x the size (default: a temporary one)"
    )
    options = parser.parse_args()
    if shutil.which("docker-registry") is None or shutil.which("curl") is None:
        raise SystemExit("needs docker-registry and curl (Debian: docker-registry, curl)")
    with tempfile.TemporaryDirectory(prefix="bench-image-", dir=options.work) as name:
        work = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(work / "xdg-cache")  # not the user's remembered digests
        registry = LocalRegistry(work / "registry")
        bench = Bench(work, registry)
        say(f"making {options.gib} GiB of weights")
        make_weights(bench.weights, options.gib, options.shards)
        try:
            rows, floor = contenders(bench, work, options.skip, options.repeat)
        finally:
            registry.stop()
    print(
        f"{options.gib:g} GiB in {options.shards} shards, {os.cpu_count()} cores, Python {platform.python_version()},"
    )
    print(f"SHA-256 {hash_speed():.0f} MB/s a core, load {os.getloadavg()[0]:.1f}\n")
    print(table(rows, floor))


if __name__ == "__main__":
    main()
