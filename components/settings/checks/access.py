"""Who may reach the API server of a cluster that is created: nobody at all, or the whole internet."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network

from components.settings.checks.unread import Problem
from components.settings.google import ClusterCreate

_NETWORKS = "cluster.create.authorizedNetworks"
_MOST = 100
"""GKE, "Authorized networks": ranges of a cluster."""
_WIDEST = 8
"""Public ranges shorter than this are no network of anybody's, but a share of the internet."""
_HALF = 1 << 31
_PRIVATE = tuple(
    IPv4Network(cidr)
    for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "240.0.0.0/4")
)
_UNIQUE_LOCAL = IPv6Network("fc00::/7")
"""What networks have within. Python's `is_private` also takes the ranges of examples, which stand for public ones."""


def problems(create: ClusterCreate) -> Iterator[Problem]:
    """What opens the API server to everybody, or closes it to everybody."""
    named = create.authorized_networks
    if not create.dns_endpoint and create.private_endpoint and not named:
        yield (
            "cluster.create.dnsEndpoint",
            "is false with privateEndpoint: nobody could reach the API server; write true",
        )
    elif not (create.dns_endpoint or named):
        yield (
            _NETWORKS,
            "is empty while dnsEndpoint is false, so that the API server would be open to the whole internet: name who "
            "may reach it, as {office: 198.51.100.0/24}, or write dnsEndpoint: true",
        )
    if len(named) > _MOST:
        yield _NETWORKS, f"has {len(named)} ranges, and GKE takes {_MOST}: join some"
    ranges = {name: ip_network(cidr) for name, cidr in named.items()}
    wide = [name for name, found in ranges.items() if not _is_private(found) and found.prefixlen < _WIDEST]
    for name in wide:
        yield f"{_NETWORKS}.{name}", f"is {named[name]}, which is {_share(ranges[name])}: {_remedy(create)}"
    public = [found for found in ranges.values() if isinstance(found, IPv4Network) and not _is_private(found)]
    if not wide and sum(found.num_addresses for found in collapse_addresses(public)) >= _HALF:
        yield _NETWORKS, f"has half of the internet or more: {_remedy(create)}"
    if create.private_endpoint:
        for name, found in ranges.items():
            if name not in wide and not _is_private(found):
                yield (
                    f"{_NETWORKS}.{name}",
                    f"is {found}, a public range, and privateEndpoint leaves the API server no public address: write a "
                    "private range, as 10.0.0.0/8, or remove it",
                )


def _share(found: IPv4Network | IPv6Network) -> str:
    return "the whole internet" if found.prefixlen == 0 else f"1/{2**found.prefixlen} of the internet"


def _remedy(create: ClusterCreate) -> str:
    if create.dns_endpoint:
        return "name your own networks, or remove it: the DNS endpoint is guarded by IAM and needs none"
    return "name your own networks, or write dnsEndpoint: true, which is guarded by IAM"


def _is_private(found: IPv4Network | IPv6Network) -> bool:
    if isinstance(found, IPv4Network):
        return any(found.subnet_of(own) for own in _PRIVATE)
    return found.subnet_of(_UNIQUE_LOCAL)
