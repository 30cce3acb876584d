"""How long a model takes from "no node" to its first answer, by stage, and what limits it. Pure.

Where an image's time goes: passes times bytes over the speed of the disk that holds the images. containerd writes each
blob and unpacks it (two passes), and reads the blob back for that where the node's memory does not hold it (a third).
The network and the unpacking, which is one layer at a time, run beside the disk: the slowest of the three decides.
KServe #5852 has measured this (140 GB, 32 GB of memory, the registry on the same disk of 125 MiB/s: four passes, 4,585
s where 4,272 are predicted). Constants are those of `speeds.csv`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from components.google import speeds
from components.google.node_speed import DiskSpeed, NodeSpeed
from components.google.speeds import Constant

_CACHED_SHARE = 0.7
"""How much of a node's memory the page cache may have: the server's own memory and the system need the rest."""

_NEARLY = 1.1
"""What makes no difference that is worth a disk more."""


@dataclass(frozen=True)
class StreamedBy:
    """The sidecar that hands the weights on where delivery is `stream`, and who reads there.

    Attributes:
        processes: of the sidecar.
        reads: at once, of one reader.
        readers: processes of the server that each read all of the weights; the registry is read once for all of them.
    """

    processes: int
    reads: int
    readers: int = 1


@dataclass(frozen=True)
class Served:
    """What is started on the node.

    Attributes:
        image_bytes: of the model.
        streamed: weights are read by several threads (`--load-format runai_streamer`).
        eager: nothing is compiled (`--enforce-eager`).
        compiled: the server has a compile cache to begin with.
        preloaded: the image is on a secondary boot disk.
        door: through which it is read, past the disk; None where the node pulls it.
    """

    image_bytes: float
    streamed: bool = False
    eager: bool = False
    compiled: bool = False
    preloaded: bool = False
    door: StreamedBy | None = None


@dataclass(frozen=True)
class Stage:
    """A stage in seconds, what bounds it, the constant of that bound, and the bytes that it is about (0: of none)."""

    name: str
    seconds: float
    bound: str
    constant: Constant = field(default_factory=Constant)
    size_bytes: float = 0.0


@dataclass(frozen=True)
class PredictedStart:
    """The stages of a cold start, in the order in which they pass, after the node's own in seconds (least, most)."""

    node_provision: tuple[float, float]
    stages: tuple[Stage, ...]

    @cached_property
    def limiting(self) -> Stage:
        """The longest stage, the node's aside: what a setting can shorten."""
        return max(self.stages, key=lambda stage: stage.seconds)

    @cached_property
    def on_node(self) -> float:
        """Seconds from a node that is there to the first answer."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def total(self) -> tuple[float, float]:
        """Seconds from no node to the first answer: least, most."""
        least, most = self.node_provision
        return least + self.on_node, most + self.on_node

    def stage(self, name: str) -> Stage:
        """The stage of that name."""
        return next(stage for stage in self.stages if stage.name == name)


def passes(image_bytes: float, memory: float, *, copies: int = 2, registry_on_disk: bool = False) -> tuple[int, int]:
    """How often an image is read from, and written to, the disk that holds it.

    Args:
        image_bytes: its size.
        memory: of the node in bytes.
        copies: 2 where blobs are kept and unpacked, 1 for a plain download.
        registry_on_disk: the registry's storage is that disk as well.
    """
    read_back = copies > 1 and image_bytes > memory * _CACHED_SHARE
    return int(registry_on_disk) + int(read_back), copies


def disk_seconds(
    image_bytes: float, memory: float, disk: DiskSpeed, *, copies: int = 2, registry: bool = False
) -> float:
    """Seconds that the disk needs for all passes."""
    reads, writes = passes(image_bytes, memory, copies=copies, registry_on_disk=registry)
    return reads * image_bytes / disk.read + writes * image_bytes / disk.write


def predict(node: NodeSpeed, served: Served) -> PredictedStart:
    """The cold start of a model on a new node."""
    kind = "eager" if served.eager else "compiled" if served.compiled else "gpu"
    stages = (_server_pull(node), _pull(node, served), _load(node, served), engine(kind))
    return PredictedStart((speeds.of("node_least"), speeds.of("node_most")), stages)


def engine(kind: str) -> Stage:
    """The server's start, without its loading of weights: on a GPU, or `cpu`.

    On a GPU `gpu`, `compiled` with a compile cache, or `eager`, where nothing is compiled.

    It is what can be predicted of a start on a node of which nothing is known.
    """
    constant = speeds.constant("server_start", kind)
    return Stage("server_start", speeds.of("server_start", kind), "the engine", constant)


def _server_pull(node: NodeSpeed) -> Stage:
    stored, unpacked = speeds.of("server_image", "gpu"), speeds.of("server_image_unpacked", "gpu")
    bounds = {
        "gzip, one layer at a time": (stored / speeds.of("inflate"), speeds.constant("inflate")),
        node.disk.name: ((stored + unpacked) / node.disk.write, node.disk.write_by),
        "network": (stored / node.network, node.network_by),
    }
    return _slowest("server_image_pull", stored, bounds)


def _pull(node: NodeSpeed, served: Served) -> Stage:
    if served.door or served.preloaded:
        return Stage("image_pull", 0.0, "nothing: the weights are streamed" if served.door else "secondary boot disk")
    size = served.image_bytes
    bounds = {
        node.disk.name: (disk_seconds(size, node.memory, node.disk), node.disk.write_by),
        "network": (size / node.network, node.network_by),
        "unpacking, one layer at a time": (size / speeds.of("unpack"), speeds.constant("unpack")),
    }
    return _slowest("image_pull", size, bounds)


def _load(node: NodeSpeed, served: Served) -> Stage:
    size = served.image_bytes
    if served.door:
        return _load_through(node, size, served.door)
    loader = "streamer" if served.streamed else "default"
    named = "the streaming loader" if served.streamed else "the default loader, one thread"
    # What has just been unpacked is still in the page cache, where memory suffices; a preloaded disk was never read.
    cached = not served.preloaded and size <= node.memory * _CACHED_SHARE
    row = ("load_cached" if cached else "load_cold", loader)
    bounds = {named: (size / speeds.of(*row), speeds.constant(*row))}
    if not cached:
        bounds[node.disk.name] = (size / node.disk.read, node.disk.read_by)
    return _slowest("load", size, bounds)


def _load_through(node: NodeSpeed, size: float, door: StreamedBy) -> Stage:
    """The registry, the network, the sidecar and the loader work at the same time.

    What passes on to a further reader is taken to cost as much as to the first: it is no measured figure.
    """
    read, process, loader = "registry_read", "stream_process", ("load_cached", "streamer")
    several = "es" if door.processes > 1 else ""
    rates = {
        f"the registry, {door.reads} reads at once": (speeds.of(read), speeds.constant(read), door.reads),
        "network": (node.network, node.network_by, 1.0),
        f"TLS and SHA-256, {door.processes} process{several} of the sidecar": (
            speeds.of(process),
            speeds.constant(process),
            door.processes / door.readers,
        ),
        "the streaming loader": (speeds.of(*loader), speeds.constant(*loader), 1.0),
    }
    bounds = {
        bound: (size / (rate * times), replace(constant, value=constant.value * times))
        for bound, (rate, constant, times) in rates.items()
    }
    return _slowest("load", size, bounds)


def _slowest(name: str, size_bytes: float, bounds: dict[str, tuple[float, Constant]]) -> Stage:
    bound = max(bounds, key=lambda one: bounds[one][0])
    seconds, constant = bounds[bound]
    return Stage(name, seconds, bound, constant, size_bytes)


def span(seconds: float) -> str:
    """Seconds as people say them: `45 s`, `1.5 min`, `18 min`, `2.1 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.1f} min" if minutes < 9.95 else f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"


def faster(candidates: Sequence[tuple[str, PredictedStart]], than: PredictedStart) -> tuple[str, PredictedStart] | None:
    """The change of a setting that saves the most, if one saves a tenth of the time on the node.

    Of several values of that setting it is the first, which costs the least, that is nearly as fast as the fastest.
    """
    best = min(candidates, key=lambda one: one[1].on_node, default=None)
    if best is None or best[1].on_node >= than.on_node * 0.9:
        return None
    alike = [one for one in candidates if one[0].partition(": ")[0] == best[0].partition(": ")[0]]
    return next(one for one in alike if one[1].on_node <= best[1].on_node * _NEARLY)
