"""Where on Google Cloud things are: regions, zones and keys that do not go together."""

import re
from collections.abc import Iterable, Iterator

from components.settings.checks.unread import Problem
from components.settings.google import ClusterCreate
from components.settings.places import StackPool
from components.settings.stack import Settings
from oci_model_serving.reference import google_repository

_REGION = r"[a-z]+(?:-[a-z]+)+[0-9]{1,2}"
"""The form alone: regions are added every year."""
_ZONE = rf"({_REGION})-(?:[a-z]|ai[0-9]+[a-z])"
"""Compute Engine, "Regions and zones"; the second form is that of "AI zones", as us-south1-ai1b."""
_MULTI_REGIONS = ("us", "europe", "asia")
"""Artifact Registry, "Repository locations"."""
_KEY = r"projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+"


def problems(settings: Settings) -> Iterator[Problem]:
    """Locations that Google does not have, or that are not where another one is, on a stack of Google's."""
    yield from _region(settings.region)
    yield from _repository(settings)
    cluster, create = settings.cluster, settings.cluster.settings.create
    given = create.location if create else cluster.settings.location
    if given and not _is_region(given) and region_of(given) is None:
        key = "cluster.create.location" if create else "cluster.location"
        yield key, f"is {given!r}: write a region, as us-central1, or a zone, as us-central1-a"
    elif given and cluster.settings.autopilot and region_of(given):
        yield "cluster.location", f"is {given}, a zone, and Autopilot clusters are of a region: write {cluster.region}"
    elif create:
        yield from _cluster_zones(create, cluster.location)
        yield from _subnetwork(create, cluster.region)


def of_pool(made: StackPool) -> Iterator[Problem]:
    """A pool's zones that cannot be its cluster's, by paths relative to it."""
    zones, region = made.settings.zones, made.cluster.region
    for zone in dict.fromkeys(zones):
        if region and region_of(zone) != region:
            yield ".zones", f"has {zone}, but the cluster is in {region}: write zones of that region"
    yield from ((".zones", problem) for problem in _twice(zones))


def key_problem(key: str, location: str, what: str) -> str | None:
    """What is wrong with a KMS key for something at a location, with the remedy, or None.

    A key is used at its own location only, a multi-region's at that multi-region (Cloud KMS, "Locations"; Artifact
    Registry, "Enable customer-managed encryption keys").

    Args:
        key: `projects/P/locations/L/keyRings/R/cryptoKeys/K`.
        location: a region or multi-region.
        what: which thing, for the message.
    """
    found = re.fullmatch(_KEY, key)
    if not found:
        return f"is {key!r}: write projects/PROJECT/locations/{location}/keyRings/RING/cryptoKeys/KEY"
    if found[1] == location:
        return None
    return (
        f"is in {found[1]}, which is another region than the {what}'s ({location}): write a key of "
        f"projects/…/locations/{location}/…"
    )


def region_of(zone: str) -> str | None:
    """The region of a zone; None where it is none."""
    found = re.fullmatch(_ZONE, zone)
    return found[1] if found else None


def _is_region(name: str) -> bool:
    return re.fullmatch(_REGION, name) is not None


def _region(region: str) -> Iterator[Problem]:
    if not region or _is_region(region):
        return
    of = region_of(region)
    if of:
        yield (
            "gcp:region",
            f"is a zone ({region}): `pulumi config set gcp:region {of}`; a zone goes into cluster.create.location "
            "or nodePools.NAME.zones",
        )
    else:
        yield (
            "gcp:region",
            f"is {region!r}, which is no region: `pulumi config set gcp:region us-central1` (or another)",
        )


def _repository(settings: Settings) -> Iterator[Problem]:
    create = settings.registry.settings.create
    if create is None:
        yield from _adopted(settings.registry.settings.url or "")
        return
    location = create.location or settings.region
    if create.location and not (_is_region(location) or location in _MULTI_REGIONS):
        of = region_of(location)
        yield (
            "registry.create.location",
            f"is {'a zone' if of else ''}{'' if of else repr(location)}: write {of or 'a region, as us-central1'}, or "
            f"a multi-region ({', '.join(_MULTI_REGIONS)})",
        )
    elif create.kms_key and location:
        problem = key_problem(create.kms_key, location, "repository")
        if problem:
            yield "registry.create.kmsKey", problem


def _adopted(url: str) -> Iterator[Problem]:
    """A URL that is Artifact Registry's by its host, and of no repository there."""
    host = url.partition("/")[0]
    found = re.fullmatch(r"(.+)-docker\.pkg\.dev", host)
    if not found:
        return
    location, of = found[1], region_of(found[1])
    if not (_is_region(location) or location in _MULTI_REGIONS):
        wanted = of or "us-central1"
        yield "registry.url", f"is at {location}, which is no location of repositories: write {wanted}-docker.pkg.dev/…"
    elif google_repository(url) is None:
        yield "registry.url", f"is {url}, without a repository: write {host}/PROJECT/REPOSITORY"


def _cluster_zones(create: ClusterCreate, location: str) -> Iterator[Problem]:
    key, region = "cluster.create.zones", region_of(location) or location
    for zone in dict.fromkeys(create.zones):
        if region and region_of(zone) != region:
            yield key, f"has {zone}, but the cluster is in {region}: write zones of that region"
        if zone == location:
            # Provider, `google_container_cluster`: node_locations leave out the zone of a zonal cluster.
            yield key, f"has {zone}, where the cluster itself is: leave it out, or set location to {region}"
    yield from ((key, problem) for problem in _twice(create.zones))


def _subnetwork(create: ClusterCreate, region: str) -> Iterator[Problem]:
    found = re.search(r"(?:^|/)regions/([^/]+)/subnetworks/", create.subnetwork or "")
    if found and region and found[1] != region:
        yield "cluster.create.subnetwork", f"is in {found[1]}, but the cluster is in {region}: name one of that region"


def _twice(zones: Iterable[str]) -> Iterator[str]:
    listed = list(zones)
    for zone in dict.fromkeys(listed):
        if listed.count(zone) > 1:
            yield f"has {zone} twice, which is the same zone: write it once"
