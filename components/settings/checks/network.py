"""Address ranges of a created cluster that Google refuses, that overlap, or are too small for its nodes and pods."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, ip_network

from components.settings.checks.unread import Problem, touches
from components.settings.google import ClusterCreate
from components.settings.places import ZONES_OF_A_REGION, StackCluster, StackPool

_NEW = "cluster.create.newNetwork"
_MASTER = "cluster.create.masterCidr"
_SIZES = {"nodesCidr": (8, 29), "podsCidr": (8, 28), "servicesCidr": (16, 28), "proxyOnlyCidr": (8, 26)}
"""The shortest and longest prefix. VPC, "Subnets" (a primary range has at least 8 addresses); GKE, "VPC-native
clusters" (secondary ranges of one's own: at least 16, services at most 65,536); Load Balancing, "Proxy-only subnets"
(at least 64)."""
_MASTER_PREFIX = 28
"""GKE's API: the control plane's range is a /28."""
_PROHIBITED = tuple(
    map(
        IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "199.36.153.4/30", "199.36.153.8/30", "224.0.0.0/4")
    )
)
"""VPC, "Subnets" (prohibited ranges): this network, loopback, link-local, Google's private API addresses, multicast."""
_PRIVATE = IPv4Network("10.0.0.0/8")
_BRIDGE = IPv4Network("172.17.0.0/16")
"""GKE refuses a control plane here: "reserved for the Docker bridge network"."""
_UNUSABLE = 4
"""VPC, "Subnets": network, gateway, second-to-last and broadcast address of a primary range."""
_SYSTEM_PODS = 110
"""Pods of a node of the system pool, GKE's default."""
_SURGE = 1
"""A node more of the system pool while it is upgraded."""
_ENDPOINT = 1
"""The API server's private address is one of the nodes' subnetwork, where it has no range of its own."""


def problems(
    cluster: StackCluster, create: ClusterCreate, pools: Mapping[str, StackPool], unread: Collection[str]
) -> Iterator[Problem]:
    """What is wrong with the ranges of a cluster that is created.

    Args:
        cluster: the cluster.
        create: its settings.
        pools: all pools, whose nodes and pods take addresses.
        unread: key paths that were refused already.
    """
    yield from _names(create)
    ranges: dict[str, IPv4Network] = {}
    if create.network is None:
        for key, text in _new_ranges(cluster, create).items():
            if not touches(f"{_NEW}.{key}", unread):
                yield from _range(f"{_NEW}.{key}", text, _SIZES[key], ranges)
    if create.master_cidr is not None:
        yield from _range(_MASTER, create.master_cidr, (_MASTER_PREFIX, _MASTER_PREFIX), ranges)
        if _MASTER in ranges and ranges[_MASTER].overlaps(_BRIDGE):
            yield _MASTER, f"is in {_BRIDGE}, reserved for the Docker bridge network: write another, as 172.16.0.0/28"
    yield from _overlaps(ranges)
    if not any(touches(key, unread) for key in ("nodePools", "cluster.create.systemPool")):
        yield from _room(ranges, create, pools)


def _names(create: ClusterCreate) -> Iterator[Problem]:
    """Names of an existing network's ranges without the network, or for both the same; and the reverse."""
    for key, name in (("podsRange", create.pods_range), ("servicesRange", create.services_range)):
        if name and not create.network:
            yield f"cluster.create.{key}", "is of an existing network: name it by network and subnetwork, or remove it"
    if create.pods_range and create.pods_range == create.services_range:
        yield "cluster.create.servicesRange", f"is {create.services_range!r}, as podsRange: name two different ranges"
    if create.network and create.new_network.model_fields_set:
        yield _NEW, f"is for a network of its own, but network is {create.network!r}: remove one of them"


def _overlaps(ranges: Mapping[str, IPv4Network]) -> Iterator[Problem]:
    """Ranges that overlap one before them, each with a free one: following all of the advice leaves none."""
    taken, kept = list(ranges.values()), dict[str, IPv4Network]()
    for path, found in ranges.items():
        kept[path] = found
        over = next((one for one, other in kept.items() if one != path and other.overlaps(found)), None)
        if over is None:
            continue
        free = _free(found.prefixlen, taken)
        if free:
            kept[path] = free
            taken.append(free)
        remedy = f"write another, as {free}" if free else "make them smaller"
        yield (
            path,
            f"is {found}, which overlaps {over.rpartition('.')[2]} ({ranges[over]}): ranges may not overlap, {remedy}",
        )


