"""What the keys of registry, cluster and node pools say about each other and about the target."""

import re
from collections.abc import Collection, Iterator

from components.google import accelerators, disk, gpu_sharing, image_volume, pool_names, pool_origin
from components.google.pool_origin import NodeOrigin
from components.settings.checks import (
    access,
    cluster_care,
    given_nodes,
    hardening,
    hosts,
    locations,
    maintenance,
    mirrors,
    network,
    nodes,
)
from components.settings.checks.unread import Problem, touches
from components.settings.google import ClusterCreate, NodePoolSettings
from components.settings.models import CPU_PROFILE
from components.settings.places import StackPool
from components.settings.stack import Settings
from components.settings.types import Target
from oci_model_serving.delivery import KUBEAI

_TOO_SMALL = ("e2-micro", "f1-micro")
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z0-9]([-a-z0-9]*[a-z0-9])?")
"""A project's ID, of an older one with its domain, or its number (Google, "Creating and managing projects")."""


def problems(settings: Settings, unread: Collection[str]) -> Iterator[Problem]:
    """What contradicts the target, or what the target needs and is missing."""
    registry, cluster = settings.registry.settings, settings.cluster.settings
    if "target" in unread:
        return
    if settings.target is Target.LOCAL:
        if registry.create:
            yield "registry.create", "needs Google: on the local target write {url: host[:port]/path}, or nothing"
        if cluster.create or cluster.name:
            yield "cluster", "is Google's: on the local target write {kubeconfig: path}, or nothing"
        if settings.node_pools:
            yield "nodePools", "need Google: on the local target remove them, models run without nodePool"
    else:
        yield from _google(settings, unread)


def _google(settings: Settings, unread: Collection[str]) -> Iterator[Problem]:
    registry, cluster = settings.registry.settings, settings.cluster.settings
    if not settings.project:
        yield "gcp:project", "is missing: `pulumi config set gcp:project PROJECT`"
    elif not _PROJECT.fullmatch(settings.project):
        how = "write the ID, of small letters, digits and '-' (`gcloud projects list`)"
        yield "gcp:project", f"is {settings.project!r}, which is no project's ID: {how}"
    if not settings.region:
        yield "gcp:region", "is missing: `pulumi config set gcp:region us-central1` (or another region)"
    if settings.models and not (registry.create or registry.url or touches("registry", unread)):
        yield "registry", "is missing: write {create: {repository: models}} or {url: host/path}"
    if cluster.kubeconfig:
        yield "cluster.kubeconfig", "is for the local target: write {create: …} or {name: …, location: …}"
    elif not (settings.serves or touches("cluster", unread)):
        yield from _no_cluster(settings)
    if cluster.name and not cluster.location:
        yield "cluster.location", f"is missing: write the region or zone of cluster {cluster.name!r}"
    yield from given_nodes.cluster_problems(settings)
    yield from locations.problems(settings)
    if settings.cluster.exists:
        yield from hosts.problems(settings)
    if cluster.create is not None:
        yield from _cluster(settings, cluster.create)
        yield from access.problems(cluster.create)
        yield from hardening.cluster_problems(cluster.create)
        yield from network.problems(settings.cluster, cluster.create, settings.node_pools, unread)
        yield from cluster_care.cluster_problems(settings, cluster.create)
        for below, problem in maintenance.problems(cluster.create.maintenance):
            yield "cluster.create.maintenance" + below, problem
    yield from nodes.together(settings.node_pools)


def _no_cluster(settings: Settings) -> Iterator[Problem]:
    """What needs a cluster; without it the models' images are made, and nothing is served."""
    placed = sorted({f"models.{key}.nodePool" for key, model in settings.models.items() if model.settings.node_pool})
    needed = [*(["nodePools"] if settings.node_pools else []), *placed]
    if needed:
        yield (
            "cluster",
            "is missing: write {create: {name: …}} or {name: …, location: …}; where images are only built, remove "
            f"{', '.join(needed)}",
        )


