"""What the nodes of a stack cost an hour, from its settings and a table of prices. Pure; what has no price is named."""

from dataclasses import dataclass
from typing import Any

from components.google import image_disk, local_ssd
from components.google.image_disk import ImageDisk
from components.google.pool_origin import NodeOrigin
from components.google.prices import Prices, Range
from components.settings import spare
from components.settings.models import StackModel
from components.settings.places import ZONES_OF_A_REGION, StackPool
from components.settings.stack import Settings


@dataclass(frozen=True)
class Cost:
    """US dollars an hour, least and most, of the nodes that there are: at min, at max, and with all models paused.

    `unpriced` names what the table has no price for, which is not in the sums.
    """

    at_min: Range = (0.0, 0.0)
    at_max: Range = (0.0, 0.0)
    paused: Range = (0.0, 0.0)
    unpriced: tuple[str, ...] = ()
    source: str = ""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            _sum(self.at_min, other.at_min),
            _sum(self.at_max, other.at_max),
            _sum(self.paused, other.paused),
            tuple(dict.fromkeys((*self.unpriced, *other.unpriced))),
            self.source or other.source,
        )

    @property
    def text(self) -> str:
        """The cost as a sentence."""
        told = f"{_usd(self.at_min)} an hour at min, {_usd(self.at_max)} at max, {_usd(self.paused)} paused"
        if self.unpriced:
            told = f"at least {told}" if self.at_max[1] else "not known"
        without = f", without {', '.join(self.unpriced)}" if self.unpriced else ""
        return f"{told} ({self.source}{without})"

    def data(self) -> dict[str, Any]:
        """For scripts; US dollars an hour, least and most."""
        return {
            "at_min": rounded(self.at_min),
            "at_max": rounded(self.at_max),
            "paused": rounded(self.paused),
            "unpriced": list(self.unpriced),
            "source": self.source,
        }


def of(settings: Settings, table: Prices) -> Cost:
    """What a stack costs, by a table of prices."""
    total = Cost(source=table.source)
    for key, pool in settings.node_pools.items():
        on_demand = Cost(unpriced=(f"nodePools.{key} (nodes that GKE makes)",))
        total += on_demand if pool.origin is NodeOrigin.ON_DEMAND else _pool_cost(settings, pool, table)
    create = settings.sections.cluster.create
    if create is None:
        return total
    management = table.named("cluster", "management")
    total += _priced("cluster.create", management, 1, 1, 1)
    system = create.system_pool
    machine = table.named("machine", system.machine_type)
    disk = table.disk(ImageDisk("pd-balanced", system.disk_size_gb))
    each = machine + disk if machine is not None and disk is not None else None
    return total + _priced("cluster.create.systemPool", each, system.min_nodes, system.max_nodes, system.min_nodes)


def of_pod(model: StackModel, table: Prices) -> Range | None:
    """What a pod's share of a node's GPUs costs an hour; None where the node or the table has no price."""
    pool = model.pool
    if pool is None or pool.origin is NodeOrigin.ON_DEMAND or not pool.gpu_slots:
        return None
    node = _node(pool, table)
    share = model.scheduling.gpus / pool.gpu_slots
    return (node[0] * share, node[1] * share) if node else None


def _priced(name: str, each: float | None, at_min: float, at_max: float, paused: float) -> Cost:
    if each is None:
        return Cost(unpriced=(name,))
    serving, most, least = ((each * count, each * count) for count in (at_min, at_max, paused))
    return Cost(serving, most, least)


def _pool_cost(settings: Settings, pool: StackPool, table: Prices) -> Cost:
    one, node = pool.settings, _node(pool, table)
    if node is None:
        return Cost(unpriced=(f"nodePools.{pool.key} ({pool.machine.name})",))
    zones = pool.zone_count or ZONES_OF_A_REGION
    least, most = one.min_nodes * zones, one.max_nodes * zones
    serving = min(most, max(least, spare.in_use(settings, pool) + spare.kept(settings, pool)))
    at_min, at_max, paused = ((node[0] * count, node[1] * count) for count in (serving, most, least))
    return Cost(at_min, at_max, paused)


def _node(pool: StackPool, table: Prices) -> Range | None:
    """What one of a pool's nodes costs an hour, with its disks."""
    one = pool.settings
    machine = table.machine(pool.machine, spot=one.spot)
    found = local_ssd.of(pool.machine.name)
    # The price of a machine that brings Local SSDs holds them.
    disks = [image_disk.of_boot(one.boot_disk, pool.machine)]
    if pool.image_disk.is_local and not (found and found.bundled):
        disks.append(pool.image_disk)
    each = [table.disk(disk) for disk in disks]
    if machine is None or any(price is None for price in each):
        return None
    held = sum(price for price in each if price is not None)
    return machine[0] + held, machine[1] + held


def _sum(one: Range, other: Range) -> Range:
    return one[0] + other[0], one[1] + other[1]


def rounded(range_: Range) -> list[float]:
    """A range for scripts."""
    return [round(value, 2) for value in range_]


def _usd(range_: Range) -> str:
    least, most = (f"{value:,.2f}" for value in range_)
    return f"${least}" if least == most else f"${least} to ${most}"
