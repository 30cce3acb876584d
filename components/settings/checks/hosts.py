"""Registries that only this machine knows, named for a cluster whose nodes have to pull from them."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from components.settings.checks.unread import Problem
from components.settings.stack import Settings

_OF_THIS_MACHINE = {"localhost", "kind-registry", "host.docker.internal", "host.containers.internal"}
_IN_CLUSTER = (".svc", ".svc.cluster.local")


def problems(settings: Settings) -> Iterator[Problem]:
    """Images that nodes on Google Cloud are to pull from a host that they cannot reach."""
    named: dict[str, str | None] = {"registry.url": settings.registry.settings.url}
    for key, model in settings.sections.models.items():
        # A copy is made from here.
        named[f"models.{key}.digest"] = None if model.copy_image else model.digest
        for label, adapter in model.adapters.items():
            named[f"models.{key}.adapters.{label}.digest"] = None if adapter.copy_image else adapter.digest
        if model.compile_cache:
            named[f"models.{key}.compileCache.digest"] = model.compile_cache.digest
    for platform, server in (
        ("kserve", settings.kserve.server),
        ("kubeai", settings.kubeai and settings.kubeai.server),
    ):
        if server:
            named[f"platforms.{platform}.server.image"] = server.image
            named[f"platforms.{platform}.server.cpuImage"] = server.cpu_image
    for path, image in named.items():
        problem = _problem(image.split("/")[0]) if image and "/" in image else None
        if problem:
            yield path, problem


def _problem(host: str) -> str | None:
    name = host.rpartition(":")[0] if re.fullmatch(r".*:[0-9]+", host) else host
    name = name.strip("[]").lower().rstrip(".")
    remedy = "write a registry that nodes on Google Cloud reach, as us-central1-docker.pkg.dev/PROJECT/REPOSITORY"
    if _is_own(name):
        return f"is on {host}, which is each node itself and not this machine: {name} is not the cluster; {remedy}"
    if name.endswith(_IN_CLUSTER):
        return f"is on {host}, a name inside of the cluster, and nodes do not ask its DNS: {remedy}"
    return None


def _is_own(name: str) -> bool:
    """Whether a name means the machine that asks, or one that only its own network knows."""
    if name in _OF_THIS_MACHINE or name.endswith(".localhost"):
        return True
    # Multicast DNS has one label before it; deeper names are of companies that use .local for their own zone.
    if re.fullmatch(r"[^.]+\.local", name):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified or address.is_link_local
