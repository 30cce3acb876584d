"""How large the sidecar is that hands an image's layers to a server: its processes, CPU and memory. Pure.

It works while the server loads, which then waits for it: so it may use the cores of the pod's share of the node, and
asks for a part of them alone. Before and after it does next to nothing.
"""

import math
from dataclasses import dataclass

from components.google import speeds
from components.settings.types import amount
from modelimage.stream.options import MEMORY_MIB, MOST_MIB, OWN_MIB

_MOST = 16
_REQUEST_MILLIS = 250
"""What is asked for each process. The rest of its core is the server's while nothing is loaded."""
_BASE_MIB = 192
_KEPT_MIB = 1024
"""Of all processes together: the chunks that are kept until each of several readers has had them, so that the registry
is read once (measured with two)."""
_FEWEST, _MOST_READS = 4, 32
"""Reads at once: each is a request at a registry, whose answers of one connection are far from a node's network."""


@dataclass(frozen=True)
class Sidecar:
    """The sidecar of one pod.

    Attributes:
        processes: that serve on one port.
        given: what it gets of memory, a Kubernetes quantity; "" for what its processes need.
        readers: processes of the server that read all of the model: one for each of its GPUs.
    """

    processes: int = 1
    given: str = ""
    readers: int = 1

    @property
    def cpu(self) -> str:
        """What it asks for."""
        return f"{self.processes * _REQUEST_MILLIS}m"

    @property
    def most_cpu(self) -> str:
        """What it may take: a core for each process."""
        return str(self.processes)

    @property
    def process_mib(self) -> int:
        """Memory of a process."""
        if self.readers == 1:
            return MEMORY_MIB
        wanted = min(OWN_MIB + _KEPT_MIB // self.processes, MOST_MIB)
        room = (amount(self.given) / (1 << 20) - _BASE_MIB) / self.processes if self.given else wanted
        return max(MEMORY_MIB, min(wanted, int(room)))

    @property
    def least_mib(self) -> int:
        """What it cannot do without: its processes' own bound each, and the one that starts them (16 MB, measured)."""
        return OWN_MIB + self.processes * MEMORY_MIB

    @property
    def memory(self) -> str:
        """What it gets: for each process its buffers, and Python with what it has read of the image."""
        return self.given or f"{_BASE_MIB + self.processes * self.process_mib}Mi"

    @property
    def options(self) -> list[str]:
        """What it is told of itself."""
        told = ["--processes", str(self.processes)]
        if self.readers > 1:
            told += ["--readers", str(self.readers), "--memory-mib", str(self.process_mib)]
        return told


def size(network: float, vcpus: float, *, share: float = 1.0) -> Sidecar:
    """The sidecar of a pod that has a `share` of a node with such a network (bytes a second) and so many vCPUs.

    It has one reader, and enough processes to fill its network, as far as half of its vCPUs are enough for that.
    """
    wanted = math.ceil(network * share / speeds.of("stream_process"))
    return Sidecar(max(1, min(wanted, int(vcpus * share / 2), _MOST)))


def reads(cpu: str) -> int:
    """How many ranges each process of the server reads at once, by the CPU of its container (a Kubernetes quantity)."""
    return min(max(int(amount(cpu)), _FEWEST), _MOST_READS)