def _free(prefix: int, taken: Sequence[IPv4Network]) -> IPv4Network | None:
    """The first range of that length in 10.0.0.0/8 that overlaps none of these."""
    size, begin, end = 1 << (32 - prefix), int(_PRIVATE.network_address), int(_PRIVATE.broadcast_address) + 1
    while begin + size <= end:
        found = IPv4Network((begin, prefix))
        over = next((other for other in taken if other.overlaps(found)), None)
        if over is None:
            return found
        behind = max(begin + size, int(over.broadcast_address) + 1)
        begin = -(-behind // size) * size
    return None


def _new_ranges(cluster: StackCluster, create: ClusterCreate) -> dict[str, str]:
    new = create.new_network
    ranges = {"nodesCidr": new.nodes_cidr, "podsCidr": new.pods_cidr, "servicesCidr": new.services_cidr}
    # Made for GKE's gateways only.
    return {**ranges, "proxyOnlyCidr": new.proxy_only_cidr} if cluster.needs_gateway else ranges


def _range(path: str, text: str, size: tuple[int, int], ranges: dict[str, IPv4Network]) -> Iterator[Problem]:
    """What is wrong with one range by itself; a right one is added to `ranges`."""
    shortest, longest = size
    try:
        found = ip_network(text)
    except ValueError:
        meant = _loosely(text)
        yield path, f"is {text!r}, no range: write {meant or f'CIDR, as 10.0.0.0/{longest}'}"
        return
    if not isinstance(found, IPv4Network):
        yield path, f"is {text}, of IPv6: write a range of IPv4, as 10.0.0.0/{longest}"
    elif not shortest <= found.prefixlen <= longest:
        wanted = f"a /{longest}" if longest == shortest else f"/{shortest} to /{longest}"
        nearest = IPv4Network((found.network_address, min(max(found.prefixlen, shortest), longest)), strict=False)
        yield path, f"is {text}, of {found.num_addresses} addresses: write {wanted}, as {nearest}"
    elif prohibited := next((one for one in _PROHIBITED if one.overlaps(found)), None):
        yield path, f"is {text}, but Google gives nothing of {prohibited}: write a private range, one of {_PRIVATE}"
    else:
        ranges[path] = found


def _loosely(text: str) -> IPv4Network | None:
    """The range that an address within it and its length mean."""
    try:
        return IPv4Network(text, strict=False)
    except ValueError:
        return None


def _room(
    ranges: Mapping[str, IPv4Network], create: ClusterCreate, pools: Mapping[str, StackPool]
) -> Iterator[Problem]:
    """Ranges that are too small for as many nodes as the pools may have, and for the pods of each."""
    system = create.system_pool.max_nodes + _SURGE
    nodes = {pool.key: pool.settings.max_nodes * (pool.zone_count or ZONES_OF_A_REGION) for pool in pools.values()}
    told = ", ".join([f"{key} {number}" for key, number in nodes.items()] + [f"the system pool {system}"])
    found = ranges.get(f"{_NEW}.nodesCidr")
    needed = system + sum(nodes.values()) + (0 if create.master_cidr else _ENDPOINT)
    if found and found.num_addresses - _UNUSABLE < needed:
        prefix = 32 - math.ceil(math.log2(needed + _UNUSABLE))
        yield (
            f"{_NEW}.nodesCidr",
            f"is {found}, too small: it has {max(found.num_addresses - _UNUSABLE, 0)} addresses for {needed} nodes at "
            f"most ({told}); write a /{prefix} or larger, or lower maxNodes",
        )
    found = ranges.get(f"{_NEW}.podsCidr")
    taken = system * _per_node(_SYSTEM_PODS)
    taken += sum(number * _per_node(pools[key].settings.max_pods_per_node) for key, number in nodes.items())
    if found and found.num_addresses < taken:
        prefix = 32 - math.ceil(math.log2(taken))
        yield (
            f"{_NEW}.podsCidr",
            f"is {found}, too small: it has {found.num_addresses} addresses, and the pods of all nodes at most "
            f"({told}) take {taken}; write a /{prefix} or larger, or lower maxNodes or maxPodsPerNode",
        )


def _per_node(pods: int) -> int:
    """Addresses that a node takes for its pods: twice as many, rounded up (GKE, "Configure maximum Pods per node")."""
    return 1 << math.ceil(math.log2(2 * pods))
