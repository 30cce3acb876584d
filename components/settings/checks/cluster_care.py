"""When GKE may not upgrade a created cluster, and with which keys it encrypts."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from components.google import pool_names
from components.settings.checks import locations
from components.settings.checks.unread import Problem
from components.settings.google import ClusterCreate
from components.settings.maintenance import MaintenanceExclusion
from components.settings.places import StackPool
from components.settings.stack import Settings

_NO_UPGRADES = "NO_UPGRADES"
_MOST, _MOST_WITHOUT_UPGRADES = 20, 3
_LONGEST = timedelta(days=90)
"""GKE, "Maintenance windows and exclusions": 20 of a cluster, 3 of them without any upgrades and of 90 days at most."""
_ELSEWHERE = "is in {there}, but the nodes are in {region}: name a key of that region"
_WITHIN = {
    r"us|nam[0-9]+": ("us-", "northamerica-"),
    r"europe|eur[0-9]+": ("europe-",),
    r"asia|asia[0-9]+": ("asia-",),
}
"""Cloud KMS, "Locations": multi-regions, and how the regions in them begin. `global` is for all."""
_REGION = re.compile(r"[a-z]+-[a-z]+[0-9]+")


def cluster_problems(settings: Settings, create: ClusterCreate) -> Iterator[Problem]:
    """What Google would refuse of exclusions and of the database's key."""
    yield from _exclusions(create)
    region, key = settings.cluster.region, create.system_pool.kms_key
    if key and _elsewhere(key, region):
        yield "cluster.create.systemPool.kmsKey", _ELSEWHERE.format(there=_location(key), region=region)
    key = create.database_encryption_key
    problem = locations.key_problem(key, region, "cluster") if key else None
    if problem:
        yield "cluster.create.databaseEncryptionKey", problem


def pool_problems(made: StackPool) -> Iterator[Problem]:
    """What Google would refuse of a pool's key and labels, by paths relative to it."""
    key, region = made.settings.boot_disk.kms_key, made.cluster.region
    if key and _elsewhere(key, region):
        yield ".bootDisk.kmsKey", _ELSEWHERE.format(there=_location(key), region=region)
    for label in sorted(made.settings.resource_labels.keys() & pool_names.google_labels(made.key).keys()):
        yield ".resourceLabels", f"has {label}, which the program sets itself: write another one"


def _exclusions(create: ClusterCreate) -> Iterator[Problem]:
    path, exclusions = "cluster.create.maintenance.exclusions", create.maintenance.exclusions
    for name, times in Counter(one.name for one in exclusions).items():
        if times > 1:
            yield path, f"has {name!r} {times} times: give each a name of its own"
    if len(exclusions) > _MOST:
        yield path, f"has {len(exclusions)}: GKE takes {_MOST}, remove some"
    without = sum(one.scope == _NO_UPGRADES for one in exclusions)
    if without > _MOST_WITHOUT_UPGRADES:
        yield (
            path,
            f"has {without} of scope {_NO_UPGRADES}: GKE takes {_MOST_WITHOUT_UPGRADES}, write NO_MINOR_UPGRADES or "
            "NO_MINOR_OR_NODE_UPGRADES for the others",
        )
    for number, one in enumerate(exclusions):
        for below, problem in _exclusion(one, channel=not create.alpha):
            yield f"{path}.{number}{below}", problem


def _exclusion(one: MaintenanceExclusion, *, channel: bool) -> Iterator[Problem]:
    if one.scope != _NO_UPGRADES and not channel:
        yield (
            ".scope",
            f"is {one.scope}, for clusters of a release channel, and an alpha cluster has none: {_NO_UPGRADES}",
        )
    if one.end_time_behavior and one.end_time:
        yield ".endTimeBehavior", "excludes endTime: keep one"
    elif one.end_time_behavior and one.scope == _NO_UPGRADES:
        yield ".endTimeBehavior", f"is not for scope {_NO_UPGRADES}: write endTime, or another scope"
    elif not (one.end_time or one.end_time_behavior):
        yield ".endTime", "is missing: write when it ends, or endTimeBehavior: UNTIL_END_OF_SUPPORT"
    times = {".startTime": _instant(one.start_time), ".endTime": _instant(one.end_time)}
    for below, said in ((".startTime", one.start_time), (".endTime", one.end_time)):
        if said and times[below] is None:
            yield below, f"is {said}, which is no date: write for example 2026-12-01T00:00:00Z"
    start, end = times[".startTime"], times[".endTime"]
    if not (start and end):
        return
    if end <= start:
        yield ".endTime", f"is {one.end_time}, not after startTime ({one.start_time}): write a later one"
    elif one.scope == _NO_UPGRADES and end - start > _LONGEST:
        yield (
            ".endTime",
            f"is {(end - start).days} days after startTime: without any upgrades GKE takes {_LONGEST.days} at most, "
            f"write {(start + _LONGEST).strftime('%Y-%m-%dT%H:%M:%SZ')} or earlier, or scope NO_MINOR_OR_NODE_UPGRADES",
        )


def _instant(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z") if text else None
    except ValueError:
        return None


def _elsewhere(key: str, region: str) -> bool:
    """Whether a key cannot encrypt disks there: one of a multi-region or of `global` is for every region in it."""
    there = _location(key)
    if not region:
        return False
    if _REGION.fullmatch(there):
        return there != region
    within = next((begins for names, begins in _WITHIN.items() if re.fullmatch(names, there)), ("",))
    return not region.startswith(within)


def _location(key: str) -> str:
    return key.split("/")[3]