def _cluster(settings: Settings, create: ClusterCreate) -> Iterator[Problem]:
    if settings.cluster.needs_image_volume:
        # A sandbox matters on the pools of such models only: `_scheduling` looks.
        problem = image_volume.problem(
            create.version, alpha=create.alpha, sandbox=False, subpath=settings.cluster.needs_subpath
        )
        if problem:
            yield "cluster.create.version", problem
    if not create.gateway_api and settings.cluster.needs_gateway:
        yield "cluster.create.gatewayApi", "is false, but platforms.kserve.gateway is gke: write true"
    if create.subnetwork and not create.network:
        yield "cluster.create.network", f"is missing: name the network of subnetwork {create.subnetwork!r}"
    if create.network and not create.subnetwork:
        yield "cluster.create.subnetwork", f"is missing: name a subnetwork of network {create.network!r}"
    machine = create.system_pool.machine_type
    if re.fullmatch(r"(t2a|c4a|n4a)-.*", machine):
        yield (
            "cluster.create.systemPool.machineType",
            f"is {machine}, whose nodes are Arm, which GKE keeps free of pods that do not ask for them: write "
            "e2-standard-4",
        )
    elif machine in _TOO_SMALL:
        yield (
            "cluster.create.systemPool.machineType",
            f"is {machine}, whose 1 GB of memory GKE's own pods need: write e2-standard-4",
        )
    if create.system_pool.max_nodes < create.system_pool.min_nodes:
        yield "cluster.create.systemPool.maxNodes", f"is below minNodes ({create.system_pool.min_nodes}): raise it"


def pool_problems(settings: Settings, made: StackPool) -> Iterator[Problem]:
    """What contradicts itself in a node pool, by paths relative to it."""
    key, pool, cluster = made.key, made.settings, made.cluster
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,29}[a-z0-9])?", key):
        yield (
            "",
            "is no name of a node pool: write at most 31 lower case letters, digits and '-', beginning with a "
            "letter (GKE allows 40, the rest tells replacements apart)",
        )
    account = f"{cluster.name}-{key}"
    if made.origin is NodeOrigin.MADE and not pool.service_account_id and len(account) > pool_names.ACCOUNT_ID:
        yield (
            ".serviceAccountId",
            f"the node service account would be {account!r}, which has {len(account)} characters: Google takes "
            f"{pool_names.ACCOUNT_ID}; write a shorter one here",
        )
    if key in {pool_names.SYSTEM, CPU_PROFILE}:
        yield "", f"{key!r} is taken, by the cluster's own pool or KubeAI's CPU profile: write another name"
    if key in {model.name for model in settings.models_of(KUBEAI)}:
        yield (
            "",
            f"{key!r} is also the name of a KubeAI model, which may have a resource profile of that name: rename one",
        )
    yield from locations.of_pool(made)
    yield from nodes.of_pool(pool)
    if pool.max_nodes < pool.min_nodes:
        yield ".maxNodes", f"is {pool.max_nodes}, below minNodes ({pool.min_nodes}): raise it or lower minNodes"
    if pool.image_gc_low_threshold_percent >= pool.image_gc_high_threshold_percent:
        yield ".imageGcLowThresholdPercent", "is not below imageGcHighThresholdPercent: lower it"
    yield from _capacity(pool)
    yield from _nodes(settings, made)
    try:
        machine = made.machine
    except accelerators.AcceleratorError as error:
        yield "", str(error)
        return
    problem = accelerators.provisioning_problem(
        machine, spot=pool.spot, flex_start=pool.flex_start, reservation=bool(pool.reservation)
    )
    if problem and not pool_origin.chosen_by_class(pool):
        yield "", problem
    yield from hardening.pool_problems(pool, machine.name)
    for below, problem in disk.problems(pool, machine, made.image_sizes_gb if made.disk_known else {}):
        yield f".{below}", problem


def _nodes(settings: Settings, made: StackPool) -> Iterator[Problem]:
    yield from given_nodes.problems(settings, made)
    yield from cluster_care.pool_problems(made)
    yield from mirrors.problems(made.settings)
    for below, wrong in gpu_sharing.problems(made.settings):
        yield f".{below}", wrong


def _capacity(pool: NodePoolSettings) -> Iterator[Problem]:
    chosen = [
        name
        for name, value in (("spot", pool.spot), ("flexStart", pool.flex_start), ("reservation", pool.reservation))
        if value
    ]
    if len(chosen) > 1:
        yield "", f"has {' and '.join(chosen)}, which exclude each other: keep one"
    if pool.queued_provisioning and (pool.spot or pool.reservation):
        yield ".queuedProvisioning", "excludes spot and reservation: remove them"
    if pool.max_run_duration and not (pool.flex_start or pool.queued_provisioning):
        yield ".maxRunDuration", "is for flexStart or queuedProvisioning: remove it or choose one of them"
    if (pool.flex_start or pool.queued_provisioning) and pool.min_nodes:
        yield ".minNodes", f"is {pool.min_nodes}: such nodes start only on demand, write 0"
